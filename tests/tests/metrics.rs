//! `/metrics` of running processes: numbers that move with what flows, in a form that Prometheus takes.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::{Pair, PairOptions, Process, Workload, until};
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
    let rows = "twinlog_link_rows_applied_total{sync=\"shop\",link=\"eu-us\"}";
    let durable = "twinlog_relay_durable_transactions{sync=\"shop\",region=\"eu\"}";
    let (rows_before, durable_before) =
        (value(&page(&pair, link).await, rows), value(&page(&pair, relay).await, durable));
    for id in 0..5 {
        pair.eu.run(&format!("INSERT INTO shop.counter VALUES ({}, 0, 0)", 9000 + id)).await;
    }
    until("five rows are counted", SOON, async || {
        let (at_link, at_relay) = (page(&pair, link).await, page(&pair, relay).await);
        let counted = (value(&at_link, rows) - rows_before, value(&at_relay, durable) - durable_before);
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
    // Where Prometheus's own tool is, it judges the form; a parser as strict is among the unit tests.
    for process in Process::ALL {
        let text = page(&pair, process).await;
        let promtool = std::env::var("PROMTOOL").unwrap_or_else(|_| "promtool".into());
        let started = Command::new(promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut checking) = started else { continue };
        checking.stdin.take().expect("its input").write_all(text.as_bytes()).expect("it reads");
        let said = checking.wait_with_output().expect("it ends");
        let words =
            String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
        assert!(said.status.success() && words.is_empty(), "{}: {words}", process.name());
    }
}
