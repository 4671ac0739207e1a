//! What the tasks of a link note of their work: the one source of its [`Status`].

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use binlog::{Gtid, GtidSet};

use crate::conflict::shared::SharedWindow;
use crate::count::Rows;
use crate::load_progress::LoadProgress;
use crate::status::{State, Status, StatusError, TableLoad, WindowStatus};
use crate::verify::VerifyStatus;

/// An answer of the source about how far it is, older than this, is none: a few of the questions of `pulse` in a row.
const STALE: f64 = 20.0;

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
    /// Commit time of the one with which waiting began; what is behind it was committed later.
    waits_since: u64,
    /// It has attached since the process began: only then it is known what is applied.
    has_attached: bool,
    /// When the link was last known to have all that its source has, and whether it has been asked since; seconds.
    in_step_at: f64,
    asked_at: f64,
    /// What was prepared and waits for its own end: not applied, and not behind either.
    prepared: GtidSet,
    last: Option<Gtid>,
    /// Transactions received and not done.
    waiting: u64,
    /// What the source had executed when the link attached: with that applied it has caught up.
    goal: GtidSet,
    /// The conflict window of this round.
    window: Option<SharedWindow>,
    load: LoadProgress,
    /// What it would be doing, and wait for, if nobody held it.
    beneath: Option<(State, Option<String>)>,
}

impl Progress {
    pub(crate) fn new(link: &str) -> Self {
        let status = Status { link: link.into(), since: now(), ..Status::default() };
        // A process that has just begun knows nothing of a lag; it grows from here until it does.
        let begun = now();
        Self(Arc::new(Mutex::new(Inner { status, in_step_at: begun, asked_at: begun, ..Inner::default() })))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.lock().expect("nothing panics while it is held"))
    }

    /// The state now.
    pub(crate) fn get(&self) -> Status {
        self.with(|inner| {
            let mut status = inner.status.clone();
            status.gtid_applied = inner.applied.to_string();
            status.load = inner.load.status();
            status.last_gtid = inner.last.as_ref().map(Gtid::to_string).unwrap_or_default();
            status.lag_seconds = inner.lag(now());
            if inner.asked_at + STALE < now() {
                status.lag_transactions = None;
            }
            status.window = inner.window.as_ref().map(|window| {
                let size = window.size();
                WindowStatus {
                    keys: size.keys as u64,
                    keys_in_files: size.in_files as u64,
                    bytes: size.bytes as u64,
                }
            });
            status
        })
    }

    /// The conflict window of this round, if there is one.
    pub(crate) fn window(&self, window: Option<SharedWindow>) {
        self.with(|inner| inner.window = window);
    }

    /// The link is in this state now, for no reason beyond itself; once it is resumed, where it is held.
    pub(crate) fn state(&self, state: State) {
        self.with(|inner| inner.go_to(state));
    }

    /// It looks whether all fits. An error that it tries again after stands until it has gone.
    pub(crate) fn checking(&self) {
        self.with(|inner| {
            inner.beneath = None;
            inner.go_to(State::Checking);
        });
    }

    /// It stays in this state because people, or its schedule, want it; errors are past.
    pub(crate) fn hold(&self, state: State, reason: String) {
        self.with(|inner| {
            if inner.beneath.is_none() {
                inner.beneath = Some((inner.status.state, inner.status.reason.take()));
            }
            inner.enter(state);
            inner.status.reason = Some(reason).filter(|reason| !reason.is_empty());
            inner.status.last_error = None;
            inner.status.error = None;
        });
    }

    /// Nobody holds it any more: it goes on with what it was doing.
    pub(crate) fn resumes(&self) {
        self.with(|inner| match inner.beneath.take() {
            Some((state @ (State::Structure | State::Copying), reason)) => {
                inner.enter(state);
                inner.status.reason = reason;
            }
            _ => inner.flow(),
        });
    }

    /// What it waits for while it stays in its state, or that it no longer waits.
    pub(crate) fn waits_for(&self, what: Option<String>) {
        self.with(|inner| match &mut inner.beneath {
            Some((_, reason)) => *reason = what,
            None => inner.status.reason = what,
        });
    }

    /// It has stopped, until a person has done something about it.
    pub(crate) fn failed(&self, error: StatusError) {
        self.with(|inner| {
            inner.beneath = None;
            inner.go_to(State::Failed);
            inner.note(error);
        });
    }

    /// It is interrupted and tries again by itself.
    pub(crate) fn interrupted(&self, error: StatusError) {
        self.with(|inner| {
            inner.beneath = None;
            inner.enter(State::Checking);
            inner.status.reason = Some("it tries again after an error".into());
            inner.note(error);
        });
    }

    /// The link is attached, behind `applied`; with `goal` applied it has caught up.
    pub(crate) fn attached(&self, source: &str, target: &str, applied: &GtidSet, goal: GtidSet) {
        self.with(|inner| {
            inner.status.source = source.into();
            inner.status.target = target.into();
            inner.applied = applied.clone();
            inner.waiting = 0;
            inner.goal = goal;
            inner.has_attached = true;
        });
    }

    /// Events come. It catches up first, unless there is nothing to catch up with.
    pub(crate) fn flows(&self) {
        self.with(Inner::flow);
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
            if inner.waiting == 0 {
                inner.waits_since = committed_at;
            }
            inner.waiting += 1;
            if inner.done_at == 0 {
                inner.done_at = committed_at;
            }
        });
    }

    /// A conflict of this kind was decided, under this policy.
    pub(crate) fn conflict(&self, kind: String, policy: String) {
        self.with(|inner| {
            inner.status.conflicts += 1;
            *inner.status.measures.conflicts.entry((kind, policy)).or_default() += 1;
        });
    }

    /// COMMIT of a group took so long.
    pub(crate) fn commit_took(&self, took: Duration) {
        self.with(|inner| inner.status.measures.commit.note(took));
    }

    /// These are committed now: when each was at its source, and its rows.
    pub(crate) fn applied<'a>(&self, members: impl Iterator<Item = (u64, &'a Rows)>) {
        let now = now();
        self.with(|inner| {
            let measures = &mut inner.status.measures;
            for (committed_at, rows) in members {
                measures.latency.note_seconds(now - seconds(committed_at), 1);
                for (table, operation, rows) in rows.runs() {
                    measures.rows.add(table, operation, rows);
                }
            }
        });
    }

    /// Rows of one that was decided about, and lost: they were not applied after all.
    pub(crate) fn lost<'a>(&self, rows: impl Iterator<Item = (String, &'a str)>) {
        self.with(|inner| {
            rows.for_each(|(table, operation)| inner.status.measures.rows.take(&table, operation))
        });
    }

    /// What the source has executed, by its own words; how many of its transactions are neither applied nor passed over.
    /// `None` while it is not known what is applied.
    pub(crate) fn source_has(&self, executed: &GtidSet) -> Option<u64> {
        let asked_at = now();
        self.with(|inner| {
            if !inner.has_attached {
                return None;
            }
            let behind = executed.minus(&inner.applied).minus(&inner.prepared).count();
            inner.asked_at = asked_at;
            inner.status.lag_transactions = Some(behind);
            if behind == 0 {
                inner.in_step_at = asked_at;
            }
            Some(behind)
        })
    }

    pub(crate) fn dropped_echo(&self) {
        self.with(|inner| inner.status.echo_dropped += 1);
    }

    pub(crate) fn filtered(&self) {
        self.with(|inner| inner.status.filtered += 1);
    }

    /// Passed over: done, as far as the stream is concerned.
    pub(crate) fn passed(&self, gtid: &Gtid) {
        let now = now();
        self.with(|inner| {
            inner.status.last_progress = now;
            inner.applied.insert(gtid);
            inner.waiting = inner.waiting.saturating_sub(1);
            if inner.waiting == 0 {
                inner.done_at = inner.received_at;
            }
            inner.look_whether_caught_up();
        });
    }

    /// Prepared: it waits for its own end, not for the target.
    pub(crate) fn prepared(&self, gtid: &Gtid) {
        self.with(|inner| {
            inner.prepared.insert(gtid);
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
        let now = now();
        self.with(|inner| {
            inner.status.last_progress = now;
            inner.applied.union_with(covers);
            inner.status.transactions_applied += transactions;
            inner.status.rows_applied += rows;
            inner.status.groups_committed += 1;
            inner.waiting = inner.waiting.saturating_sub(transactions);
            inner.done_at = committed_at;
            inner.look_whether_caught_up();
        });
    }

    /// These tables are copied, or are to be.
    pub(crate) fn copies(&self, tables: Vec<TableLoad>) {
        self.with(|inner| inner.load.begin(tables));
    }

    /// A chunk of a table is copied; with `done` it was the last.
    pub(crate) fn copied(&self, table: usize, rows: u64, bytes: u64, done: bool) {
        self.with(|inner| inner.load.add(table, rows, bytes, done));
    }

    /// So many keys are in doubt.
    pub(crate) fn doubts(&self, keys: u64) {
        self.with(|inner| inner.load.doubts(keys));
    }

    /// All is copied: the link goes on with what has gathered.
    pub(crate) fn copied_all(&self) {
        self.with(Inner::flow);
    }

    /// Groups committed since start.
    pub(crate) fn groups_committed(&self) -> u64 {
        self.with(|inner| inner.status.groups_committed)
    }

    /// What is known of the comparisons beside the link.
    pub(crate) fn verify(&self, change: impl FnOnce(&mut VerifyStatus)) {
        self.with(|inner| change(inner.status.verify.get_or_insert_default()));
    }

    pub(crate) fn ran_ddl(&self) {
        self.with(|inner| inner.status.ddl_applied += 1);
    }
}

impl Inner {
    /// How far behind, in seconds. What the stream brought and is not done tells it; beyond that, what the source was
    /// last asked: if it has more, or nobody answers, the link has not been in step since it last was.
    fn lag(&self, now: f64) -> f64 {
        let done = seconds(self.done_at);
        let waiting = if self.waiting > 0 { now - done.max(seconds(self.waits_since)) } else { 0.0 };
        let more = self.status.lag_transactions != Some(0) || self.asked_at + STALE < now;
        let unseen = if more { now - self.in_step_at.max(done) } else { 0.0 };
        waiting.max(unseen).max(0.0)
    }

    fn enter(&mut self, state: State) {
        if self.status.state != state {
            tracing::info!(link = self.status.link, state = %state, was = %self.status.state, "link state");
            self.status.state = state;
            self.status.since = now();
        }
        if matches!(state, State::Running | State::CatchingUp) {
            self.status.last_error = None;
            self.status.error = None;
        }
    }

    /// The same, for no reason beyond itself. One that is held stays so, and is in that state once it is resumed.
    fn go_to(&mut self, state: State) {
        match &mut self.beneath {
            Some(beneath) => *beneath = (state, None),
            None => {
                self.enter(state);
                self.status.reason = None;
            }
        }
    }

    fn flow(&mut self) {
        self.go_to(State::CatchingUp);
        self.look_whether_caught_up();
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
        let behind = now() - seconds(self.done_at);
        let is_recent = self.done_at > 0 && behind < CAUGHT_UP.as_secs_f64();
        if is_recent || self.applied.contains_all(&self.goal) {
            self.enter(State::Running);
        }
    }
}

/// Microseconds since 1970 as seconds.
#[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 fit 52 bits")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::{Inner, Progress, STALE};
    use crate::status::State;

    const NOW: f64 = 1_000_000.0;

    fn link(lag_transactions: Option<u64>, asked: f64, in_step: f64) -> Inner {
        let mut inner = Inner { asked_at: NOW - asked, in_step_at: NOW - in_step, ..Inner::default() };
        inner.status.lag_transactions = lag_transactions;
        inner
    }

    #[test]
    fn a_link_that_has_all_is_not_behind_however_long_nothing_was_written() {
        let mut idle = link(Some(0), 1.0, 1.0);
        idle.done_at = 5;
        assert_eq!(idle.lag(NOW), 0.0);
    }

    #[test]
    fn one_transaction_after_a_long_silence_is_behind_by_its_own_age_only() {
        let mut busy = link(Some(0), 1.0, 1.0);
        (busy.done_at, busy.waiting, busy.waits_since) = (5, 1, 999_999_500_000);
        assert_eq!(busy.lag(NOW), 0.5);
        busy.done_at = 999_999_750_000;
        assert_eq!(busy.lag(NOW), 0.25, "what waits behind the last that is done is younger than that one");
    }

    #[test]
    fn what_the_source_has_and_the_stream_has_not_brought_counts_and_grows() {
        assert_eq!(link(Some(3), 1.0, 40.0).lag(NOW), 40.0);
        assert_eq!(link(Some(3), 1.0, 40.0).lag(NOW + 1.0), 41.0);
        // Nobody answers: since the last time that it was known.
        assert_eq!(link(Some(0), STALE + 1.0, STALE + 1.0).lag(NOW), STALE + 1.0);
        assert_eq!(link(None, 1.0, 7.0).lag(NOW), 7.0);
    }

    #[test]
    fn a_link_that_is_held_stays_so_whatever_goes_on_beneath_and_is_resumed_into_that() {
        let progress = Progress::new("eu-us");
        let now = || (progress.get().state, progress.get().reason.unwrap_or_default());
        progress.state(State::Copying);
        progress.waits_for(Some("pausing".into()));
        progress.hold(State::Paused, "by ops".into());
        progress.hold(State::Paused, "by root".into());
        progress.waits_for(Some("waiting".into()));
        assert_eq!(now(), (State::Paused, "by root".into()));
        progress.resumes();
        assert_eq!(now(), (State::Copying, "waiting".into()));
        progress.hold(State::Paused, "by ops".into());
        progress.copied_all();
        assert_eq!(now(), (State::Paused, "by ops".into()));
        progress.resumes();
        assert_eq!(now(), (State::Running, String::new()));
        // A round that has ended leaves nothing beneath.
        progress.state(State::Structure);
        progress.hold(State::Paused, "by ops".into());
        progress.checking();
        assert_eq!(now(), (State::Checking, String::new()));
    }
}
