//! `twinlog log`: looking at a relay log, mending it, taking out of it, making room.
//!
//! ```text
//! list, events     the folder, where it is on this host; else the relay itself, over the wire
//! check, export    the folder; also beside the relay that writes it
//! repair, purge    the folder, and no relay may have it open
//! ```
//! Only the last two change anything.

mod check;
mod describe;
mod events;
mod export;
mod list;
mod place;
mod print;
mod progress;
mod purge;
mod range;
mod remote;
mod repair;
mod selection;
mod values;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::cli::{LogAction, LogArgs};
use crate::failure::{Diagnosis, Failure};

/// Does it.
pub(crate) async fn run(args: LogArgs) -> Result<ExitCode, Failure> {
    match args.action {
        LogAction::List(args) => list::run(args).await,
        LogAction::Events(args) => events::run(args).await,
        LogAction::Check(args) => check::run(args).await,
        LogAction::Repair(args) => repair::run(args).await,
        LogAction::Export(args) => export::run(args).await,
        LogAction::Purge(args) => purge::run(&args).await,
    }
}

impl Diagnosis for storage::Error {
    fn advice(&self) -> Option<String> {
        self.remedy()
    }

    fn may_pass(&self) -> bool {
        false
    }
}

impl Diagnosis for wire::Error {
    fn advice(&self) -> Option<String> {
        None
    }

    fn may_pass(&self) -> bool {
        false
    }
}

/// Writes the answer: a text, or an object for programs.
fn answer(json: bool, text: &str, object: &impl Serialize) -> Result<(), Failure> {
    let failed = |e: &(dyn std::error::Error + 'static)| Failure::from_error("cannot write the answer", e);
    let text = match json {
        true => serde_json::to_string_pretty(object).map_err(|e| failed(&e))? + "\n",
        false => text.to_owned(),
    };
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Who reads has read enough.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|e| failed(&e)),
    }
}

/// Microseconds since 1970 as people read them; `None` for 0, which tells nothing.
fn time(micros: u64) -> Option<String> {
    let time = UNIX_EPOCH.checked_add(Duration::from_micros(micros)).filter(|_| micros != 0)?;
    // Beyond the year 9999 it can't be written.
    let is_sane = time < UNIX_EPOCH + Duration::from_secs(253_402_300_800);
    is_sane.then(|| humantime::format_rfc3339_micros(time).to_string())
}

/// A time as microseconds since 1970; what lies before is 0.
fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// `1 segment`, `2 segments`.
fn counted(n: u64, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {what}{plural}", crate::command::status::count(Some(n)))
}

#[cfg(test)]
mod tests {
    use super::{counted, time};

    #[test]
    fn times_are_told_to_the_microsecond_and_no_time_is_none() {
        assert_eq!(time(1_790_000_000_123_456).as_deref(), Some("2026-09-21T14:13:20.123456Z"));
        assert_eq!(time(0), None);
        assert_eq!(time(u64::MAX), None, "no year of four digits");
        assert_eq!((counted(1, "row"), counted(1200, "row")), ("1 row".into(), "1,200 rows".into()));
    }
}
