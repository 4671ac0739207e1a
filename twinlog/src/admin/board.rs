//! What a process says of itself at this moment, from its first step to its failure.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use applier::{State, StatusError};
use serde::{Deserialize, Serialize};

use crate::command::{LastVerified, last_verified};

/// A kind of process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A relay, named by its region.
    Relay,
    /// An applier, named by its link.
    Applier,
    /// `twinlog up`, named by its sync: it answers for the processes of the file.
    Up,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relay => "relay",
            Self::Applier => "applier",
            Self::Up => "up",
        })
    }
}

/// The state of a relay or an applier.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum ProcessStatus {
    /// A relay's.
    Relay(relay::Status),
    /// An applier's.
    Applier(applier::Status),
}

/// What `/api/v1/status` answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The sync it belongs to.
    pub(crate) sync: String,
    /// Its process id.
    pub(crate) pid: u32,
    /// Its state.
    #[serde(flatten)]
    pub(crate) status: ProcessStatus,
}

/// Reads the state of something that runs.
pub(crate) type Reader = Box<dyn Fn() -> ProcessStatus + Send + Sync>;

/// The process's state, shared by the one who runs it and the one who answers questions. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Board(Arc<Shared>);

struct Shared {
    sync: String,
    kind: Kind,
    name: String,
    /// When the process began, Unix time in seconds.
    began: f64,
    now: Mutex<Now>,
    state_dir: Option<PathBuf>,
}

struct Now {
    /// Since it was built.
    reader: Option<Reader>,
    /// What is known better here than there: it can't start yet, or has failed.
    verdict: Verdict,
}

enum Verdict {
    Starting(Option<StatusError>),
    Runs,
    Failed(StatusError),
}

impl ProcessStatus {
    /// Its state in one word.
    pub(crate) fn state(&self) -> &str {
        match self {
            Self::Relay(status) => &status.state,
            Self::Applier(status) => status.state.as_str(),
        }
    }

    /// Its last error, until it runs again.
    pub(crate) fn last_error(&self) -> Option<&str> {
        match self {
            Self::Relay(status) => status.last_error.as_deref(),
            Self::Applier(status) => status.last_error.as_deref(),
        }
    }

    /// Its kind and name.
    pub(crate) fn identity(&self) -> (Kind, &str) {
        match self {
            Self::Relay(status) => (Kind::Relay, &status.region),
            Self::Applier(status) => (Kind::Applier, &status.link),
        }
    }

    fn blank(kind: Kind) -> Self {
        match kind {
            Kind::Relay => Self::Relay(relay::Status::default()),
            Kind::Applier | Kind::Up => Self::Applier(applier::Status::default()),
        }
    }

    fn name(&mut self) -> &mut String {
        match self {
            Self::Relay(s) => &mut s.region,
            Self::Applier(s) => &mut s.link,
        }
    }

    /// It can't start yet.
    fn starting(&mut self, since: f64, error: Option<&StatusError>) {
        match self {
            Self::Relay(s) => {
                "connecting".clone_into(&mut s.state);
                s.since = since;
                s.last_error = error.map(StatusError::text);
            }
            Self::Applier(s) => {
                s.state = State::Checking;
                s.since = since;
                s.last_error = error.map(StatusError::text);
                s.error = error.cloned();
            }
        }
    }

    /// It has failed.
    fn failed(&mut self, error: &StatusError) {
        match self {
            Self::Relay(s) => {
                "failed".clone_into(&mut s.state);
                s.since = error.since;
                s.last_error = Some(error.text());
            }
            Self::Applier(s) => {
                s.state = State::Failed;
                s.since = error.since;
                s.last_error = Some(error.text());
                s.error = Some(error.clone());
            }
        }
    }
}

impl Board {
    /// The board of a process that starts.
    pub(crate) fn new(sync: &str, kind: Kind, name: &str) -> Self {
        let now = Mutex::new(Now { reader: None, verdict: Verdict::Starting(None) });
        Self(Arc::new(Shared {
            sync: sync.into(),
            kind,
            name: name.into(),
            began: unix_time(),
            now,
            state_dir: None,
        }))
    }

    /// Where the host's comparisons are kept.
    #[must_use]
    pub(crate) fn in_folder(mut self, state_dir: &Path) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.0) {
            shared.state_dir = Some(state_dir.to_owned());
        }
        self
    }

    /// The last comparison on this host.
    pub(crate) fn verified(&self) -> Option<LastVerified> {
        self.0.state_dir.as_deref().and_then(last_verified)
    }

    /// It can't start yet.
    pub(crate) fn waits(&self, error: StatusError) {
        let mut now = self.now();
        // An outage that goes on keeps the time when it began.
        let since = match &now.verdict {
            Verdict::Starting(Some(before)) => before.since,
            _ => error.since,
        };
        now.verdict = Verdict::Starting(Some(StatusError { since, ..error }));
    }

    /// It is built and speaks for itself.
    pub(crate) fn runs(&self, reader: Reader) {
        *self.now() = Now { reader: Some(reader), verdict: Verdict::Runs };
    }

    /// It has ended with an error.
    pub(crate) fn failed(&self, error: StatusError) {
        self.now().verdict = Verdict::Failed(error);
    }

    /// What to answer.
    pub(crate) fn report(&self) -> Report {
        let now = self.now();
        let mut status = now.reader.as_ref().map_or_else(|| ProcessStatus::blank(self.0.kind), |read| read());
        status.name().clone_from(&self.0.name);
        match &now.verdict {
            Verdict::Runs => {}
            Verdict::Starting(error) => status.starting(self.0.began, error.as_ref()),
            Verdict::Failed(error) => status.failed(error),
        }
        Report { sync: self.0.sync.clone(), pid: std::process::id(), status }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        // What is behind the lock is replaced whole, so it is good even if a holder panicked.
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since 1970.
pub(crate) fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use applier::{State, StatusError};

    use super::{Board, Kind, ProcessStatus, Report};

    fn error(message: &str) -> StatusError {
        StatusError { message: message.into(), ..StatusError::default() }
    }

    #[test]
    fn a_report_is_flat_and_reads_back() {
        let board = Board::new("shop", Kind::Applier, "eu-us");
        let running = applier::Status { state: State::Running, rows_applied: 7, ..Default::default() };
        board.runs(Box::new(move || ProcessStatus::Applier(running.clone())));
        let json = serde_json::to_value(board.report()).unwrap();
        assert_eq!((json["kind"].as_str(), json["link"].as_str()), (Some("applier"), Some("eu-us")));
        assert_eq!((json["state"].as_str(), json["rows_applied"].as_u64()), (Some("running"), Some(7)));
        let back: Report = serde_json::from_value(json).unwrap();
        assert_eq!(back.status.identity(), (Kind::Applier, "eu-us"));
    }

    #[test]
    fn a_failure_outlives_what_failed() {
        let board = Board::new("shop", Kind::Relay, "eu");
        assert_eq!(board.report().status.state(), "connecting");
        board.waits(error("refused"));
        let ProcessStatus::Relay(waiting) = board.report().status else { panic!("a relay") };
        assert_eq!(waiting.last_error.as_deref(), Some("refused"));
        let status = relay::Status { state: "running".into(), bytes_received: 9, ..Default::default() };
        board.runs(Box::new(move || ProcessStatus::Relay(status.clone())));
        board.failed(error("diverged"));
        let ProcessStatus::Relay(failed) = board.report().status else { panic!("a relay") };
        assert_eq!((failed.state.as_str(), failed.last_error.as_deref()), ("failed", Some("diverged")));
        assert_eq!(failed.bytes_received, 9);
    }
}
