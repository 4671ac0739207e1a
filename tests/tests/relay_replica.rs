//! A stock MySQL replica follows a relay: from the oldest transaction on, live, over restarts of both.

use std::time::Duration;

use harness::{
    LoneRelay, Pace, Region, RegionOptions, Slot, Sources, Workload, complaints, error_log, replica_state,
    replicate, replicate_relay, seed, take_slot, until, wait_equal,
};
use tempfile::TempDir;

struct Stage {
    // Processes go before the servers and folders they use.
    relay: LoneRelay,
    workload: Workload,
    source: Region,
    replica: Region,
    _folder: TempDir,
    _slot: Slot,
}

/// A source that has worked already and goes on working, a relay that begins with its oldest transaction, and a server
/// that will follow.
async fn stage(with_tls: bool) -> Stage {
    let slot = take_slot().await;
    let workers = vec!["--replica-parallel-workers=4".to_owned(), "--relay-log=replica-relay".to_owned()];
    let [source, replica] = Region::start_all([
        RegionOptions { name: "eu", server_id: 1, extra_args: Vec::new() },
        RegionOptions { name: "replica", server_id: 33, extra_args: workers },
    ]);
    Workload::prepare_in(&source).await;
    let workload = Workload::start_in(&[&source], seed(), Pace::Full);
    workload.wait_for_more(100).await;
    source.run("FLUSH BINARY LOGS").await;
    workload.wait_for_more(100).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tls = LoneRelay::tls_lines(&source);
    let mut lines = vec![r#"relay.start = "oldest""#];
    if with_tls {
        lines.extend(tls.iter().map(String::as_str));
    }
    let sources = Sources::servers(&[&source]).await;
    let mut relay = LoneRelay::new(folder.path(), "relay", &sources, &lines);
    relay.start_and_wait().await;
    Stage { relay, workload, source, replica, _folder: folder, _slot: slot }
}

/// Waits until the replica has all that the source has now.
async fn wait_caught_up(source: &Region, replica: &Region) {
    let executed = source.executed().await;
    until("the replica has caught up", Duration::from_secs(60), async || {
        let has = replica.executed().await;
        if has.contains_all(&executed) { Ok(()) } else { Err(replica_state(replica).await) }
    })
    .await;
}

async fn follows(stage: Stage, more: &str) {
    let Stage { mut relay, workload, source, replica, _folder, _slot } = stage;
    let (source, replica) = (&source, &replica);
    let quiet = error_log(replica).len();
    replicate_relay(replica, &relay, more).await;
    wait_caught_up(source, replica).await;
    workload.wait_for_more(200).await;
    source.run("FLUSH BINARY LOGS").await;
    workload.wait_for_more(200).await;
    wait_caught_up(source, replica).await;
    let complaints_so_far = complaints(replica, quiet);
    assert!(complaints_so_far.is_empty(), "{complaints_so_far:#?}");
    // The relay dies and comes back under load.
    relay.kill9();
    relay.start();
    workload.wait_for_more(200).await;
    // So does the replica.
    replica.kill9();
    workload.wait_for_more(100).await;
    replica.restart();
    let quiet = error_log(replica).len();
    replica.run("START REPLICA").await;
    workload.wait_for_more(200).await;
    let committed = workload.stop().await;
    wait_equal(source, replica).await;
    committed.assert_in(replica).await;
    let complaints_then = complaints(replica, quiet);
    assert!(complaints_then.is_empty(), "{complaints_then:#?}");
    assert!(!error_log(replica).contains("[ERROR] [MY-013121]"), "no malformed packets, ever");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_replica_follows_a_relay_over_plain_tcp_through_restarts_of_both() {
    follows(stage(false).await, "SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_replica_follows_a_relay_over_tls_packed_by_zstd_through_restarts_of_both() {
    let stage = stage(true).await;
    let ca = stage.source.datadir().join("ca.pem");
    let more =
        format!("SOURCE_SSL = 1, SOURCE_SSL_CA = '{}', SOURCE_COMPRESSION_ALGORITHMS = 'zstd'", ca.display());
    follows(stage, &more).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_replica_that_is_ahead_waits_while_the_relay_is_behind_its_source() {
    let Stage { mut relay, workload, source, replica, _folder, _slot } = stage(false).await;
    workload.stop().await;
    relay.wait_durable(&source.executed().await).await;
    relay.stop().await;
    // What the relay does not have yet comes to the replica from the source itself.
    let (user, password) = ("direct", "p");
    source
        .run_all(&[
            format!("CREATE USER {user} IDENTIFIED BY '{password}'"),
            format!("GRANT REPLICATION SLAVE ON *.* TO {user}"),
        ])
        .await;
    let plain = "SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 1";
    replicate(&replica, source.port(), user, password, plain).await;
    wait_equal(&source, &replica).await;
    replica.run_all(&["STOP REPLICA"]).await;
    // The relay comes up and does not find its source.
    source.kill9();
    relay.start();
    let quiet = error_log(&replica).len();
    replicate_relay(&replica, &relay, plain).await;
    // Long enough for several heartbeats, which must not disturb it.
    tokio::time::sleep(Duration::from_secs(5)).await;
    source.restart();
    source.run("CREATE TABLE shop.after_the_wait (id INT PRIMARY KEY)").await;
    wait_equal(&source, &replica).await;
    let complaints = complaints(&replica, quiet);
    let refused = complaints.iter().filter(|line| line.contains("1236") || line.contains("eartbeat"));
    assert_eq!(refused.count(), 0, "{complaints:#?}");
}
