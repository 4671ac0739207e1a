//! Transactions that collide, done again row by row.
//!
//! Each whole in one target transaction, with its checkpoint, like any other (**promises 2 and 3** hold here too), and small
//! ones several together, as in a group: to commit and to wait for the window takes longer than a few rows. Rows in
//! question are read and locked first, then the window is brought up to what the target has executed, and each row is
//! applied as its own event, or decided about. Before the commit all rows, locked by now, are looked up once more; what
//! turns up in question only then is locked first in the next attempt.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use binlog::GtidSet;
use wire::{Answer, ServerError};

use super::key::{ChangeKeys, Key};
use super::locked::Locked;
use super::record::{self, Conflict, Open};
use super::row::Row;
use super::rules::{Effective, Winner};
use crate::Error;
use crate::apply::{ATTEMPTS, Applier, Failure};
use crate::catalog::TargetTable;
use crate::group::Member;
use crate::mark::Mark;

/// Bytes of notes that go with the commit in one packet; more are sent one by one.
const TOGETHER: usize = 1 << 20;
/// Transactions, and rows, that are done again in one transaction of the target.
const MOST_MEMBERS: usize = 16;
const MOST_ROWS: u64 = 64;
/// How often several are tried while other sessions hold locks, before each is tried by itself.
const ATTEMPTS_TOGETHER: u32 = 3;

/// Transactions done again.
#[derive(Default)]
pub(super) struct Redo<'m> {
    pub(super) members: &'m [Member],
    pub(super) rows: Vec<Row>,
    /// The transaction of each row, by position.
    of: Vec<usize>,
    /// The keys of each, folded.
    pub(super) keys: Vec<ChangeKeys<Key>>,
    /// Rows to lock before anything is applied, by position.
    in_question: BTreeSet<usize>,
    /// What a person was asked, and maybe answered.
    pub(super) open: Vec<Open>,
    /// What was decided in this attempt.
    pub(super) decided: Vec<Conflict>,
    /// Rows that were taken in this attempt, or would have been if they did not stand there already.
    pub(super) taken: Vec<usize>,
    /// Notes of keys that this attempt puts in doubt.
    pub(super) doubts: Vec<String>,
    /// Rows that were locked and looked up only when they turned out to collide.
    pub(super) looked_up: BTreeSet<usize>,
    /// How rows stood when they were locked.
    pub(super) locked: Locked,
}

impl Redo<'_> {
    /// A row's transaction.
    pub(super) fn member(&self, row: usize) -> &Member {
        &self.members[self.of[row]]
    }

    /// What is done with, and how far the link is with it.
    fn checkpoint(&self) -> (GtidSet, Mark) {
        let mut covers = GtidSet::new();
        self.members.iter().for_each(|member| covers.union_with(&member.covers));
        (covers, self.members.last().map(|member| member.mark.clone()).unwrap_or_default())
    }

    /// Every table they change, each once.
    fn tables(&self) -> Vec<Arc<TargetTable>> {
        let mut tables: Vec<Arc<TargetTable>> = Vec::new();
        for table in self.members.iter().flat_map(|member| &member.tables) {
            if !tables.iter().any(|known| Arc::ptr_eq(known, table)) {
                tables.push(table.clone());
            }
        }
        tables
    }

    /// Is a row locked, and the window read as far as that?
    pub(super) fn is_known(&self, i: usize) -> bool {
        self.in_question.contains(&i) || self.looked_up.contains(&i)
    }
}

/// Who wrote a row unseen.
pub(super) struct Writers {
    pub(super) times: Vec<Effective>,
    pub(super) gtids: GtidSet,
    /// Only another row's unique key was written.
    pub(super) other_row: bool,
}

impl Applier {
    /// Applies adjacent transactions row by row, deciding what collides: small ones several at once, each whole. `Ok` when
    /// all are committed.
    pub(crate) async fn redo(&mut self, members: &[Member]) -> Result<(), Error> {
        let mut rest = members;
        while !rest.is_empty() {
            let (some, behind) = rest.split_at(self.fit_together(rest));
            rest = behind;
            match self.redo_together(some).await {
                Ok(()) => {}
                // The one that is in the way stops by itself: what stands before it is committed.
                Err(failure) if some.len() > 1 && is_about_one(&failure) => {
                    for member in some {
                        let failure = self.redo_together(std::slice::from_ref(member)).await;
                        failure.map_err(|failure| apply_error(member, failure))?;
                    }
                }
                Err(failure) => return Err(apply_error(&some[0], failure)),
            }
        }
        Ok(())
    }

    /// How many of these are done again in one transaction of the target: its locks hold applications up.
    fn fit_together(&self, members: &[Member]) -> usize {
        let mut rows = 0;
        let fits = members.iter().take(MOST_MEMBERS).take_while(|member| {
            rows += member.rows.total();
            rows <= MOST_ROWS && member.spilled.is_none() && !self.is_open(&member.gtid)
        });
        fits.count().max(1)
    }

    async fn redo_together(&mut self, members: &[Member]) -> Result<(), Failure> {
        let mut redo = self.prepare_redo(members).await.map_err(Failure::Fatal)?;
        let attempts = if members.len() == 1 { ATTEMPTS } else { ATTEMPTS_TOGETHER };
        let (mut locked_out, mut was_held) = (0, false);
        loop {
            redo.decided.clear();
            redo.doubts.clear();
            redo.taken.clear();
            redo.looked_up.clear();
            redo.locked.clear();
            match self.redo_once(&mut redo).await {
                Ok(()) => return Ok(()),
                Err(Failure::Collides(more)) => redo.in_question.extend(more),
                Err(Failure::WindowBehind(needed)) => {
                    self.wait_for_window(&needed).await.map_err(Failure::Fatal)?;
                }
                Err(Failure::Undecided(conflict)) if members.len() == 1 => {
                    // Its parent, say, may come from a third region, and be here in a moment.
                    if !was_held && self.hold_undecided(&members[0]).await.map_err(Failure::Fatal)? {
                        was_held = true;
                        continue;
                    }
                    return Err(Failure::Fatal(self.report(&redo, *conflict).await));
                }
                Err(Failure::Refused(source)) if matches!(source.code, 1205 | 1213) => {
                    locked_out += 1;
                    if locked_out == attempts {
                        return Err(Failure::Refused(source));
                    }
                    let wait = Duration::from_millis(rand::random_range(5..50) * u64::from(locked_out));
                    tokio::time::sleep(wait).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn prepare_redo<'m>(&mut self, members: &'m [Member]) -> Result<Redo<'m>, Error> {
        let splits_moves = self.pair_copies().await;
        let (mut rows, mut of) = (Vec::new(), Vec::new());
        for (i, member) in members.iter().enumerate() {
            let rules = |table: &TargetTable| self.conflicts.of(&table.database, &table.table);
            rows.extend(Row::all_of(member, splits_moves, rules)?);
            of.resize(rows.len(), i);
        }
        let lacking = self.weights.lacking(rows.iter().flat_map(|row| row.keys.all()));
        self.weights.learn(&mut self.connection, lacking).await?;
        let keys = rows.iter().map(|row| row.keys.map(|key| self.weights.key(key))).collect();
        let open = match members {
            [one] => self.open_conflicts(one).await?,
            _ => Vec::new(),
        };
        if open.iter().any(|open| open.resolution.as_deref() == Some("skip")) {
            rows.clear();
        }
        let mut redo = Redo { members, rows, of, keys, open, ..Redo::default() };
        // Most are known before the first attempt: they are locked together.
        redo.in_question.extend(self.in_question(&redo, 0..redo.rows.len())?);
        Ok(redo)
    }

    /// One attempt: committed, or rolled back.
    async fn redo_once(&mut self, redo: &mut Redo<'_>) -> Result<(), Failure> {
        let (covers, mark) = redo.checkpoint();
        let fence = self.fence(&covers, &mark);
        // Rows that are missing are locked by their gaps.
        self.step(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
        self.run_fenced(&[b"BEGIN", fence.as_bytes()]).await?;
        if !redo.in_question.is_empty() {
            let rows: Vec<usize> = redo.in_question.iter().copied().collect();
            self.lock_all(redo, &rows).await?;
        }
        for i in 0..redo.rows.len() {
            self.redo_row(redo, i).await?;
        }
        self.check_definitions_now(&redo.tables()).await?;
        self.look_again(redo).await?;
        let took = self.commit_redone(redo).await?;
        self.progress.commit_took(took);
        self.note_conflicts(&redo.decided);
        self.progress.applied(redo.members.iter().map(|member| (member.committed_at, &member.rows)));
        let lost: Vec<&Conflict> = redo.decided.iter().filter(|c| c.winner == Winner::Target).collect();
        let applied = redo.rows.len() - lost.len();
        self.progress.lost(lost.into_iter().map(|c| (format!("{}.{}", c.database, c.table), c.operation)));
        let committed_at = redo.members.last().map_or(0, |member| member.committed_at);
        let transactions = redo.members.len() as u64;
        self.committed(&covers, &mark, transactions, applied as u64, committed_at).map_err(Failure::Fatal)
    }

    /// What waits for a person, or has an answer, of this transaction: known since the round began.
    async fn open_conflicts(&mut self, member: &Member) -> Result<Vec<Open>, Error> {
        if !self.is_open(&member.gtid) {
            return Ok(Vec::new());
        }
        let link = self.link.clone();
        let open = record::open(&mut self.connection, &self.schema, &link, Some(&member.gtid)).await?;
        Ok(open.into_iter().map(|(_, open)| open).collect())
    }

    /// Writes down what was decided, and commits; how long that took.
    async fn commit_redone(&mut self, redo: &mut Redo<'_>) -> Result<Duration, Failure> {
        let new = redo.decided.iter().filter(|conflict| !redo.open.iter().any(|open| open.is(conflict)));
        let mut notes: Vec<String> = new.map(|conflict| conflict.insert(&self.schema, &self.link)).collect();
        notes.extend(redo.open.iter().map(|open| open.close(&self.schema)));
        notes.append(&mut redo.doubts);
        notes.extend(self.traces(redo));
        let began = Instant::now();
        if notes.iter().map(String::len).sum::<usize>() > TOGETHER.min(self.largest_event) {
            for note in notes.drain(..) {
                self.step(note.as_bytes()).await?;
            }
        }
        let mut all: Vec<&[u8]> = notes.iter().map(String::as_bytes).collect();
        all.push(b"COMMIT");
        let ran = self.connection.run_group(&all).await;
        self.owner.settle(&mut self.connection, ran, false).await?;
        Ok(began.elapsed())
    }

    /// Runs a statement of the transaction; an error rolls it back.
    pub(crate) async fn step(&mut self, statement: &[u8]) -> Result<(), Failure> {
        match self.try_step(statement).await? {
            None => Ok(()),
            Some(error) => {
                self.rollback().await.map_err(Failure::Fatal)?;
                Err(Failure::Refused(error))
            }
        }
    }

    /// Runs a statement of the transaction; the server's refusal, if it leaves the transaction open. What may pass
    /// (locks, read-only) rolls it back.
    pub(super) async fn try_step(&mut self, statement: &[u8]) -> Result<Option<ServerError>, Failure> {
        match self.connection.query(statement).await {
            Ok(Answer::Ok(_) | Answer::Rows(_)) => Ok(None),
            Err(wire::Error::Server(error)) if error.is_transient() => {
                self.rollback().await.map_err(Failure::Fatal)?;
                Err(Failure::Refused(error))
            }
            Err(wire::Error::Server(error)) => Ok(Some(error)),
            Err(error) => Err(Failure::Fatal(Error::target("applying a row")(error))),
        }
    }
}

/// Is it one of the transactions that is in the way of all?
fn is_about_one(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Undecided(_) | Failure::Refused(_) | Failure::Fatal(Error::NotApplicable { .. })
    )
}

/// Why a transaction can't be done again.
fn apply_error(member: &Member, failure: Failure) -> Error {
    match failure {
        Failure::Refused(source) => Error::Apply { gtid: member.gtid.to_string(), source },
        Failure::Fatal(error) => error,
        // Waited for, and asked about, where they come up.
        Failure::Collides(_) | Failure::WindowBehind(_) | Failure::Undecided(_) => Error::Stopped,
    }
}
