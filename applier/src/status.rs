//! What an applier says of itself.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use binlog::{Gtid, GtidSet};
use serde::{Deserialize, Serialize};

/// A link's state at one moment, as `status` shows it and the admin API serves it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// The link's name.
    pub link: String,
    /// `connecting`, `running`, `waiting` (to try again), `failed`.
    pub state: String,
    /// Since when, Unix time in seconds.
    pub since: f64,
    /// What it attached to.
    pub source: String,
    /// What it writes into.
    pub target: String,
    /// Source GTIDs that the checkpoint holds, and those passed over since (promise 7).
    pub gtid_applied: String,
    /// The last source GTID received.
    pub last_gtid: String,
    /// Seconds from the last applied transaction's commit at its source until now, while more is
    /// waiting; 0 when nothing waits.
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
    /// Transactions left out because their origin is the target.
    pub echo_dropped: u64,
    /// Transactions left out because nothing in them is in step.
    pub filtered: u64,
    /// The last error, with its remedy, until the link runs again.
    pub last_error: Option<String>,
}

/// Where the tasks of a link note what they did. Cheap to clone; locks are held for a few instructions only.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    status: Status,
    /// What the checkpoint holds, and what was passed over since.
    applied: GtidSet,
    /// Commit time of the last transaction received, and of the last that is done; microseconds.
    received_at: u64,
    done_at: u64,
    last: Option<Gtid>,
    /// Transactions received and not done.
    waiting: u64,
}

impl Progress {
    pub(crate) fn new(link: &str) -> Self {
        let status =
            Status { link: link.into(), state: "connecting".into(), since: now(), ..Status::default() };
        Self(Arc::new(Mutex::new(Inner { status, ..Inner::default() })))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.lock().expect("nothing panics while it is held"))
    }

    /// The state now.
    pub(crate) fn get(&self) -> Status {
        self.with(|inner| {
            let mut status = inner.status.clone();
            status.gtid_applied = inner.applied.to_string();
            status.last_gtid = inner.last.as_ref().map(Gtid::to_string).unwrap_or_default();
            if inner.waiting > 0 && inner.done_at > 0 {
                #[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 fit 52 bits")]
                let done = inner.done_at as f64 / 1e6;
                status.lag_seconds = (now() - done).max(0.0);
            }
            status
        })
    }

    pub(crate) fn state(&self, state: &str) {
        self.with(|inner| {
            if inner.status.state != state {
                inner.status.state = state.into();
                inner.status.since = now();
            }
            if state == "running" {
                inner.status.last_error = None;
            }
        });
    }

    pub(crate) fn error(&self, text: String) {
        self.with(|inner| inner.status.last_error = Some(text));
    }

    pub(crate) fn attached(&self, source: &str, target: &str, applied: &GtidSet) {
        self.with(|inner| {
            inner.status.source = source.into();
            inner.status.target = target.into();
            inner.applied = applied.clone();
            inner.waiting = 0;
        });
    }

    pub(crate) fn received(&self, gtid: &Gtid, committed_at: u64) {
        self.with(|inner| {
            inner.last = Some(gtid.clone());
            inner.received_at = committed_at;
            inner.waiting += 1;
            if inner.done_at == 0 {
                inner.done_at = committed_at;
            }
        });
    }

    pub(crate) fn conflict(&self) {
        self.with(|inner| inner.status.conflicts += 1);
    }

    pub(crate) fn dropped_echo(&self) {
        self.with(|inner| inner.status.echo_dropped += 1);
    }

    pub(crate) fn filtered(&self) {
        self.with(|inner| inner.status.filtered += 1);
    }

    /// Passed over: done, as far as the stream is concerned.
    pub(crate) fn passed(&self, gtid: &Gtid) {
        self.with(|inner| {
            inner.applied.insert(gtid);
            inner.waiting = inner.waiting.saturating_sub(1);
            if inner.waiting == 0 {
                inner.done_at = inner.received_at;
            }
        });
    }

    /// Prepared: it waits for its own end, not for the target.
    pub(crate) fn prepared(&self) {
        self.with(|inner| {
            inner.waiting = inner.waiting.saturating_sub(1);
            if inner.waiting == 0 {
                inner.done_at = inner.received_at;
            }
        });
    }

    /// What was prepared has come to its end with nothing to apply.
    pub(crate) fn settled(&self, gtid: &Gtid) {
        self.with(|inner| _ = inner.applied.insert(gtid));
    }

    /// A group of so many transactions and rows is committed.
    pub(crate) fn committed(&self, covers: &GtidSet, transactions: u64, rows: u64, committed_at: u64) {
        self.with(|inner| {
            inner.applied.union_with(covers);
            inner.status.transactions_applied += transactions;
            inner.status.rows_applied += rows;
            inner.status.groups_committed += 1;
            inner.waiting = inner.waiting.saturating_sub(transactions);
            inner.done_at = committed_at;
        });
    }

    /// Groups committed since start.
    pub(crate) fn groups_committed(&self) -> u64 {
        self.with(|inner| inner.status.groups_committed)
    }

    pub(crate) fn ran_ddl(&self) {
        self.with(|inner| inner.status.ddl_applied += 1);
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}
