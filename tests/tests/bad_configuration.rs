//! A configuration file with faults: exit code 2, every fault with its line and key, and nothing started.

use std::time::Duration;

use harness::Finished;

const SHORT: Duration = Duration::from_secs(20);

const GOOD: &str = r#"[sync]
name = "shop"
tables = ["shop.*"]
allow_inline_secrets = true
state_dir = "state"

[region.eu]
mysql.address = "127.0.0.1:1"
mysql.user = "twinlog"
relay.listen = "127.0.0.1:2"
relay.password = "p"

[region.us]
mysql.address = "127.0.0.1:3"
mysql.user = "twinlog"
relay.listen = "127.0.0.1:4"
relay.password = "p"

[link.eu-us]
from = "eu"
to = "us"
"#;

async fn run(text: &str, args: &[&str]) -> Finished {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("twinlog.toml");
    std::fs::write(&path, text).expect("a file can be written");
    let path = path.to_string_lossy().into_owned();
    let mut all = vec![args[0], "-c", &path];
    all.extend(&args[1..]);
    Finished::of(&all, SHORT).await
}

const COMMANDS: [&[&str]; 4] =
    [&["up"], &["relay", "--region", "eu"], &["applier", "--link", "eu-us"], &["status", "--json"]];

#[tokio::test]
async fn an_unknown_key_is_refused_by_every_command_with_its_line_and_the_nearest_key() {
    let text = GOOD.replace("relay.listen = \"127.0.0.1:2\"", "relay.lisen = \"127.0.0.1:2\"");
    for command in COMMANDS {
        run(&text, command).await.assert_failed(2, &["line 10", "region.eu.relay.lisen", "relay.listen"]);
    }
}

#[tokio::test]
async fn all_faults_are_told_at_once() {
    let text =
        GOOD.replace("to = \"us\"", "to = \"uk\"\ngroup = { max_bytes = \"4 bananas\" }\nddl = \"perhaps\"");
    run(&text, COMMANDS[0]).await.assert_failed(
        2,
        &["line 21", "link.eu-us.to", "uk", "line 22", "max_bytes", "4 bananas", "line 23", "link.eu-us.ddl"],
    );
}

#[tokio::test]
async fn a_password_in_the_file_is_refused_and_not_repeated() {
    let text = GOOD
        .replace("allow_inline_secrets = true\n", "")
        .replace("relay.password = \"p\"", "relay.password = \"hush-hush\"");
    let finished = run(&text, COMMANDS[0]).await;
    finished.assert_failed(2, &["relay.password", "password_file"]);
    assert!(!finished.err.contains("hush-hush"), "{finished}");
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    run(GOOD, &["relay", "--region", "uk"]).await.assert_failed(2, &["uk", "eu"]);
    run(GOOD, &["applier", "--link", "us-eu"]).await.assert_failed(2, &["us-eu", "eu-us"]);
    Finished::of(&["up", "-c", "no-such-file.toml"], SHORT).await.assert_failed(2, &["no-such-file.toml"]);
}

#[tokio::test]
async fn a_status_of_what_does_not_run_says_so_and_fails() {
    let finished = run(GOOD, &["status", "--json"]).await;
    assert_eq!(finished.code, 1, "{finished}");
    let status: serde_json::Value = serde_json::from_str(&finished.out).expect("JSON");
    assert_eq!(status["links"][0]["state"], "unreachable", "{finished}");
    assert_ne!(status["links"][0]["last_error"], serde_json::Value::Null, "{finished}");
}
