//! What the tasks of a link note of their work: the one source of its [`Status`].

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use binlog::{Gtid, GtidSet};

use crate::status::{State, Status, StatusError};

/// A transaction committed at its source so recently says that the link has caught up.
const CAUGHT_UP: Duration = Duration::from_secs(5);

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
    /// What the source had executed when the link attached: with that applied it has caught up.
    goal: GtidSet,
}

impl Progress {
    pub(crate) fn new(link: &str) -> Self {
        let status = Status { link: link.into(), since: now(), ..Status::default() };
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

    /// The link is in this state now, for no reason beyond itself.
    pub(crate) fn state(&self, state: State) {
        self.with(|inner| {
            inner.enter(state);
            inner.status.reason = None;
        });
    }

    /// The same, and why.
    pub(crate) fn state_because(&self, state: State, reason: impl Into<String>) {
        self.with(|inner| {
            inner.enter(state);
            inner.status.reason = Some(reason.into());
        });
    }

    /// What it waits for while it stays in its state, or that it no longer waits.
    pub(crate) fn waits_for(&self, what: Option<String>) {
        self.with(|inner| inner.status.reason = what);
    }

    /// It has stopped, until a person has done something about it.
    pub(crate) fn failed(&self, error: StatusError) {
        self.with(|inner| {
            inner.enter(State::Failed);
            inner.status.reason = None;
            inner.note(error);
        });
    }

    /// It is interrupted and tries again by itself.
    pub(crate) fn interrupted(&self, error: StatusError) {
        self.state_because(State::Checking, "it tries again after an error");
        self.with(|inner| inner.note(error));
    }

    /// The link is attached, behind `applied`; with `goal` applied it has caught up.
    pub(crate) fn attached(&self, source: &str, target: &str, applied: &GtidSet, goal: GtidSet) {
        self.with(|inner| {
            inner.status.source = source.into();
            inner.status.target = target.into();
            inner.applied = applied.clone();
            inner.waiting = 0;
            inner.goal = goal;
        });
    }

    /// Events come. It catches up first, unless there is nothing to catch up with.
    pub(crate) fn flows(&self) {
        self.with(|inner| {
            inner.enter(State::CatchingUp);
            inner.status.reason = None;
            inner.look_whether_caught_up();
        });
    }

    /// The source has nothing more to send at this moment.
    pub(crate) fn idle(&self) {
        self.with(|inner| {
            if inner.waiting == 0 {
                inner.goal = GtidSet::new();
            }
            inner.look_whether_caught_up();
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
            inner.look_whether_caught_up();
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
            inner.look_whether_caught_up();
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

impl Inner {
    fn enter(&mut self, state: State) {
        if self.status.state != state {
            self.status.state = state;
            self.status.since = now();
        }
        if matches!(state, State::Running | State::CatchingUp) {
            self.status.last_error = None;
            self.status.error = None;
        }
    }

    /// An error that goes on keeps the time when it began.
    fn note(&mut self, error: StatusError) {
        let since = match &self.status.error {
            Some(before) if before.transient && error.transient => before.since,
            _ => error.since,
        };
        self.status.last_error = Some(error.text());
        self.status.error = Some(StatusError { since, ..error });
    }

    /// `catching-up` ends when what the source had is applied, or what is applied was committed just now. Looked at
    /// only in that state: it costs a comparison of sets.
    fn look_whether_caught_up(&mut self) {
        if self.status.state != State::CatchingUp {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 fit 52 bits")]
        let behind = now() - self.done_at as f64 / 1e6;
        let is_recent = self.done_at > 0 && behind < CAUGHT_UP.as_secs_f64();
        if is_recent || self.applied.contains_all(&self.goal) {
            self.enter(State::Running);
        }
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}
