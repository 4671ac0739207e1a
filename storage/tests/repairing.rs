//! A damaged log is told where, and mended from its source.

#![allow(clippy::unwrap_used, reason = "a test that fails here fails")]

mod common;

use std::fs;
use std::path::Path;

use binlog::{Event, GtidSet};
use common::{Source, append_all, first, open, options, read_after, segment_path};
use storage::{Acknowledged, Appended, Error, LogPosition, check, repair};

/// A closed log of three files with five transactions each, and all that the source sent.
fn closed_log(dir: &Path) -> (Vec<(Source, Event)>, Vec<Event>) {
    let (_log, mut writer) = open(dir);
    let mut source = Source::new(1);
    let (mut files, mut all) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let previous = source.next_file();
        writer.source_file(&source.source_file()).unwrap();
        writer.append(&previous).unwrap();
        files.push((source.clone(), previous));
        for _ in 0..5 {
            let events = source.transaction(&[30, 10]);
            append_all(&mut writer, &events);
            all.extend(events);
        }
    }
    writer.close().unwrap();
    (files, all)
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_sound_log_is_found_sound_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = closed_log(dir.path());
    let mut watched = 0;
    let checks = check(dir.path(), &mut |bytes| watched += bytes).unwrap();
    assert_eq!(checks.len(), 3);
    let bytes = |n| fs::metadata(segment_path(dir.path(), n)).unwrap().len();
    assert_eq!(watched, (1..=3).map(bytes).sum::<u64>(), "all is told of that is read");
    assert!(checks.iter().all(|check| check.damage.is_none() && check.unfinished == 0));
    let mut all = GtidSet::new();
    checks.iter().for_each(|check| all.union_with(&check.gtids));
    assert_eq!(all, first(&files[0].0, 15));
    assert_eq!(repair(dir.path(), &options(), &mut |_| {}).unwrap().end, None);
}

#[test]
fn what_follows_the_damage_is_put_aside_and_fetched_again() {
    for (segment, kept) in [(1, 2), (2, 7), (3, 12)] {
        let dir = tempfile::tempdir().unwrap();
        let (files, all) = closed_log(dir.path());
        let sound = check(dir.path(), &mut |_| {}).unwrap();
        let path = segment_path(dir.path(), segment);
        let length = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
        // In the third of its five transactions.
        let transaction: usize = all[..5].iter().map(|event| event.bytes().len()).sum();
        flip(&path, length - 2 * transaction - 30);
        let checks = check(dir.path(), &mut |_| {}).unwrap();
        let damaged: Vec<_> = checks.iter().filter(|c| c.damage.is_some()).map(|c| c.segment).collect();
        assert_eq!(damaged, [segment]);
        let repaired = repair(dir.path(), &options(), &mut |_| {}).unwrap();
        let whole_end = sound[usize::try_from(segment).unwrap() - 1].whole_end - 3 * transaction as u64;
        assert_eq!(repaired.end, Some(LogPosition { segment, offset: whole_end }));
        assert_eq!(repaired.segments, (segment..=3).collect::<Vec<_>>());
        assert_eq!(fs::read_dir(repaired.aside.unwrap()).unwrap().count(), repaired.segments.len() * 2);
        let (log, mut writer) = open(dir.path());
        assert_eq!(*log.gtids_durable(), first(&files[0].0, kept));
        // The source sends from the file of the first missing one.
        let mut source = files[usize::try_from(segment).unwrap() - 1].0.clone();
        writer.source_file(&source.source_file()).unwrap();
        assert_eq!(writer.append(&files[usize::try_from(segment).unwrap() - 1].1).unwrap(), Appended::Passed);
        while source.next_gno <= kept {
            source.transaction(&[30, 10]);
        }
        let position = usize::try_from(kept).unwrap() * 5;
        let in_file = usize::try_from(segment).unwrap() * 25;
        append_all(&mut writer, &all[position..in_file]);
        writer.sync().unwrap();
        assert_eq!(read_after(&log, &GtidSet::new()), all[..in_file]);
    }
}

#[test]
fn a_lost_segment_and_a_spoilt_head_end_the_log_before_them() {
    let spoil: [fn(&Path); 3] = [
        |dir| fs::remove_file(segment_path(dir, 2)).unwrap(),
        |dir| flip(&segment_path(dir, 2), 60),
        |dir| fs::remove_file(dir.join("segment-00000002.json")).unwrap(),
    ];
    for spoil in spoil {
        let dir = tempfile::tempdir().unwrap();
        let (files, all) = closed_log(dir.path());
        spoil(dir.path());
        assert!(check(dir.path(), &mut |_| {}).unwrap()[1].damage.is_some());
        let end = repair(dir.path(), &options(), &mut |_| {}).unwrap().end.unwrap();
        assert_eq!(end.segment, 1);
        let (log, _writer) = open(dir.path());
        assert_eq!(*log.gtids_durable(), first(&files[0].0, 5));
        assert_eq!(read_after(&log, &GtidSet::new()), all[..25]);
    }
}

#[test]
fn a_log_without_a_sound_beginning_is_not_repaired() {
    let dir = tempfile::tempdir().unwrap();
    closed_log(dir.path());
    flip(&segment_path(dir.path(), 1), 60);
    assert!(matches!(repair(dir.path(), &options(), &mut |_| {}), Err(Error::File { .. })));
    assert!(segment_path(dir.path(), 1).exists());
}

#[test]
fn what_was_acknowledged_of_segments_put_aside_does_not_free_those_made_in_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let (files, all) = closed_log(dir.path());
    let (log, writer) = open(dir.path());
    log.register("link");
    log.acknowledge("link", &Acknowledged::Gtids(first(&files[0].0, 10)));
    assert_eq!(log.downstreams()[0].needs, Some(3));
    writer.close().unwrap();
    drop(log);
    flip(&segment_path(dir.path(), 1), 500);
    assert_eq!(repair(dir.path(), &options(), &mut |_| {}).unwrap().end.unwrap().segment, 1);
    // This time the source's first file is larger: the second segment holds what was in the third.
    let (log, mut writer) = open(dir.path());
    log.register("link");
    let mut source = files[0].0.clone();
    source.position = 100_000;
    let have = usize::try_from(log.gtids_durable().count()).unwrap();
    source.next_gno = have as u64 + 1;
    writer.source_file(&source.source_file()).unwrap();
    for _ in have..12 {
        append_all(&mut writer, &source.transaction(&[30, 10]));
    }
    for _ in 0..2 {
        common::begin_file(&mut writer, &mut source);
        common::append_some(&mut writer, &mut source, 3);
    }
    writer.sync().unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(9);
    assert_eq!(log.purge(later, std::time::Duration::ZERO).unwrap().segments, 0);
    assert!(all.len() > have);
}
