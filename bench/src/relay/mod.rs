//! The relay beside `mysqlbinlog`: pulling into a durable log (which `mysqlbinlog --raw` does not flush), serving from
//! it, opening it, and how soon a commit is durable and served.
//!
//! All over plain TCP (or TLS, with `--tls`) on loopback, from one source's binary log, in one run.

mod fill;
mod ingest;
mod latency;
mod many;
mod open;
mod peer;
pub(crate) mod process;
mod reader;
mod report;
mod serve;

use std::time::Duration;

use anyhow::Result;
use binlog::GtidSet;
use clap::{Args, ValueEnum};
use twinlog::local_mysql::Server;

use crate::stage::{self, Stage};
use fill::Shape;
use report::Report;

/// For anything that is waited for: a machine that needs longer measures nothing.
const WITHIN: Duration = Duration::from_secs(600);

#[derive(Args)]
pub(crate) struct Options {
    /// Bytes of binary log, MiB.
    #[arg(long, default_value_t = 1024)]
    size: u64,
    /// Pairs of runs.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// The shapes of transactions; all by default.
    #[arg(long, value_enum)]
    shape: Vec<Shape>,
    /// What to measure; all by default.
    #[arg(long, value_enum)]
    part: Vec<Part>,
    /// TLS towards the source, on both sides of a comparison.
    #[arg(long)]
    tls: bool,
    /// Bytes of the log that is opened, MiB.
    #[arg(long, default_value_t = 10 << 10)]
    open_size: u64,
    /// Downstreams at once.
    #[arg(long, default_value_t = 50)]
    downstreams: usize,
    /// One JSON object a line on standard output; what is for people goes to standard error.
    #[arg(long)]
    json: bool,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Pulling a source's binary log into the durable log, against `mysqlbinlog --raw`.
    Ingest,
    /// Serving from the log's files, against `mysqlbinlog` reading the source.
    Serve,
    /// Serving what is being pulled at the same time.
    Tail,
    /// Memory while many downstreams are served.
    Many,
    /// From the source's commit to durable and to served.
    Latency,
    /// Opening a large log.
    Open,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.part.is_empty() || self.part.contains(&part)
    }

    fn shapes(&self) -> Vec<Shape> {
        if self.shape.is_empty() { Shape::value_variants().to_vec() } else { self.shape.clone() }
    }
}

/// A source whose binary log is filled.
struct Filled {
    server: Server,
    shape: Shape,
    /// Bytes of it.
    bytes: u64,
    /// Its transactions.
    gtids: GtidSet,
    tls: bool,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let stage = Stage::new()?;
    let report = Report { json: options.json };
    report.machine()?;
    let from_source = [Part::Ingest, Part::Serve, Part::Tail, Part::Many];
    if from_source.into_iter().any(|part| options.wants(part)) {
        for shape in options.shapes() {
            let mut source = filled(&stage, shape, &options).await?;
            report.say(&format!("{} MiB of {} transactions", source.bytes >> 20, shape.name()));
            if options.wants(Part::Ingest) {
                ingest::run(&stage, &source, options.pairs, &report).await?;
            }
            if options.wants(Part::Serve) {
                serve::from_disk(&stage, &source, options.pairs, &report).await?;
            }
            if options.wants(Part::Tail) {
                serve::live_tail(&stage, &source, options.pairs, &report).await?;
            }
            if options.wants(Part::Many) {
                many::run(&stage, &source, options.downstreams, &report).await?;
            }
            source.server.stop();
            std::fs::remove_dir_all(stage.path(shape.name()))?;
        }
    }
    if options.wants(Part::Latency) {
        latency::run(&stage, &report).await?;
    }
    if options.wants(Part::Open) {
        open::run(&stage, options.open_size << 20, &report)?;
    }
    Ok(())
}

async fn filled(stage: &Stage, shape: Shape, options: &Options) -> Result<Filled> {
    let server = stage.start(shape.name(), 1)?;
    stage::make_account(&server).await?;
    let bytes = fill::fill(&server, shape, options.size << 20).await?;
    let gtids = stage::executed(&mut stage::root(&server).await?).await?.parse()?;
    Ok(Filled { server, shape, bytes, gtids, tls: options.tls })
}
