//! Promise 5: a checkpoint that is lost, foreign or written by somebody else stops the link. It never begins anew by
//! itself, which would skip what lies between.

use std::time::Duration;

use harness::{Pair, PairOptions, Process};

const APPLIER: Process = Process::Applier("eu-us");
const SOON: Duration = Duration::from_secs(30);

/// A pair whose applier eu-us has run, was killed, and then missed a transaction.
async fn with_a_missed_transaction() -> Pair {
    let pair = Pair::new(PairOptions::default()).await;
    for region in [&pair.eu, &pair.us] {
        region.run_all(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)"]).await;
    }
    pair.start().await;
    pair.eu.run("INSERT INTO shop.t VALUES (1)").await;
    pair.wait_in_step(SOON).await;
    // Acknowledged, so that the relay remembers the link.
    pair.wait_quiet(Duration::from_secs(2), SOON).await;
    pair.kill9(APPLIER);
    pair.eu.run("INSERT INTO shop.t VALUES (2)").await;
    pair
}

async fn assert_refuses_to_begin_anew(pair: &Pair) {
    let applier = pair.run_to_failure(APPLIER, pair.config()).await;
    applier.assert_failed(1, &["checkpoint", "remedy:", "link reset"]);
    assert_eq!(pair.us.rows::<i32>("SELECT id FROM shop.t").await, [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_checkpoint_rows_stop_the_link() {
    let pair = with_a_missed_transaction().await;
    pair.us.run_all(&["SET sql_log_bin = 0", "DELETE FROM twinlog.checkpoint WHERE origin = 'eu'"]).await;
    assert_refuses_to_begin_anew(&pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_meta_schema_stops_the_link_because_the_relay_remembers_it() {
    let pair = with_a_missed_transaction().await;
    pair.us.run_all(&["SET sql_log_bin = 0", "DROP DATABASE twinlog"]).await;
    assert_refuses_to_begin_anew(&pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meta_schema_of_another_region_stops_the_link() {
    let pair = with_a_missed_transaction().await;
    // us was restored from a copy of eu: here only the meta schema is.
    let dump = pair.eu.client("mysqldump").args(["--set-gtid-purged=OFF", "--databases", "twinlog"]).output();
    let dump = dump.expect("mysqldump runs");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    pair.us.run_all(&["SET sql_log_bin = 0", "DROP DATABASE twinlog"]).await;
    let path = pair
        .write_file("dump.sql", &format!("SET sql_log_bin = 0;\n{}", String::from_utf8_lossy(&dump.stdout)));
    let file = std::fs::File::open(path).expect("the dump");
    let loaded = pair.us.client("mysql").stdin(file).status().expect("mysql runs");
    assert!(loaded.success());
    let applier = pair.run_to_failure(APPLIER, pair.config()).await;
    applier.assert_failed(1, &["twinlog", "eu", "us", "remedy:"]);
    assert_eq!(pair.us.rows::<i32>("SELECT id FROM shop.t").await, [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_forges_a_stamp_stops_the_way_back_and_hides_nothing() {
    let pair = Pair::new(PairOptions::default()).await;
    for region in [&pair.eu, &pair.us] {
        region.run_all(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)"]).await;
    }
    pair.start().await;
    pair.eu.run("INSERT INTO shop.t VALUES (1)").await;
    pair.wait_in_step(SOON).await;
    // Somebody repairs the checkpoint by hand and writes rows in the same transaction: were the stamp believed, the rows
    // would be taken for echo.
    pair.us
        .run_all(&[
            "BEGIN",
            "UPDATE twinlog.checkpoint SET seq = seq + 7, updated_at = NOW(6) WHERE origin = 'eu' AND slot = 3",
            "INSERT INTO shop.t VALUES (2)",
            "COMMIT",
        ])
        .await;
    let status = pair.wait_state("us-eu", "failed", SOON).await;
    assert!(status.last_error().contains("stamp"), "{}", status.last_error());
    assert_eq!(pair.eu.rows::<i32>("SELECT id FROM shop.t").await, [1]);
}
