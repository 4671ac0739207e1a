//! What processes log: one line per change of state, in fields, and nothing of what applications wrote or of secrets.

use std::time::Duration;

use harness::{Pair, PairOptions, Process, TwinlogProcess, twinlog, until};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

/// What only applications know. It is in rows, in a unique key, and in what a server says when that is there already.
const VALUE: &str = "VALUE-8d1f0c";

/// The most that can be asked for, as JSON.
fn verbose(pair: &Pair, process: Process) -> TwinlogProcess {
    let (command, option, name) = match process {
        Process::Relay(region) => ("relay", "--region", region),
        Process::Applier(link) => ("applier", "--link", link),
    };
    let mut line = twinlog();
    line.args([command, option, name, "--log-format", "json", "--log-level", "trace", "-c"])
        .arg(pair.config());
    TwinlogProcess::start(&process.name(), &mut line, &pair.folder().join(format!("{}.log", process.name())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_tell_states_in_fields_and_hold_neither_rows_nor_secrets() {
    let pair = Pair::new(PairOptions::default()).await;
    let table =
        "CREATE TABLE shop.stock (id VARCHAR(40) PRIMARY KEY, code VARCHAR(40), UNIQUE KEY code (code))";
    for region in [&pair.eu, &pair.us] {
        region.run_all(&["CREATE DATABASE IF NOT EXISTS shop", table]).await;
    }
    let running: Vec<TwinlogProcess> = Process::ALL.map(|process| verbose(&pair, process)).into();
    pair.wait_running().await;
    pair.eu.run(&format!("INSERT INTO shop.stock VALUES ('{VALUE}-1', '{VALUE}-a')")).await;
    pair.wait_in_step(SOON).await;
    // A unique key is taken in us: the server's message names it. A row is missing in eu: the error names its key.
    for region in [&pair.eu, &pair.us] {
        let row = format!("INSERT INTO shop.stock VALUES ('{VALUE}-{0}', '{VALUE}-{0}-code')", region.name());
        region.run_all(&["SET sql_log_bin = 0", &row]).await;
    }
    pair.eu.run(&format!("INSERT INTO shop.stock VALUES ('{VALUE}-c', '{VALUE}-us-code')")).await;
    pair.wait_state("eu-us", "failed", SOON).await;
    pair.us.run(&format!("UPDATE shop.stock SET code = '{VALUE}-d' WHERE id = '{VALUE}-us'")).await;
    pair.wait_state("us-eu", "failed", SOON).await;

    let secret = std::fs::read_to_string(pair.folder().join("secret")).expect("the password's file");
    for process in &running {
        let log = process.log();
        assert!(!log.contains(VALUE), "a value of a row is in a log: {}", line_with(&log, VALUE));
        assert!(!log.contains(secret.trim()), "a password is in a log: {}", line_with(&log, secret.trim()));
        for line in log.lines() {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            for field in ["process", "timestamp", "level", "target", "message"] {
                assert!(event[field].is_string(), "no {field}: {line}");
            }
        }
    }
    let applier = running[2].log();
    let states: Vec<String> = events(&applier, "link state").iter().map(|e| text(e, "state")).collect();
    assert_eq!(states.first().map(String::as_str), Some("catching-up"), "{states:?}");
    assert_eq!(states.last().map(String::as_str), Some("failed"), "{states:?}");
    assert!(states.windows(2).all(|two| two[0] != two[1]), "a line per change: {states:?}");
    assert!(events(&applier, "link state").iter().all(|e| text(e, "link") == "eu-us"), "{applier}");
    let relay = events(&running[0].log(), "relay state");
    assert!(relay.iter().all(|e| text(e, "region") == "eu") && !relay.is_empty(), "{relay:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_again_and_again_is_said_a_few_times_only() {
    let pair = Pair::new(PairOptions::default()).await;
    pair.start().await;
    pair.kill9(Process::Relay("eu"));
    let interrupted = |pair: &Pair| pair.log(Process::Applier("eu-us")).matches("link interrupted").count();
    until("it has tried many times", SOON, async || {
        let status = pair.try_status().await?.link("eu-us")?;
        let since = status.json()["error"]["since"].as_f64().unwrap_or(f64::MAX);
        let tried =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs_f64();
        if tried - since > 8.0 { Ok(()) } else { Err(format!("{}", status.json())) }
    })
    .await;
    // At the start it tries ten times in so many seconds; errors of different steps are different ones.
    assert!((1..=12).contains(&interrupted(&pair)), "{}", pair.log(Process::Applier("eu-us")));
}

fn events(log: &str, message: &str) -> Vec<Value> {
    let all = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    all.filter(|event| event["message"] == message).collect()
}

fn text(event: &Value, field: &str) -> String {
    event[field].as_str().unwrap_or_default().to_owned()
}

fn line_with<'a>(log: &'a str, word: &str) -> &'a str {
    log.lines().find(|line| line.contains(word)).unwrap_or_default()
}
