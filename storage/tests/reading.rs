//! Readers begin where they are asked to, follow, and hold nothing they should not.

#![allow(clippy::unwrap_used, reason = "a test that fails here fails")]

mod common;

use std::fs;
use std::time::{Duration, SystemTime};

use binlog::{Event, Gtid, GtidSet};
use common::{
    Source, append_all, append_some, begin_file, first, only_events, open, options, read_after, read_all,
    segment_path,
};
use storage::{Acknowledged, Error, Item, LogEvent, LogWriter, RelayLog, SeekError, SourcePosition};

fn gnos(events: &[Event]) -> Vec<u64> {
    let gtid = |event: &Event| binlog::event::GtidEvent::parse(event).unwrap().gtid.unwrap().gno;
    events.iter().filter(|event| event.kind().is_gtid()).map(gtid).collect()
}

fn log_events(items: Vec<Item>) -> Vec<LogEvent> {
    let event = |item| match item {
        Item::Event(event) => Some(event),
        Item::Begins(_) => None,
    };
    items.into_iter().filter_map(event).collect()
}

/// A log of three files with ten transactions each.
fn three_files(writer: &mut LogWriter, source: &mut Source) {
    for _ in 0..3 {
        begin_file(writer, source);
        append_some(writer, source, 10);
        let rotate = source.rotate();
        append_all(writer, &[rotate]);
    }
    writer.sync().unwrap();
}

#[test]
fn a_reader_gets_exactly_what_it_lacks_also_with_holes() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    three_files(&mut writer, &mut source);
    assert_eq!(gnos(&read_after(&log, &first(&source, 13))), (14..=30).collect::<Vec<_>>());
    let holes: GtidSet = [1, 2, 3, 5, 6, 12, 30].map(|n| Gtid::new(source.uuid, n)).into_iter().collect();
    let lacking: Vec<_> = (1..=30).filter(|n| !holes.contains(&Gtid::new(source.uuid, *n))).collect();
    assert_eq!(gnos(&read_after(&log, &holes)), lacking);
    let mut foreign = first(&source, 29);
    foreign.insert(&Gtid::new(Source::new(9).uuid, 77));
    assert_eq!(gnos(&read_after(&log, &foreign)), [30], "what the log knows nothing of does not matter");
}

#[test]
fn a_reader_that_is_ahead_is_told_so_and_can_wait() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    three_files(&mut writer, &mut source);
    let ahead = first(&source, 32);
    let Err(SeekError::Ahead { beyond }) = log.reader(&ahead) else { panic!("it is ahead") };
    assert_eq!(beyond.to_string(), format!("{}:31-32", source.uuid));
    begin_file(&mut writer, &mut source);
    append_some(&mut writer, &mut source, 3);
    assert!(log.reader(&ahead).is_err(), "not durable yet");
    writer.sync().unwrap();
    assert_eq!(gnos(&read_after(&log, &ahead)), [33]);
    let far = first(&source, 40);
    assert_eq!(read_all(&mut log.reader_even_if_ahead(&far).unwrap()).len(), 1);
}

#[test]
fn large_transactions_come_in_pieces_and_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    begin_file(&mut writer, &mut source);
    let large = source.transaction(&[400_000; 12]);
    append_all(&mut writer, &large);
    writer.sync().unwrap();
    let mut reader = log.reader(&GtidSet::new()).unwrap();
    let mut events = Vec::new();
    loop {
        let batch = reader.next_batch(1_000_000).unwrap();
        if batch.items.is_empty() {
            break;
        }
        assert!(batch.bytes < 1_500_000);
        events.extend(log_events(batch.items));
    }
    assert!(events[..events.len() - 1].iter().all(|event| !event.is_whole));
    assert!(events.last().unwrap().is_whole);
    let events: Vec<_> = events.into_iter().map(|event| event.event).collect();
    assert_eq!(events, large);
    // A batch smaller than an event still gives that event.
    let mut reader = log.reader(&GtidSet::new()).unwrap();
    let one = reader.next_batch(1).unwrap();
    assert_eq!(only_events(one.items), large[..1]);
}

#[tokio::test]
async fn a_follower_waits_for_the_durable_end_and_reads_on() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    // It begins while there is nothing yet.
    let mut reader = log.reader(&GtidSet::new()).unwrap();
    assert!(reader.next_batch(1 << 20).unwrap().items.is_empty());
    let writing = std::thread::spawn(move || {
        for file in 0..3 {
            begin_file(&mut writer, &mut source);
            for n in 0..50 {
                append_some(&mut writer, &mut source, 1);
                if (n + file) % 7 == 0 {
                    writer.sync().unwrap();
                }
            }
        }
        writer.sync().unwrap();
        writer
    });
    let mut durable = log.durable();
    let mut events = Vec::new();
    while gnos(&events).len() < 150 {
        let batch = reader.next_batch(10_000).unwrap();
        if batch.items.is_empty() {
            let end = reader.end();
            let waiting = durable.wait_for(|durable| durable.position > end);
            tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap();
        }
        events.extend(only_events(batch.items));
    }
    assert_eq!(gnos(&events), (1..=150).collect::<Vec<_>>());
    assert_eq!(reader.has(), &*log.gtids_durable());
    writing.join().unwrap();
}

#[test]
fn every_place_of_the_source_file_can_be_begun_at_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options();
    options.segment_size = 1500;
    let (log, mut writer) = RelayLog::open(dir.path(), options).unwrap();
    let mut source = Source::new(1);
    let mut files = Vec::new();
    for _ in 0..2 {
        begin_file(&mut writer, &mut source);
        let begin = source.position;
        let mut events = Vec::new();
        for n in 0..12 {
            events.extend(source.transaction(&[n, 3]));
        }
        events.push(source.rotate());
        append_all(&mut writer, &events);
        files.push((source.file(), begin, events));
    }
    writer.sync().unwrap();
    let all: Vec<_> = files.iter().flat_map(|file| file.2.clone()).collect();
    let mut done = 0;
    for (file, begin, events) in &files {
        let from_begin = only_events(read_all(&mut log.reader_at(file, 4).unwrap()));
        assert_eq!(from_begin, all[done..]);
        let mut position = *begin;
        for event in events {
            let read = only_events(read_all(&mut log.reader_at(file, position).unwrap()));
            assert_eq!(read, all[done..], "{file} {position}");
            let inside = log.reader_at(file, position + 1).unwrap_err();
            assert!(matches!(inside, SeekError::NotAnEvent { .. }), "{inside}");
            position += u64::from(event.size());
            done += 1;
        }
        let beyond = log.reader_at(file, position + 1).unwrap_err();
        assert!(matches!(beyond, SeekError::UnknownPosition { .. }), "{beyond}");
    }
    assert!(log.reader_at("binlog.000009", 4).is_err());
}

#[test]
fn a_place_before_the_logs_start_is_not_made_up() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    let previous = source.next_file();
    let begin = source.position;
    source.transaction(&[10]);
    writer.set_start(&source.executed).unwrap();
    writer.source_file(&source.source_file()).unwrap();
    writer.append(&previous).unwrap();
    let middle = source.position;
    let events = source.transaction(&[20]);
    append_all(&mut writer, &events);
    writer.sync().unwrap();
    for position in [4, begin] {
        let error = log.reader_at(&source.file(), position).unwrap_err();
        assert!(matches!(error, SeekError::NotAnEvent { .. }), "{position}: {error}");
    }
    assert_eq!(only_events(read_all(&mut log.reader_at(&source.file(), middle).unwrap())), events);
}

#[test]
fn events_tell_where_they_end_in_the_source_and_segments_where_they_begin() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    three_files(&mut writer, &mut source);
    let mut place = (String::new(), 0);
    for item in read_all(&mut log.reader(&GtidSet::new()).unwrap()) {
        match item {
            Item::Begins(begin) => place = (begin.head.file.to_string(), begin.position),
            Item::Event(event) => {
                assert_eq!(event.source_end, place.1 + u64::from(event.event.size()));
                assert_eq!(event.source_end, u64::from(event.event.log_pos()));
                place.1 = event.source_end;
            }
        }
    }
    assert_eq!(place, (source.file(), source.position));
}

#[test]
fn a_segment_is_purged_when_it_is_old_and_every_link_has_acknowledged_it() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    three_files(&mut writer, &mut source);
    let files: Vec<_> = log.segments().iter().map(|s| (s.file.to_string(), s.source_end)).collect();
    let now = SystemTime::now();
    let later = now + Duration::from_secs(100);
    let retain = Duration::from_secs(60);
    log.register("eu-us");
    log.register("eu-ap");
    let purged = |now| log.purge(now, retain).unwrap().segments;
    assert_eq!(purged(later), 0, "nobody has acknowledged anything");
    let at = |n: usize, position| {
        Acknowledged::Source(SourcePosition {
            server_uuid: source.uuid,
            file: files[n].0.as_str().into(),
            position,
        })
    };
    log.acknowledge("eu-us", &at(1, files[1].1));
    log.acknowledge("a-stranger", &at(0, 200));
    assert_eq!(purged(later), 0, "the other link has not");
    log.acknowledge("eu-ap", &at(0, files[0].1 - 1));
    assert_eq!(purged(later), 0, "nor all of it");
    log.acknowledge("eu-ap", &Acknowledged::Gtids(first(&source, 15)));
    assert_eq!(purged(now), 0, "it is not old");
    assert_eq!(purged(later), 1);
    assert_eq!(*log.gtids_purged(), first(&source, 10));
    assert!(!segment_path(dir.path(), 1).exists());
    assert!(!dir.path().join("segment-00000001.json").exists());
    let Err(SeekError::Purged { missing }) = log.reader(&first(&source, 8)) else { panic!("purged") };
    assert_eq!(missing.to_string(), format!("{}:9-10", source.uuid));
    assert_eq!(gnos(&read_after(&log, &first(&source, 10))).len(), 20);
    // What was acknowledged is not taken back, but by attaching with less.
    log.acknowledge("eu-ap", &Acknowledged::Gtids(source.executed.clone()));
    log.acknowledge("eu-ap", &Acknowledged::Gtids(first(&source, 12)));
    log.attached("eu-us", &first(&source, 12));
    assert_eq!(purged(later), 0);
    log.forget("eu-us");
    assert_eq!(purged(later), 1);
    log.acknowledge("eu-ap", &at(2, files[2].1));
    assert_eq!(purged(later), 0, "the newest segment stays");
    assert_eq!(log.size_on_disk(), fs::metadata(segment_path(dir.path(), 3)).unwrap().len());
    // And so it is after reopening.
    writer.close().unwrap();
    drop(log);
    let (log, _writer) = open(dir.path());
    assert_eq!(*log.gtids_purged(), first(&source, 20));
    assert_eq!(*log.gtids_durable(), source.executed);
}

#[test]
fn acknowledgements_survive_and_without_them_nothing_is_purged_until_every_link_came_back() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    three_files(&mut writer, &mut source);
    log.register("eu-us");
    log.acknowledge("eu-us", &Acknowledged::Gtids(first(&source, 20)));
    writer.close().unwrap();
    drop(log);
    let later = SystemTime::now() + Duration::from_secs(9);
    let (log, writer) = open(dir.path());
    log.register("eu-us");
    assert_eq!(log.downstreams()[0].needs, Some(3));
    drop((log, writer));
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let (log, _writer) = open(dir.path());
    log.register("eu-us");
    assert_eq!(log.purge(later, Duration::ZERO).unwrap().segments, 0);
    log.attached("eu-us", &first(&source, 20));
    assert_eq!(log.purge(later, Duration::ZERO).unwrap().segments, 2);
}

#[test]
fn a_reader_keeps_the_segment_it_reads_and_is_told_when_the_next_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    three_files(&mut writer, &mut source);
    let mut reader = log.reader(&first(&source, 2)).unwrap();
    assert!(!reader.next_batch(100).unwrap().items.is_empty());
    let later = SystemTime::now() + Duration::from_secs(9);
    assert_eq!(log.purge(later, Duration::ZERO).unwrap().segments, 2);
    let mut events = Vec::new();
    let error = loop {
        match reader.next_batch(100) {
            Ok(batch) => events.extend(only_events(batch.items)),
            Err(e) => break e,
        }
    };
    assert_eq!(gnos(&events).last(), Some(&10));
    let Error::PurgedUnread { missing } = &error else { panic!("{error}") };
    assert_eq!(missing.to_string(), format!("{}:11-20", source.uuid));
}

#[test]
fn a_purge_that_was_interrupted_leaves_a_log_that_opens() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    three_files(&mut writer, &mut source);
    writer.close().unwrap();
    drop(log);
    // Between the two files of a segment.
    fs::remove_file(segment_path(dir.path(), 1)).unwrap();
    let (log, _writer) = open(dir.path());
    assert_eq!(*log.gtids_purged(), first(&source, 10));
    assert!(!dir.path().join("segment-00000001.json").exists());
    assert_eq!(gnos(&read_after(&log, &first(&source, 10))).len(), 20);
}
