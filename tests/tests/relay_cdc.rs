//! Clients that are not replicas: python-mysql-replication and zongji read a relay by position and by GTIDs, and see
//! what they see at the source.
//!
//! Both are installed once into the cache folder; no registry is a failure.

use std::fs;
use std::process::Command;
use std::time::Duration;

use harness::{
    Finished, LoneRelay, Pace, Region, RegionOptions, Slot, Sources, Workload, node, npm_package,
    pip_packages, python, seed, take_slot,
};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};

const PYTHON: [&str; 2] = ["mysql-replication==1.0.17", "PyMySQL==1.2.4"];
const NODE: (&str, &str) = ("@vlasky/zongji", "0.9.0");

const SOON: Duration = Duration::from_secs(60);

/// A source with work in two files, and a relay that has it.
struct Stage {
    relay: LoneRelay,
    source: Region,
    /// Where the second file's first transaction ends.
    middle: (String, u64),
    /// The transactions up to there.
    has: String,
    _folder: TempDir,
    _slot: Slot,
}

async fn stage() -> Stage {
    let slot = take_slot().await;
    let [source] = Region::start_all([RegionOptions { name: "eu", server_id: 1, extra_args: Vec::new() }]);
    Workload::prepare_in(&source).await;
    let workload = Workload::start_in(&[&source], seed(), Pace::Full);
    workload.wait_for_more(40).await;
    source.run("FLUSH BINARY LOGS").await;
    workload.wait_for_more(20).await;
    workload.stop().await;
    let (file, position, ..): (String, u64, String, String, String) =
        source.row("SHOW BINARY LOG STATUS").await;
    let has = source.gtid_executed().await;
    source
        .run_all(&[
            "CREATE TABLE shop.kinds (id INT PRIMARY KEY, e ENUM('a', 'b'), d DECIMAL(20, 6), t DATETIME(3), \
             j JSON, b VARBINARY(20), u BIGINT UNSIGNED, s VARCHAR(50))",
            "INSERT INTO shop.kinds VALUES (1, 'b', 12.5, '2026-01-02 03:04:05.678', '{\"k\": [1, null]}', \
             x'00ff', 18446744073709551615, 'ünï')",
            "UPDATE shop.kinds SET j = JSON_SET(j, '$.k[0]', 2), d = d + 1",
            "FLUSH BINARY LOGS",
            "DELETE FROM shop.kinds",
            "INSERT INTO shop.kinds (id, s) VALUES (2, 'the end')",
        ])
        .await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sources = Sources::servers(&[&source]).await;
    let mut relay = LoneRelay::new(folder.path(), "relay", &sources, &[r#"relay.start = "oldest""#]);
    relay.start_and_wait().await;
    relay.wait_durable(&source.executed().await).await;
    Stage { relay, source, middle: (file, position), has, _folder: folder, _slot: slot }
}

async fn python_client() -> impl Fn(u16, &str, &str, &[&str]) -> Command {
    let folder = pip_packages("mysql-replication", &PYTHON).await;
    let script = folder.join("follow.py");
    fs::write(&script, include_str!("relay_cdc/follow.py")).expect("the cache can be written");
    let python = again(python().await);
    move |port, user, password, args| {
        let mut command = python();
        command
            .env("PYTHONPATH", &folder)
            .arg(&script)
            .arg(port.to_string())
            .args([user, password])
            .args(args);
        command
    }
}

async fn node_client() -> impl Fn(u16, &str, &str, &[&str]) -> Command {
    let folder = npm_package(NODE.0, NODE.1).await;
    let script = folder.join("follow.mjs");
    fs::write(&script, include_str!("relay_cdc/follow.mjs")).expect("the cache can be written");
    let node = again(node().await);
    move |port, user, password, args| {
        let mut command = node();
        command.arg(&script).arg(port.to_string()).args([user, password]).args(args);
        command
    }
}

/// The same program in the same environment, as often as one likes.
fn again(command: Command) -> impl Fn() -> Command {
    move || {
        let mut copy = Command::new(command.get_program());
        for (name, value) in command.get_envs() {
            copy.env(name, value.unwrap_or_default());
        }
        copy
    }
}

/// What the client prints of the source and of the relay, which must be the same; the lines.
async fn of_both(
    stage: &Stage,
    client: &impl Fn(u16, &str, &str, &[&str]) -> Command,
    args: &[&str],
) -> Vec<String> {
    let (user, password) = stage.relay.account();
    let mut printed = Vec::new();
    for mut command in
        [client(stage.source.port(), "root", "", args), client(stage.relay.port(), user, password, args)]
    {
        let said = Finished::of_command(&mut command, SOON).await;
        assert_eq!(said.code, 0, "{args:?}: {said}");
        printed.push(said.out);
    }
    let [source, relay] =
        [&printed[0], &printed[1]].map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    for (line, (source, relay)) in source.iter().zip(&relay).enumerate() {
        assert_eq!(source, relay, "{args:?}: line {line}");
    }
    assert_eq!(source.len(), relay.len(), "{args:?}");
    relay
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_mysql_replication_reads_a_relay_by_position_and_by_gtids_as_it_reads_the_source() {
    let client = python_client().await;
    let stage = stage().await;
    let all = of_both(&stage, &client, &["position", "binlog.000001", "4"]).await;
    assert!(
        all.len() > 100 && all.last().is_some_and(|line| line.contains("the end")),
        "{} lines",
        all.len()
    );
    assert!(all.iter().any(|line| line.contains("ünï")), "columns have their names and values");
    let (file, position) = &stage.middle;
    let rest = of_both(&stage, &client, &["position", file, &position.to_string()]).await;
    assert_eq!(rest, all[all.len() - 4..], "the client moves in the middle, and gets what it lacks");
    let by_gtids = of_both(&stage, &client, &["gtid", &stage.has]).await;
    assert_eq!(by_gtids, rest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zongji_reads_a_relay_by_position_by_gtids_and_live_as_it_reads_the_source() {
    let client = node_client().await;
    let stage = stage().await;
    let all = of_both(&stage, &client, &["position", "binlog.000001", "4"]).await;
    assert!(all.len() > 100, "{} lines", all.len());
    let (file, position) = &stage.middle;
    let rest = of_both(&stage, &client, &["position", file, &position.to_string()]).await;
    assert_eq!(rest, all[all.len() - 4..], "the client moves in the middle, and gets what it lacks");
    let by_gtids = of_both(&stage, &client, &["gtid", &stage.has]).await;
    assert_eq!(by_gtids, rest);
    // Live, from the end on.
    let (user, password) = stage.relay.account();
    let mut command = tokio::process::Command::from(client(stage.relay.port(), user, password, &["end"]));
    let mut child =
        command.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().expect("node starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut next = async || {
        let line = tokio::time::timeout(SOON, lines.next_line()).await.expect("a line in time");
        line.expect("it is text").expect("it has not ended")
    };
    assert_eq!(next().await, "ready");
    // Ready to ask: what is written from now on may come before the dump has begun, and is in it all the same.
    stage.source.run("INSERT INTO shop.kinds (id, s) VALUES (3, 'live')").await;
    assert!(next().await.contains("live"));
    stage.source.run("UPDATE shop.kinds SET s = 'the end' WHERE id = 3").await;
    assert!(next().await.contains("the end"));
    assert!(child.wait().await.expect("it can be waited for").success());
}
