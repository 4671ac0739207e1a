//! A log is looked at while it is open, and left as it is.

#![allow(clippy::unwrap_used, reason = "a test that fails here fails")]

mod common;

use std::fs;
use std::time::{Duration, Instant};

use binlog::{Event, GtidSet};
use common::{Source, append_all, append_some, begin_file, first, open, read_after, segment_path};
use storage::{Acknowledged, Error, Item, LogIdentity, LogView, RelayLog};

/// The events a view gives.
fn events(view: &LogView) -> Vec<Event> {
    let mut reader = view.read(|_| true);
    let mut events = Vec::new();
    while let Some(item) = reader.next_item().unwrap() {
        if let Item::Event(event) = item {
            events.push(event.event);
        }
    }
    events
}

fn assert_same(view: &LogView, log: &RelayLog) {
    assert_eq!(format!("{:#?}", view.segments()), format!("{:#?}", log.segments()));
    assert_eq!((view.durable(), view.gtids_durable()), (log.durable_end().position, &*log.gtids_durable()));
    assert_eq!(*view.gtids_purged(), *log.gtids_purged());
    assert_eq!(events(view), read_after(log, &log.gtids_purged()));
}

#[test]
fn a_view_beside_the_writer_shows_what_is_durable_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(LogIdentity::read(dir.path()).unwrap(), None);
    let (log, mut writer) = open(dir.path());
    let identity = LogIdentity::read(dir.path()).unwrap().unwrap();
    assert_eq!((identity.sync.as_str(), identity.server_uuid), ("shop", log.server_uuid().to_string()));
    assert!(LogView::new(dir.path()).unwrap().segments().is_empty());
    let mut source = Source::new(1);
    for file in 0..3 {
        begin_file(&mut writer, &mut source);
        append_some(&mut writer, &mut source, 5 + 300 * file);
        append_all(&mut writer, &source.transaction(&[300_000]));
        let rotate = source.rotate();
        append_all(&mut writer, &[rotate]);
    }
    writer.sync().unwrap();
    assert_same(&LogView::new(dir.path()).unwrap(), &log);
    append_some(&mut writer, &mut source, 5);
    append_all(&mut writer, &source.transaction(&[40])[..2]);
    assert_same(&LogView::new(dir.path()).unwrap(), &log);
    drop((writer, log));
    // What was not flushed is not cut off by looking at it.
    let path = segment_path(dir.path(), 3);
    let length = fs::metadata(&path).unwrap().len();
    let view = LogView::new(dir.path()).unwrap();
    assert_eq!(*view.gtids_durable(), first(&source, 918));
    assert_eq!(fs::metadata(&path).unwrap().len(), length);
    assert!(view.durable().offset <= length);
}

#[test]
fn a_view_reads_the_segments_that_are_wanted_and_misses_those_that_are_purged() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    for _ in 0..3 {
        begin_file(&mut writer, &mut source);
        append_some(&mut writer, &mut source, 4);
    }
    writer.close().unwrap();
    let view = LogView::new(dir.path()).unwrap();
    let mut reader = view.read(|segment| segment.segment == 2);
    let Some(Item::Begins(begins)) = reader.next_item().unwrap() else { panic!("no beginning") };
    assert_eq!((begins.head.segment, &*begins.head.file), (2, "binlog.000002"));
    fs::remove_file(segment_path(dir.path(), 1)).unwrap();
    let missed = view.read(|_| true).next_item();
    assert!(matches!(missed, Err(Error::PurgedUnread { missing }) if missing == first(&source, 4)));
    fs::remove_file(segment_path(dir.path(), 2)).unwrap();
    fs::write(segment_path(dir.path(), 1), b"").unwrap();
    assert!(LogView::new(dir.path()).is_err(), "a hole is no purge");
}

#[test]
fn acknowledgements_are_seen_while_the_log_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    for _ in 0..3 {
        begin_file(&mut writer, &mut source);
        append_some(&mut writer, &mut source, 4);
    }
    writer.sync().unwrap();
    log.register("shop/eu/us");
    log.attached("shop/eu/us", &GtidSet::new());
    log.acknowledge("shop/eu/us", &Acknowledged::Gtids(first(&source, 6)));
    let deadline = Instant::now() + Duration::from_secs(20);
    let view = LogView::new(dir.path()).unwrap();
    // It stands in the index's file when sled has flushed it.
    loop {
        let scratch = tempfile::tempdir().unwrap();
        let told = view.downstreams(scratch.path()).unwrap();
        if told.first().is_some_and(|told| told.name == "shop/eu/us" && told.needs == Some(2)) {
            return;
        }
        assert!(Instant::now() < deadline, "{told:?}");
    }
}
