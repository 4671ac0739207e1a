//! The line across is down for a while, and applications write on. How long from its return until the lag is gone, while they still
//! write; the line has 100 ms there and back and 50 Mbit/s, and both sides pack with zstd.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;
use twinlog::local_mysql::Server;

use crate::duo::{self, Distance, Duo, Way, ZSTD};
use crate::load::Table;
use crate::stage::{self, Stage};
use crate::sync::wait_applied;

/// A lag below this is none: what is committed now is there within it.
const NO_LAG: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(crate) struct Options {
    /// Minutes that the line is down.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Transactions a second, before and after its return.
    #[arg(long, default_value_t = 200)]
    rate: u64,
    /// Milliseconds there and back.
    #[arg(long, default_value_t = 100)]
    round_trip: u64,
    /// Megabits a second, each way.
    #[arg(long, default_value_t = 50)]
    megabits: u64,
}

/// Who brings the transactions across.
#[derive(Clone, Copy)]
enum By {
    Replica,
    Link,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let stage = Stage::new()?;
    duo::prepare(&stage).await?;
    let native = seconds(&stage, &options, By::Replica).await?;
    let twinlog = seconds(&stage, &options, By::Link).await?;
    let times = native / twinlog;
    println!(
        "outage of {} min at {}/s: lag gone after {native:.1} s with MySQL's replica, {twinlog:.1} s with twinlog: {times:.2} times",
        options.minutes, options.rate
    );
    println!(
        "{}",
        json!({ "bench": "outage", "minutes": options.minutes, "rate": options.rate,
                "mysql_seconds": native, "twinlog_seconds": twinlog, "times": times })
    );
    Ok(())
}

/// Seconds from the line's return until the lag is gone.
async fn seconds(stage: &Stage, options: &Options, by: By) -> Result<f64> {
    let distance = Distance {
        delay: Duration::from_millis(options.round_trip / 2),
        bytes_per_second: Some(options.megabits * 1_000_000 / 8),
    };
    let mut duo = Duo::start(stage)?;
    let before = duo.executed().await?;
    let down = Duration::from_secs(options.minutes * 60);
    let load = Table(1).write(duo.eu.port(), options.rate, down + duo::WITHIN, 8, 1);
    let seconds = match by {
        By::Replica => {
            let way = Way::to(duo.eu.port(), distance).await;
            duo.replicate([Some(way.port()), None], ZSTD).await?;
            let crossing = async {
                tokio::time::sleep(down).await;
                let began = Instant::now();
                duo.start_replicas(false).await?;
                until_no_lag(&duo.eu, &duo.us, by, began).await
            };
            beside(load, crossing).await?
        }
        By::Link => {
            let folder = stage.path("sync");
            let (mut sync, _ways) = duo.sync(&folder, distance, "compression = \"zstd\"").await?;
            sync.start("relay", "eu")?;
            sync.start("relay", "us")?;
            let applier = sync.start("applier", "eu-us")?;
            duo.wait_born(&before, false).await?;
            sync.stop_one(applier);
            let crossing = async {
                tokio::time::sleep(down).await;
                let began = Instant::now();
                sync.start("applier", "eu-us")?;
                until_no_lag(&duo.eu, &duo.us, by, began).await
            };
            beside(load, crossing).await?
        }
    };
    duo.stop();
    Ok(seconds)
}

/// What crosses, while applications write.
async fn beside(
    load: impl Future<Output = Result<u64>>,
    crossing: impl Future<Output = Result<f64>>,
) -> Result<f64> {
    tokio::select! {
        seconds = crossing => seconds,
        written = load => bail!("the lag was still there after {} transactions", written?),
    }
}

async fn until_no_lag(source: &Server, target: &Server, by: By, began: Instant) -> Result<f64> {
    let mut asked = stage::root(source).await?;
    loop {
        let wanted = stage::executed(&mut asked).await?;
        let since = Instant::now();
        let has = match by {
            By::Replica => stage::wait_executed(&mut stage::root(target).await?, &wanted, duo::WITHIN).await,
            By::Link => wait_applied(target, &wanted.parse()?, duo::WITHIN).await,
        };
        has?;
        if since.elapsed() < NO_LAG {
            return Ok(began.elapsed().as_secs_f64());
        }
    }
}
