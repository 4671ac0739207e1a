//! Side-by-side benchmarks: a source, a stock MySQL replica and Twinlog on one machine, in one run, with the same
//! durability everywhere. README.md says how to read the results.

mod by_hand;
mod catch_up;
mod link_latency;
mod load;
mod ratio;
mod relay;
mod stage;
mod sync;
mod verify;
mod verify_peer;

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
    /// From a commit at the source to the same in the target: conflicts found by rows against by keys.
    LinkLatency(link_latency::Options),
    /// The relay: pulling into its durable log against `mysqlbinlog --raw`, and serving from it.
    Relay(relay::Options),
    /// Comparing a table of two servers: chunks in one thread as pt-table-checksum has them against `twinlog verify`.
    Verify(verify::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::CatchUp(options) => catch_up::run(options).await,
        Command::LinkLatency(options) => link_latency::run(options).await,
        Command::Relay(options) => relay::run(options).await,
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
