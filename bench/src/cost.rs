//! What relays and appliers cost: processor time and memory, of each process, over time. Idle first, then at a pace, in both
//! directions. What is flat stays flat from line to line.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::duo::{self, Distance, Duo};
use crate::load::Table;
use crate::relay::process;
use crate::stage::Stage;
use crate::sync::wait_applied;

#[derive(Args)]
pub(crate) struct Options {
    /// Minutes of writing.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Transactions a second in each region.
    #[arg(long, default_value_t = 200)]
    rate: u64,
    /// Seconds of silence before.
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// Seconds between lines.
    #[arg(long, default_value_t = 60)]
    every: u64,
}

/// A process, and what it had cost when it was last looked at.
struct Watched {
    name: &'static str,
    pid: u32,
    cpu: f64,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let stage = Stage::new()?;
    duo::prepare(&stage).await?;
    let mut duo = Duo::start(&stage)?;
    let before = duo.executed().await?;
    let (mut sync, _ways) = duo.sync(&stage.path("sync"), Distance::default(), "").await?;
    let mut watched = Vec::new();
    for (kind, name) in [("relay", "eu"), ("relay", "us"), ("applier", "eu-us"), ("applier", "us-eu")] {
        let pid = sync.start(kind, name)?;
        let name = if kind == "relay" { "relay" } else { "applier" };
        watched.push(Watched { name, pid, cpu: 0.0 });
    }
    duo.wait_born(&before, true).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    look(&mut watched)?;
    tokio::time::sleep(Duration::from_secs(options.idle)).await;
    tell("idle", &look(&mut watched)?, options.idle as f64, 0.0);

    let during = Duration::from_secs(options.minutes * 60);
    let (eu, us) = (duo.eu.port(), duo.us.port());
    let load = async {
        tokio::join!(
            Table(1).write(eu, options.rate, during, 8, 1),
            Table(2).write(us, options.rate, during, 8, 2)
        )
    };
    let watching = async {
        let (began, mut last) = (Instant::now(), 0.0);
        loop {
            tokio::time::sleep(Duration::from_secs(options.every)).await;
            let now = began.elapsed().as_secs_f64();
            let written = 2.0 * options.rate as f64 * (now - last);
            match look(&mut watched) {
                Ok(costs) => tell(&format!("minute {:.0}", now / 60.0), &costs, now - last, written),
                Err(error) => return error,
            }
            last = now;
        }
    };
    tokio::select! {
        (here, there) = load => {
            here?;
            there?;
        }
        error = watching => return Err(error),
    }
    let own = duo.own(&before).await?;
    wait_applied(&duo.us, &own[0], duo::WITHIN).await?;
    wait_applied(&duo.eu, &own[1], duo::WITHIN).await?;
    sync.stop();
    duo.stop();
    Ok(())
}

/// Processor seconds since the last look, and MiB now, of each process.
fn look(watched: &mut [Watched]) -> Result<Vec<(&'static str, f64, u64)>> {
    let mut costs = Vec::new();
    for process in watched {
        let cpu = process::cpu(process.pid)?;
        costs.push((process.name, cpu - process.cpu, process::resident(process.pid)?.0));
        process.cpu = cpu;
    }
    Ok(costs)
}

fn tell(when: &str, costs: &[(&'static str, f64, u64)], seconds: f64, transactions: f64) {
    for (name, cpu, mib) in costs {
        let each = if transactions > 0.0 { cpu / transactions * 1000.0 } else { 0.0 };
        println!(
            "{when:12} {name:8} {cpu:7.2} processor s in {seconds:.0} s, {each:.3} a thousand transactions, {mib} MiB"
        );
        println!(
            "{}",
            json!({ "bench": format!("cost/{when}/{name}"), "cpu": cpu, "seconds": seconds, "cpu_per_1000": each, "mib": mib })
        );
    }
}
