//! A relay of several servers goes on with one that lacks nothing, and with no other; a server that lost transactions
//! is found out.

use std::time::Duration;

use binlog::GtidSet;
use harness::{
    LoneRelay, Pace, Region, RegionOptions, Slot, Sources, Workload, replicate, replicate_relay, seed,
    take_slot, until, wait_equal,
};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);
const PLAIN: &str = "SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 1";

/// Two servers, the second a replica of the first, and a relay that may read both.
struct Stage {
    relay: LoneRelay,
    first: Region,
    second: Region,
    folder: TempDir,
    _slot: Slot,
}

async fn stage() -> Stage {
    let slot = take_slot().await;
    let [first, second] =
        Region::start_all([("eu", 1), ("second", 2)].map(|(name, server_id)| RegionOptions {
            name,
            server_id,
            extra_args: Vec::new(),
        }));
    let sources = Sources::servers(&[&first]).await;
    first.run_all(&["CREATE USER copy IDENTIFIED BY 'p'", "GRANT REPLICATION SLAVE ON *.* TO copy"]).await;
    replicate(&second, first.port(), "copy", "p", PLAIN).await;
    Workload::prepare_in(&first).await;
    wait_equal(&first, &second).await;
    // The second has the relay's account by replication.
    let sources = sources.and(&second);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lines = [r#"relay.start = "oldest""#];
    let mut relay = LoneRelay::new(folder.path(), "relay", &sources, &lines);
    relay.start_and_wait().await;
    Stage { relay, first, second, folder, _slot: slot }
}

async fn wait_source(relay: &LoneRelay, region: &Region) {
    until(&format!("the relay reads {}", region.name()), SOON, async || {
        let status = relay.status().await?;
        let reads = status.text("source") == region.address() && status.state() == "running";
        if reads { Ok(()) } else { Err(status.json().to_string()) }
    })
    .await;
}

async fn rows_in(region: &Region, n: std::ops::Range<u32>) {
    let rows: Vec<String> = n.map(|n| format!("INSERT INTO shop.tape VALUES (99, {n})")).collect();
    region.run_all(&rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_first_server_is_gone_the_relay_goes_on_with_one_that_has_all_it_has() {
    let Stage { relay, first, second, folder: _folder, _slot } = stage().await;
    wait_source(&relay, &first).await;
    let workload = Workload::start_in(&[&first], seed(), Pace::Full);
    workload.wait_for_more(100).await;
    workload.stop().await;
    wait_equal(&first, &second).await;
    relay.wait_durable(&first.executed().await).await;
    first.kill9();
    wait_source(&relay, &second).await;
    second.run_all(&["STOP REPLICA", "RESET REPLICA ALL"]).await;
    rows_in(&second, 0..20).await;
    relay.wait_durable(&second.executed().await).await;
    // Downstreams get both servers' files as one log; names mean the second's now.
    let [replica] =
        Region::start_all([RegionOptions { name: "replica", server_id: 33, extra_args: Vec::new() }]);
    replicate_relay(&replica, &relay, PLAIN).await;
    wait_equal(&second, &replica).await;
    let mut to_relay = relay.connect().await;
    let logs = to_relay.query_rows("SHOW BINARY LOGS").await.unwrap_or_else(|e| panic!("{e}"));
    let names: Vec<String> = logs.iter().map(|row| row.text("Log_name").expect("a name")).collect();
    let of_second: Vec<String> =
        second.rows::<(String, u64, String)>("SHOW BINARY LOGS").await.into_iter().map(|row| row.0).collect();
    assert!(of_second.ends_with(&names), "{names:?} are not the last of {of_second:?}");
    // The first comes back, as it was: nothing changes while the second is there, and it lacks the second's.
    first.restart();
    rows_in(&second, 20..30).await;
    relay.wait_durable(&second.executed().await).await;
    second.kill9();
    let status = relay.wait_state("diverged").await;
    assert!(status.last_error().contains(first.address()), "{}", status.last_error());
    second.restart();
    wait_source(&relay, &second).await;
    rows_in(&second, 30..40).await;
    wait_equal(&second, &replica).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lacks_what_the_relay_has_is_never_pulled_from_and_what_it_lacks_is_shown() {
    let Stage { relay, first, second, folder: _folder, _slot } = stage().await;
    wait_source(&relay, &first).await;
    second.run("STOP REPLICA").await;
    let before = first.executed().await;
    rows_in(&first, 0..7).await;
    let lacks = first.executed().await.minus(&before);
    relay.wait_durable(&first.executed().await).await;
    first.kill9();
    let status = relay.wait_state("diverged").await;
    let error = status.last_error().to_owned();
    assert!(error.contains(second.address()) && error.contains(&lacks.to_string()), "{error}, lacks {lacks}");
    // What the other writes on its own does not matter.
    rows_in(&second, 50..52).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let durable: GtidSet =
        relay.status().await.expect("a status").text("gtid_durable").parse().expect("a set");
    assert!(!durable.contains_all(&second.executed().await), "it pulled from a server that lacks {lacks}");
    // The first is back: it goes on there by itself.
    first.restart();
    wait_source(&relay, &first).await;
    rows_in(&first, 7..9).await;
    relay.wait_durable(&first.executed().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_lost_transactions_and_gave_their_gtids_to_others_is_found_out() {
    let Stage { first, second: _second, folder, _slot, .. } = stage().await;
    let sources = Sources::servers(&[&first]).await;
    let mut relay = LoneRelay::new(folder.path(), "single", &sources, &[r#"relay.start = "oldest""#]);
    relay.start_and_wait().await;
    // As after a crash without sync_binlog: the source comes back as it was some transactions before.
    first.run("FLUSH BINARY LOGS").await;
    let kept = first.executed().await;
    rows_in(&first, 0..5).await;
    relay.wait_durable(&first.executed().await).await;
    relay.kill9();
    first
        .run_all(&[
            "SET sql_log_bin = 0".to_owned(),
            "DELETE FROM shop.tape WHERE writer = 99".to_owned(),
            "RESET BINARY LOGS AND GTIDS".to_owned(),
            format!("SET GLOBAL gtid_purged = '{kept}'"),
        ])
        .await;
    // It lacks them for the moment, and that is told by name.
    let said = relay.run_to_failure().await;
    said.assert_failed(1, &["lacks transactions that the relay log has", "remedy"]);
    // Then it uses them a second time: the sets are the same, the transactions are not.
    rows_in(&first, 100..106).await;
    let said = relay.run_to_failure().await;
    said.assert_failed(1, &["another transaction under a GTID", "remedy"]);
}
