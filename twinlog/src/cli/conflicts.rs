//! `twinlog conflicts …`

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::FileArgs;

/// `conflicts`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct ConflictsArgs {
    #[command(subcommand)]
    pub(crate) action: Option<ConflictAction>,
    #[command(flatten)]
    pub(crate) list: ListArgs,
}

/// What to do with conflicts.
#[derive(Debug, Subcommand)]
pub(crate) enum ConflictAction {
    /// One with both rows, side by side
    Show {
        #[command(flatten)]
        file: FileArgs,
        /// Which: region/number
        #[arg(value_name = "ID")]
        id: String,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Decide conflicts that stopped a link; it goes on by itself
    Resolve {
        #[command(flatten)]
        file: FileArgs,
        /// Which: region/number
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
        /// The incoming row, the row that is there, or neither: the transaction is passed over
        #[arg(long, value_name = "WHOSE")]
        take: TakeWord,
    },
    /// Make the loser win, in all regions, as a new ordinary change
    Flip {
        #[command(flatten)]
        file: FileArgs,
        /// Which: region/number
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
}

/// Which conflicts to list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The configuration file
    // An action has its own.
    #[arg(short = 'c', long = "config", value_name = "FILE", required = true)]
    pub(crate) config: Option<PathBuf>,
    /// For programs: a JSON object a line with --follow, else a list
    #[arg(long)]
    pub(crate) json: bool,
    /// Only of this link
    #[arg(long, value_name = "NAME")]
    pub(crate) link: Option<String>,
    /// Only on this table
    #[arg(long, value_name = "DATABASE.TABLE")]
    pub(crate) table: Option<String>,
    /// Only of this kind: exists, missing, changed, unique, parent, json, other
    #[arg(long, value_name = "KIND", value_parser = ["exists", "missing", "changed", "unique", "parent", "json", "other"])]
    pub(crate) kind: Option<String>,
    /// Only those that wait for a decision
    #[arg(long)]
    pub(crate) open: bool,
    /// Only those of the last while
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) since: Option<Duration>,
    /// At most the last so many of each region
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) limit: u64,
    /// Go on as new ones come, until Ctrl-C
    #[arg(long)]
    pub(crate) follow: bool,
}

/// Whose row is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TakeWord {
    /// The incoming row
    Source,
    /// The row that is there
    Target,
    /// Neither: the incoming transaction is passed over whole
    Skip,
}
