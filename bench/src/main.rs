//! Side-by-side benchmarks: a source, a stock MySQL replica and Twinlog on one machine, in one run, with the same
//! durability everywhere. README.md says how to read the results.

mod by_hand;
mod catch_up;
mod copy;
mod cost;
mod duo;
mod growth;
mod link_latency;
mod load;
mod micro;
mod outage;
mod ratio;
mod ratios;
mod relay;
mod stage;
mod steady;
mod sync;
mod times;
mod verify;
mod verify_peer;
mod wan;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Benchmarks of Twinlog against MySQL's own tools.
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A backlog of transactions: MySQL's own replica with 4 workers against relay and applier.
    CatchUp(catch_up::Options),
    /// Tables and rows into an empty server: `mysqldump | mysql` and mydumper with myloader against the initial copy.
    Copy(copy::Options),
    /// From a commit at the source to the same in the target: conflicts found by rows against by keys.
    LinkLatency(link_latency::Options),
    /// The relay: pulling into its durable log against `mysqlbinlog --raw`, and serving from it.
    Relay(relay::Options),
    /// A pace of writes in one region or both: how long from commit to commit, against MySQL's own replication.
    Steady(steady::Options),
    /// Across a long distance: catching up, and how many bytes cross, against a replica that asks for zstd.
    Wan(wan::Options),
    /// The line across is down while applications write: how long until the lag is gone, against MySQL's replica.
    Outage(outage::Options),
    /// Processor time and memory of relays and appliers, idle and at a pace.
    Cost(cost::Options),
    /// How the time to catch up grows with the backlog, the width of rows, the number of tables, and of links.
    Growth(growth::Options),
    /// The hot pieces by themselves.
    Micro(micro::Options),
    /// What two revisions said, held against each other: for `bench/compare`.
    Ratios(ratios::Options),
    /// Comparing a table of two servers: chunks in one thread as pt-table-checksum has them against `twinlog verify`.
    Verify(verify::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::CatchUp(options) => catch_up::run(options).await,
        Command::Copy(options) => copy::run(options).await,
        Command::LinkLatency(options) => link_latency::run(options).await,
        Command::Relay(options) => relay::run(options).await,
        Command::Steady(options) => steady::run(options).await,
        Command::Wan(options) => wan::run(options).await,
        Command::Outage(options) => outage::run(options).await,
        Command::Cost(options) => cost::run(options).await,
        Command::Growth(options) => growth::run(options).await,
        Command::Micro(options) => micro::run(options),
        Command::Ratios(options) => ratios::run(&options),
        Command::Verify(options) => verify::run(options).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
