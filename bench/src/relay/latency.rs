//! How soon after its commit at the source a transaction is durable in the relay's log, and at a downstream.
//!
//! From the commit time in the GTID event, which the source takes before it writes the transaction to its binary log:
//! the source's own flush is in every figure, as in that of a reader attached to the source itself. The relay runs in
//! this process, so that the moment of durability needs no question.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use binlog::event::GtidEvent;
use binlog::{Event, EventKind, GtidSet};
use mysql_async::prelude::Queryable;
use relay::{Config, Limits, Relay, Start};
use serde_json::json;
use storage::DurableEnd;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wire::{DumpFlags, EventStream, Secret};

use super::report::{Report, percentile};
use super::{WITHIN, reader};
use crate::stage::{self, PASSWORD, Stage, USER};

const TRANSACTIONS: usize = 2000;
/// Between two transactions: each is alone on its way.
const PACE: Duration = Duration::from_millis(2);

pub(super) async fn run(stage: &Stage, report: &Report) -> Result<()> {
    let source = stage.start("latency", 1)?;
    stage::make_account(&source).await?;
    let mut conn = stage::root(&source).await?;
    conn.query_drop("CREATE DATABASE sbtest").await?;
    conn.query_drop("CREATE TABLE sbtest.t1 (id INT PRIMARY KEY AUTO_INCREMENT, c VARCHAR(200))").await?;
    let has: GtidSet = stage::executed(&mut conn).await?.parse()?;
    let from = reader::options(source.port(), USER, false);

    let relay = Relay::build(config(stage, from.clone())).await?;
    let port = relay.local_addr().port();
    let durable = relay.status().durable();
    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(relay.run(stop.clone()));
    let mut attached = durable.clone();
    tokio::time::timeout(WITHIN, attached.wait_for(|end| end.gtids.contains_all(&has))).await??;
    let direct = reader::dump(&from, &has, DumpFlags::default()).await?;
    let served = reader::dump(&reader::options(port, "link", false), &has, DumpFlags::default()).await?;
    let write = async {
        for n in 0..TRANSACTIONS {
            conn.query_drop(format!("INSERT INTO sbtest.t1 (c) VALUES (REPEAT('x', {}))", n % 200)).await?;
            tokio::time::sleep(PACE).await;
        }
        anyhow::Ok(())
    };
    let all = async { tokio::try_join!(arrivals(direct), flushes(durable, &has), arrivals(served), write) };
    let (direct, durable, served, ()) = tokio::time::timeout(WITHIN, all).await??;
    stop.cancel();
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    tell(&[("to a reader of the source", direct), ("to durable", durable), ("to served", served)], report);
    Ok(())
}

fn config(stage: &Stage, source: wire::ConnectOptions) -> Config {
    Config {
        sync: "bench".into(),
        region: "eu".into(),
        sources: vec![source],
        server_id: 4201,
        start: Start::Oldest,
        semi_sync: false,
        dir: stage.path("latency-relay"),
        retain: Duration::from_secs(3600),
        max_size: u64::MAX,
        listen: "127.0.0.1:0".into(),
        tls: None,
        plain_beyond_loopback: false,
        user: "link".into(),
        password: Secret::new(PASSWORD),
        links: Vec::new(),
        limits: Limits::default(),
    }
}

fn micros() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// How long after its commit each transaction arrived.
async fn arrivals(mut stream: EventStream) -> Result<Vec<u64>> {
    let (mut latencies, mut committed) = (Vec::new(), 0);
    while latencies.len() < TRANSACTIONS {
        let event = Event::new(stream.next().await?.event)?;
        if event.kind().is_gtid() {
            committed = GtidEvent::parse(&event)?.immediate_commit_timestamp;
        }
        if event.kind() == EventKind::Xid {
            latencies.push(micros().saturating_sub(committed));
        }
    }
    Ok(latencies)
}

/// How long after its commit the last transaction of each flush was durable.
async fn flushes(mut durable: watch::Receiver<DurableEnd>, has: &GtidSet) -> Result<Vec<u64>> {
    let (mut latencies, mut seen) = (Vec::new(), 0);
    while seen < TRANSACTIONS as u64 {
        durable.changed().await.context("the relay has ended")?;
        let now = micros();
        let end = durable.borrow_and_update();
        seen = end.gtids.minus(has).count();
        latencies.push(now.saturating_sub(end.commit_timestamp));
    }
    Ok(latencies)
}

fn tell(figures: &[(&str, Vec<u64>)], report: &Report) {
    for (what, latencies) in figures {
        let mut sorted = latencies.clone();
        sorted.sort_unstable();
        let (p50, p99) = (percentile(&sorted, 50), percentile(&sorted, 99));
        report.result(
            &format!("from the source's commit {what}: p50 {p50} µs, p99 {p99} µs ({} times)", sorted.len()),
            &json!({ "bench": "relay_latency", "what": what, "p50_us": p50, "p99_us": p99, "count": sorted.len() }),
        );
    }
}
