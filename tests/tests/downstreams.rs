//! A relay is a source like any other: MySQL's own tools and servers attach to it.

use std::time::Duration;

use harness::{
    Finished, Pace, Pair, PairOptions, Process, Region, RegionOptions, Workload, difference, seed, until,
};

const SOON: Duration = Duration::from_secs(60);

/// A pair of which only the relay eu runs, with all its source still has.
async fn relay_alone() -> Pair {
    let mut pair = Pair::new(PairOptions::default()).await;
    pair.configure(|file| file.add_to_region("eu", r#"relay.start = "oldest""#));
    pair.start_one(Process::Relay("eu"));
    until("the relay runs", SOON, async || match pair.try_status().await?.relay("eu")?.state() {
        "running" => Ok(()),
        other => Err(other.to_owned()),
    })
    .await;
    pair
}

/// Waits until the relay has all of its source on disk.
async fn wait_durable(pair: &Pair) {
    let executed = pair.eu.executed().await;
    until("the relay has everything", SOON, async || {
        let status = pair.try_status().await?.relay("eu")?;
        let durable: binlog::GtidSet = status.text("gtid_durable").parse().map_err(|e| format!("{e}"))?;
        if durable.contains_all(&executed) { Ok(()) } else { Err(format!("{durable} of {executed}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysqlbinlog_reads_a_relay_over_the_network_to_its_end() {
    let pair = relay_alone().await;
    pair.eu.run_all(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, b TEXT)"]).await;
    pair.eu.run("INSERT INTO shop.t VALUES (4711, 'found in the relay')").await;
    pair.eu.run("FLUSH BINARY LOGS").await;
    pair.eu.run("INSERT INTO shop.t VALUES (4712, 'after a rotation')").await;
    wait_durable(&pair).await;
    let said = Finished::of_command(&mut pair.mysqlbinlog("eu"), SOON).await;
    assert_eq!(said.code, 0, "{said}");
    for word in ["CREATE TABLE shop.t", "@1=4711", "'found in the relay'", "@1=4712", "'after a rotation'"] {
        assert!(said.out.contains(word), "{word:?} is not there; {said}");
    }
    // What one has is not sent again.
    let mut command = pair.mysqlbinlog("eu");
    command.arg(format!("--exclude-gtids={}", pair.eu.gtid_executed().await));
    let said = Finished::of_command(&mut command, SOON).await;
    assert_eq!(said.code, 0, "{said}");
    assert!(!said.out.contains("4711"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_on_disk_is_read_by_mysqlbinlog_without_complaint() {
    let pair = relay_alone().await;
    Workload::prepare_in(&pair.eu).await;
    let workload = Workload::start_in(&[&pair.eu], seed(), Pace::Full);
    workload.wait_for_more(100).await;
    workload.stop().await;
    wait_durable(&pair).await;
    pair.kill9(Process::Relay("eu"));
    let mut segments = 0;
    for entry in std::fs::read_dir(pair.relay_dir("eu")).expect("the relay log's folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e == "binlog") {
            let mut command = harness::installation().client("mysqlbinlog");
            command.args(["--verify-binlog-checksum", "--verbose"]).arg(&path);
            let said = Finished::of_command(&mut command, SOON).await;
            assert_eq!(said.code, 0, "{said}");
            assert_eq!(said.err, "", "{}", path.display());
            segments += 1;
        }
    }
    assert!(segments > 0, "no segment");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_replica_attaches_to_a_relay_and_follows_it() {
    let pair = relay_alone().await;
    let [replica] = Region::start_all([RegionOptions {
        name: "replica",
        server_id: 33,
        extra_args: vec!["--replica-parallel-workers=2".into()],
    }]);
    let purged = pair
        .try_status()
        .await
        .and_then(|s| s.relay("eu"))
        .expect("the relay")
        .text("gtid_purged")
        .to_owned();
    let (host, port) = pair.file().relay_listen("eu").rsplit_once(':').expect("host:port");
    let (user, password) = pair.file().relay_account();
    let password = password.replace('\'', "''");
    replica
        .run_all(&[
            "RESET BINARY LOGS AND GTIDS".to_owned(),
            format!("SET GLOBAL gtid_purged = '{purged}'"),
            format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{host}', SOURCE_PORT = {port}, SOURCE_USER = '{user}', \
                 SOURCE_PASSWORD = '{password}', SOURCE_SSL = 0, SOURCE_AUTO_POSITION = 1, SOURCE_HEARTBEAT_PERIOD = 1, \
                 GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 1000"
            ),
            "START REPLICA".to_owned(),
        ])
        .await;
    Workload::prepare_in(&pair.eu).await;
    let workload = Workload::start_in(&[&pair.eu], seed(), Pace::Full);
    workload.wait_for_more(300).await;
    pair.eu.run("FLUSH BINARY LOGS").await;
    // The relay dies and comes back; the replica finds it again.
    pair.kill9(Process::Relay("eu"));
    pair.start_one(Process::Relay("eu"));
    workload.wait_for_more(300).await;
    let committed = workload.stop().await;
    let schemas = ["shop".to_owned()];
    until("the replica is equal", SOON, async || {
        let equal = Box::pin(difference(&pair.eu, &replica, &schemas)).await;
        match equal {
            Ok(()) => Ok(()),
            Err(text) => Err(format!("{text}\n{}", replica_errors(&replica).await)),
        }
    })
    .await;
    committed.assert_in(&replica).await;
}

async fn replica_errors(replica: &Region) -> String {
    let connection: Vec<(String, String)> = replica
        .rows(
            "SELECT service_state, last_error_message FROM performance_schema.replication_connection_status",
        )
        .await;
    let workers: Vec<(String, String)> = replica
        .rows("SELECT service_state, last_error_message FROM performance_schema.replication_applier_status_by_worker")
        .await;
    format!("connection: {connection:?}; workers: {workers:?}")
}
