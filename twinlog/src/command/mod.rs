//! The commands, one file each.

mod applier;
mod check;
mod conflicts;
mod console;
mod copy_line;
mod demo;
mod link;
mod log;
mod manual;
mod relay;
mod reload;
mod service;
mod status;
mod up;
mod verify;

use std::process::ExitCode;

use twinlog::config::{self, File};

use crate::cli::{Cli, Command, FileArgs};
use crate::failure::Failure;

pub(crate) use conflicts::Tables as ConflictTables;
pub(crate) use copy_line::WIPE;
pub(crate) use status::{Answers, answers, bytes, gather, merge, moves, relay_of, takes_colour};
pub(crate) use up::{Changes, Crew};
pub(crate) use verify::{LastVerified, compare, last_verified};

/// Runs the command of the command line.
pub(crate) async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::Demo(args) => demo::run(args, &cli.logging).await,
        Command::Up(args) => up::run(args, &cli.logging).await,
        Command::Relay(args) => relay::run(args).await,
        Command::Applier(args) => applier::run(args).await,
        Command::Console(args) => console::run(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Link(args) => link::run(args).await,
        Command::Reload(args) => reload::run(args).await,
        Command::Verify(args) => verify::run(args).await,
        Command::Conflicts(args) => conflicts::run(args).await,
        Command::Log(args) => log::run(args).await,
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { folder } => manual::pages(&folder),
    }
}

/// Reads the configuration; its warnings go to the log.
fn load(args: &FileArgs) -> Result<File, Failure> {
    let file = config::load(&args.config)?;
    for warning in &file.warnings {
        tracing::warn!(file = %file.path.display(), line = warning.line, key = warning.key, "{}", warning.message);
    }
    Ok(file)
}
