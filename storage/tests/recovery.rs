//! What a crash leaves is trimmed or refused, never guessed at.

#![allow(clippy::unwrap_used, reason = "a test that fails here fails")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use binlog::{Event, GtidSet};
use common::{Source, append_all, append_some, begin_file, first, open, options, read_after, segment_path};
use storage::{Damage, Error, LogPosition, RelayLog};

/// A closed log of three transactions, the last one of several events; and its source.
fn closed_log(dir: &Path) -> (Source, Vec<Event>) {
    let (_log, mut writer) = open(dir);
    let mut source = Source::new(1);
    begin_file(&mut writer, &mut source);
    append_some(&mut writer, &mut source, 2);
    let last = source.transaction(&[30, 60, 0]);
    append_all(&mut writer, &last);
    writer.sync().unwrap();
    writer.close().unwrap();
    (source, last)
}

fn copy_log(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_log(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The log's files without its index, which makes opening many copies quick.
fn copy_segments(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn open_error(dir: &Path) -> Error {
    RelayLog::open(dir, options()).map(|_| ()).unwrap_err()
}

fn bytes_of(events: &[Event]) -> u64 {
    events.iter().map(|event| u64::from(event.size())).sum()
}

#[test]
fn a_log_cut_at_every_byte_of_its_last_transaction_is_trimmed_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (source, last) = closed_log(dir.path());
    let whole = fs::metadata(segment_path(dir.path(), 1)).unwrap().len();
    let begin = whole - bytes_of(&last);
    for cut in begin..whole {
        let copy = tempfile::tempdir().unwrap();
        copy_segments(dir.path(), copy.path());
        let path = segment_path(copy.path(), 1);
        fs::File::options().write(true).open(&path).unwrap().set_len(cut).unwrap();
        let (log, mut writer) = open(copy.path());
        assert_eq!(fs::metadata(&path).unwrap().len(), begin, "cut at {cut}");
        assert_eq!(*log.gtids_durable(), first(&source, 2), "cut at {cut}");
        assert_eq!(*writer.received(), first(&source, 2));
        assert_eq!(log.durable_end().last_gtid.unwrap().gno, 2);
        writer.source_file(&source.source_file()).unwrap();
        append_all(&mut writer, &last);
        writer.sync().unwrap();
        assert_eq!(read_after(&log, &first(&source, 2)), last, "cut at {cut}");
    }
}

#[test]
fn a_log_cut_inside_the_head_of_its_first_or_newest_segment_loses_that_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    begin_file(&mut writer, &mut source);
    append_some(&mut writer, &mut source, 2);
    begin_file(&mut writer, &mut source);
    writer.sync().unwrap();
    writer.close().unwrap();
    let head = log.segments()[1].bytes;
    drop(log);
    for cut in 0..head {
        let copy = tempfile::tempdir().unwrap();
        copy_segments(dir.path(), copy.path());
        fs::File::options().write(true).open(segment_path(copy.path(), 2)).unwrap().set_len(cut).unwrap();
        let (log, mut writer) = open(copy.path());
        assert_eq!(log.segments().len(), 1, "cut at {cut}");
        assert_eq!(*log.gtids_durable(), source.executed);
        let mut source = source.clone();
        writer.source_file(&source.source_file()).unwrap();
        append_some(&mut writer, &mut source, 1);
        writer.sync().unwrap();
        drop((log, writer));
        let (log, _writer) = open(copy.path());
        assert_eq!(*log.gtids_durable(), source.executed);
    }
}

#[test]
fn a_flipped_bit_anywhere_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    closed_log(dir.path());
    let good = fs::read(segment_path(dir.path(), 1)).unwrap();
    let mut begins = vec![4];
    while *begins.last().unwrap() < good.len() {
        let at = *begins.last().unwrap();
        begins.push(at + u32::from_le_bytes(good[at + 9..at + 13].try_into().unwrap()) as usize);
    }
    // One bit of each byte, and the in-use flag, which is not covered by checksums, of each event.
    let flags = begins.iter().filter(|begin| **begin < good.len()).map(|begin| (begin + 17, 0));
    for (byte, bit) in (0..good.len()).map(|byte| (byte, byte % 8)).chain(flags) {
        let copy = tempfile::tempdir().unwrap();
        copy_segments(dir.path(), copy.path());
        let mut bad = good.clone();
        bad[byte] ^= 1 << bit;
        fs::write(segment_path(copy.path(), 1), &bad).unwrap();
        let error = open_error(copy.path());
        let Error::Corrupt { at, .. } = &error else { panic!("byte {byte}: {error:?}") };
        let event = begins.iter().rev().find(|begin| **begin <= byte).copied().unwrap_or(0);
        assert_eq!(*at, LogPosition { segment: 1, offset: event as u64 }, "byte {byte}: {error}");
        assert!(error.remedy().unwrap().contains("twinlog log repair"));
        assert_eq!(fs::read(segment_path(copy.path(), 1)).unwrap(), bad, "what is refused is left as it is");
    }
}

#[test]
fn a_flipped_bit_in_a_finished_segment_is_found_by_who_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    for _ in 0..2 {
        begin_file(&mut writer, &mut source);
        append_some(&mut writer, &mut source, 3);
    }
    writer.close().unwrap();
    drop(log);
    let path = segment_path(dir.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() - 100;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (log, writer) = open(dir.path());
    let error = log.reader(&GtidSet::new()).unwrap().next_batch(1 << 20).unwrap_err();
    assert!(matches!(error, Error::Corrupt { at: LogPosition { segment: 1, .. }, .. }), "{error}");
    assert!(!read_after(&log, &first(&source, 3)).is_empty(), "what lies behind it is not touched by that");
    // Without the index every segment is read at open.
    drop((log, writer));
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let error = open_error(dir.path());
    assert!(matches!(error, Error::Corrupt { at: LogPosition { segment: 1, .. }, .. }), "{error}");
}

#[test]
fn a_finished_segment_of_another_length_or_none_at_all_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    for _ in 0..3 {
        begin_file(&mut writer, &mut source);
        append_some(&mut writer, &mut source, 3);
    }
    writer.close().unwrap();
    drop(log);
    let copies = tempfile::tempdir().unwrap();
    let copy = |name: &str| -> PathBuf {
        let to = copies.path().join(name);
        copy_log(dir.path(), &to);
        to
    };
    let shorter = copy("shorter");
    let file = fs::File::options().write(true).open(segment_path(&shorter, 2)).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    let error = open_error(&shorter);
    assert!(
        matches!(&error, Error::Corrupt { at, what: Damage::Length { .. } } if at.segment == 2),
        "{error}"
    );
    let gap = copy("gap");
    fs::remove_file(segment_path(&gap, 2)).unwrap();
    assert!(open_error(&gap).to_string().contains("segment-00000002.binlog"));
    let newest = copy("newest");
    fs::remove_file(segment_path(&newest, 3)).unwrap();
    assert!(open_error(&newest).to_string().contains("segment-00000003.binlog"));
    let origin = copy("origin");
    fs::remove_file(origin.join("segment-00000003.json")).unwrap();
    assert!(open_error(&origin).to_string().contains("segment-00000003.json"));
    let other = copy("other");
    fs::copy(segment_path(&other, 1), segment_path(&other, 2)).unwrap();
    fs::remove_dir_all(other.join("index")).unwrap();
    let error = open_error(&other);
    assert!(matches!(error, Error::Corrupt { what: Damage::Previous, .. }), "{error}");
}

#[test]
fn bytes_that_were_never_flushed_are_trimmed_whatever_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let (source, last) = closed_log(dir.path());
    let path = segment_path(dir.path(), 1);
    let good = fs::read(&path).unwrap();
    let mut next = source.clone();
    let unflushed = next.transaction(&[500]);
    let tail: Vec<u8> = unflushed.iter().flat_map(|event| event.bytes().to_vec()).collect();
    let mut damaged = tail.clone();
    damaged[200] ^= 4;
    let tails = [vec![0; 5000], vec![0xff; 300], damaged, tail[..tail.len() - 1].to_vec()];
    for tail in tails {
        fs::write(&path, [&good[..], &tail].concat()).unwrap();
        let (log, writer) = open(dir.path());
        assert_eq!(*log.gtids_durable(), source.executed);
        assert_eq!(read_after(&log, &first(&source, 2)), last);
        drop((log, writer));
        assert_eq!(fs::read(&path).unwrap(), good);
    }
    // What is whole is kept, and flushed before it counts.
    fs::write(&path, [&good[..], &tail].concat()).unwrap();
    let (log, _writer) = open(dir.path());
    assert_eq!(*log.gtids_durable(), next.executed);
}

#[test]
fn an_index_that_is_lost_or_spoilt_is_rebuilt_and_answers_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    for _ in 0..3 {
        begin_file(&mut writer, &mut source);
        for _ in 0..20 {
            append_all(&mut writer, &source.transaction(&[200_000]));
        }
        writer.sync().unwrap();
    }
    let seen = |log: &RelayLog| -> Vec<_> {
        log.segments()
            .into_iter()
            .map(|s| (s.segment, s.bytes, s.source_end, s.first_commit, s.last_commit, s.gtids))
            .collect()
    };
    let before = seen(&log);
    writer.close().unwrap();
    drop(log);
    let index = dir.path().join("index");
    type Spoil = fn(&Path);
    let spoil: [(&str, Spoil); 5] = [
        ("as it was", |_| ()),
        ("gone", |index| fs::remove_dir_all(index).unwrap()),
        ("a stale snapshot", |index| {
            fs::write(index.join("snap.0000000000000F00.generating"), b"half").unwrap()
        }),
        ("cut", |index| {
            fs::File::options().write(true).open(index.join("db")).unwrap().set_len(1000).unwrap()
        }),
        ("garbage", |index| {
            for entry in fs::read_dir(index).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    fs::write(&path, vec![0xa5; 70_000]).unwrap();
                }
            }
        }),
    ];
    for (name, spoil) in spoil {
        spoil(&index);
        let (log, writer) = open(dir.path());
        assert_eq!(seen(&log), before, "{name}");
        // What sled itself gets over needs no other index; one that is put aside is kept to be looked at.
        assert_eq!(dir.path().join("index.unusable").exists(), ["cut", "garbage"].contains(&name), "{name}");
        assert_eq!(*log.gtids_durable(), source.executed, "{name}");
        for gno in [0, 1, 19, 20, 21, 37, 59, 60] {
            let events = read_after(&log, &first(&source, gno));
            assert_eq!(events.iter().filter(|e| e.kind().is_gtid()).count() as u64, 60 - gno, "{name} {gno}");
        }
        writer.close().unwrap();
    }
}

#[test]
fn a_second_process_and_another_syncs_log_are_turned_away() {
    let dir = tempfile::tempdir().unwrap();
    let (log, writer) = open(dir.path());
    let error = open_error(dir.path());
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    let uuid = log.server_uuid();
    drop((log, writer));
    let mut foreign = options();
    foreign.region = "us".into();
    let error = RelayLog::open(dir.path(), foreign).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("region") && error.to_string().contains("\"us\""), "{error}");
    assert!(error.remedy().is_some());
    let (log, _writer) = open(dir.path());
    assert_eq!(log.server_uuid(), uuid, "it keeps its identity");
}

#[test]
fn a_log_with_segments_and_no_identity_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    closed_log(dir.path());
    fs::remove_file(dir.path().join("identity.json")).unwrap();
    assert!(matches!(open_error(dir.path()), Error::File { .. }));
}

#[test]
fn the_start_of_an_empty_log_survives_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::new(3);
    let (log, mut writer) = open(dir.path());
    writer.set_start(&first(&source, 9)).unwrap();
    drop((log, writer));
    let (log, writer) = open(dir.path());
    assert!(!log.is_fresh());
    assert_eq!(*log.gtids_purged(), first(&source, 9));
    assert_eq!(*log.gtids_durable(), first(&source, 9));
    assert_eq!(*writer.received(), first(&source, 9));
}

#[test]
fn the_last_transaction_is_known_again_after_reopening_behind_an_empty_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    begin_file(&mut writer, &mut source);
    append_some(&mut writer, &mut source, 3);
    begin_file(&mut writer, &mut source);
    let end = writer.sync().unwrap();
    writer.close().unwrap();
    drop(log);
    let (log, _writer) = open(dir.path());
    let again = log.durable_end();
    assert_eq!(again.last_gtid.clone().unwrap().gno, 3);
    assert_eq!(
        (again.position, again.last_gtid, again.commit_timestamp),
        (end.position, end.last_gtid, end.commit_timestamp)
    );
    assert_eq!(again.source, end.source);
}

#[test]
fn what_the_index_says_of_bytes_that_were_cut_off_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut writer) = open(dir.path());
    let mut source = Source::new(1);
    begin_file(&mut writer, &mut source);
    let mut at = Vec::new();
    for _ in 0..50 {
        at.push(source.clone());
        append_all(&mut writer, &source.transaction(&[100_000]));
    }
    writer.sync().unwrap();
    writer.close().unwrap();
    drop(log);
    let path = segment_path(dir.path(), 1);
    fs::File::options().write(true).open(&path).unwrap().set_len(1_500_000).unwrap();
    let (log, mut writer) = open(dir.path());
    let kept = usize::try_from(log.gtids_durable().count()).unwrap();
    assert_eq!(kept, 14);
    // Other transactions now stand where the index had places.
    let mut source = at[kept].clone();
    writer.source_file(&source.source_file()).unwrap();
    for _ in kept..50 {
        append_all(&mut writer, &source.transaction(&[70_000, 20_000]));
    }
    writer.sync().unwrap();
    for gno in 0..=50 {
        let events = read_after(&log, &first(&source, gno));
        assert_eq!(events.iter().filter(|event| event.kind().is_gtid()).count() as u64, 50 - gno);
    }
}
