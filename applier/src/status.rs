//! What an applier says of itself.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::measures::Measures;
use crate::verify::VerifyStatus;

/// A link's state at one moment, as `status` shows it and the admin API serves it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// The link's name.
    pub link: String,
    /// What it does.
    pub state: State,
    /// Since when, Unix time in seconds.
    pub since: f64,
    /// Why it is in this state, or what it waits for, where the state alone does not say it.
    #[serde(default)]
    pub reason: Option<String>,
    /// What it attached to.
    pub source: String,
    /// What it writes into.
    pub target: String,
    /// Source GTIDs that the checkpoint holds, and those passed over since (promise 7).
    pub gtid_applied: String,
    /// The last source GTID received.
    pub last_gtid: String,
    /// From the commit at its source of the oldest transaction that is not applied until now; 0 when nothing waits.
    /// While the source can't be asked how far it is: from when the link was last known to be in step.
    pub lag_seconds: f64,
    /// Source transactions applied since start.
    pub transactions_applied: u64,
    /// Row changes applied since start.
    pub rows_applied: u64,
    /// Target transactions (groups) committed since start.
    pub groups_committed: u64,
    /// DDL statements applied since start.
    pub ddl_applied: u64,
    /// Conflicts decided since start.
    #[serde(default)]
    pub conflicts: u64,
    /// What the source has executed and the link has not applied, as it was asked last; absent while nobody knows.
    #[serde(default)]
    pub lag_transactions: Option<u64>,
    /// When the link last applied or passed over something, Unix time in seconds; 0 before.
    #[serde(default)]
    pub last_progress: f64,
    /// What metrics are made of besides.
    #[serde(skip)]
    pub measures: Box<Measures>,
    /// Transactions left out because their origin is the target.
    pub echo_dropped: u64,
    /// Transactions left out because nothing in them is in step.
    pub filtered: u64,
    /// The last error, with its remedy, in one line; until the link runs again.
    pub last_error: Option<String>,
    /// The same error in its parts.
    #[serde(default)]
    pub error: Option<StatusError>,
    /// How far the initial copy is, while there is one.
    #[serde(default)]
    pub load: Option<LoadStatus>,
    /// The conflict window, where conflicts are found by rows.
    #[serde(default)]
    pub window: Option<WindowStatus>,
    /// The comparisons of its regions, where it has `verify`.
    #[serde(default)]
    pub verify: Option<VerifyStatus>,
}

/// What a link does. Words of a fixed set: metrics and alarms name them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It waits for its time, `start_at`.
    Scheduled,
    /// It connects and looks whether all fits; or waits to try again, and then `error` tells why and until when.
    #[default]
    #[serde(alias = "", alias = "starting", alias = "connecting", alias = "waiting")]
    Checking,
    /// It makes what is missing in the target: databases, tables, and what belongs to them.
    Structure,
    /// It copies the rows that were there before.
    Copying,
    /// It applies what has gathered at the source.
    CatchingUp,
    /// It applies what the source commits as it comes.
    Running,
    /// A person holds it where it is; it keeps its place.
    Paused,
    /// A person has stopped it.
    Stopped,
    /// It met what trying again can't mend; `error` tells what to do.
    Failed,
}

impl State {
    /// All of them, in the order of a link's life.
    pub const ALL: [Self; 9] = [
        Self::Scheduled,
        Self::Checking,
        Self::Structure,
        Self::Copying,
        Self::CatchingUp,
        Self::Running,
        Self::Paused,
        Self::Stopped,
        Self::Failed,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Checking => "checking",
            Self::Structure => "structure",
            Self::Copying => "copying",
            Self::CatchingUp => "catching-up",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What stands in a link's way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusError {
    /// What happened, with its causes, in one line.
    pub message: String,
    /// What a person can do about it.
    pub remedy: Option<String>,
    /// It may pass by itself, and the link tries again.
    pub transient: bool,
    /// Since when it stands in the way, Unix time in seconds.
    pub since: f64,
    /// When the link tries again, Unix time in seconds.
    pub next_try_at: Option<f64>,
}

impl StatusError {
    /// In one line.
    pub fn text(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{} (remedy: {remedy})", self.message),
            None => self.message.clone(),
        }
    }
}

/// The keys that were written in the target by transactions the source's region may not have seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowStatus {
    /// How many it holds.
    pub keys: u64,
    /// Those of them that are in files.
    pub keys_in_files: u64,
    /// Bytes of memory, about.
    pub bytes: u64,
}

/// How far the initial copy is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadStatus {
    /// Each table.
    pub tables: Vec<TableLoad>,
    /// Rows copied.
    pub rows_done: u64,
    /// Rows there are, as the source estimates them.
    pub rows_estimated: u64,
    /// Bytes copied.
    pub bytes_done: u64,
    /// Bytes there are, as the source estimates them.
    pub bytes_estimated: u64,
    /// Rows a second, lately.
    pub rows_per_second: f64,
    /// Bytes a second, lately.
    #[serde(default)]
    pub bytes_per_second: f64,
    /// Seconds left at that rate; `None` while it can't be told.
    pub seconds_left: Option<f64>,
    /// Keys in doubt: read once more when the copy is complete.
    pub in_doubt: u64,
}

/// How far the copy of a table is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TableLoad {
    /// `database.table`, in the names of the source.
    pub table: String,
    /// `waiting`, `copying`, `done`.
    pub state: String,
    /// Rows copied.
    pub rows_done: u64,
    /// Rows there are, as the source estimates them.
    pub rows_estimated: u64,
    /// Bytes copied.
    pub bytes_done: u64,
    /// Bytes there are, as the source estimates them.
    pub bytes_estimated: u64,
    /// Rows a second, lately.
    #[serde(default)]
    pub rows_per_second: f64,
    /// Bytes a second, lately.
    #[serde(default)]
    pub bytes_per_second: f64,
    /// Seconds left at that rate; `None` while it can't be told.
    #[serde(default)]
    pub seconds_left: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::{State, Status, StatusError};

    #[test]
    fn states_are_written_as_their_words_and_read_back() {
        for state in State::ALL {
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(json, format!("\"{state}\""));
            assert_eq!(serde_json::from_str::<State>(&json).unwrap(), state);
        }
    }

    #[test]
    fn a_status_of_an_older_process_is_read() {
        let json = r#"{"link":"eu-us","state":"connecting","since":1.5,"source":"","target":"","gtid_applied":"",
            "last_gtid":"","lag_seconds":0,"transactions_applied":1,"rows_applied":2,"groups_committed":1,
            "ddl_applied":0,"echo_dropped":0,"filtered":0,"last_error":null}"#;
        let status: Status = serde_json::from_str(json).unwrap();
        assert_eq!((status.state, status.rows_applied, status.error), (State::Checking, 2, None));
        assert!(status.load.is_none() && status.reason.is_none());
    }

    #[test]
    fn an_error_in_one_line_has_its_remedy_behind_it() {
        let error = StatusError { message: "no table".into(), ..StatusError::default() };
        assert_eq!(error.text(), "no table");
        let error = StatusError { remedy: Some("make it".into()), ..error };
        assert_eq!(error.text(), "no table (remedy: make it)");
    }
}
