//! `twinlog log`: what a relay has on disk, seen beside it, over the wire and without it; mended, taken out, purged.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use binlog::GtidSet;
use harness::{Finished, Pair, PairOptions, Process, Region, RegionOptions, installation, until};
use serde_json::Value;

const RELAY: Process = Process::Relay("eu");
const APPLIER: Process = Process::Applier("eu-us");
const SOON: Duration = Duration::from_secs(60);
const TABLE: &str =
    "CREATE TABLE shop.thing (id INT PRIMARY KEY, name VARCHAR(40), size ENUM('s','l'), doc JSON)";

/// A pair whose relay eu runs and has three source files, with a row of its own in each.
async fn three_files() -> Pair {
    let mut pair = Pair::one_way(PairOptions::default()).await;
    pair.configure(|file| file.add_to_region("eu", r#"relay.start = "oldest""#));
    pair.start_one(RELAY);
    write_three_files(&pair).await;
    pair
}

async fn write_three_files(pair: &Pair) {
    pair.eu.run_all(&["CREATE DATABASE shop", TABLE]).await;
    for file in 1..=3 {
        let row =
            format!("INSERT INTO shop.thing VALUES ({file}, 'secret-{file}', 'l', '{{\"n\": {file}}}')");
        pair.eu.run_all(&[&row, "UPDATE shop.thing SET size = 's'", "FLUSH BINARY LOGS"]).await;
    }
    wait_durable(pair).await;
}

/// Waits until the relay has all of its source on disk.
async fn wait_durable(pair: &Pair) {
    let executed: GtidSet = pair.eu.gtid_executed().await.parse().expect("a GTID set");
    until("the relay has everything", SOON, async || {
        let status = pair.try_status().await?.relay("eu")?;
        let durable: GtidSet = status.text("gtid_durable").parse().map_err(|e| format!("{e}"))?;
        if durable.contains_all(&executed) { Ok(()) } else { Err(format!("{durable} of {executed}")) }
    })
    .await;
}

/// Runs `twinlog log WORDS -c FILE --region eu`.
async fn log(pair: &Pair, words: &[&str]) -> Finished {
    let config = pair.config().to_string_lossy().into_owned();
    log_of(&config, words).await
}

async fn log_of(config: &str, words: &[&str]) -> Finished {
    let args = [&["log"], words, &["-c", config, "--region", "eu"]].concat();
    Finished::of(&args, SOON).await
}

async fn json(pair: &Pair, words: &[&str]) -> Value {
    let finished = log(pair, words).await;
    assert_eq!(finished.code, 0, "{words:?}: {finished}");
    serde_json::from_str(&finished.out).unwrap_or_else(|e| panic!("{e}: {finished}"))
}

/// The objects of a run that printed one a line.
fn objects(finished: &Finished) -> Vec<Value> {
    assert_eq!(finished.code, 0, "{finished}");
    let object = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    finished.out.lines().map(object).collect()
}

fn set(value: &Value) -> GtidSet {
    value.as_str().expect("a text").parse().expect("a GTID set")
}

fn transactions(objects: &[Value]) -> GtidSet {
    let begins = objects.iter().filter(|object| object["type"] == "transaction");
    let mut all = GtidSet::new();
    begins.for_each(|begin| all.union_with(&set(&begin["gtid"])));
    all
}

/// What the source's last transaction but `n` was numbered.
async fn gtid_from_the_end(pair: &Pair, n: u64) -> String {
    let executed: GtidSet = pair.eu.gtid_executed().await.parse().expect("a GTID set");
    let (sequence, runs) = executed.sequences().next().expect("a sequence");
    let end = runs.runs().last().expect("a run").1;
    format!("{sequence}:{}", end - 1 - n)
}

/// Where the segment of this number is.
fn segment(pair: &Pair, number: u64) -> PathBuf {
    pair.relay_dir("eu").join(format!("segment-{number:08}.binlog"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_relays_log_is_listed_and_read_beside_it_and_over_the_wire() {
    let pair = three_files().await;
    let listed = json(&pair, &["list", "--json"]).await;
    let segments = listed["segments"].as_array().expect("segments");
    assert!(segments.len() >= 3, "{listed}");
    let mut all = set(&listed["gtid_purged"]);
    for segment in segments {
        all.union_with(&set(&segment["gtids"]));
        assert_eq!(
            segment["held_by"],
            serde_json::json!(["eu-us"]),
            "the link has not been heard: {segment}"
        );
        assert!(segment["bytes"].as_u64() > Some(100), "{segment}");
        let (first, last) = (segment["first_commit"].as_str(), segment["last_commit"].as_str());
        assert!(set(&segment["gtids"]).is_empty() || (first.is_some() && first <= last), "{segment}");
    }
    assert_eq!(all, pair.eu.gtid_executed().await.parse().expect("a GTID set"));
    assert_eq!(all, set(&listed["gtid_durable"]));

    // The last file's insert and update: two transactions, no values unless asked for.
    let (insert, update) = (gtid_from_the_end(&pair, 1).await, gtid_from_the_end(&pair, 0).await);
    let both = format!("{insert},{update}");
    let told = log(&pair, &["events", "--gtids", &both, "--json"]).await;
    assert!(!told.out.contains("secret"), "{told}");
    let told = objects(&told);
    assert_eq!(transactions(&told), both.parse().expect("a GTID set"));
    let rows = told.iter().filter(|event| event["rows"].is_u64()).collect::<Vec<_>>();
    let rows: Vec<_> =
        rows.iter().map(|e| (e["kind"].as_str(), e["table"].as_str(), e["rows"].as_u64())).collect();
    let of = |kind, rows| (Some(kind), Some("shop.thing"), Some(rows));
    assert_eq!(rows, [of("write_rows", 1), of("update_rows", 1)]);
    let with_rows = objects(&log(&pair, &["events", "--gtids", &insert, "--rows", "--json"]).await);
    let values = with_rows.iter().find(|event| event["values"].is_array()).expect("values");
    let row = serde_json::json!({"id": 3, "name": "secret-3", "size": "l", "doc": {"n": 3}});
    assert_eq!(values["values"][0]["after"], row, "{values}");
    let text = log(&pair, &["events", "--since", "1h"]).await;
    for words in ["CREATE TABLE shop.thing (id INT", "write_rows", "shop.thing  1 row", &insert] {
        assert!(text.out.contains(words), "{words}: {text}");
    }
    assert_eq!(
        transactions(&objects(&log(&pair, &["events", "--until", "1h", "--json"]).await)),
        GtidSet::new()
    );
    let beyond = gtid_from_the_end(&pair, 0).await.replace(':', ":1-") + "000";
    let warned = log(&pair, &["events", "--gtids", &beyond, "--json"]).await;
    assert!(warned.err.contains("not in the relay log"), "{warned}");

    // As from another host: its folder is not there, the relay is.
    let elsewhere = pair.file().text().replace("\"relay-eu\"", "\"relay-elsewhere\"");
    let elsewhere = pair.write_file("elsewhere.toml", &elsewhere).to_string_lossy().into_owned();
    let wired = objects(&log_of(&elsewhere, &["events", "--gtids", &both, "--json"]).await);
    let shown = |events: &[Value]| {
        let of = |e: &Value| {
            format!("{} {} {} {} {}", e["gtid"], e["kind"], e["table"], e["rows"], e["source_end"])
        };
        events.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(shown(&wired), shown(&told));
    let wired = log_of(&elsewhere, &["list", "--json"]).await;
    let wired: Value = serde_json::from_str(&wired.out).unwrap_or_else(|e| panic!("{e}: {wired}"));
    assert_eq!(wired["gtid_durable"], listed["gtid_durable"]);
    let files = |list: &Value| {
        let segments = list["segments"].as_array().expect("segments").clone();
        segments.iter().map(|s| (s["file"].to_string(), s["source_end"].as_u64())).collect::<BTreeSet<_>>()
    };
    assert_eq!(files(&wired), files(&listed));
    log_of(&elsewhere, &["check"]).await.assert_failed(1, &["there is no relay log in", "remedy:"]);
    pair.kill9(RELAY);
    log_of(&elsewhere, &["list"]).await.assert_failed(1, &["relay-elsewhere", "remedy:"]);
    let offline = json(&pair, &["list", "--json"]).await;
    assert_eq!(offline["segments"], listed["segments"]);
    let dir = pair.relay_dir("eu").to_string_lossy().into_owned();
    let by_dir = Finished::of(&["log", "list", "--dir", &dir], SOON).await;
    assert_eq!(by_dir.code, 0, "{by_dir}");
    let config = pair.config().to_string_lossy().into_owned();
    Finished::of(&["log", "list", "-c", &config, "--region", "asia"], SOON)
        .await
        .assert_failed(2, &["asia", "eu"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_log_is_told_where_and_is_mended_from_the_source() {
    let pair = three_files().await;
    let sound = json(&pair, &["check", "--json"]).await;
    assert_eq!(sound["sound"], true, "beside the relay: {sound}");
    log(&pair, &["repair"]).await.assert_failed(1, &["in use", "remedy: stop the relay"]);
    pair.kill9(RELAY);
    assert_eq!(json(&pair, &["repair", "--json"]).await["was_damaged"], false);
    let path = segment(&pair, 2);
    let mut bytes = fs::read(&path).expect("a segment");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&path, bytes).expect("a segment");

    let found = log(&pair, &["check"]).await;
    assert_eq!(found.code, 1, "{found}");
    assert!(found.out.contains("DAMAGED at 2:") && found.out.contains("twinlog log repair -c "), "{found}");
    let found = log(&pair, &["check", "--json"]).await;
    let found: Value = serde_json::from_str(&found.out).unwrap_or_else(|e| panic!("{e}: {found}"));
    let at = found["segments"][1]["damaged_at"].as_u64().expect("an offset");
    assert!(usize::try_from(at).is_ok_and(|at| at <= middle), "{at} is behind {middle}: {found}");
    log(&pair, &["events"]).await.assert_failed(1, &["2:", "remedy:"]);

    let repaired = json(&pair, &["repair", "--json"]).await;
    assert_eq!(repaired["was_damaged"], true);
    let aside = PathBuf::from(repaired["aside"].as_str().expect("a folder"));
    assert!(aside.join("segment-00000002.binlog").exists(), "{repaired}");
    assert_eq!(json(&pair, &["check", "--json"]).await["sound"], true);
    pair.start_one(RELAY);
    wait_durable(&pair).await;
    let all = objects(&log(&pair, &["events", "--json"]).await);
    assert_eq!(transactions(&all), pair.eu.gtid_executed().await.parse().expect("a GTID set"));
    assert_eq!(json(&pair, &["check", "--json"]).await["sound"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_replayed_by_mysqlbinlog_into_an_empty_server() {
    let pair = three_files().await;
    let empty = RegionOptions { name: "empty", server_id: 33, extra_args: Vec::new() };
    let [empty] = Region::start_all([empty]);
    let out = pair.folder().join("all.binlog");
    let file = out.to_string_lossy().into_owned();
    let (oldest, newest) = ("1-", gtid_from_the_end(&pair, 2).await);
    let range = newest.replace(':', &format!(":{oldest}"));
    let exported = json(&pair, &["export", "--gtids", &range, "-o", &file, "--json"]).await;
    assert_eq!(set(&exported["gtids"]), range.parse().expect("a GTID set"));
    assert_eq!(exported["bytes"].as_u64(), fs::metadata(&out).ok().map(|meta| meta.len()));
    log(&pair, &["export", "--gtids", &range, "-o", &file])
        .await
        .assert_failed(1, &["there already", "remedy:"]);
    let other = pair.folder().join("other.binlog").to_string_lossy().into_owned();
    log(&pair, &["export", "--until", "1h", "-o", &other])
        .await
        .assert_failed(1, &["no transaction", "remedy:"]);
    let beyond = format!("{range}000");
    log(&pair, &["export", "--gtids", &beyond, "-o", &other])
        .await
        .assert_failed(1, &["not in the relay log"]);
    assert!(!pair.folder().join("other.binlog").exists());

    let mut command = installation().client("mysqlbinlog");
    let read = Finished::of_command(command.arg("--verify-binlog-checksum").arg(&out), SOON).await;
    assert_eq!((read.code, read.err.as_str()), (0, ""), "{read}");
    let sql = pair.write_file("all.sql", &read.out);
    replay(&empty, sql).await;
    let rows: Vec<(i32, String, String)> =
        empty.rows("SELECT id, name, size FROM shop.thing ORDER BY id").await;
    let row = |id: i32| (id, format!("secret-{id}"), "s".to_owned());
    assert_eq!(rows, [row(1), row(2)], "what came before the last file");
    // The rest, by time: what is there already is passed over by its GTID.
    let exported = json(&pair, &["export", "--since", "1h", "-o", &other, "--json"]).await;
    assert!(exported["transactions"].as_u64() > Some(5), "{exported}");
    let mut command = installation().client("mysqlbinlog");
    let read = Finished::of_command(command.arg(&other), SOON).await;
    replay(&empty, pair.write_file("rest.sql", &read.out)).await;
    let rows: i64 = empty.row("SELECT COUNT(*) FROM shop.thing WHERE size = 's'").await;
    assert_eq!(rows, 3);
    let executed: GtidSet = empty.gtid_executed().await.parse().expect("a GTID set");
    assert!(executed.contains_all(&pair.eu.gtid_executed().await.parse().expect("a GTID set")));
}

/// Runs a file of SQL in a region.
async fn replay(region: &Region, sql: PathBuf) {
    let client = region.client("mysql");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("in=\"$1\"; shift; exec \"$@\" <\"$in\"").arg("sh").arg(&sql);
    shell.arg(client.get_program()).args(client.get_args());
    shell.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let replayed = Finished::of_command(&mut shell, SOON).await;
    assert_eq!(replayed.code, 0, "{replayed}");
}

fn assert_nothing_goes(report: &Value) {
    assert_eq!((report["segments"].as_array().map(Vec::len), &report["stays"]), (Some(0), &Value::from(1)));
    assert!(report["why"].as_str().is_some_and(|why| why.contains("eu-us")), "{report}");
}

/// The first three segments are held by no link any more.
async fn wait_acknowledged(pair: &Pair) {
    until("the link has acknowledged the first segments", SOON, async || {
        let listed = json(pair, &["list", "--json"]).await;
        let held = listed["segments"][2]["held_by"].as_array().map(Vec::len);
        if held == Some(0) { Ok(()) } else { Err(listed.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_relay_purges_by_hand_what_its_links_have_and_no_more() {
    let mut pair = Pair::one_way(PairOptions::default()).await;
    pair.configure(|file| file.add_to_region("eu", r#"relay.start = "oldest""#));
    pair.start_one(RELAY);
    write_three_files(&pair).await;
    pair.us.run_all(&["CREATE DATABASE shop", TABLE]).await;
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "running", SOON).await;
    pair.eu.run_all(&["INSERT INTO shop.thing VALUES (9, 'x', 's', NULL)", "FLUSH BINARY LOGS"]).await;
    pair.eu.run("INSERT INTO shop.thing VALUES (10, 'y', 's', NULL)").await;
    wait_durable(&pair).await;
    wait_acknowledged(&pair).await;
    pair.kill9(APPLIER);
    // What is written now, nobody acknowledges.
    pair.eu
        .run_all(&[
            "FLUSH BINARY LOGS",
            "INSERT INTO shop.thing VALUES (11, 'z', 's', NULL)",
            "FLUSH BINARY LOGS",
        ])
        .await;
    pair.eu.run("INSERT INTO shop.thing VALUES (12, 'z', 's', NULL)").await;
    wait_durable(&pair).await;
    let before = json(&pair, &["list", "--json"]).await;
    let all = before["segments"].as_array().expect("segments").clone();
    let first = all[0]["gtids"].as_str().expect("a set");

    let done = json(&pair, &["purge", "--up-to", first, "--json"]).await;
    assert_eq!(done["segments"], serde_json::json!([1]), "{done}");
    let young = json(&pair, &["purge", "--older-than", "1h", "--json"]).await;
    assert_eq!(young["segments"], serde_json::json!([]), "{young}");
    // MySQL's own words, from whoever has the account.
    let mut relay = pair.connect_relay("eu").await;
    let second = all[2]["file"].as_str().expect("a file");
    relay.execute(format!("PURGE BINARY LOGS TO '{second}'")).await.unwrap_or_else(|e| panic!("{e}"));
    let left = json(&pair, &["list", "--json"]).await;
    assert_eq!(left["segments"].as_array().map(Vec::as_slice), Some(&all[2..]));
    let unknown = relay.execute("PURGE BINARY LOGS TO 'binlog.999999'").await.expect_err("no such file");
    assert_eq!(unknown.code(), Some(1373), "{unknown}");
    let newest = all.last().and_then(|s| s["file"].as_str()).expect("a file");
    relay.execute(format!("PURGE BINARY LOGS TO '{newest}'")).await.unwrap_or_else(|e| panic!("{e}"));
    let left = json(&pair, &["list", "--json"]).await;
    let held: Vec<_> = left["segments"].as_array().expect("segments").iter().collect();
    assert!(held.len() >= 2 && held[0]["held_by"] == serde_json::json!(["eu-us"]), "{left}");
    // The link goes on from there.
    pair.start_one(APPLIER);
    until("the link goes on", SOON, async || {
        let rows: Vec<i64> = pair.us.rows("SELECT CAST(id AS SIGNED) FROM shop.thing WHERE id > 8").await;
        if rows.len() == 4 { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
    pair.assert_alive();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purging_by_hand_stops_at_what_the_link_has_not_acknowledged() {
    let mut pair = Pair::one_way(PairOptions::default()).await;
    pair.configure(|file| file.add_to_region("eu", r#"relay.start = "oldest""#));
    pair.start_one(RELAY);
    write_three_files(&pair).await;
    let oldest = ["purge", "--older-than", "0s", "--json"];
    // No link was ever heard: nothing goes, whoever is asked.
    assert_nothing_goes(&json(&pair, &oldest).await);
    pair.kill9(RELAY);
    assert_nothing_goes(&json(&pair, &oldest).await);

    pair.start_one(RELAY);
    pair.us.run_all(&["CREATE DATABASE shop", TABLE]).await;
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "running", SOON).await;
    pair.eu.run_all(&["INSERT INTO shop.thing VALUES (9, 'x', 's', NULL)", "FLUSH BINARY LOGS"]).await;
    pair.eu.run("INSERT INTO shop.thing VALUES (10, 'y', 's', NULL)").await;
    wait_durable(&pair).await;
    wait_acknowledged(&pair).await;
    pair.kill9(APPLIER);
    pair.kill9(RELAY);

    let before = json(&pair, &["list", "--json"]).await;
    let all = before["segments"].as_array().expect("segments").clone();
    let (first, second) =
        (all[0]["gtids"].as_str().expect("a set"), all[1]["gtids"].as_str().expect("a set"));
    let young = json(&pair, &["purge", "--older-than", "1h", "--dry-run", "--json"]).await;
    assert_eq!(young["segments"], serde_json::json!([]), "{young}");
    // Only the first, though the second is acknowledged too.
    let dry = json(&pair, &["purge", "--up-to", first, "--dry-run", "--json"]).await;
    assert_eq!(dry["segments"], serde_json::json!([1]), "{dry}");
    assert_eq!(json(&pair, &["list", "--json"]).await["segments"], before["segments"], "a dry run");
    let done = json(&pair, &["purge", "--up-to", first, "--json"]).await;
    assert_eq!((&done["segments"], &done["gtids"]), (&dry["segments"], &dry["gtids"]));
    let after = json(&pair, &["list", "--json"]).await;
    assert_eq!(after["segments"].as_array().map(Vec::as_slice), Some(&all[1..]));
    assert_eq!(set(&after["gtid_purged"]), first.parse().expect("a GTID set"));
    log(&pair, &["export", "--gtids", first, "-o", "never.binlog"])
        .await
        .assert_failed(1, &["not in the relay log"]);

    let dry = json(&pair, &["purge", "--older-than", "0s", "--dry-run", "--json"]).await;
    let done = json(&pair, &oldest).await;
    assert_eq!(done["segments"], dry["segments"]);
    assert!(done["segments"].as_array().is_some_and(|gone| !gone.is_empty()), "{done}");
    assert!(set(&done["gtids"]).contains_all(&second.parse().expect("a GTID set")));
    assert_eq!(json(&pair, &["check", "--json"]).await["sound"], true);
    // Nothing that the link needs has gone.
    pair.start_one(RELAY);
    pair.start_one(APPLIER);
    pair.eu.run("INSERT INTO shop.thing VALUES (11, 'z', 's', NULL)").await;
    until("the link goes on", SOON, async || {
        let rows: Vec<i64> = pair.us.rows("SELECT CAST(id AS SIGNED) FROM shop.thing WHERE id > 8").await;
        if rows.len() == 3 { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
}
