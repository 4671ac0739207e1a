//! Backlog catch-up: a source is so many transactions ahead; how long until the other side is level?
//!
//! Both sides begin with the same rows and nothing pulled: MySQL's replica with 4 workers, and a relay with an
//! empty log and an applier. Every run ends with the checksums of all tables held against the source's.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use binlog::GtidSet;
use clap::Args;
use mysql_async::prelude::Queryable;
use serde_json::json;
use twinlog::local_mysql::Server;

use crate::by_hand;
use crate::load::{self, Shape};
use crate::ratio::{self, Pair};
use crate::relay::process;
use crate::stage::{self, Stage};
use crate::sync::{Sync, wait_applied};

const WITHIN: Duration = Duration::from_secs(1800);

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Transactions in the backlog.
    #[arg(long, default_value_t = 60_000)]
    transactions: u64,
    /// The shapes of a transaction, one after the other; all five when left out.
    #[arg(long, value_enum)]
    shape: Vec<Shape>,
    /// Pairs of runs.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Sessions that write the backlog at once.
    #[arg(long, default_value_t = 8)]
    sessions: u64,
    /// How Twinlog finds conflicts: by keys, one direction alone, or by rows, with the target's relay beside it; both,
    /// turn by turn, when left out.
    #[arg(long, value_enum)]
    detect: Vec<Detect>,
    /// What it is held against: MySQL's own replica, or Twinlog itself finding conflicts by keys.
    #[arg(long, value_enum, default_value = "native")]
    against: Against,
    /// How many of a hundred rows were changed in the target, and changed back, unseen by the source.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    colliding: u8,
    /// Further lines of the link's configuration, with `;` between them: `workers = 1`, for example.
    #[arg(long, default_value = "")]
    link: String,
    /// Also how long the row events alone take: read beforehand, put together, sent by one session in groups of 1,000.
    #[arg(long)]
    by_hand: bool,
    /// A replica of the target runs beside it, with 4 workers: how long until it is level too?
    #[arg(long)]
    behind: bool,
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
    let all = [
        Shape::OltpWriteOnly,
        Shape::SingleInsert,
        Shape::MultiRowUpdate,
        Shape::WideRow,
        Shape::HundredTables,
    ];
    let shapes = if options.shape.is_empty() { all.to_vec() } else { options.shape.clone() };
    for shape in shapes {
        let backlog = Backlog::prepare(options.clone(), shape).await?;
        backlog.measure().await?;
    }
    Ok(())
}

/// A source with its backlog, and prepared data folders of those that are to catch up.
struct Backlog {
    options: Options,
    shape: Shape,
    stage: Stage,
    source: Server,
    before: String,
    wanted: GtidSet,
    sums: Vec<(String, Option<u64>)>,
}

impl Backlog {
    async fn prepare(options: Options, shape: Shape) -> Result<Self> {
        let stage = Stage::new()?;
        let mut source = stage.start("source", 1)?;
        stage::make_account(&source).await?;
        shape.prepare(&mut stage::root(&source).await?).await?;
        let before = stage::executed(&mut stage::root(&source).await?).await?;
        source.stop();
        stage.copy("source", "replica-base")?;
        stage.copy("source", "target-base")?;
        source = stage.start("source", 1)?;
        begin_link(&stage, &source, &before).await?;

        let began = Instant::now();
        load::run(source.port(), shape, options.transactions, options.sessions, 1).await?;
        let rate = options.transactions as f64 / began.elapsed().as_secs_f64();
        println!(
            "backlog of {} {} transactions written at {rate:.0} a second",
            options.transactions,
            shape.name()
        );
        let wanted: GtidSet = stage::executed(&mut stage::root(&source).await?).await?.parse()?;
        let sums = stage::checksums(&source, "sbtest").await?;
        Ok(Self { options, shape, stage, source, before, wanted, sums })
    }

    async fn measure(&self) -> Result<()> {
        let Options { detect, against, by_hand, .. } = &self.options;
        let detect = if detect.is_empty() { &[Detect::Key, Detect::Row][..] } else { detect };
        let mut pairs: Vec<Vec<Pair>> = vec![Vec::new(); detect.len()];
        let mut alone = Vec::new();
        for _ in 0..self.options.pairs {
            let peer = match against {
                Against::Native => self.native().await?,
                Against::Key => self.twinlog(Detect::Key).await?,
            };
            for (detect, pairs) in detect.iter().zip(&mut pairs) {
                let pair = Pair { peer, twinlog: self.twinlog(*detect).await? };
                ratio::show(&format!("{}, {detect:?}", self.shape.name()).to_lowercase(), &pair);
                pairs.push(pair);
            }
            if *by_hand {
                alone.push(self.by_hand().await?);
            }
        }
        for (detect, pairs) in detect.iter().zip(&pairs) {
            ratio::report(&self.name(*detect), pairs)?;
        }
        if *by_hand {
            println!("{}", json!({ "bench": format!("by_hand/{}", self.shape.name()), "seconds": alone }));
        }
        Ok(())
    }

    fn name(&self, detect: Detect) -> String {
        let Options { transactions, against, colliding, link, .. } = &self.options;
        let shape = self.shape.name();
        let mut name = format!(
            "catch_up/{shape}/transactions={transactions}/detect={detect:?}/against={against:?}/colliding={colliding}"
        )
        .to_lowercase();
        if !link.is_empty() {
            name.push_str(&format!("/{}", link.replace(['\n', ' '], "")));
        }
        name
    }

    async fn native(&self) -> Result<f64> {
        self.stage.copy("replica-base", "replica")?;
        let mut replica = self.stage.start("replica", 2)?;
        let mut conn = stage::root(&replica).await?;
        stage::replicate(&mut conn, self.source.port()).await?;
        let began = Instant::now();
        conn.query_drop("START REPLICA").await?;
        stage::wait_executed(&mut conn, &self.wanted.to_string(), WITHIN).await?;
        let took = began.elapsed().as_secs_f64();
        self.check(&replica, "the replica").await?;
        conn.query_drop("STOP REPLICA").await?;
        conn.disconnect().await?;
        replica.stop();
        Ok(took)
    }

    async fn check(&self, server: &Server, name: &str) -> Result<()> {
        ensure!(stage::checksums(server, "sbtest").await? == self.sums, "{name} differs");
        Ok(())
    }

    async fn twinlog(&self, detect: Detect) -> Result<f64> {
        let Self { stage, source, before, .. } = self;
        stage.copy("target-base", "target")?;
        let mut target = stage.start("target", 3)?;
        let behind = self.start_behind(&target).await?;
        let folder = stage.path("sync");
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        meddle(&target, self.options.colliding).await?;
        let mut sync = match detect {
            Detect::Key => Sync::new(&folder, source.port(), Some(target.port()), before, false)?,
            Detect::Row => Sync::by_rows(&folder, source.port(), target.port(), before)?,
        };
        sync.add_to_link(&self.options.link)?;
        let spent = target.pid().map(process::cpu).transpose()?.unwrap_or_default();
        let began = Instant::now();
        let mut parts = vec![("relay", sync.start_relay()?)];
        if detect == Detect::Row {
            parts.push(("target's relay", sync.start_target_relay()?));
        }
        parts.push(("applier", sync.start_applier()?));
        wait_applied(&target, &self.wanted, WITHIN).await?;
        let took = began.elapsed().as_secs_f64();
        parts.extend(target.pid().map(|pid| ("target", pid)));
        account(&parts, spent, took)?;
        if let Some(mut behind) = behind {
            let level = stage::executed(&mut stage::root(&target).await?).await?;
            stage::wait_executed(&mut stage::root(&behind).await?, &level, WITHIN).await?;
            println!(
                "{:28} level {:.2} s after its source",
                "a replica of the target",
                began.elapsed().as_secs_f64() - took
            );
            self.check(&behind, "the replica of the target").await?;
            behind.stop();
        }
        self.check(&target, "the target").await?;
        sync.stop();
        target.stop();
        Ok(took)
    }

    async fn start_behind(&self, target: &Server) -> Result<Option<Server>> {
        if !self.options.behind {
            return Ok(None);
        }
        self.stage.copy("target-base", "behind")?;
        let behind = self.stage.start("behind", 4)?;
        let mut conn = stage::root(&behind).await?;
        stage::replicate(&mut conn, target.port()).await?;
        conn.query_drop("START REPLICA").await?;
        conn.disconnect().await?;
        Ok(Some(behind))
    }

    async fn by_hand(&self) -> Result<f64> {
        let transactions = by_hand::read(self.source.port(), &self.before, &self.wanted).await?;
        self.stage.copy("target-base", "target")?;
        let mut target = self.stage.start("target", 3)?;
        let began = Instant::now();
        by_hand::apply(target.port(), &transactions, 1000).await?;
        let took = began.elapsed().as_secs_f64();
        println!("{:28} {took:8.2} s", format!("{}, by hand", self.shape.name()));
        self.check(&target, "the target, by hand,").await?;
        target.stop();
        Ok(took)
    }
}

/// Says how much of the processor each process took, of all the cores' time. `before`: what the target, the last, had
/// taken when it began.
fn account(parts: &[(&str, u32)], before: f64, took: f64) -> Result<()> {
    let cores = std::thread::available_parallelism()?.get() as f64;
    let mut shares = serde_json::Map::new();
    for (name, pid) in parts {
        let seconds = process::cpu(*pid)? - if *name == "target" { before } else { 0.0 };
        print!("{name} {:.0} %  ", seconds / took / cores * 100.0);
        shares.insert((*name).to_owned(), json!(seconds));
    }
    println!("of {took:.2} s on {cores} cores");
    println!("{}", json!({ "processor_seconds": shares, "seconds": took }));
    Ok(())
}

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
