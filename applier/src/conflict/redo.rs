//! A transaction that collides, done again row by row.
//!
//! All in one target transaction, with its checkpoint, like any other (**promises 2 and 3** hold here too): rows in
//! question are read and locked first, then the window is brought up to what the target has executed, and each row is
//! applied as its own event, or decided about. Before the commit all rows, locked by now, are looked up once more; what
//! turns up in question only then is locked first in the next attempt.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use binlog::GtidSet;
use binlog::row::RowsEvent;
use wire::{Answer, ServerError};

use super::key::{ChangeKeys, Key};
use super::locked::{Found, Locked};
use super::record::{self, Conflict, Open};
use super::row::{Operation, Row};
use super::rules::{Effective, Kind, Winner, decide};
use crate::Error;
use crate::apply::{ATTEMPTS, Applier, Failure};
use crate::copy::{LoadTable, Named, doubt_number, passes_over};
use crate::group::Member;

/// Bytes of notes that go with the commit in one packet; more are sent one by one.
const TOGETHER: usize = 1 << 20;

/// A transaction done again.
pub(super) struct Redo<'m> {
    pub(super) member: &'m Member,
    pub(super) rows: Vec<Row>,
    /// The keys of each, folded.
    pub(super) keys: Vec<ChangeKeys<Key>>,
    /// Rows to lock before anything is applied, by position.
    in_question: BTreeSet<usize>,
    /// What a person was asked, and maybe answered.
    pub(super) open: Vec<Open>,
    /// What was decided in this attempt.
    decided: Vec<Conflict>,
    /// Notes of keys that this attempt puts in doubt.
    doubts: Vec<String>,
    /// Rows that were locked and looked up only when they turned out to collide.
    looked_up: BTreeSet<usize>,
    /// How rows stood when they were locked.
    pub(super) locked: Locked,
}

impl Redo<'_> {
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
    /// Applies one transaction row by row, deciding what collides. `Ok` when it is committed.
    pub(crate) async fn redo(&mut self, member: &Member) -> Result<(), Error> {
        let splits_moves = self.pair_copies().await;
        let rows =
            Row::all_of(member, splits_moves, |table| self.conflicts.of(&table.database, &table.table))?;
        let open = self.open_conflicts(member).await?;
        let lacking = self.weights.lacking(rows.iter().flat_map(|row| row.keys.all()));
        self.weights.learn(&mut self.connection, lacking).await?;
        let keys = rows.iter().map(|row| row.keys.map(|key| self.weights.key(key))).collect();
        let mut redo = Redo {
            member,
            rows,
            keys,
            in_question: BTreeSet::new(),
            open,
            decided: Vec::new(),
            doubts: Vec::new(),
            looked_up: BTreeSet::new(),
            locked: Locked::default(),
        };
        if redo.open.iter().any(|open| open.resolution.as_deref() == Some("skip")) {
            redo.rows.clear();
        }
        // Most are known before the first attempt: they are locked together.
        match self.in_question(&redo, 0..redo.rows.len()) {
            Ok(known) => redo.in_question.extend(known),
            Err(Failure::Fatal(error)) => return Err(error),
            Err(_) => {}
        }
        let mut locked_out = 0;
        loop {
            redo.decided.clear();
            redo.doubts.clear();
            redo.looked_up.clear();
            redo.locked.clear();
            match self.redo_once(&mut redo).await {
                Ok(()) => return Ok(()),
                Err(Failure::Collides(more)) => redo.in_question.extend(more),
                Err(Failure::WindowBehind(needed)) => self.wait_for_window(&needed).await?,
                Err(Failure::Undecided(conflict)) => return Err(self.report(&redo, *conflict).await),
                Err(Failure::Refused(source)) if matches!(source.code, 1205 | 1213) => {
                    locked_out += 1;
                    if locked_out == ATTEMPTS {
                        return Err(Error::Apply { gtid: member.gtid.to_string(), source });
                    }
                    let wait = Duration::from_millis(rand::random_range(5..50) * u64::from(locked_out));
                    tokio::time::sleep(wait).await;
                }
                Err(Failure::Refused(source)) => {
                    return Err(Error::Apply { gtid: member.gtid.to_string(), source });
                }
                Err(Failure::Fatal(error)) => return Err(error),
            }
        }
    }

    /// One attempt: committed, or rolled back.
    async fn redo_once(&mut self, redo: &mut Redo<'_>) -> Result<(), Failure> {
        let (covers, mark) = (redo.member.covers.clone(), redo.member.mark.clone());
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
        self.check_definitions_now(&redo.member.tables).await?;
        self.look_again(redo).await?;
        let took = self.commit_redone(redo).await?;
        let applied = redo.rows.len() - redo.decided.iter().filter(|c| c.winner == Winner::Target).count();
        self.note_conflicts(&redo.decided);
        let at = redo.member.committed_at;
        self.progress.commit_took(took);
        self.progress.applied([(at, &redo.member.rows)].into_iter());
        let lost = redo.decided.iter().filter(|c| c.winner == Winner::Target);
        self.progress.lost(lost.map(|c| (format!("{}.{}", c.database, c.table), c.operation)));
        self.committed(&covers, &mark, 1, applied as u64, at).map_err(Failure::Fatal)
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
        let began = Instant::now();
        if notes.iter().map(String::len).sum::<usize>() > TOGETHER {
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

    /// Applies a row, or decides about it.
    async fn redo_row(&mut self, redo: &mut Redo<'_>, i: usize) -> Result<(), Failure> {
        let mut refused = None;
        if self.is_in_doubt(redo, i).await? {
            return self.leave_in_doubt(redo, i).await;
        }
        if self.writers(redo, i)?.times.is_empty() {
            let taken = self.taken_along(redo, i).await?;
            let row = &redo.rows[i];
            let statement = row.statement(&row.event);
            let Some(error) = self.try_step(&statement).await? else {
                redo.locked.forget(&redo.rows, &redo.keys, i);
                redo.decided.extend(taken);
                return Ok(());
            };
            let Some(kind) = kind_of(&error) else { return Err(self.not_a_conflict(redo, i, error).await) };
            refused = Some((kind, error));
        }
        self.look_up_row(redo, i).await?;
        let writers = self.writers(redo, i)?;
        self.decide_row(redo, i, refused, writers).await
    }

    /// Is a row in doubt? Told only when it is locked and the target's log is read as far as that.
    async fn is_in_doubt(&mut self, redo: &mut Redo<'_>, i: usize) -> Result<bool, Failure> {
        let Some(doubts) = self.doubts.clone() else { return Ok(false) };
        let has = |redo: &Redo<'_>| redo.keys[i].identity.iter().any(|key| passes_over(doubts.has(key)));
        if !has(redo) {
            return Ok(false);
        }
        self.look_up_row(redo, i).await?;
        Ok(has(redo))
    }

    /// Locks a row that is not known yet, and reads the target's log as far as that.
    async fn look_up_row(&mut self, redo: &mut Redo<'_>, i: usize) -> Result<(), Failure> {
        if !redo.is_known(i) {
            self.lock_all(redo, &[i]).await?;
            redo.looked_up.insert(i);
        }
        Ok(())
    }

    /// Leaves a row as it stands until it is settled; a key it would have got is settled with it.
    async fn leave_in_doubt(&mut self, redo: &mut Redo<'_>, i: usize) -> Result<(), Failure> {
        let Some(doubts) = self.doubts.clone() else { return Ok(()) };
        let row = &redo.rows[i];
        let malformed = |source| Failure::Fatal(Error::Event { gtid: redo.member.gtid.to_string(), source });
        let Some(table) = doubts.table_here(&row.table.database, &row.table.table) else { return Ok(()) };
        let mut named = Vec::new();
        for change in RowsEvent::parse(&row.event, &row.map).map_err(malformed)?.changes() {
            let change = change.map_err(malformed)?;
            let images = [&change.before, &change.after].into_iter().flatten();
            named.extend(images.filter_map(|image| Named::of(&table, &row.table.keys, &row.map, image)));
        }
        let weighed = Named::weigh(&table, named, &mut self.weights, &mut self.connection);
        let mut known = weighed.await.map_err(Failure::Fatal)?;
        known.retain(|(_, doubt)| !doubts.has(&doubt.key));
        if known.is_empty() {
            return Ok(());
        }
        let values = known.iter().map(|(_, doubt)| doubt.value.clone()).collect();
        let load = LoadTable::new(&self.schema, &self.link);
        redo.doubts.push(load.keys(&table, doubt_number(), "doubt", values));
        // The link does not wait for its own transactions to come back: known at once. Should this one be rolled back, a
        // key more is settled.
        doubts.passed_over(table.index, known);
        Ok(())
    }

    /// Decides about a row, and does what was decided. `refused`: how strict apply refused it, if it was tried.
    async fn decide_row(
        &mut self,
        redo: &mut Redo<'_>,
        i: usize,
        refused: Option<(Kind, ServerError)>,
        writers: Writers,
    ) -> Result<(), Failure> {
        let Found { before, after } = self.found(redo, i).await?;
        let row = &redo.rows[i];
        let kind = match (row.operation(), &refused) {
            (_, Some((kind, _))) if matches!(kind, Kind::Parent | Kind::Json | Kind::Other) => *kind,
            (Operation::Insert, Some(_)) if after.is_none() => Kind::Unique,
            (Operation::Update, Some((Kind::Exists, _))) => Kind::Unique,
            _ if writers.other_row => Kind::Unique,
            (Operation::Insert, _) if after.is_some() => Kind::Exists,
            (Operation::Update | Operation::Delete, _) if before.is_none() => Kind::Missing,
            _ => Kind::Changed,
        };
        let settles = matches!(kind, Kind::Exists | Kind::Missing | Kind::Changed | Kind::Json);
        if writers.times.is_empty() && settles && self.pair_copies().await {
            // Not the row it expects, and nobody wrote it unseen: no drift, while either link copies. The key is settled.
            return Ok(());
        }
        let error = refused.map(|(_, error)| error);
        let local = if row.operation() == Operation::Insert {
            after.clone()
        } else {
            before.clone().or(after.clone())
        };
        let mut conflict = self.describe(redo, i, kind, &writers, local, error.as_ref()).await?;
        conflict.winner = self.winner(redo, &conflict, &writers);
        match conflict.winner {
            Winner::Nobody => return self.undecided(conflict).await,
            Winner::Target => {}
            Winner::Source => {
                let taken = self.taken_along(redo, i).await?;
                let refused = self.force(redo, i, before.is_some(), after.is_some()).await?;
                redo.locked.forget(&redo.rows, &redo.keys, i);
                match refused {
                    None => redo.decided.extend(taken),
                    Some(error) => return self.decide_forced(redo, i, conflict, error, &writers).await,
                }
            }
        }
        redo.decided.push(conflict);
        Ok(())
    }

    /// The incoming row won and the server refuses it all the same: a foreign key, another row's unique key.
    async fn decide_forced(
        &mut self,
        redo: &mut Redo<'_>,
        i: usize,
        mut conflict: Conflict,
        error: ServerError,
        writers: &Writers,
    ) -> Result<(), Failure> {
        conflict.kind = match kind_of(&error) {
            Some(Kind::Exists | Kind::Missing) => Kind::Unique,
            Some(kind) => kind,
            None => return Err(self.not_a_conflict(redo, i, error).await),
        };
        conflict.detail = error.to_string();
        conflict.winner = self.winner(redo, &conflict, writers);
        if conflict.winner == Winner::Target {
            redo.decided.push(conflict);
            return Ok(());
        }
        // Who wins by a person's word must still fit: they are told what is in the way.
        conflict.winner = Winner::Nobody;
        self.undecided(conflict).await
    }

    /// What the policy says, or a person.
    fn winner(&self, redo: &Redo<'_>, conflict: &Conflict, writers: &Writers) -> Winner {
        let answer =
            redo.open.iter().find(|open| open.is(conflict)).and_then(|open| open.resolution.as_deref());
        match answer {
            Some("source") => Winner::Source,
            Some("target") => Winner::Target,
            _ => {
                let incoming = Effective { time: redo.member.time, region: self.link.from.clone() };
                decide(conflict.policy, conflict.kind, &incoming, &writers.times)
            }
        }
    }

    /// Brings the incoming row about. The server's refusal, if there is one.
    async fn force(
        &mut self,
        redo: &Redo<'_>,
        i: usize,
        before: bool,
        after: bool,
    ) -> Result<Option<ServerError>, Failure> {
        let row = &redo.rows[i];
        let malformed = |source| Failure::Fatal(Error::Event { gtid: redo.member.gtid.to_string(), source });
        for event in row.forced(before, after).map_err(malformed)? {
            if let Some(error) = self.try_step(&row.statement(&event)).await? {
                return Ok(Some(error));
            }
        }
        Ok(None)
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
    async fn try_step(&mut self, statement: &[u8]) -> Result<Option<ServerError>, Failure> {
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

/// What a refusal of strict apply means; `None` if it is no conflict of rows.
fn kind_of(error: &ServerError) -> Option<Kind> {
    Some(match error.code {
        1062 => Kind::Exists,
        1032 => Kind::Missing,
        1216 | 1217 | 1451 | 1452 => Kind::Parent,
        3648 | 3649 => Kind::Json,
        // A check constraint, NULL, a value out of range, a text too long, no partition for it.
        3819 | 1048 | 1264 | 1406 | 1526 | 1748 => Kind::Other,
        _ => return None,
    })
}
