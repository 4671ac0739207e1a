//! Backlog catch-up: a source is so many transactions ahead; how long until the other side is level?
//!
//! Both sides begin with the same rows and nothing pulled: MySQL's replica with 4 workers, and a relay with an
//! empty log and an applier. Every run ends with the checksums of all tables held against the source's.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use binlog::GtidSet;
use clap::Args;
use mysql_async::prelude::Queryable;
use twinlog::local_mysql::Server;

use crate::load::{self, Shape};
use crate::ratio::{self, Pair};
use crate::stage::{self, PASSWORD, Stage, USER};
use crate::sync::{Sync, wait_applied};

const WITHIN: Duration = Duration::from_secs(1800);

#[derive(Args)]
pub(crate) struct Options {
    /// Transactions in the backlog.
    #[arg(long, default_value_t = 60_000)]
    transactions: u64,
    /// The shape of a transaction.
    #[arg(long, value_enum, default_value = "oltp-write-only")]
    shape: Shape,
    /// Pairs of runs.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Sessions that write the backlog at once.
    #[arg(long, default_value_t = 8)]
    sessions: u64,
    /// How Twinlog finds conflicts: by keys, one direction alone, or by rows, with the target's relay beside it.
    #[arg(long, value_enum, default_value = "key")]
    detect: Detect,
    /// What it is held against: MySQL's own replica, or Twinlog itself finding conflicts by keys.
    #[arg(long, value_enum, default_value = "native")]
    against: Against,
    /// How many of a hundred rows were changed in the target, and changed back, unseen by the source.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    colliding: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Detect {
    Key,
    Row,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Against {
    Native,
    Key,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let stage = Stage::new()?;
    let mut source = stage.start("source", 1)?;
    stage::make_account(&source).await?;
    options.shape.prepare(&mut stage::root(&source).await?).await?;
    let before = stage::executed(&mut stage::root(&source).await?).await?;
    source.stop();
    stage.copy("source", "replica-base")?;
    stage.copy("source", "target-base")?;
    source = stage.start("source", 1)?;
    begin_link(&stage, &source, &before).await?;

    let began = Instant::now();
    load::run(source.port(), options.shape, options.transactions, options.sessions, 1).await?;
    let rate = options.transactions as f64 / began.elapsed().as_secs_f64();
    println!(
        "backlog of {} {} transactions written at {rate:.0} a second",
        options.transactions,
        options.shape.name()
    );
    let wanted: GtidSet = stage::executed(&mut stage::root(&source).await?).await?.parse()?;
    let sums = stage::checksums(&source, "sbtest").await?;

    let mut pairs = Vec::new();
    for _ in 0..options.pairs {
        let run = |detect| twinlog(&stage, &source, &before, &wanted, &sums, detect, options.colliding);
        let peer = match options.against {
            Against::Native => native(&stage, &source, &wanted, &sums).await?,
            Against::Key => run(Detect::Key).await?,
        };
        let twinlog = run(options.detect).await?;
        let pair = Pair { peer, twinlog };
        ratio::show(options.shape.name(), &pair);
        pairs.push(pair);
    }
    let name = format!(
        "catch_up/{}/transactions={}/detect={:?}/against={:?}/colliding={}",
        options.shape.name(),
        options.transactions,
        options.detect,
        options.against,
        options.colliding
    );
    ratio::report(&name.to_lowercase(), &pairs)
}

type Sums = [(String, Option<u64>)];

/// Lets a link be born on the target's base, so that each run begins at the same place.
async fn begin_link(stage: &Stage, source: &Server, before: &str) -> Result<()> {
    let mut target = stage.start("target-base", 3)?;
    let mut sync = Sync::new(&stage.path("birth"), source.port(), Some(target.port()), before, false)?;
    sync.start_relay()?;
    sync.start_applier()?;
    wait_applied(&target, &before.parse()?, Duration::from_secs(60)).await?;
    sync.stop();
    target.stop();
    Ok(())
}

async fn native(stage: &Stage, source: &Server, wanted: &GtidSet, sums: &Sums) -> Result<f64> {
    stage.copy("replica-base", "replica")?;
    let mut replica = stage.start("replica", 2)?;
    let mut conn = stage::root(&replica).await?;
    conn.query_drop(format!(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={}, SOURCE_USER='{USER}', \
         SOURCE_PASSWORD='{PASSWORD}', SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1",
        source.port()
    ))
    .await?;
    let began = Instant::now();
    conn.query_drop("START REPLICA").await?;
    let waited: Option<i64> = conn
        .exec_first("SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)", (wanted.to_string(), WITHIN.as_secs()))
        .await?;
    let took = began.elapsed().as_secs_f64();
    ensure!(waited == Some(0), "the replica did not catch up");
    ensure!(stage::checksums(&replica, "sbtest").await? == sums, "the replica differs");
    conn.query_drop("STOP REPLICA").await?;
    conn.disconnect().await?;
    replica.stop();
    Ok(took)
}

/// Changes this many of a hundred rows of every table and changes them back: the rows are as they were, and their keys
/// are written in the target unseen by the source.
async fn meddle(target: &Server, percent: u8) -> Result<()> {
    if percent == 0 {
        return Ok(());
    }
    let mut conn = stage::root(target).await?;
    let tables: Vec<String> =
        conn.query("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'sbtest'").await?;
    for table in tables {
        for change in ["k + 1", "k - 1"] {
            let update = format!("UPDATE sbtest.{table} SET k = {change} WHERE id % 100 < {percent}");
            conn.query_drop(update).await?;
        }
    }
    Ok(conn.disconnect().await?)
}

async fn twinlog(
    stage: &Stage,
    source: &Server,
    before: &str,
    wanted: &GtidSet,
    sums: &Sums,
    detect: Detect,
    colliding: u8,
) -> Result<f64> {
    stage.copy("target-base", "target")?;
    let mut target = stage.start("target", 3)?;
    let folder = stage.path("sync");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    meddle(&target, colliding).await?;
    let mut sync = match detect {
        Detect::Key => Sync::new(&folder, source.port(), Some(target.port()), before, false)?,
        Detect::Row => Sync::by_rows(&folder, source.port(), target.port(), before)?,
    };
    let began = Instant::now();
    sync.start_relay()?;
    if detect == Detect::Row {
        sync.start_target_relay()?;
    }
    sync.start_applier()?;
    wait_applied(&target, wanted, WITHIN).await?;
    let took = began.elapsed().as_secs_f64();
    ensure!(stage::checksums(&target, "sbtest").await? == sums, "the target differs");
    sync.stop();
    target.stop();
    Ok(took)
}
