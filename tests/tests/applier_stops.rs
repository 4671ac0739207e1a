//! Where a link stops, and that it stops: everything before the transaction it can't apply is applied, and what no
//! second try can mend is not tried for ever.

use std::time::Duration;

use harness::{Pair, PairOptions, Process, until};

const SOON: Duration = Duration::from_secs(30);
const APPLIER: Process = Process::Applier("eu-us");

async fn pair() -> Pair {
    let pair = Pair::one_way(PairOptions::default()).await;
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, b LONGBLOB)"])
            .await;
    }
    pair
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_before_the_bad_transaction_is_applied_when_all_arrives_at_once() {
    let pair = pair().await;
    pair.start_one(Process::Relay("eu"));
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "running", SOON).await;
    pair.stop_one(APPLIER).await;
    for id in 0..20 {
        pair.eu.run(&format!("INSERT INTO shop.t VALUES ({id}, '')")).await;
    }
    pair.eu.run_all(&["SET sql_log_bin = 0", "CREATE TABLE shop.only_here (id INT PRIMARY KEY)"]).await;
    pair.eu.run("INSERT INTO shop.only_here VALUES (1)").await;
    pair.start_one(APPLIER);
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    assert!(status.last_error().contains("only_here"), "{}", status.last_error());
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.t").await, 20, "the good ones before it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_too_large_for_the_target_stops_the_link_and_is_named() {
    let pair = pair().await;
    pair.us.run("SET GLOBAL max_allowed_packet = 1048576").await;
    pair.start_one(Process::Relay("eu"));
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "running", SOON).await;
    pair.eu.run("INSERT INTO shop.t VALUES (1, REPEAT('x', 500000)), (2, REPEAT('y', 500000))").await;
    pair.eu.run("INSERT INTO shop.t VALUES (3, REPEAT('x', 2000000))").await;
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    assert!(status.last_error().contains("max_allowed_packet"), "{}", status.last_error());
    assert_eq!(pair.us.rows::<i32>("SELECT id FROM shop.t ORDER BY id").await, [1, 2]);
    pair.us.run("SET GLOBAL max_allowed_packet = 64 * 1048576").await;
    pair.stop_one(APPLIER).await;
    pair.start_one(APPLIER);
    pair.wait_in_step(SOON).await;
}

/// The fence is a row: when it is gone, nothing may be written any more, or it would come back as the target's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_deleted_under_a_running_link_stops_it_before_the_next_commit() {
    let pair = pair().await;
    pair.start().await;
    pair.eu.run("INSERT INTO shop.t VALUES (1, '')").await;
    pair.wait_in_step(SOON).await;
    pair.us.run("DELETE FROM twinlog.checkpoint WHERE origin = 'eu'").await;
    pair.eu.run("INSERT INTO shop.t VALUES (2, '')").await;
    until("the link has stopped", SOON, async || {
        let status = pair.link_status("eu-us").await;
        if status.state() == "failed" { Ok(()) } else { Err(status.json().to_string()) }
    })
    .await;
    assert_eq!(pair.us.rows::<i32>("SELECT id FROM shop.t").await, [1]);
}

/// A server made from a copy of another region's, its uuid included: every transaction of the one would pass for
/// echo of the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_regions_with_one_server_uuid_stop_the_link_and_lose_nothing() {
    let pair = pair().await;
    let copied = std::fs::read(pair.us.datadir().join("auto.cnf")).expect("us has a uuid");
    pair.eu.kill9();
    std::fs::write(pair.eu.datadir().join("auto.cnf"), copied).expect("eu takes it");
    pair.eu.restart();
    pair.start_one(Process::Relay("eu"));
    pair.start_one(APPLIER);
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    let uuid: String = pair.us.row("SELECT @@server_uuid").await;
    assert!(status.last_error().contains(&uuid), "{}", status.last_error());
    assert!(status.last_error().contains("auto.cnf"), "{}", status.last_error());
}
