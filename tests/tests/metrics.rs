//! `/metrics` of running processes: numbers that move with what flows, in a form that Prometheus takes.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::{Pair, PairOptions, Process, Workload, debian_program, until};
use mysql_async::prelude::Queryable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SOON: Duration = Duration::from_secs(60);

/// What a process of the pair answers, found as `status` finds it: by what it published.
async fn page(pair: &Pair, process: Process) -> String {
    let published = pair.folder().join("state").join(format!("{}.admin", process.name()));
    let text = std::fs::read_to_string(&published).unwrap_or_else(|e| panic!("{}: {e}", published.display()));
    let address = text.split(|c: char| c.is_whitespace() || c == '"').find(|w| w.starts_with("127.0.0.1:"));
    let address = address.unwrap_or_else(|| panic!("no address in {text}"));
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    body.to_owned()
}

fn value(page: &str, series: &str) -> f64 {
    let line =
        page.lines().find_map(|l| l.strip_prefix(series)).unwrap_or_else(|| panic!("no {series} in {page}"));
    line.trim().parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_follow_what_flows_and_fall_still_with_it() {
    let pair = Pair::new(PairOptions::default()).await;
    Workload::prepare(&pair).await;
    pair.start().await;
    let (link, relay) = (Process::Applier("eu-us"), Process::Relay("eu"));
    let rows =
        "twinlog_link_rows_applied_total{sync=\"shop\",link=\"eu-us\",table=\"shop.counter\",op=\"insert\"}";
    let durable = "twinlog_relay_durable_transactions{sync=\"shop\",region=\"eu\"}";
    let durable_before = value(&page(&pair, relay).await, durable);
    for id in 0..5 {
        pair.eu.run(&format!("INSERT INTO shop.counter VALUES ({}, 0, 0)", 9000 + id)).await;
    }
    until("five rows are counted", SOON, async || {
        let (at_link, at_relay) = (page(&pair, link).await, page(&pair, relay).await);
        // A series begins with the first row.
        let inserted = if at_link.contains(rows) { value(&at_link, rows) } else { 0.0 };
        let counted = (inserted, value(&at_relay, durable) - durable_before);
        let lag = value(&at_link, "twinlog_link_lag_seconds{sync=\"shop\",link=\"eu-us\"}");
        if counted.0 == 5.0 && counted.1 >= 5.0 && lag == 0.0 {
            Ok(())
        } else {
            Err(format!("{counted:?}, lag {lag}"))
        }
    })
    .await;
    let at_relay = page(&pair, relay).await;
    assert_eq!(value(&at_relay, "twinlog_relay_state{sync=\"shop\",region=\"eu\",state=\"running\"}"), 1.0);
    assert!(value(&at_relay, "twinlog_relay_downstreams{sync=\"shop\",region=\"eu\"}") >= 1.0);
    assert!(value(&at_relay, "process_resident_memory_bytes{sync=\"shop\",region=\"eu\"}") > 1e6);
    for process in Process::ALL {
        promtool_takes(&page(&pair, process).await, &process.name()).await;
    }
    lag_is_true(&pair).await;
}

/// Asserts that Prometheus's own tool has nothing to say of a page.
pub(crate) async fn promtool_takes(text: &str, whose: &str) {
    let mut checking = Command::new(promtool().await)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    checking.stdin.take().expect("its input").write_all(text.as_bytes()).expect("it reads");
    let said = checking.wait_with_output().expect("it ends");
    let words = String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success() && words.is_empty(), "{whose}: {words}");
}

/// Prometheus's own tool, from its package.
async fn promtool() -> PathBuf {
    let found = tokio::task::spawn_blocking(|| debian_program("prometheus", "usr/bin/promtool")).await;
    found.expect("promtool is found")
}

/// Nothing is written: lag is nothing, and nothing is written for it to be known. A relay is lost: nobody knows, and it
/// grows although nothing waits. It is back, and writes go on: nothing again.
async fn lag_is_true(pair: &Pair) {
    let link = Process::Applier("us-eu");
    let lag =
        async || value(&page(pair, link).await, "twinlog_link_lag_seconds{sync=\"shop\",link=\"us-eu\"}");
    let behind = "twinlog_link_lag_transactions{sync=\"shop\",link=\"us-eu\"}";
    let idle = async |what: &str| {
        until(what, SOON, async || {
            let page = page(pair, link).await;
            if page.contains(behind) && value(&page, behind) == 0.0 && lag().await == 0.0 {
                Ok(())
            } else {
                Err(page)
            }
        })
        .await;
    };
    idle("an idle link knows that it is in step").await;
    pair.wait_quiet(Duration::from_secs(6), SOON).await;
    pair.kill9(Process::Relay("us"));
    until("the lag of a link without its relay grows", SOON, async || {
        let lag = lag().await;
        // Longer than a question may take.
        if lag > 12.0 { Ok(()) } else { Err(format!("{lag}")) }
    })
    .await;
    assert!(!page(pair, link).await.contains(behind), "nobody knows how many transactions it lacks");
    pair.start_one(Process::Relay("us"));
    pair.us.run("INSERT INTO shop.counter VALUES (9100, 0, 0)").await;
    idle("it is in step again").await;

    // The link is there and so is its relay, and it can't get on: somebody holds the row.
    let mut holder = pair.eu.connect().await;
    for statement in ["BEGIN", "SELECT * FROM shop.counter WHERE id = 9100 FOR UPDATE"] {
        holder.query_drop(statement).await.expect("the row can be held");
    }
    pair.us.run("UPDATE shop.counter SET n = n + 1 WHERE id = 9100").await;
    until("the lag of a link that is stuck grows", SOON, async || {
        let lag = lag().await;
        if lag > 4.0 { Ok(()) } else { Err(format!("{lag}")) }
    })
    .await;
    holder.query_drop("ROLLBACK").await.expect("the row can be let go");
    idle("it has got on").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerting_rules_fire_when_they_must_and_the_dashboard_asks_for_metrics_there_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring");
    let promtool = promtool().await;
    for (command, file) in [("check", "alerts.yml"), ("test", "alerts_test.yml")] {
        let said = Command::new(&promtool).args([command, "rules", file]).current_dir(&folder).output();
        let said = said.expect("promtool runs");
        let words =
            String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{file}: {words}");
    }
    // Every metric that the dashboard or a rule asks for is one that the source of /metrics names.
    let source = include_str!("../../twinlog/src/admin/metrics.rs");
    let grafana = std::fs::read_to_string(folder.join("grafana.json")).expect("the dashboard");
    let dashboard: serde_json::Value = serde_json::from_str(&grafana).expect("the dashboard is JSON");
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() > 10));
    let rules = std::fs::read_to_string(folder.join("alerts.yml")).expect("the rules");
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let mut asked = BTreeSet::new();
    for text in [&grafana, &rules] {
        for (at, _) in text.match_indices("twinlog_") {
            asked.insert(text[at..].chars().take_while(|c| is_name(*c)).collect::<String>());
        }
    }
    for name in &asked {
        let plain = name.trim_end_matches("_bucket");
        let counted = plain.strip_prefix("twinlog_link_").and_then(|n| n.strip_suffix("_total"));
        let named = source.contains(&format!("\"{plain}\""))
            || counted.is_some_and(|n| source.contains(&format!("(\"{n}\"")));
        assert!(named, "no metric is called {name}");
    }
}
