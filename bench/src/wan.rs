//! Across a long distance: 100 ms there and back, 50 Mbit/s. How long a backlog takes, how many bytes cross, and what comes
//! back.
//!
//! MySQL's replica asks for zstd, and so does the link. All that crosses goes through a proxy that counts it.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::duo::{self, Distance, Duo, Way, ZSTD};
use crate::load::Table;
use crate::stage::Stage;
use crate::sync::wait_applied;

#[derive(Args)]
pub(crate) struct Options {
    /// Milliseconds there and back.
    #[arg(long, default_value_t = 100)]
    round_trip: u64,
    /// Megabits a second, each way.
    #[arg(long, default_value_t = 50)]
    megabits: u64,
    /// Seconds of writing, at full speed, while nothing crosses; then it is caught up.
    #[arg(long, default_value_t = 20)]
    outage: u64,
    /// Seconds of writing in both regions, 200 transactions a second in each, for the bytes of a two-way pair.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Pairs of runs.
    #[arg(long, default_value_t = 3)]
    pairs: usize,
    /// Further lines of the links' configuration, with `;` between them.
    #[arg(long, default_value = "")]
    link: String,
}

/// What one side took.
struct Crossed {
    seconds: f64,
    bytes: u64,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let stage = Stage::new()?;
    duo::prepare(&stage).await?;
    for _ in 0..options.pairs {
        let peer = native(&stage, &options, false).await?;
        let own = twinlog(&stage, &options, false).await?;
        report("wan/backlog", &options, &peer, &own);
    }
    for _ in 0..options.pairs {
        let peer = native(&stage, &options, true).await?;
        let own = twinlog(&stage, &options, true).await?;
        report("wan/two_way", &options, &peer, &own);
    }
    Ok(())
}

impl Options {
    fn distance(&self) -> Distance {
        Distance {
            delay: Duration::from_millis(self.round_trip / 2),
            bytes_per_second: Some(self.megabits * 1_000_000 / 8),
        }
    }

    fn link(&self) -> String {
        format!("compression = \"zstd\"\n{}", self.link.replace(';', "\n"))
    }
}

/// Writes in one region at full speed, or in both at a pace.
async fn write(duo: &Duo, options: &Options, both: bool) -> Result<()> {
    if !both {
        let during = Duration::from_secs(options.outage);
        return Table(1).write(duo.eu.port(), 0, during, 8, 1).await.map(drop);
    }
    let during = Duration::from_secs(options.seconds);
    let (here, there) = tokio::join!(
        Table(1).write(duo.eu.port(), 200, during, 8, 1),
        Table(2).write(duo.us.port(), 200, during, 8, 2)
    );
    here?;
    there.map(drop)
}

async fn native(stage: &Stage, options: &Options, both: bool) -> Result<Crossed> {
    let mut duo = Duo::start(stage)?;
    let ways =
        [Way::to(duo.eu.port(), options.distance()).await, Way::to(duo.us.port(), options.distance()).await];
    duo.replicate([Some(ways[0].port()), both.then_some(ways[1].port())], ZSTD).await?;
    if both {
        duo.start_replicas(true).await?;
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    let before = ways[0].proxy.bytes_down() + ways[1].proxy.bytes_down();
    write(&duo, options, both).await?;
    let began = Instant::now();
    if !both {
        duo.start_replicas(false).await?;
    }
    duo.wait_replicated(both).await?;
    let seconds = began.elapsed().as_secs_f64();
    let bytes = settled(&ways).await - before;
    duo.stop();
    Ok(Crossed { seconds, bytes })
}

async fn twinlog(stage: &Stage, options: &Options, both: bool) -> Result<Crossed> {
    let mut duo = Duo::start(stage)?;
    let before = duo.executed().await?;
    let (mut sync, ways) = duo.sync(&stage.path("sync"), options.distance(), &options.link()).await?;
    sync.start("relay", "eu")?;
    sync.start("relay", "us")?;
    let mut applier = sync.start("applier", "eu-us")?;
    if both {
        sync.start("applier", "us-eu")?;
    }
    duo.wait_born(&before, both).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    if !both {
        sync.stop_one(applier);
    }
    let crossed = ways[0].proxy.bytes_down() + ways[1].proxy.bytes_down();
    write(&duo, options, both).await?;
    let own = duo.own(&before).await?;
    let began = Instant::now();
    if !both {
        applier = sync.start("applier", "eu-us")?;
    }
    wait_applied(&duo.us, &own[0], duo::WITHIN).await?;
    if both {
        wait_applied(&duo.eu, &own[1], duo::WITHIN).await?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let bytes = settled(&ways).await - crossed;
    sync.stop_one(applier);
    sync.stop();
    duo.stop();
    Ok(Crossed { seconds, bytes })
}

/// What has crossed once nothing more comes: the echo comes last.
async fn settled(ways: &[Way; 2]) -> u64 {
    let mut last = 0;
    loop {
        let now = ways.iter().map(|way| way.proxy.bytes_down()).sum();
        // Signs of life go on.
        if now < last + 1000 {
            return now;
        }
        last = now;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn report(name: &str, options: &Options, native: &Crossed, twinlog: &Crossed) {
    let times = twinlog.bytes as f64 / native.bytes.max(1) as f64;
    let limit = (options.megabits * 1_000_000 / 8) as f64;
    for (who, crossed) in [("mysql", native), ("twinlog", twinlog)] {
        println!(
            "{name:14} {who:8} {:7.2} s, {:11} bytes crossed, which alone take {:.2} s",
            crossed.seconds,
            crossed.bytes,
            crossed.bytes as f64 / limit
        );
    }
    println!("{name:14} bytes: {times:.2} times MySQL's");
    let one = |c: &Crossed| json!({ "seconds": c.seconds, "bytes": c.bytes });
    println!(
        "{}",
        json!({ "bench": name, "mysql": one(native), "twinlog": one(twinlog), "bytes_times": times })
    );
}
