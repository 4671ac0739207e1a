//! The command line of `twinlog log`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use binlog::GtidSet;
use clap::{Args, Subcommand};

use super::FileArgs;

/// `log`
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    #[command(subcommand)]
    pub(crate) action: LogAction,
}

/// What to do with the relay log.
#[derive(Debug, Subcommand)]
pub(crate) enum LogAction {
    /// Its segments: GTIDs, sizes, times, and which links still need them
    List(LookArgs),
    /// Its transactions and their events, in a readable form
    Events(EventsArgs),
    /// Verify every checksum, and that segments go on where the one before ended; changes nothing
    Check(LookArgs),
    /// Put what is damaged aside; the relay fetches it from its source again
    Repair(RepairArgs),
    /// Write transactions to a binary log file, for mysqlbinlog
    Export(ExportArgs),
    /// Delete old segments that every link has acknowledged
    Purge(PurgeArgs),
}

/// Which relay log: a region's, or a folder's.
#[derive(Debug, Args)]
pub(crate) struct LogPlace {
    /// The configuration file
    #[arg(short = 'c', long, value_name = "FILE", requires = "region", conflicts_with = "dir")]
    #[arg(required_unless_present = "dir")]
    pub(crate) config: Option<PathBuf>,
    /// The region whose relay's log it is
    #[arg(long, value_name = "NAME", requires = "config", conflicts_with = "dir")]
    pub(crate) region: Option<String>,
    /// The log's folder, where there is no configuration
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// Which relay log, for what changes it: only as the region's own.
#[derive(Debug, Args)]
pub(crate) struct OwnLog {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// The region whose relay's log it is
    #[arg(long, value_name = "NAME")]
    pub(crate) region: String,
}

/// `log list`, `log check`
#[derive(Debug, Args)]
pub(crate) struct LookArgs {
    #[command(flatten)]
    pub(crate) place: LogPlace,
    /// For programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which transactions; those that fit all that is given.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RangeArgs {
    /// Only these transactions
    #[arg(long, value_name = "SET", value_parser = gtids)]
    pub(crate) gtids: Option<GtidSet>,
    /// Committed at this time or later: 2026-11-20T10:00:00Z, or how long ago, for example 10m
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) since: Option<SystemTime>,
    /// Committed at this time or earlier
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) until: Option<SystemTime>,
}

/// `log events`
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    pub(crate) place: LogPlace,
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    /// Show the rows too, and the text of every statement
    #[arg(long)]
    pub(crate) rows: bool,
    /// For programs: one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `log repair`
#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    #[command(flatten)]
    pub(crate) log: OwnLog,
    /// For programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// `log export`
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) place: LogPlace,
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    /// The file to write; it must not be there yet
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// For programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// `log purge`
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true).args(["older_than", "up_to"])))]
pub(crate) struct PurgeArgs {
    #[command(flatten)]
    pub(crate) log: OwnLog,
    /// Segments that were written longer ago than this, for example 24h
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) older_than: Option<Duration>,
    /// Segments of which every transaction is in this set
    #[arg(long, value_name = "GTIDS", value_parser = gtids)]
    pub(crate) up_to: Option<GtidSet>,
    /// Only say what would go
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// For programs
    #[arg(long)]
    pub(crate) json: bool,
}

fn gtids(text: &str) -> Result<GtidSet, String> {
    match text.parse::<GtidSet>() {
        Ok(set) if set.is_empty() => Err("the set is empty".into()),
        Ok(set) => Ok(set),
        Err(e) => Err(e.to_string()),
    }
}

/// A time, or how long ago.
fn moment(text: &str) -> Result<SystemTime, String> {
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        return Ok(time);
    }
    let ago = humantime::parse_duration(text).ok();
    let time = ago.and_then(|ago| SystemTime::now().checked_sub(ago));
    time.ok_or_else(|| "neither a time in UTC (2026-11-20T10:00:00Z) nor how long ago (10m, 2h 30m)".into())
}
