//! Promise 5, no silent gap: a corrupt byte and purged GTIDs stop the link, and say what, where and what to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::{Finished, Pace, Pair, PairOptions, Process, Workload, seed, until};

const RELAY: Process = Process::Relay("eu");
const APPLIER: Process = Process::Applier("eu-us");
const SOON: Duration = Duration::from_secs(60);

/// Some seconds of work through the link eu-us, with several segments, and everything stopped afterwards.
async fn after_some_work() -> Pair {
    let mut pair = Pair::one_way(PairOptions::default()).await;
    pair.configure(|file| file.add_to_region("eu", r#"relay.start = "oldest""#));
    Workload::prepare(&pair).await;
    pair.start_one(RELAY);
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "running", SOON).await;
    for _ in 0..3 {
        let workload = Workload::start_in(&[&pair.eu], seed(), Pace::Full);
        workload.wait_for_more(100).await;
        workload.stop().await;
        pair.eu.run("FLUSH BINARY LOGS").await;
        pair.eu.run_all(&["DELETE FROM shop.transfer", "UPDATE shop.account SET balance = 1000"]).await;
        pair.eu
            .run_all(&["DELETE FROM shop.note", "DELETE FROM shop.tape", "UPDATE shop.counter SET n = 0"])
            .await;
    }
    pair.wait_in_step(SOON).await;
    pair
}

/// The segments of eu's relay log, oldest first.
fn segments(pair: &Pair) -> Vec<PathBuf> {
    let entries = fs::read_dir(pair.relay_dir("eu")).expect("the relay log's folder");
    let paths = entries.map(|e| e.expect("an entry").path());
    let mut segments: Vec<_> = paths.filter(|p| p.extension().is_some_and(|e| e == "binlog")).collect();
    segments.sort();
    segments
}

/// Flips one bit in the middle of a file; gives its offset.
fn flip_a_bit(path: &PathBuf) -> usize {
    let mut bytes = fs::read(path).expect("a segment can be read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(path, bytes).expect("a segment can be written");
    middle
}

/// A segment's number, from its name.
fn number(segment: &Path) -> u64 {
    let name = segment.file_stem().and_then(|n| n.to_str()).unwrap_or_default();
    name.trim_start_matches("segment-").parse().unwrap_or_else(|e| panic!("{}: {e}", segment.display()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_the_last_segment_is_found_and_named() {
    let pair = after_some_work().await;
    pair.kill9(RELAY);
    let segments = segments(&pair);
    let last = segments.last().expect("a segment");
    pair.eu.run("FLUSH BINARY LOGS").await;
    flip_a_bit(last);
    let relay = pair.run_to_failure(RELAY, pair.config()).await;
    relay.assert_failed(1, &["damaged", &format!(" {}:", number(last)), "checksum", "remedy:"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_an_old_segment_stops_whoever_reads_it_and_is_never_passed_on() {
    let pair = after_some_work().await;
    let segments = segments(&pair);
    assert!(segments.len() >= 3, "too few segments: {segments:?}");
    pair.kill9(APPLIER);
    pair.kill9(RELAY);
    let middle = &segments[1];
    flip_a_bit(middle);
    let before = pair.us.gtid_executed().await;
    pair.start_one(RELAY);
    // A client that has nothing asks for everything.
    let place = format!(" {}:", number(middle));
    until("whoever reads the segment is told of the damage", SOON, async || {
        let said = Finished::of_command(&mut pair.mysqlbinlog("eu"), SOON).await;
        assert_ne!(said.code, 0, "a damaged segment was served to its end; {said}");
        let told = format!("{said}{}", pair.log(RELAY));
        if told.contains("damaged") && told.contains(&place) { Ok(()) } else { Err(told) }
    })
    .await;
    assert_eq!(pair.us.gtid_executed().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gtids_purged_at_the_source_stop_the_relay_with_the_missing_set() {
    let pair = after_some_work().await;
    pair.kill9(RELAY);
    pair.eu.run("UPDATE shop.counter SET token = token + 1").await;
    let missing = pair.eu.executed().await.to_string();
    pair.eu.purge_binlogs().await;
    let relay = pair.run_to_failure(RELAY, pair.config()).await;
    let last = missing.rsplit(['-', ':']).next().expect("a number");
    relay.assert_failed(1, &["purged", last, "remedy:"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gtids_purged_at_the_relay_stop_the_applier_with_the_missing_set() {
    let pair = after_some_work().await;
    pair.kill9(APPLIER);
    pair.kill9(RELAY);
    let before = pair.us.gtid_executed().await;
    pair.eu.run("UPDATE shop.counter SET token = token + 1").await;
    let missing = pair.eu.executed().await.to_string();
    pair.eu.purge_binlogs().await;
    // The relay log is lost, and the source no longer has what the link needs.
    fs::remove_dir_all(pair.relay_dir("eu")).expect("the relay log can be removed");
    pair.start_one(RELAY);
    let applier = pair.run_to_failure(APPLIER, pair.config()).await;
    let last = missing.rsplit(['-', ':']).next().expect("a number");
    applier.assert_failed(1, &["purged", last, "remedy:"]);
    assert!(pair.checkpoint(&pair.us).await.count() > 0);
    // Starting an applier writes its epoch; of the source nothing was applied.
    let tokens: i64 = pair.us.row("SELECT CAST(MAX(token) AS SIGNED) FROM shop.counter").await;
    assert_ne!(
        tokens,
        pair.eu.row::<i64>("SELECT CAST(MAX(token) AS SIGNED) FROM shop.counter").await,
        "{before}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_relay_log_is_pulled_again_where_the_links_need_it() {
    let pair = after_some_work().await;
    pair.kill9(APPLIER);
    pair.kill9(RELAY);
    pair.eu.run("UPDATE shop.counter SET token = token + 1").await;
    fs::remove_dir_all(pair.relay_dir("eu")).expect("the relay log can be removed");
    pair.start_one(RELAY);
    pair.start_one(APPLIER);
    pair.wait_in_step(SOON).await;
}
