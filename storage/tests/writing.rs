//! What is appended is what stands in the segments and what readers get.

mod common;

use std::fs;

use binlog::event::{FLAG_ARTIFICIAL, FLAG_IN_USE, Header, heartbeat, read_previous_gtids};
use binlog::{Event, EventKind, FormatDescription, GtidSet};
use common::{
    GOLDEN, Source, append_all, append_some, begin_file, events_of, first, only_events, open, options,
    read_after, read_all, segment_path,
};
use storage::{Appended, Error, Item, OnKnown, RelayLog, SourceFile};

#[allow(clippy::unwrap_used, reason = "a test that fails here fails")]
fn golden_source_file(events: &[Event]) -> SourceFile {
    let format = FormatDescription::parse(&events[0]).unwrap();
    SourceFile {
        server_uuid: uuid::Uuid::from_bytes([7; 16]),
        file: "binlog.000001".into(),
        position: 4,
        format,
    }
}

#[test]
fn a_whole_source_file_becomes_the_same_file_but_for_the_in_use_flag() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let events = events_of(GOLDEN);
    writer.set_start(&read_previous_gtids(&events[1]).unwrap()).unwrap();
    writer.source_file(&golden_source_file(&events)).unwrap();
    for event in &events {
        writer.append(event).unwrap();
    }
    writer.sync().unwrap();
    let mut expected = GOLDEN.to_vec();
    expected[4 + 17] &= !FLAG_IN_USE.to_le_bytes()[0];
    assert_eq!(fs::read(segment_path(dir.path(), 1)).unwrap(), expected);
    assert_eq!(read_after(&log, &log.gtids_purged()), events[2..]);
    assert_eq!(log.durable_end().source.unwrap().position, GOLDEN.len() as u64);
}

#[test]
fn nothing_is_read_before_it_is_synced_and_everything_after() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    begin_file(&mut writer, &mut source);
    let transaction = source.transaction(&[100, 200]);
    append_all(&mut writer, &transaction);
    assert_eq!(read_after(&log, &GtidSet::new()), []);
    assert!(log.gtids_durable().is_empty());
    assert_eq!(*writer.received(), source.executed);
    let end = writer.sync().unwrap();
    assert_eq!(*end.gtids, source.executed);
    assert_eq!(end.commit_timestamp, source.clock);
    assert_eq!(end.last_gtid, Some(binlog::Gtid::new(source.uuid, 1)));
    assert_eq!(read_after(&log, &GtidSet::new()), transaction);
}

#[test]
fn half_a_transaction_is_never_durable_and_can_be_discarded_and_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    begin_file(&mut writer, &mut source);
    append_some(&mut writer, &mut source, 1);
    // Larger than the buffer, so that its beginning is in the file.
    let big = source.transaction(&[3 << 20, 10, 20]);
    append_all(&mut writer, &big[..4]);
    let end = writer.sync().unwrap();
    assert_eq!(*end.gtids, first(&source, 1));
    writer.discard_unfinished().unwrap();
    let length = fs::metadata(segment_path(dir.path(), 1)).unwrap().len();
    assert_eq!(length, end.position.offset);
    writer.source_file(&source.source_file()).unwrap();
    append_all(&mut writer, &big);
    assert_eq!(*writer.sync().unwrap().gtids, first(&source, 2));
    assert_eq!(read_after(&log, &first(&source, 1)), big);
    assert_eq!(log.segments().len(), 1, "the same file goes on in the same segment");
}

#[test]
fn each_source_file_has_a_segment_and_a_large_one_has_several() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = RelayLog::open(dir.path(), {
        let mut o = options();
        o.segment_size = 2000;
        o
    })
    .unwrap();
    let mut source = Source::new(1);
    begin_file(&mut writer, &mut source);
    append_some(&mut writer, &mut source, 20);
    let rotate = source.rotate();
    append_all(&mut writer, &[rotate]);
    begin_file(&mut writer, &mut source);
    append_some(&mut writer, &mut source, 3);
    writer.sync().unwrap();
    let segments = log.segments();
    assert!(segments.len() > 3, "{}", segments.len());
    for pair in segments.windows(2) {
        let mut all = (*pair[0].previous).clone();
        all.union_with(&pair[0].gtids);
        assert_eq!(all, *pair[1].previous);
        if pair[0].file == pair[1].file {
            assert_eq!(pair[0].source_end, pair[1].source_begin);
            assert!(pair[0].bytes >= 2000);
        }
    }
    let mut reader = log.reader(&GtidSet::new()).unwrap();
    let mut begins = Vec::new();
    for item in read_all(&mut reader) {
        if let Item::Begins(begin) = item {
            begins.push((begin.head.file.to_string(), begin.continues, begin.position));
        }
    }
    assert_eq!(begins.len(), segments.len());
    let news: Vec<_> = begins.iter().filter(|b| !b.1).map(|b| b.0.as_str()).collect();
    assert_eq!(news, ["binlog.000001", "binlog.000002"]);
    let sizes: u64 =
        (1..=segments.len() as u64).map(|n| fs::metadata(segment_path(dir.path(), n)).unwrap().len()).sum();
    assert_eq!(log.size_on_disk(), sizes);
}

#[test]
fn a_log_that_starts_in_the_middle_says_so_in_its_own_previous_gtids() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    let previous = source.next_file();
    for _ in 0..5 {
        source.transaction(&[10]);
    }
    let start = source.executed.clone();
    assert!(log.is_fresh());
    writer.set_start(&start).unwrap();
    assert!(!log.is_fresh());
    writer.source_file(&source.source_file()).unwrap();
    writer.append(&previous).unwrap();
    append_some(&mut writer, &mut source, 2);
    writer.sync().unwrap();
    assert_eq!(*log.gtids_purged(), start);
    let head = events_of(&fs::read(segment_path(dir.path(), 1)).unwrap())[1].clone();
    assert_eq!(read_previous_gtids(&head).unwrap(), start);
    assert!(matches!(writer.set_start(&start), Err(Error::NotEmpty)));
    let refused = log.reader(&first(&source, 3)).unwrap_err().to_string();
    assert!(refused.contains(":4-5"), "{refused}");
}

#[test]
fn a_reconnect_sends_the_file_again_and_only_what_is_new_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    let previous = source.next_file();
    let transactions: Vec<_> = (0..4).map(|n| source.transaction(&[n * 10])).collect();
    writer.source_file(&source.source_file()).unwrap();
    writer.append(&previous).unwrap();
    append_all(&mut writer, &transactions[..2].concat());
    let rotate = source.rotate();
    for _ in 0..2 {
        writer.discard_unfinished().unwrap();
        writer.source_file(&source.source_file()).unwrap();
        writer.append(&source.artificial_rotate()).unwrap();
        writer.append(source.format().event()).unwrap();
        assert_eq!(writer.append(&previous).unwrap(), Appended::Passed);
        assert_eq!(writer.append(&heartbeat(1, &source.file(), 500)).unwrap(), Appended::Passed);
    }
    append_all(&mut writer, &transactions[2..].concat());
    append_all(&mut writer, std::slice::from_ref(&rotate));
    writer.discard_unfinished().unwrap();
    writer.source_file(&source.source_file()).unwrap();
    assert_eq!(writer.append(&previous).unwrap(), Appended::Passed);
    assert_eq!(writer.append(&rotate).unwrap(), Appended::Passed);
    writer.sync().unwrap();
    let expected = [transactions.concat(), vec![rotate]].concat();
    assert_eq!(read_after(&log, &GtidSet::new()), expected);
    assert_eq!(log.segments().len(), 1);
}

#[test]
fn a_known_transaction_is_refused_skipped_or_compared() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    begin_file(&mut writer, &mut source);
    append_some(&mut writer, &mut source, 3);
    let mut before = source.clone();
    let mut crashed = source.clone();
    let last = source.transaction(&[50, 60]);
    append_all(&mut writer, &last);
    let again = |writer: &mut storage::LogWriter, on_known, events: &[Event]| {
        writer.discard_unfinished().unwrap();
        writer.on_known(on_known);
        writer.source_file(&source.source_file()).unwrap();
        events.iter().map(|event| writer.append(event)).find(|a| !matches!(a, Ok(Appended::Passed)))
    };
    assert!(matches!(again(&mut writer, OnKnown::Refuse, &last), Some(Err(Error::Known(g))) if g.gno == 4));
    assert!(again(&mut writer, OnKnown::Skip, &last).is_none());
    assert!(again(&mut writer, OnKnown::Compare, &last).is_none());
    // The source crashed, lost the transaction, and gave its GTID to another.
    let other = before.transaction(&[50, 61]);
    let diverged = again(&mut writer, OnKnown::Compare, &other);
    assert!(matches!(diverged, Some(Err(Error::Diverged { gtid, .. })) if gtid.gno == 4));
    assert!(again(&mut writer, OnKnown::Skip, &other).is_none());
    // As a source does that comes back after a crash: it goes on in another file.
    let previous = crashed.next_file();
    let other = crashed.transaction(&[50, 60]);
    writer.discard_unfinished().unwrap();
    writer.on_known(OnKnown::Compare);
    writer.source_file(&crashed.source_file()).unwrap();
    writer.append(&previous).unwrap();
    assert!(matches!(writer.append(&other[0]), Err(Error::Diverged { gtid, .. }) if gtid.gno == 4));
    // What is new goes on behind it.
    writer.on_known(OnKnown::Compare);
    writer.discard_unfinished().unwrap();
    writer.source_file(&source.source_file()).unwrap();
    let new = source.clone().transaction(&[5]);
    append_all(&mut writer, &new);
    writer.sync().unwrap();
    assert_eq!(read_after(&log, &first(&source, 4)), new);
}

#[test]
fn another_server_has_the_same_transaction_in_other_bytes_and_is_not_taken_for_diverged() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    begin_file(&mut writer, &mut source);
    append_some(&mut writer, &mut source, 3);
    let mut replica = source.clone();
    let last = source.transaction(&[50, 60]);
    append_all(&mut writer, &last);
    writer.sync().unwrap();
    // The relay goes on at a replica of its source: a file of that server, with the transaction in it once more.
    writer.discard_unfinished().unwrap();
    writer.on_known(OnKnown::Compare);
    replica.position += 1000;
    replica.file_number = 7;
    let previous = replica.next_file();
    let from = SourceFile { server_uuid: Source::new(2).uuid, ..replica.source_file() };
    writer.source_file(&from).unwrap();
    writer.append(&previous).unwrap();
    for event in replica.transaction(&[50, 60]) {
        assert_eq!(writer.append(&event).unwrap(), Appended::Passed);
    }
    append_some(&mut writer, &mut replica, 2);
    writer.sync().unwrap();
    assert_eq!(*log.gtids_durable(), replica.executed);
}

#[test]
fn another_server_begins_another_segment_and_coming_back_a_third() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let (mut one, mut two) = (Source::new(1), Source::new(2));
    begin_file(&mut writer, &mut one);
    append_some(&mut writer, &mut one, 2);
    begin_file(&mut writer, &mut two);
    append_some(&mut writer, &mut two, 2);
    writer.source_file(&one.source_file()).unwrap();
    append_some(&mut writer, &mut one, 2);
    writer.sync().unwrap();
    let uuids: Vec<_> = log.segments().iter().map(|s| s.server_uuid).collect();
    assert_eq!(uuids, [one.uuid, two.uuid, one.uuid]);
    let mut all = one.executed.clone();
    all.union_with(&two.executed);
    assert_eq!(*log.gtids_durable(), all);
    assert_eq!(read_after(&log, &GtidSet::new()).iter().filter(|e| e.kind().is_gtid()).count(), 6);
}

#[test]
fn a_file_of_the_same_name_that_goes_back_is_another_file() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    begin_file(&mut writer, &mut source);
    append_some(&mut writer, &mut source, 5);
    // A relay upstream, whose own source moved to another server with the same names.
    let mut moved = source.clone();
    moved.position = 300;
    writer.source_file(&moved.source_file()).unwrap();
    append_some(&mut writer, &mut moved, 1);
    writer.sync().unwrap();
    assert_eq!(log.segments().len(), 2);
    let items = read_all(&mut log.reader(&GtidSet::new()).unwrap());
    let told = items.iter().filter(|i| matches!(i, Item::Begins(b) if !b.continues)).count();
    assert_eq!(told, 2);
    assert_eq!(only_events(items).len(), 6 * 4);
}

#[test]
fn events_out_of_order_and_transactions_without_gtid_are_refused_and_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    let transaction = source.transaction(&[1]);
    assert!(matches!(writer.append(&transaction[0]), Err(Error::NoSourceFile)));
    begin_file(&mut writer, &mut source);
    assert!(matches!(writer.append(&transaction[1]), Err(Error::Sequence { .. })));
    let anonymous = transaction[0].with_header(|h| h.kind = EventKind::AnonymousGtid);
    assert!(matches!(writer.append(&anonymous), Err(Error::Anonymous { .. })));
    append_all(&mut writer, &source.transaction(&[1])[..1]);
    assert!(matches!(writer.source_file(&source.source_file()), Err(Error::Unfinished)));
}

#[test]
fn the_log_says_when_it_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options();
    options.max_size = 5000;
    let (_log, mut writer) = RelayLog::open(dir.path(), options).unwrap();
    let mut source = Source::new(1);
    begin_file(&mut writer, &mut source);
    assert!(!writer.is_full());
    append_all(&mut writer, &source.transaction(&[6000]));
    assert!(writer.is_full(), "the buffer counts");
    writer.sync().unwrap();
    assert!(writer.is_full());
}

#[test]
fn positions_beyond_four_gib_are_told_by_heartbeats_and_go_on_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    let previous = source.next_file();
    writer.source_file(&source.source_file()).unwrap();
    writer.append(&previous).unwrap();
    // The source leaves out 5 GiB, and says so.
    source.position = 5 << 30;
    let mut body = vec![1, 13];
    body.extend(source.file().bytes());
    body.extend([2, 9, 254]);
    body.extend(source.position.to_le_bytes());
    body.push(0);
    let header = Header {
        timestamp: 0,
        kind: EventKind::HeartbeatV2,
        server_id: 1,
        log_pos: 0,
        flags: FLAG_ARTIFICIAL,
    };
    assert_eq!(writer.append(&Event::build(&header, &body)).unwrap(), Appended::Passed);
    let begin = source.position;
    append_some(&mut writer, &mut source, 2);
    writer.discard_unfinished().unwrap();
    writer.source_file(&source.source_file()).unwrap();
    let last = source.transaction(&[7]);
    append_all(&mut writer, &last);
    assert_eq!(writer.sync().unwrap().source.unwrap().position, source.position);
    assert_eq!(log.segments().len(), 2, "a segment's head tells what the events behind the gap can't");
    assert_eq!(only_events(read_all(&mut log.reader_at(&source.file(), begin).unwrap())).len(), 12);
    let last_begin = source.position - last.iter().map(|event| u64::from(event.size())).sum::<u64>();
    assert_eq!(only_events(read_all(&mut log.reader_at(&source.file(), last_begin).unwrap())), last);
}
