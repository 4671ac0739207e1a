//! Making durable beside appending: in any order, late, or not at all.

#![allow(clippy::unwrap_used, reason = "a test that fails here fails")]

mod common;

use std::sync::mpsc;

use binlog::GtidSet;
use common::{Source, append_some, begin_file, first, open, read_after};

#[test]
fn what_is_prepared_is_durable_and_read_only_when_it_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    begin_file(&mut writer, &mut source);
    append_some(&mut writer, &mut source, 3);
    let point = writer.prepare_sync().unwrap().unwrap();
    assert!(log.gtids_durable().is_empty() && read_after(&log, &GtidSet::new()).is_empty());
    append_some(&mut writer, &mut source, 2);
    assert_eq!(*point.complete().unwrap().gtids, first(&source, 3), "not what came after it was prepared");
    assert_eq!(read_after(&log, &GtidSet::new()).len(), 3 * 4);
    assert_eq!(*writer.sync().unwrap().gtids, first(&source, 5));
    assert!(writer.prepare_sync().unwrap().is_none(), "there is nothing more");
}

#[test]
fn a_point_that_a_later_one_has_overtaken_moves_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    begin_file(&mut writer, &mut source);
    append_some(&mut writer, &mut source, 1);
    let early = writer.prepare_sync().unwrap().unwrap();
    append_some(&mut writer, &mut source, 1);
    let later = writer.prepare_sync().unwrap().unwrap();
    let end = later.complete().unwrap();
    assert_eq!(early.complete().unwrap().position, end.position);
    assert_eq!(*log.gtids_durable(), first(&source, 2));

    // One that is still on its way when the next segment begins.
    append_some(&mut writer, &mut source, 1);
    let left = writer.prepare_sync().unwrap().unwrap();
    let rotate = source.rotate();
    writer.append(&rotate).unwrap();
    begin_file(&mut writer, &mut source);
    append_some(&mut writer, &mut source, 1);
    let end = writer.sync().unwrap();
    assert_eq!(end.position.segment, 2);
    assert_eq!(left.complete().unwrap().position, end.position);
    assert_eq!(*log.gtids_durable(), first(&source, 4));
    let segments = log.segments();
    assert_eq!(segments.iter().map(|s| s.gtids.count()).collect::<Vec<_>>(), [3, 1]);
    writer.close().unwrap();
    drop(log);
    let (log, _writer) = open(dir.path());
    assert_eq!(read_after(&log, &GtidSet::new()).iter().filter(|e| e.kind().is_gtid()).count(), 4);
}

#[test]
fn a_point_that_is_dropped_is_covered_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    begin_file(&mut writer, &mut source);
    append_some(&mut writer, &mut source, 2);
    drop(writer.prepare_sync().unwrap());
    assert!(log.gtids_durable().is_empty());
    assert_eq!(*writer.sync().unwrap().gtids, first(&source, 2));
}

#[test]
fn a_reader_beside_two_that_flush_sees_everything_once_and_in_order() {
    const TRANSACTIONS: u64 = 3000;
    let dir = tempfile::tempdir().unwrap();
    let mut options = common::options();
    options.segment_size = 50_000;
    let (log, mut writer) = storage::RelayLog::open(dir.path(), options).unwrap();
    let mut source = Source::new(1);
    begin_file(&mut writer, &mut source);
    let (beside, points) = mpsc::channel::<storage::SyncPoint>();
    let flusher =
        std::thread::spawn(move || points.into_iter().for_each(|point| _ = point.complete().unwrap()));
    let reading = log.clone();
    let reader = std::thread::spawn(move || {
        let mut reader = reading.reader(&GtidSet::new()).unwrap();
        let mut next = 1;
        while next <= TRANSACTIONS {
            for event in common::only_events(common::read_all(&mut reader)) {
                if event.kind().is_gtid() {
                    let gtid = binlog::event::GtidEvent::parse(&event).unwrap().gtid.unwrap();
                    assert_eq!(gtid.gno, next);
                    next += 1;
                }
            }
        }
    });
    for n in 0..TRANSACTIONS {
        append_some(&mut writer, &mut source, 1);
        match n % 7 {
            0 | 3 => beside.send(writer.prepare_sync().unwrap().unwrap()).unwrap(),
            5 => _ = writer.sync().unwrap(),
            _ => {}
        }
    }
    writer.sync().unwrap();
    drop(beside);
    flusher.join().unwrap();
    reader.join().unwrap();
    assert_eq!(*log.gtids_durable(), first(&source, TRANSACTIONS));
}
