//! The command line.

mod conflicts;
mod log;
mod verify;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::logging::{LogOptions, Speaker};

pub(crate) use conflicts::{ConflictAction, ConflictsArgs, ListArgs, TakeWord};
pub(crate) use log::{
    EventsArgs, ExportArgs, LogAction, LogArgs, LogPlace, LookArgs, OwnLog, PurgeArgs, RangeArgs, RepairArgs,
};
pub(crate) use verify::VerifyArgs;

/// Keeps MySQL databases in several regions in step while applications write in all of them.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "Exit codes: 0 ok, 1 failed, 2 usage or configuration."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) logging: LogOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Two throw-away MySQL servers, both directions, sample writes, the console: nothing to configure
    Demo(DemoArgs),
    /// Prechecks: every problem with the SQL that fixes it; changes nothing
    Check(CheckArgs),
    /// Run every relay and applier of the file on this host, supervised
    Up(UpArgs),
    /// Run one region's relay
    Relay(RelayArgs),
    /// Run one link's applier
    Applier(ApplierArgs),
    /// One page that shows the whole sync and passes on what you decide, on any host that reaches its processes
    Console(ConsoleArgs),
    /// How every link is doing
    Status(StatusArgs),
    /// Start, stop, pause, resume, reset, delete a link, or skip one of its transactions
    Link(LinkArgs),
    /// Let every running process read the file again
    Reload(OutputArgs),
    /// Compare the regions, and repair on request
    Verify(VerifyArgs),
    /// The recorded conflicts: list, follow, decide, flip
    Conflicts(ConflictsArgs),
    /// The relay log, offline or live
    Log(LogArgs),
    /// What a shell needs to complete this command line; see docs/install.md
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// The manual pages, one file a command
    #[command(hide = true)]
    Man {
        /// The folder they are written into; it is made if it is not there
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
}

impl Command {
    /// Who logs when this command runs.
    pub(crate) fn speaker(&self) -> Speaker {
        let name = match self {
            Self::Demo(_) => "demo".into(),
            Self::Check(_) => "check".into(),
            Self::Up(_) => "up".into(),
            Self::Relay(args) => format!("relay {}", args.region),
            Self::Applier(args) => format!("applier {}", args.link),
            Self::Console(_) => "console".into(),
            Self::Status(_) => "status".into(),
            Self::Link(_) => "link".into(),
            Self::Reload(_) => "reload".into(),
            Self::Verify(_) => "verify".into(),
            Self::Conflicts(_) => "conflicts".into(),
            Self::Log(_) => "log".into(),
            Self::Completions { .. } | Self::Man { .. } => "twinlog".into(),
        };
        let quiet =
            matches!(self, Self::Demo(_) | Self::Check(_) | Self::Status(_) | Self::Verify(_) | Self::Log(_));
        Speaker { name, quiet }
    }
}

/// The configuration file.
#[derive(Clone, Debug, Args)]
pub(crate) struct FileArgs {
    /// The configuration file
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub(crate) config: PathBuf,
}

/// `demo`
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How long the writers write
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub(crate) seconds: u64,
    /// Leave everything running until Ctrl-C, and say how to connect
    #[arg(long)]
    pub(crate) keep: bool,
    /// Transactions a second that each region's writer aims at
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,
}

/// `check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Also write a row into each region, and see it come back through that region's relay
    #[arg(long)]
    pub(crate) probe: bool,
}

/// `up`
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Only what stands beside this region: its relay and the appliers that write into it (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub(crate) region: Vec<String>,
    /// Where the console listens [default: console.listen of the file, else 127.0.0.1:7490, or a free port when that is taken]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "no_console")]
    pub(crate) console: Option<String>,
    /// Without the console
    #[arg(long)]
    pub(crate) no_console: bool,
}

/// `console`
#[derive(Debug, Args)]
pub(crate) struct ConsoleArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Where it listens [default: console.listen of the file, else 127.0.0.1:7490, or a free port when that is taken]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
}

/// What `relay` and `applier` share.
#[derive(Clone, Debug, Args)]
pub(crate) struct ProcessArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// How long an unreachable server is tried at the start
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) start_timeout: Duration,
    /// End with exit code 1 on a definite error, instead of staying alive in state `failed`
    #[arg(long)]
    pub(crate) exit_on_failure: bool,
    /// End when standard input closes
    #[arg(long, hide = true)]
    pub(crate) exit_with_parent: bool,
}

/// `relay`
#[derive(Debug, Args)]
pub(crate) struct RelayArgs {
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
    /// The region whose MySQL is read
    #[arg(long, value_name = "NAME")]
    pub(crate) region: String,
}

/// `applier`
#[derive(Debug, Args)]
pub(crate) struct ApplierArgs {
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
    /// The link to apply
    #[arg(long, value_name = "NAME")]
    pub(crate) link: String,
}

/// `status`
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Again every second, until q or Ctrl-C; fills the terminal it is shown on
    #[arg(long)]
    pub(crate) watch: bool,
}

/// A file, and the form of the answer.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// For programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// `link`
#[derive(Debug, Args)]
pub(crate) struct LinkArgs {
    #[command(subcommand)]
    pub(crate) action: LinkAction,
}

/// What to do with a link.
#[derive(Debug, Subcommand)]
pub(crate) enum LinkAction {
    /// Let it run: after stop, pause or a failure, or before its schedule
    Start(LinkTarget),
    /// Hold it where it is, and let go of its connections
    Stop(LinkTarget),
    /// Hold it where it is, attached
    Pause(LinkTarget),
    /// Let it run: the same as start
    Resume(LinkTarget),
    /// Forget what it has applied: it begins anew
    Reset {
        #[command(flatten)]
        target: LinkTarget,
        /// Do it without asking
        #[arg(long)]
        yes: bool,
    },
    /// Remove all that the target holds of it, and let its relays forget it
    Delete {
        #[command(flatten)]
        target: LinkTarget,
        /// Do it without asking
        #[arg(long)]
        yes: bool,
    },
    /// Get past one transaction that can't be applied
    Skip {
        #[command(flatten)]
        target: LinkTarget,
        /// The transaction, as the link's error names it
        #[arg(long)]
        gtid: binlog::Gtid,
    },
}

/// Which link.
#[derive(Debug, Args)]
pub(crate) struct LinkTarget {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// The link
    #[arg(long, value_name = "NAME")]
    pub(crate) link: String,
    /// Why; kept with the order, and shown by status
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Cli, Command};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_manual_is_understood() {
        for line in [
            "demo --seconds 5 --keep",
            "check -c f",
            "check -c f --json --probe",
            "up -c f --log-format json",
            "up -c f --console 127.0.0.1:7491",
            "up -c f --no-console",
            "console -c f --listen 127.0.0.1:0",
            "relay -c f --region eu",
            "applier -c f --link eu-us --exit-on-failure --start-timeout 5s",
            "status -c f --json --watch",
            "link skip -c f --link eu-us --gtid 3e11fa47-71ca-11e1-9e33-c80aa9429562:7",
            "link reset -c f --link eu-us --yes --reason rebuilt",
            "link pause -c f --link eu-us",
            "reload -c f --json",
            "verify -c f --repair eu --json --yes",
            "verify -c f --table shop.a* --table !shop.ab --max-rows-per-second 1000 --max-load 20 --resume",
            "verify -c f --repair eu --dry-run",
            "verify -c f --continuous --pause 10m",
            "conflicts -c f --json",
            "conflicts -c f --open --table shop.stock --kind unique --since 10m --follow",
            "conflicts show -c f us/17",
            "conflicts resolve us/17 us/18 --take source -c f",
            "conflicts flip -c f us/17",
            "log list -c f --region eu --json",
            "log list --dir d",
            "log events --dir d --gtids 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-7 --since 10m --rows --json",
            "log check --dir d",
            "log repair -c f --region eu",
            "log export --dir d --since 2026-11-20T10:00:00Z --until 1h -o out.binlog",
            "log purge -c f --region eu --older-than 24h --dry-run",
            "completions bash",
            "man folder",
            "log purge -c f --region eu --up-to 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-7",
        ] {
            let words = ["twinlog"].into_iter().chain(line.split(' '));
            Cli::try_parse_from(words).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
        assert!(matches!(Cli::parse_from(["twinlog", "demo"]).command, Command::Demo(d) if d.seconds == 30));
        assert_eq!(Cli::try_parse_from(["twinlog", "relay"]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_log_is_named_in_one_way_and_only_its_own_region_changes_it() {
        for line in [
            "log list",
            "log list -c f",
            "log list -c f --region eu --dir d",
            "log list --dir d --region eu",
            "log repair --dir d",
            "log purge --dir d --older-than 1h",
            "log purge -c f --region eu",
            "log purge -c f --region eu --force --older-than 1h",
            "log events --dir d --gtids x",
            "log events --dir d --gtids ,",
            "log events --dir d --since yesterday",
            "log export --dir d",
            "link skip -c f --link eu-us --gtid nonsense",
            "link stop -c f",
            "conflicts",
            "conflicts --open",
            "conflicts resolve -c f us/1",
            "conflicts flip -c f",
        ] {
            let words = ["twinlog"].into_iter().chain(line.split(' '));
            assert_eq!(Cli::try_parse_from(words).map(|_| ()).map_err(|e| e.exit_code()), Err(2), "{line}");
        }
    }
}
