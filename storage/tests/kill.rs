//! A process that writes the log is killed again and again; what it had synced is there every time.
//!
//! The test runs itself as that process: it appends what a make-believe source has, says after each sync how
//! far it is, and purges now and then. `STORAGE_KILLS=n` sets the number of kills, `STORAGE_SEED=n` replays.

#![allow(clippy::unwrap_used, reason = "a test that fails here fails")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use binlog::{Event, Gtid, GtidSet};
use common::{Source, only_events, options, read_all};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use storage::{LogWriter, OnKnown, Options, RelayLog};

/// Names the folder, to the process that is to be killed.
const CHILD: &str = "STORAGE_KILL_CHILD";

fn log_options() -> Options {
    let mut options = options();
    options.segment_size = 300_000;
    options
}

/// The n-th transaction of the one history that every process sees; a file has 40 of them.
fn next_transaction(source: &mut Source) -> Vec<Event> {
    let n = usize::try_from(source.next_gno).unwrap();
    let large = if n % 97 == 0 { 1_200_000 } else { 0 };
    source.transaction(&[n % 700, n * n % 3000, large])
}

/// Transactions in each of the source's files.
const IN_A_FILE: u64 = 40;

fn is_file_begin(source: &Source) -> bool {
    source.next_gno % IN_A_FILE == 1
}

/// The source at the beginning of the file with this transaction in it, and the file's previous-GTIDs event. No file
/// depends on what is in those before it: nothing need be made of them, however long the history is.
fn source_before(gno: u64) -> (Source, Event) {
    let mut source = Source::new(1);
    let files = (gno - 1) / IN_A_FILE;
    source.file_number = u32::try_from(files).unwrap();
    source.next_gno = files * IN_A_FILE + 1;
    source.executed = common::first(&source, files * IN_A_FILE);
    source.clock += files * IN_A_FILE * 1000;
    let previous = source.next_file();
    (source, previous)
}

/// Pulls from the source until the end comes from outside.
fn pull(log: &RelayLog, writer: &mut LogWriter) {
    let mut out = std::io::stdout();
    // The source begins with the file that holds the first transaction the log lacks.
    let (mut source, previous) = source_before(writer.received().count() + 1);
    writer.on_known(OnKnown::Compare);
    writer.source_file(&source.source_file()).unwrap();
    writer.append(&previous).unwrap();
    let (beside, points) = std::sync::mpsc::channel::<storage::SyncPoint>();
    std::thread::spawn(move || points.into_iter().for_each(|point| _ = point.complete().unwrap()));
    loop {
        for event in next_transaction(&mut source) {
            writer.append(&event).unwrap();
        }
        // Some of it by a thread beside this one, as a relay that has much to pull does it.
        if source.next_gno.is_multiple_of(3) {
            let end = match writer.prepare_sync().unwrap() {
                Some(point) if source.next_gno.is_multiple_of(2) => {
                    beside.send(point).unwrap();
                    log.durable_end()
                }
                Some(point) => point.complete().unwrap(),
                None => log.durable_end(),
            };
            writeln!(out, "{}", end.gtids.count()).unwrap();
            out.flush().unwrap();
        }
        if source.next_gno.is_multiple_of(31) {
            log.purge(SystemTime::now() + Duration::from_secs(9), Duration::ZERO).unwrap();
        }
        if is_file_begin(&source) {
            let rotate = source.rotate();
            writer.append(&rotate).unwrap();
            let previous = source.next_file();
            writer.source_file(&source.source_file()).unwrap();
            writer.append(&previous).unwrap();
        }
    }
}

/// The process that is killed; nothing at all when the test below did not start it.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let (log, mut writer) = RelayLog::open(Path::new(&dir), log_options()).unwrap();
    pull(&log, &mut writer);
}

fn start(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--quiet"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills it some time after its first sync, and gives the last one it told of.
fn kill_after(mut child: Child, wait: Duration) -> u64 {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let number = |line: String| line.trim().parse::<u64>().ok();
    let first = lines.by_ref().find_map(number).expect("it syncs something");
    std::thread::sleep(wait);
    child.kill().unwrap();
    child.wait().unwrap();
    // A line that was cut by the kill is a smaller number, or none.
    lines.filter_map(number).fold(first, u64::max)
}

/// Everything in the log is what the source had, in order and without a gap.
fn verify(dir: &Path, synced: u64) -> u64 {
    let (log, writer) = RelayLog::open(dir, log_options()).unwrap();
    let durable = log.gtids_durable();
    let n = durable.count();
    let mut all = GtidSet::new();
    all.insert_run(Source::new(1).uuid.into(), 1, n + 1);
    assert_eq!(*durable, all);
    assert_eq!(writer.received(), &all);
    assert!(n >= synced, "synced {synced}, there are {n}");
    let purged = log.gtids_purged();
    let events = only_events(read_all(&mut log.reader(&purged).unwrap()));
    let (mut source, _) = source_before(purged.count() + 1);
    let mut expected = Vec::new();
    while source.next_gno <= n {
        let is_there = !purged.contains(&Gtid::new(source.uuid, source.next_gno));
        let events = next_transaction(&mut source);
        expected.extend(if is_there { events } else { Vec::new() });
        if is_file_begin(&source) {
            source.rotate();
            source.next_file();
        }
    }
    let mut events = events.into_iter().filter(|event| event.kind() != binlog::EventKind::Rotate);
    assert!(expected.iter().all(|event| events.next().as_ref() == Some(event)));
    assert!(events.next().is_none());
    n
}

#[test]
fn what_was_synced_survives_every_kill() {
    let number = |name| std::env::var(name).ok().map(|value: String| value.parse::<u64>().unwrap());
    let seed = number("STORAGE_SEED").unwrap_or_else(rand::random);
    println!("STORAGE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut there = 0;
    for round in 0..number("STORAGE_KILLS").unwrap_or(200) {
        let wait = Duration::from_micros(random.random_range(0..60_000));
        let synced = kill_after(start(dir.path()), wait);
        let n = verify(dir.path(), synced.max(there));
        println!("round {round}: synced {synced}, there are {n}");
        there = n;
    }
}
