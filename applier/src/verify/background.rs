//! Comparing again and again beside a running link: `verify = { every = "24h" }`.
//!
//! It has sessions of its own, holds itself back like any comparison, and begins only while its link runs. Whatever
//! happens to it, the link does not notice: an error is told in the status, and the round goes on later where it was. So
//! it does after a restart, however the process ended: how far it is lies in a file, and so does what the last round found.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::report::{Event, TableReport, Watch};
use super::{Config, Error, Verifier};
use crate::progress::{Progress, now};
use crate::status::State;

/// Between two looks at whether the link runs.
const LOOK: Duration = Duration::from_secs(1);
/// A round that failed goes on after so long.
const AGAIN: Duration = Duration::from_secs(60);
/// Rows of a table that are named in the status.
const NAMED: usize = 10;

/// When a link's regions are compared, and how.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// What is compared; its `state` file is where a round notes how far it is.
    pub config: Config,
    /// From the beginning of one round to that of the next.
    pub every: Duration,
    /// The file that keeps what the last round found.
    pub outcome: PathBuf,
}

/// What is known of a link's comparisons.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VerifyStatus {
    /// A round runs.
    pub running: bool,
    /// The table that it is at.
    pub table: Option<String>,
    /// Rows of it that are read, and how many the server guesses there are.
    pub rows_done: u64,
    /// See `rows_done`.
    pub rows_estimated: u64,
    /// What it does when it is not reading on: waiting, pausing.
    pub doing: Option<String>,
    /// When the next round begins, Unix time in seconds; `None` while one runs.
    pub next_at: Option<f64>,
    /// Why the last attempt at a round was broken off, until one goes well.
    pub last_error: Option<String>,
    /// What the last round found.
    pub last: Option<LastRound>,
}

/// A round that came to its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LastRound {
    /// When it began, Unix time in seconds.
    pub began_at: f64,
    /// When it ended.
    pub ended_at: f64,
    /// `equal`, `different`, or `unsettled`: nothing differs for certain, and something could not be decided.
    pub result: String,
    /// Rows read.
    pub rows: u64,
    /// Tables compared.
    pub tables: u64,
    /// Those of them that are not equal.
    pub unequal: Vec<UnequalTable>,
}

/// A table that was not found equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnequalTable {
    /// `database.table` in the link's `from` region.
    pub table: String,
    /// As of the whole.
    pub result: String,
    /// Rows that differ.
    pub differences: u64,
    /// Rows that could not be decided.
    pub unsettled: u64,
    /// The keys of the first of them.
    pub rows: Vec<String>,
    /// Why its rows could not be compared.
    pub why: Vec<String>,
}

/// Runs the rounds.
pub(crate) struct Background {
    schedule: Schedule,
    progress: Progress,
}

impl Background {
    pub(crate) fn new(schedule: Schedule, progress: Progress) -> Self {
        Self { schedule, progress }
    }

    /// Compares until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let last = read(&self.schedule.outcome);
        self.progress.verify(|status| status.last = last);
        let mut due = self.due();
        loop {
            self.progress.verify(|status| status.next_at = Some(due));
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.wait(due) => {}
            }
            due = match self.round(&stop).await {
                Ok(()) => self.due(),
                Err(Error::Interrupted) => return,
                Err(error) => {
                    let error = describe(&error);
                    tracing::warn!(error, "a comparison beside the link was broken off; it goes on later");
                    self.progress.verify(|status| status.last_error = Some(error));
                    now() + AGAIN.min(self.schedule.every).as_secs_f64()
                }
            };
        }
    }

    /// When the next round is to begin. One that was interrupted goes on at once.
    fn due(&self) -> f64 {
        let interrupted = self.schedule.config.state.as_ref().is_some_and(|path| path.exists());
        let last = self.progress.get().verify.and_then(|status| status.last);
        match last {
            Some(last) if !interrupted => last.began_at + self.schedule.every.as_secs_f64(),
            _ => now(),
        }
    }

    /// Until this time, and until the link runs.
    async fn wait(&self, due: f64) {
        loop {
            // The wall clock may be set while it waits: looked at again now and then.
            let rest = due - now();
            if rest > 0.0 {
                tokio::time::sleep(Duration::from_secs_f64(rest.min(60.0))).await;
            } else if self.progress.get().state == State::Running {
                return;
            } else {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    async fn round(&self, stop: &CancellationToken) -> Result<(), Error> {
        self.progress.verify(|status| {
            status.running = true;
            status.next_at = None;
        });
        let began_at = now();
        let result = self.compare(stop).await;
        self.progress.verify(|status| {
            *status = VerifyStatus {
                last: status.last.take(),
                last_error: status.last_error.take(),
                ..VerifyStatus::default()
            };
        });
        let last = LastRound::of(&result?, began_at);
        for table in &last.unequal {
            tracing::warn!(
                table = table.table,
                result = table.result,
                differences = table.differences,
                unsettled = table.unsettled,
                "the regions are not equal"
            );
        }
        tracing::info!(result = last.result, rows = last.rows, tables = last.tables, "regions compared");
        write(&self.schedule.outcome, &last)?;
        self.progress.verify(|status| {
            status.last = Some(last);
            status.last_error = None;
        });
        Ok(())
    }

    async fn compare(&self, stop: &CancellationToken) -> Result<Vec<TableReport>, Error> {
        let watch = Arc::new(Watcher(self.progress.clone()));
        let verifier = Verifier::new(self.schedule.config.clone(), watch);
        let resume = self.schedule.config.state.as_ref().is_some_and(|path| path.exists());
        match Box::pin(verifier.run(resume, stop.clone())).await {
            // What was compared then are other tables: the file says so.
            Err(Error::State { .. }) if resume => Box::pin(verifier.run(false, stop.clone())).await,
            result => result,
        }
    }
}

/// Notes how far a round is.
struct Watcher(Progress);

impl Watch for Watcher {
    fn see(&self, event: &Event<'_>) {
        self.0.verify(|status| match event {
            Event::Begins { table, rows, .. } => {
                status.table = Some((*table).to_owned());
                (status.rows_done, status.rows_estimated) = (0, *rows);
            }
            Event::Rows(rows) => {
                status.rows_done += rows;
                // The guess was too low.
                status.rows_estimated = status.rows_estimated.max(status.rows_done);
                status.doing = None;
            }
            Event::Doing(what) => status.doing = Some((*what).to_owned()),
            Event::Differs(_) | Event::Ends(_) => {}
        });
    }
}

impl LastRound {
    fn of(reports: &[TableReport], began_at: f64) -> Self {
        let worst =
            ["different", "unsettled"].into_iter().find(|word| reports.iter().any(|r| r.result() == *word));
        Self {
            began_at,
            ended_at: now(),
            result: worst.unwrap_or("equal").into(),
            rows: reports.iter().map(|report| report.rows).sum(),
            tables: reports.len() as u64,
            unequal: reports.iter().filter(|report| !report.is_equal()).map(UnequalTable::of).collect(),
        }
    }
}

impl UnequalTable {
    fn of(report: &TableReport) -> Self {
        let keys = report.differences.iter().map(|d| &d.key).chain(report.unsettled.iter().map(|u| &u.key));
        let named = |key: &Vec<(String, String)>| {
            key.iter().map(|(column, value)| format!("{column}={value}")).collect::<Vec<_>>().join(", ")
        };
        Self {
            table: report.table.clone(),
            result: report.result().into(),
            differences: report.differences.len() as u64,
            unsettled: report.unsettled.len() as u64,
            rows: keys.filter(|key| !key.is_empty()).take(NAMED).map(named).collect(),
            why: report.definition.clone(),
        }
    }
}

/// The last round, if there was one whose outcome can be read.
fn read(path: &Path) -> Option<LastRound> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Keeps it; whole or not at all.
fn write(path: &Path, last: &LastRound) -> Result<(), Error> {
    let new = path.with_extension("new");
    let text = serde_json::to_vec(last).map_err(std::io::Error::from);
    let done = path.parent().map_or(Ok(()), std::fs::create_dir_all).and(text);
    let done = done.and_then(|text| std::fs::write(&new, text)).and_then(|()| std::fs::rename(&new, path));
    done.map_err(|error| Error::State { path: path.into(), what: error.to_string() })
}

fn describe(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    let remedy = error.remedy().map(|remedy| format!(" (remedy: {remedy})")).unwrap_or_default();
    format!("{error}{cause}{remedy}")
}

#[cfg(test)]
mod tests {
    use super::{LastRound, TableReport, read, write};
    use crate::verify::Unsettled;

    #[test]
    fn the_last_round_is_kept_and_tells_the_worst() {
        let equal = TableReport { table: "shop.a".into(), rows: 3, ..TableReport::default() };
        let busy = Unsettled { key: vec![("id".into(), "5".into())], why: "busy".into() };
        let unsettled =
            TableReport { table: "shop.b".into(), rows: 4, unsettled: vec![busy], ..TableReport::default() };
        let other = TableReport { definition: vec!["no column a".into()], ..equal.clone() };
        let words = |reports: &[TableReport]| LastRound::of(reports, 1.0).result;
        assert_eq!(words(&[]), "equal");
        assert_eq!(words(&[equal.clone(), unsettled.clone()]), "unsettled");
        assert_eq!(words(&[unsettled.clone(), other]), "different");
        let last = LastRound::of(&[equal, unsettled], 1.0);
        assert_eq!((last.rows, last.tables, last.unequal[0].rows.join(";").as_str()), (7, 2, "id=5"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new folder/last.json");
        assert_eq!(read(&path), None);
        write(&path, &last).unwrap();
        assert_eq!(read(&path), Some(last));
    }
}
