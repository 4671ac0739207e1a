//! Steady state: a pace of writes in one region or in both; how long from a commit in one to the commit in the other.
//!
//! MySQL's own replication (4 workers, in both directions a ring of two) and Twinlog take turns on fresh copies of the same two
//! servers. The times are the servers' own, out of their logs (`times.rs`). Twinlog runs with its defaults: conflicts are
//! found by rows.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use mysql_async::prelude::Queryable;
use serde_json::json;

use crate::duo::{self, Distance, Duo};
use crate::load::Table;
use crate::relay::process;
use crate::stage::{self, Stage};
use crate::times;

#[derive(Args)]
pub(crate) struct Options {
    /// Transactions a second in each region that writes; 0: as many as it takes.
    #[arg(long, default_values_t = [200, 1000, 0])]
    rate: Vec<u64>,
    /// Seconds of each run.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Sessions that write in each region.
    #[arg(long, default_value_t = 8)]
    sessions: u64,
    /// Directions: one, both, or each in turn.
    #[arg(long, value_enum, default_value = "each")]
    directions: Directions,
    /// Pairs of runs.
    #[arg(long, default_value_t = 1)]
    pairs: usize,
    /// Further lines of the links' configuration, with `;` between them.
    #[arg(long, default_value = "")]
    link: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Directions {
    One,
    Both,
    Each,
}

/// What one run came to.
struct Outcome {
    /// Written a second.
    written: f64,
    /// Arrived a second, until all had arrived.
    arrived: f64,
    p50: u64,
    p99: u64,
    max: u64,
    /// Of relays and appliers: processor seconds for a thousand transactions, and MiB at most. None of MySQL's own.
    cost: Option<(f64, u64)>,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let stage = Stage::new()?;
    duo::prepare(&stage).await?;
    let directions = match options.directions {
        Directions::One => &[false][..],
        Directions::Both => &[true],
        Directions::Each => &[false, true],
    };
    for both in directions {
        for rate in &options.rate {
            for _ in 0..options.pairs {
                let native = one(&stage, &options, *rate, *both, false).await?;
                let twinlog = one(&stage, &options, *rate, *both, true).await?;
                report(*rate, *both, &native, &twinlog);
            }
        }
    }
    Ok(())
}

async fn one(stage: &Stage, options: &Options, rate: u64, both: bool, by_twinlog: bool) -> Result<Outcome> {
    let mut duo = Duo::start(stage)?;
    let before = duo.executed().await?;
    let mut running = None;
    if by_twinlog {
        let link = options.link.replace(';', "\n");
        let (mut sync, ways) = duo.sync(&stage.path("sync"), Distance::default(), &link).await?;
        let mut pids = vec![sync.start("relay", "eu")?, sync.start("relay", "us")?];
        pids.push(sync.start("applier", "eu-us")?);
        if both {
            pids.push(sync.start("applier", "us-eu")?);
        }
        duo.wait_born(&before, both).await?;
        running = Some((sync, ways, pids));
    } else {
        duo.replicate([Some(duo.eu.port()), both.then_some(duo.us.port())], "").await?;
        duo.start_replicas(both).await?;
    }
    // Whatever has to begin has begun.
    tokio::time::sleep(Duration::from_secs(2)).await;
    // What the links made for themselves is nobody's transaction.
    let before = if by_twinlog { duo.executed().await? } else { before };
    let cpu = |pids: &[u32]| pids.iter().map(|pid| process::cpu(*pid)).sum::<Result<f64>>();
    let at_first = running.as_ref().map(|(.., pids)| cpu(pids)).transpose()?;
    let began = Instant::now();
    let during = Duration::from_secs(options.seconds);
    let here = Table(1).write(duo.eu.port(), rate, during, options.sessions, 1);
    let there = async {
        if both { Table(2).write(duo.us.port(), rate, during, options.sessions, 2).await } else { Ok(0) }
    };
    let (here, there) = tokio::join!(here, there);
    let written = (here? + there?) as f64;
    let wrote = began.elapsed().as_secs_f64();
    let own = duo.own(&before).await?;
    if by_twinlog {
        crate::sync::wait_applied(&duo.us, &own[0], duo::WITHIN).await?;
        if both {
            crate::sync::wait_applied(&duo.eu, &own[1], duo::WITHIN).await?;
        }
    } else {
        duo.wait_replicated(both).await?;
    }
    let cost = running.as_ref().map(|(.., pids)| -> Result<(f64, u64)> {
        let spent = cpu(pids)? - at_first.unwrap_or_default();
        let memory =
            pids.iter().map(|pid| process::resident(*pid).map(|(_, most)| most)).sum::<Result<u64>>()?;
        Ok((spent / written * 1000.0, memory))
    });
    check_equal(&duo).await?;
    let [eu, us] = duo.executed().await?;
    let at_eu = times::read(duo.eu.port(), &before[0], &eu).await?;
    let at_us = times::read(duo.us.port(), &before[1], &us).await?;
    let took = times::took(&at_eu, &at_us, &own[0]).max(times::took(&at_us, &at_eu, &own[1]));
    let mut latencies = times::latencies(&at_eu, &at_us, &own[0]);
    if both {
        latencies.extend(times::latencies(&at_us, &at_eu, &own[1]));
        latencies.sort_unstable();
    }
    ensure!(!latencies.is_empty(), "no transaction is in both logs");
    if let Some((mut sync, ..)) = running {
        sync.stop();
    }
    duo.stop();
    Ok(Outcome {
        written: written / wrote,
        arrived: written / took,
        p50: times::permille(&latencies, 500),
        p99: times::permille(&latencies, 990),
        max: latencies.last().copied().unwrap_or(0),
        cost: cost.transpose()?,
    })
}

async fn check_equal(duo: &Duo) -> Result<()> {
    for server in [&duo.eu, &duo.us] {
        // Nothing is on its way that the checksums could miss.
        stage::root(server).await?.query_drop("DO 0").await?;
    }
    let (eu, us) = (stage::checksums(&duo.eu, "sbtest").await?, stage::checksums(&duo.us, "sbtest").await?);
    ensure!(eu == us, "the regions differ");
    Ok(())
}

fn report(rate: u64, both: bool, native: &Outcome, twinlog: &Outcome) {
    let name = format!(
        "steady/rate={}/directions={}",
        if rate == 0 { "most".to_owned() } else { rate.to_string() },
        if both { 2 } else { 1 }
    );
    for (who, o) in [("mysql", native), ("twinlog", twinlog)] {
        let cost = o
            .cost
            .map_or(String::new(), |(cpu, mib)| format!("   {cpu:.2} processor s per 1,000, {mib} MiB"));
        println!(
            "{name:34} {who:8} {:6.0}/s written {:6.0}/s arrived   p50 {:6} µs  p99 {:7} µs  max {:8} µs{cost}",
            o.written, o.arrived, o.p50, o.p99, o.max
        );
    }
    let ratio = |twinlog: u64, native: u64| twinlog as f64 / native.max(1) as f64;
    let (p50, p99) = (ratio(twinlog.p50, native.p50), ratio(twinlog.p99, native.p99));
    println!("{name:34} twinlog's latency: {p50:.2} times at p50, {p99:.2} times at p99");
    let one = |o: &Outcome| {
        json!({ "written": o.written, "arrived": o.arrived, "p50_us": o.p50, "p99_us": o.p99, "max_us": o.max,
                "cpu_per_1000": o.cost.map(|c| c.0), "mib": o.cost.map(|c| c.1) })
    };
    println!(
        "{}",
        json!({ "bench": name, "mysql": one(native), "twinlog": one(twinlog), "p50_times": p50, "p99_times": p99 })
    );
}
