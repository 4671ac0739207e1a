//! The writer when the disk fails.

use std::fs::File;

use binlog::event::{Header, previous_gtids};
use binlog::{Event, EventKind, FormatDescription, GtidSet};
use uuid::Uuid;

use super::{LogWriter, SourceFile};
use crate::{Error, Options, RelayLog};

fn golden_events() -> Vec<Event> {
    let mut rest =
        bytes::Bytes::from_static(include_bytes!("../../binlog/golden/tagged-and-ddl.binlog")).slice(4..);
    let mut events = Vec::new();
    while !rest.is_empty() {
        let size = u32::from_le_bytes(rest[9..13].try_into().unwrap());
        events.push(Event::new(rest.split_to(size as usize)).unwrap());
    }
    events
}

/// A log with the first transaction of a server's file synced, and the events that follow.
fn begun(dir: &std::path::Path) -> (RelayLog, LogWriter, Vec<Event>) {
    let (log, mut writer) = RelayLog::open(dir, Options::new("shop", "eu")).unwrap();
    let mut events = golden_events();
    let format = FormatDescription::parse(&events[0]).unwrap();
    let server_uuid = Uuid::from_bytes([1; 16]);
    writer
        .source_file(&SourceFile { server_uuid, file: "binlog.000001".into(), position: 4, format })
        .unwrap();
    let rest = events.split_off(2);
    let mut taken = 0;
    while writer.received().is_empty() {
        writer.append(&rest[taken]).unwrap();
        taken += 1;
    }
    writer.sync().unwrap();
    (log, writer, rest[taken..].to_vec())
}

fn device(path: &str) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

#[test]
fn a_failed_flush_poisons_the_log_and_moves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer, rest) = begun(dir.path());
    let before = log.durable_end().position;
    for event in &rest {
        writer.append(event).unwrap();
    }
    // It takes every write and can't be flushed.
    writer.active.as_mut().unwrap().replace_file(device("/dev/null"));
    let error = writer.sync().unwrap_err();
    assert!(matches!(error, Error::SyncFailed { .. }), "{error}");
    assert_eq!(log.durable_end().position, before);
    assert!(matches!(writer.append(&rest[0]), Err(Error::Poisoned)));
    assert!(matches!(writer.sync(), Err(Error::Poisoned)));
    assert_eq!(log.durable_end().position, before);
    drop((log, writer));
    let (log, _writer) = RelayLog::open(dir.path(), Options::new("shop", "eu")).unwrap();
    assert_eq!(log.durable_end().position, before, "what was not on the disk is not there");
}

#[test]
fn a_full_disk_costs_waiting_and_no_data() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer, rest) = begun(dir.path());
    let before = log.durable_end().position;
    let real = writer.active.as_mut().unwrap().replace_file(device("/dev/full"));
    for event in &rest {
        writer.append(event).unwrap();
    }
    for _ in 0..3 {
        assert!(matches!(writer.sync(), Err(Error::NoSpace { .. })));
        assert_eq!(log.durable_end().position, before);
    }
    let huge =
        Header { timestamp: 0, kind: EventKind::Ignorable, server_id: 1, log_pos: 1 << 30, flags: 0x80 };
    let huge = Event::build(&huge, &vec![0; 2 << 20]);
    let end = writer.active.as_ref().unwrap().end();
    assert!(matches!(writer.append(&huge), Err(Error::NoSpace { .. })));
    assert_eq!(writer.active.as_ref().unwrap().end(), end, "what was refused was not taken");
    writer.active.as_mut().unwrap().replace_file(real);
    writer.append(&huge).unwrap();
    writer.sync().unwrap();
    let mut reader = log.reader(&GtidSet::new()).unwrap();
    let batch = reader.next_batch(8 << 20).unwrap();
    let mut events = batch.items.into_iter().filter_map(|item| match item {
        crate::Item::Event(event) => Some(event.event),
        crate::Item::Begins(_) => None,
    });
    assert_eq!(events.next_back(), Some(huge));
    assert!(rest.iter().rev().all(|event| events.next_back().as_ref() == Some(event)));
}

#[test]
fn a_segment_that_can_not_be_made_is_made_at_the_next_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer, rest) = begun(dir.path());
    let format = FormatDescription::parse(&golden_events()[0]).unwrap();
    let server_uuid = Uuid::from_bytes([2; 16]);
    for event in &rest {
        writer.append(event).unwrap();
    }
    writer
        .source_file(&SourceFile { server_uuid, file: "other.000001".into(), position: 4, format })
        .unwrap();
    let previous = previous_gtids(1, 0, 200, writer.received());
    // Something is in the way of its file.
    let in_the_way = dir.path().join("segment-00000002.binlog");
    std::fs::create_dir(&in_the_way).unwrap();
    assert!(matches!(writer.append(&previous), Err(Error::Io { .. })));
    assert_eq!(log.segments().len(), 1);
    assert!(!dir.path().join("segment-00000002.json").exists());
    std::fs::remove_dir(&in_the_way).unwrap();
    writer.append(&previous).unwrap();
    writer.sync().unwrap();
    assert_eq!(log.segments().len(), 2);
    assert_eq!(log.durable_end().source.unwrap().position, 200);
}
