//! `mysqlbinlog` prints of a relay what it prints of the source: by position and by GTIDs, as text and raw, to the end
//! and on and on.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use binlog::GtidSet;
use harness::{
    Finished, LoneRelay, Pace, Region, RegionOptions, Slot, Sources, Workload, seed, take_slot, until,
};
use tempfile::TempDir;
use wire::Connection;

use crate::wire_group::root;

const SOON: Duration = Duration::from_secs(60);
const PROTOCOLS: [&str; 2] = ["BINLOG-DUMP-NON-GTIDS", "BINLOG-DUMP-GTIDS"];

/// A source with three files of all kinds of work, and a relay that has them.
struct Stage {
    relay: LoneRelay,
    source: Region,
    folder: TempDir,
    _slot: Slot,
}

async fn stage() -> Stage {
    let slot = take_slot().await;
    let [source] = Region::start_all([RegionOptions { name: "eu", server_id: 1, extra_args: Vec::new() }]);
    work(&source).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sources = Sources::servers(&[&source]).await;
    let mut relay = LoneRelay::new(folder.path(), "relay", &sources, &[r#"relay.start = "oldest""#]);
    relay.start_and_wait().await;
    relay.wait_durable(&source.executed().await).await;
    Stage { relay, source, folder, _slot: slot }
}

async fn work(source: &Region) {
    Workload::prepare_in(source).await;
    let workload = Workload::start_in(&[source], seed(), Pace::Full);
    workload.wait_for_more(50).await;
    source.run("FLUSH BINARY LOGS").await;
    workload.wait_for_more(50).await;
    workload.stop().await;
    source
        .run_all(&[
            "CREATE TABLE shop.more (id INT AUTO_INCREMENT PRIMARY KEY, b LONGBLOB, j JSON)",
            "SET gtid_next = 'AUTOMATIC:a_tag'",
            "INSERT INTO shop.more (j) VALUES ('{\"a\": [1, 2, 3]}')",
            "SET gtid_next = 'AUTOMATIC'",
            "SET binlog_transaction_compression = ON",
            "INSERT INTO shop.more (b) VALUES (REPEAT('compressed', 10000))",
            "SET binlog_transaction_compression = OFF",
            "INSERT INTO shop.more (b) VALUES (REPEAT('large', 1000000))",
            "SET binlog_rows_query_log_events = ON",
            "UPDATE shop.more SET j = JSON_SET(j, '$.a[1]', 5)",
            "FLUSH BINARY LOGS",
            "DELETE FROM shop.more WHERE id = 1",
        ])
        .await;
}

/// What a `mysqlbinlog` printed that ended well.
async fn printed(mut command: Command) -> String {
    let said = Finished::of_command(&mut command, SOON).await;
    assert_eq!(said.code, 0, "{command:?}: {said}");
    comparable(&said.out)
}

/// Artificial rotate events carry the id of the server that sends them, and so another checksum.
fn comparable(text: &str) -> String {
    let line = |line: &str| match line.split_once("Rotate to") {
        Some((head, to)) if head.contains("end_log_pos 0") => format!("artificial: rotate to{to}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// Shows where two texts begin to differ.
fn assert_same(of_source: &str, of_relay: &str, what: &str) {
    let mut pairs = of_source.lines().zip(of_relay.lines()).enumerate();
    if let Some((line, (a, b))) = pairs.find(|(_, (a, b))| a != b) {
        panic!("{what}: line {line} differs:\n  source: {a}\n  relay:  {b}");
    }
    let (a, b) = (of_source.lines().count(), of_relay.lines().count());
    assert_eq!(a, b, "{what}: one ends before the other");
}

/// The same `mysqlbinlog` for the source and the relay.
fn both(stage: &Stage, protocol: &str, args: &[&str]) -> [Command; 2] {
    [stage.source.client("mysqlbinlog"), stage.relay.mysqlbinlog()].map(|mut command| {
        command
            .arg(format!("--read-from-remote-source={protocol}"))
            .arg("--verify-binlog-checksum")
            .args(args);
        command
    })
}

async fn assert_prints_the_same(stage: &Stage, protocol: &str, args: &[&str]) -> String {
    let [source, relay] = both(stage, protocol, args);
    let (source, relay) = (printed(source).await, printed(relay).await);
    assert_same(&source, &relay, &format!("{protocol} {args:?}"));
    source
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysqlbinlog_prints_the_same_text_of_a_relay_and_of_its_source() {
    let stage = stage().await;
    let ends: Vec<(String, u64, String)> = stage
        .source
        .rows("SHOW BINLOG EVENTS IN 'binlog.000002'")
        .await
        .into_iter()
        .map(|(file, at, kind, _, _, _): (String, u64, String, u64, u64, String)| (file, at, kind))
        .collect();
    let middle =
        ends.iter().filter(|(_, _, kind)| kind.starts_with("Gtid")).nth(20).expect("a transaction").1;
    let inside = ends.iter().find(|(_, at, kind)| kind == "Table_map" && *at > middle).expect("rows").1;
    let gtids = some_gtids(&stage.source).await;
    for protocol in PROTOCOLS {
        let all = assert_prints_the_same(&stage, protocol, &["--to-last-log", "-vv", "binlog.000001"]).await;
        assert!(all.contains("rotate to binlog.000003") && all.contains("a_tag"), "{all}");
        assert_prints_the_same(&stage, protocol, &["binlog.000002"]).await;
        let start = format!("--start-position={middle}");
        assert_prints_the_same(&stage, protocol, &[&start, "--to-last-log", "binlog.000002"]).await;
        // In the middle of a transaction too, as a server does.
        let start = format!("--start-position={inside}");
        assert_prints_the_same(&stage, protocol, &[&start, "binlog.000002"]).await;
        let exclude = format!("--exclude-gtids={gtids}");
        assert_prints_the_same(&stage, protocol, &[&exclude, "--to-last-log", "binlog.000001"]).await;
    }
}

/// Some of the first and some in the middle of what the source has.
async fn some_gtids(source: &Region) -> GtidSet {
    let executed = source.executed().await;
    let (sequence, _) = executed.sequences().next().expect("transactions");
    let mut set = GtidSet::new();
    set.insert_run(sequence.clone(), 1, 9);
    set.insert_run(sequence.clone(), 30, 45);
    set
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysqlbinlog_writes_the_same_raw_files_of_a_relay_and_of_its_source() {
    let stage = stage().await;
    for protocol in PROTOCOLS {
        let folders = ["source", "relay"].map(|of| stage.folder.path().join(format!("{protocol}-{of}")));
        for (folder, mut command) in folders.iter().zip(both(&stage, protocol, &[])) {
            std::fs::create_dir(folder).expect("a new folder");
            command.arg("--raw").arg(format!("--result-file={}/", folder.display()));
            command.args(["--to-last-log", "binlog.000001"]);
            printed(command).await;
        }
        for file in ["binlog.000001", "binlog.000002", "binlog.000003"] {
            let [source, relay] =
                folders.each_ref().map(|folder| std::fs::read(folder.join(file)).expect("a raw file"));
            assert!(source == relay, "{protocol}: {file} is not the same");
            assert!(source.len() > 500, "{protocol}: {file} is empty");
        }
        // The finished files are the source's own, byte for byte.
        let own = std::fs::read(stage.source.datadir().join("binlog.000002")).expect("the source's file");
        assert!(std::fs::read(folders[1].join("binlog.000002")).expect("a raw file") == own);
    }
}

/// A `mysqlbinlog --stop-never` whose output is read while it runs.
struct Endless {
    child: tokio::process::Child,
    file: std::path::PathBuf,
}

impl Endless {
    fn start(mut command: Command, file: &Path) -> Self {
        command.args(["--stop-never", "binlog.000001"]);
        let out = std::fs::File::create(file).expect("a new file");
        let mut command = tokio::process::Command::from(command);
        let child =
            command.stdin(Stdio::null()).stdout(out).stderr(Stdio::inherit()).kill_on_drop(true).spawn();
        Self { child: child.expect("mysqlbinlog starts"), file: file.to_owned() }
    }

    async fn wait_for(&mut self, word: &str) -> String {
        until(&format!("mysqlbinlog prints {word}"), SOON, async || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("mysqlbinlog has ended: {status}");
            }
            let text = std::fs::read_to_string(&self.file).unwrap_or_default();
            let text = comparable(&text);
            let found = text.contains(word);
            if found { Ok(text) } else { Err(format!("{} bytes without it", text.len())) }
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysqlbinlog_follows_a_relay_without_end() {
    let stage = stage().await;
    for (n, protocol) in PROTOCOLS.into_iter().enumerate() {
        let [source, relay] = both(&stage, protocol, &["-vv"]);
        let mut source = Endless::start(source, &stage.folder.path().join(format!("{protocol}-source.sql")));
        let mut relay = Endless::start(relay, &stage.folder.path().join(format!("{protocol}-relay.sql")));
        source.wait_for("rotate to binlog.000003").await;
        relay.wait_for("rotate to binlog.000003").await;
        for round in 0..3 {
            let word = format!("live-{n}-{round}");
            stage.source.run(&format!("INSERT INTO shop.more (b) VALUES ('{word}')")).await;
            relay.wait_for(&format!("'{word}'")).await;
        }
        stage.source.run("FLUSH BINARY LOGS").await;
        // The last that both print is an event of its own: what follows it may come in pieces.
        let last = format!("the_end_{n}");
        stage.source.run(&format!("CREATE TABLE shop.{last} (id INT)")).await;
        let (source, relay) = (source.wait_for(&last).await, relay.wait_for(&last).await);
        let whole = |text: &str| text[..text.find(&last).expect("it was found")].to_owned();
        assert_same(&whole(&source), &whole(&relay), protocol);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_begins_in_the_middle_of_a_file_gives_what_it_has_and_refuses_the_rest() {
    let Stage { source, folder, _slot, .. } = stage().await;
    let begin: (String, u64) = log_status(&mut root(&source).await).await;
    let sources = Sources::servers(&[&source]).await;
    let mut relay = LoneRelay::new(folder.path(), "late", &sources, &[r#"relay.start = "now""#]);
    relay.start_and_wait().await;
    source.run("INSERT INTO shop.more (b) VALUES ('late')").await;
    relay.wait_durable(&source.executed().await).await;
    let stage = Stage { relay, source, folder, _slot };
    let start = format!("--start-position={}", begin.1);
    let text = assert_prints_the_same(&stage, PROTOCOLS[0], &[&start, "-v", &begin.0]).await;
    assert!(text.contains("'late'"), "{text}");
    let [_, mut relay] = both(&stage, PROTOCOLS[0], &["--start-position=4", &begin.0]);
    let refused = Finished::of_command(&mut relay, SOON).await;
    refused.assert_failed(1, &[&begin.0, "relay log"]);
    // By GTIDs the missing set is named, in the server's words; who has it gets the rest.
    let [_, mut relay] = both(&stage, PROTOCOLS[1], &[&begin.0]);
    Finished::of_command(&mut relay, SOON).await.assert_failed(1, &["purged required binary logs"]);
    let purged = stage.relay.status().await.expect("a status").text("gtid_purged").to_owned();
    let [_, mut relay] = both(&stage, PROTOCOLS[1], &["-v", &format!("--exclude-gtids={purged}"), &begin.0]);
    let said = Finished::of_command(&mut relay, SOON).await;
    assert!(said.code == 0 && said.out.contains("'late'"), "{said}");
    // A name that neither has.
    let [_, mut relay] = both(&stage, PROTOCOLS[0], &["binlog.000999"]);
    let refused = Finished::of_command(&mut relay, SOON).await;
    refused.assert_failed(1, &["Could not find first log file name", "binlog.000999", &begin.0]);
}

/// `SHOW BINARY LOG STATUS`: file and position.
async fn log_status(connection: &mut Connection) -> (String, u64) {
    let rows = connection.query_rows("SHOW BINARY LOG STATUS").await.unwrap_or_else(|e| panic!("{e}"));
    let row = rows.first().expect("a row");
    (row.text("File").expect("a file"), row.parse("Position").expect("a position"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_shows_the_logs_of_its_source() {
    let Stage { relay, source, folder: _folder, _slot } = stage().await;
    let (mut to_source, mut to_relay) = (root(&source).await, relay.connect().await);
    for query in ["SHOW BINARY LOGS", "SHOW BINARY LOG STATUS"] {
        let [of_source, of_relay] = [
            to_source.query_rows(query).await.unwrap_or_else(|e| panic!("{e}")),
            to_relay.query_rows(query).await.unwrap_or_else(|e| panic!("{e}")),
        ];
        // A server breaks long sets into lines.
        let plain = |rows: &wire::ResultSet| -> Vec<Vec<String>> {
            let text = |bytes: &Option<bytes::Bytes>| {
                bytes.as_ref().map(|b| String::from_utf8_lossy(b).replace('\n', ""))
            };
            rows.rows.iter().map(|row| row.iter().map(|v| text(v).unwrap_or_default()).collect()).collect()
        };
        assert_eq!(plain(&of_source), plain(&of_relay), "{query}");
        let names = |rows: &wire::ResultSet| rows.columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&of_source), names(&of_relay), "{query}");
    }
    // What it does not know it says in an error packet, and goes on.
    for (query, code) in [("SELECT * FROM mysql.user", 1235), ("SELECT @@no_such_thing", 1193)] {
        assert_eq!(to_relay.query_rows(query).await.expect_err("refused").code(), Some(code), "{query}");
    }
    assert_eq!(to_relay.query_rows("SELECT 1").await.expect("an answer").single_text().expect("a text"), "1");
}
