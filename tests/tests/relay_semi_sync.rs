//! A source that waits for the relay: what a client saw committed is on the relay's disk, whatever is killed.

use std::time::Duration;

use harness::{
    LoneRelay, Pace, Region, RegionOptions, Slot, Sources, Workload, replica_state, replicate_relay, seed,
    take_slot, until, wait_equal,
};
use mysql_async::prelude::Queryable;
use tempfile::TempDir;
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(60);

struct Stage {
    relay: LoneRelay,
    source: Region,
    replica: Region,
    _folder: TempDir,
    _slot: Slot,
}

/// A source with semi-synchronous replication on, whose commits wait for the relay as long as it takes.
async fn stage() -> Stage {
    let slot = take_slot().await;
    let [source, replica] = Region::start_all([
        RegionOptions {
            name: "eu",
            server_id: 1,
            extra_args: vec!["--plugin-load-add=semisync_source.so".into()],
        },
        RegionOptions { name: "replica", server_id: 33, extra_args: Vec::new() },
    ]);
    Workload::prepare_in(&source).await;
    source.run("CREATE TABLE shop.seen (writer INT, n INT, PRIMARY KEY (writer, n))").await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sources = Sources::servers(&[&source]).await;
    let lines = [r#"relay.start = "oldest""#, "relay.semi_sync = true"];
    let mut relay = LoneRelay::new(folder.path(), "relay", &sources, &lines);
    relay.start_and_wait().await;
    source
        .run_all(&[
            "SET GLOBAL rpl_semi_sync_source_timeout = 600000",
            "SET GLOBAL rpl_semi_sync_source_enabled = ON",
        ])
        .await;
    until("the source counts the relay", SOON, async || {
        let clients = status(&source, "Rpl_semi_sync_source_clients").await;
        if clients == 1 { Ok(()) } else { Err(format!("{clients} clients")) }
    })
    .await;
    Stage { relay, source, replica, _folder: folder, _slot: slot }
}

/// A counter of `SHOW STATUS`.
async fn status(region: &Region, name: &str) -> u64 {
    let (_, value): (String, String) = region.row(&format!("SHOW GLOBAL STATUS LIKE '{name}'")).await;
    value.parse().unwrap_or_else(|e| panic!("{name} = {value}: {e}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_commit_is_acknowledged_also_over_rotations_and_restarts_of_the_relay() {
    let mut stage = stage().await;
    let Stage { relay, source, replica, .. } = &mut stage;
    assert_eq!(relay.status().await.expect("a status").json()["semi_sync"], true);
    let (yes, no) = ("Rpl_semi_sync_source_yes_tx", "Rpl_semi_sync_source_no_tx");
    let before = (status(source, yes).await, status(source, no).await);
    let workload = Workload::start_in(&[source], seed(), Pace::Full);
    workload.wait_for_more(100).await;
    source.run("FLUSH BINARY LOGS").await;
    workload.wait_for_more(100).await;
    // Commits wait while there is nobody to acknowledge them.
    relay.kill9();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let waiting = workload.written();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(workload.written(), waiting, "commits did not wait for the relay");
    relay.start();
    workload.wait_for_more(100).await;
    let committed = workload.stop().await;
    let after = (status(source, yes).await, status(source, no).await);
    assert!(after.0 >= before.0 + 300, "{yes}: {} to {}", before.0, after.0);
    assert_eq!(after.1, before.1, "{no}");
    replicate_relay(replica, relay, "SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 1").await;
    wait_equal(source, replica).await;
    committed.assert_in(replica).await;
}

/// Writes numbers until the server is gone; gives the last one that it saw committed.
async fn count_up(source: mysql_async::OptsBuilder, writer: u32) -> u32 {
    let Ok(mut session) = mysql_async::Conn::new(source).await else { return 0 };
    let mut seen = 0;
    while session.query_drop(format!("INSERT INTO shop.seen VALUES ({writer}, {})", seen + 1)).await.is_ok() {
        seen += 1;
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_saw_committed_survives_the_kill_of_the_relay_and_the_loss_of_the_source() {
    let mut stage = stage().await;
    let Stage { relay, source, replica, .. } = &mut stage;
    let mut writers = JoinSet::new();
    for writer in 1..=4 {
        let options = source.options();
        writers.spawn(async move { (writer, count_up(options, writer).await) });
    }
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        relay.kill9();
        relay.start();
        relay.wait_state("running").await;
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    // The source is gone for good, and the relay with it, a moment later.
    source.kill9();
    relay.kill9();
    let mut seen = Vec::new();
    while let Some(ended) = writers.join_next().await {
        seen.push(ended.expect("a writer does not panic"));
    }
    println!("seen committed: {seen:?}");
    assert!(seen.iter().map(|(_, n)| n).sum::<u32>() > 50, "{seen:?}");
    relay.start();
    replicate_relay(replica, relay, "SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 1").await;
    until("the replica has what was seen", SOON, async || {
        // The table is there once the replica has come so far.
        let tables: u64 = replica
            .row("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'shop' AND table_name = 'seen'")
            .await;
        if tables == 0 {
            return Err(replica_state(replica).await);
        }
        let there: Vec<(u32, u32)> =
            replica.rows("SELECT writer, CAST(COUNT(*) AS UNSIGNED) FROM shop.seen GROUP BY writer").await;
        let lost: Vec<_> =
            seen.iter().filter(|(w, n)| !there.iter().any(|(tw, tn)| tw == w && tn >= n)).collect();
        if lost.is_empty() { Ok(()) } else { Err(format!("lost: {lost:?}; there is {there:?}")) }
    })
    .await;
}
