//! The `twinlog` binary: reads the command line, runs one command, and ends with its exit code.

mod admin;
mod check;
mod cli;
mod command;
mod console;
mod door;
mod failure;
mod logging;
mod shutdown;
mod supervisor;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use cli::Cli;
use failure::Failure;
use logging::LogFormat;

/// For what still blocks a thread when the command is done, a file being synced for example.
const LAST_WORDS: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(failure) = logging::start(&cli.logging, cli.command.speaker()) {
        // There is no log to say it in.
        return failure.report(LogFormat::Text);
    }
    let format = cli.logging.log_format;
    run(cli).unwrap_or_else(|failure| failure.report(format))
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::from_error("cannot start the runtime", &e))?;
    let result = runtime.block_on(Box::pin(command::run(cli)));
    runtime.shutdown_timeout(LAST_WORDS);
    result
}
