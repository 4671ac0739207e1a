//! `twinlog verify`.

use std::time::Duration;

use applier::verify::Limits;
use clap::Args;

use super::OutputArgs;

/// `verify`
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 equal, 1 something differs or could not be decided, 2 usage or configuration."
)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Only tables in step that also match this pattern, in the first region's names; ! excludes (may be repeated)
    #[arg(long, value_name = "PATTERN")]
    pub(crate) table: Vec<String>,
    /// Go on where an interrupted comparison ended
    #[arg(long, conflicts_with = "continuous")]
    pub(crate) resume: bool,
    /// Compare again and again, until Ctrl-C
    #[arg(long)]
    pub(crate) continuous: bool,
    /// Between two rounds with --continuous
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    pub(crate) pause: Duration,
    #[command(flatten)]
    pub(crate) repair: RepairArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}

/// What to do about rows that differ.
#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    /// Make rows that differ equal to those of this region
    #[arg(long, value_name = "FROM", conflicts_with = "continuous")]
    pub(crate) repair: Option<String>,
    /// Show what a repair would do, and change nothing
    #[arg(long, requires = "repair")]
    pub(crate) dry_run: bool,
    /// Repair without asking
    #[arg(long, requires = "repair", conflicts_with = "dry_run")]
    pub(crate) yes: bool,
}

/// How much it may ask of the servers.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// Rows a second to read from each region, at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_rows_per_second: Option<u64>,
    /// Pause while more than N threads run in a server; 0: never
    #[arg(long, value_name = "N", default_value_t = 25)]
    max_load: u32,
    /// Pause while a link is behind for so long; 0s: never
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    max_lag: Duration,
    /// How long the links may take to pass what a differing read has seen
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Chunks that are read side by side
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    sessions: u16,
    /// How long a chunk should take
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = humantime::parse_duration)]
    chunk_time: Duration,
    /// Rows of a table that are named; with --repair, all are
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_named: usize,
    /// Rows of a table without a key, at most
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    max_unkeyed_rows: u64,
}

impl VerifyArgs {
    /// The limits as the comparison has them.
    pub(crate) fn limits(&self) -> Limits {
        let limits = &self.limits;
        Limits {
            chunk_time: limits.chunk_time.max(Duration::from_millis(1)),
            sessions: limits.sessions.into(),
            max_rows_per_second: limits.max_rows_per_second,
            max_load: Some(limits.max_load).filter(|load| *load > 0),
            max_lag: Some(limits.max_lag).filter(|lag| !lag.is_zero()),
            wait: limits.wait,
            max_named: if self.repair.repair.is_some() { usize::MAX } else { limits.max_named },
            max_unkeyed_rows: limits.max_unkeyed_rows,
            ..Limits::default()
        }
    }
}
