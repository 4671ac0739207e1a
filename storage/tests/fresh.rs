//! What the writer keeps of its last events is what a reader would give.

#![allow(clippy::unwrap_used, reason = "a test that fails here fails")]

mod common;

use binlog::GtidSet;
use common::{Source, append_all, append_some, begin_file, options, read_all};
use storage::{Item, LogPosition, LogWriter, RelayLog};

/// Everything that matters of an item.
fn shown(items: &[Item]) -> Vec<String> {
    let one = |item: &Item| match item {
        Item::Begins(b) => {
            format!("begins {} {} at {} {}", b.head.segment, b.head.file, b.position, b.continues)
        }
        Item::Event(e) => format!("{:?} at {} to {} {}", e.event, e.at, e.source_end, e.is_whole),
    };
    items.iter().map(one).collect()
}

/// Takes what is fresh, and sees that it goes on where it ended before.
fn take(writer: &mut LogWriter, at: &mut LogPosition, into: &mut Vec<Item>) {
    writer.sync().unwrap();
    if let Some(fresh) = writer.take_fresh() {
        assert_eq!(fresh.begin, *at);
        *at = fresh.end;
        into.extend(fresh.items);
    }
    assert!(writer.take_fresh().is_none());
}

#[test]
fn fresh_items_are_those_of_a_reader_over_files_segments_and_dropped_transactions() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options();
    options.segment_size = 2000;
    let (log, mut writer) = RelayLog::open(dir.path(), options.clone()).unwrap();
    let mut source = Source::new(1);
    let (mut at, mut items) = (LogPosition::default(), Vec::new());
    for _ in 0..3 {
        begin_file(&mut writer, &mut source);
        take(&mut writer, &mut at, &mut items);
        for _ in 0..4 {
            append_some(&mut writer, &mut source, 3);
            let unfinished = source.clone().transaction(&[100, 100]);
            append_all(&mut writer, &unfinished[..2]);
            take(&mut writer, &mut at, &mut items);
            writer.discard_unfinished().unwrap();
            writer.source_file(&source.source_file()).unwrap();
        }
        append_all(&mut writer, &[source.rotate()]);
    }
    take(&mut writer, &mut at, &mut items);
    let read = read_all(&mut log.reader(&GtidSet::new()).unwrap());
    assert_eq!(shown(&items), shown(&read));
    assert_eq!(at, log.durable_end().position);
    writer.close().unwrap();
    drop((log, read));
    // Opened again, it goes on from the durable end.
    let (_log, mut writer) = RelayLog::open(dir.path(), options).unwrap();
    let mut items = Vec::new();
    begin_file(&mut writer, &mut source);
    append_some(&mut writer, &mut source, 1);
    take(&mut writer, &mut at, &mut items);
    assert_eq!(items.len(), 5);
}

#[test]
fn a_reader_goes_on_behind_what_was_read_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = common::open(dir.path());
    let mut source = Source::new(1);
    begin_file(&mut writer, &mut source);
    append_some(&mut writer, &mut source, 3);
    writer.sync().unwrap();
    writer.take_fresh();
    let mut reader = log.reader(&GtidSet::new()).unwrap();
    read_all(&mut reader);
    // In the same segment, and in another one.
    for _ in 0..2 {
        append_some(&mut writer, &mut source, 5);
        writer.sync().unwrap();
        let fresh = writer.take_fresh().unwrap();
        assert_eq!(fresh.begin, reader.end());
        reader.advance_to(fresh.end, source.position).unwrap();
        append_some(&mut writer, &mut source, 2);
        writer.sync().unwrap();
        writer.take_fresh();
        let items = read_all(&mut reader);
        assert_eq!(items.len(), 2 * 4, "{items:?}");
        assert_eq!(reader.source_position().unwrap().position, source.position);
        let rotate = source.rotate();
        append_all(&mut writer, &[rotate]);
        writer.sync().unwrap();
        let end = writer.take_fresh().unwrap().end;
        reader.advance_to(end, source.position).unwrap();
        begin_file(&mut writer, &mut source);
        writer.sync().unwrap();
        reader.advance_to(writer.take_fresh().unwrap().end, source.position).unwrap();
    }
}
