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
use serde_json::Value as Json;
use wire::{Answer, ServerError};

use super::check::altered_since;
use super::key::{ChangeKeys, Key};
use super::record::{self, Conflict, Open};
use super::row::{Operation, Row};
use super::rules::{Effective, Kind, Winner, decide};
use super::{local_row, owned, readable};
use crate::apply::{ATTEMPTS, Applier, Failure};
use crate::copy::{LoadTable, Named, doubt_number, passes_over};
use crate::group::Member;
use crate::{Error, target};

/// A transaction done again.
pub(super) struct Redo<'m> {
    pub(super) member: &'m Member,
    pub(super) rows: Vec<Row>,
    /// The keys of each, folded.
    keys: Vec<ChangeKeys<Key>>,
    /// Rows to lock before anything is applied, by position.
    in_question: BTreeSet<usize>,
    /// What a person was asked, and maybe answered.
    open: Vec<Open>,
    /// What was decided in this attempt.
    decided: Vec<Conflict>,
    /// Notes of keys that this attempt puts in doubt.
    doubts: Vec<String>,
    /// Rows that were locked and looked up only when they turned out to collide.
    looked_up: BTreeSet<usize>,
}

/// Who wrote a row unseen.
struct Writers {
    times: Vec<Effective>,
    gtids: GtidSet,
    /// Only another row's unique key was written.
    other_row: bool,
}

impl Applier {
    /// Applies one transaction row by row, deciding what collides. `Ok` when it is committed.
    pub(crate) async fn redo(&mut self, member: &Member) -> Result<(), Error> {
        let splits_moves = self.pair_copies().await;
        let rows =
            Row::all_of(member, splits_moves, |table| self.conflicts.of(&table.database, &table.table))?;
        let link = self.link.clone();
        let open = record::open(&mut self.connection, &self.schema, &link, Some(&member.gtid)).await?;
        let open: Vec<Open> = open.into_iter().map(|(_, open)| open).collect();
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
        };
        if redo.open.iter().any(|open| open.resolution.as_deref() == Some("skip")) {
            redo.rows.clear();
        }
        let mut locked_out = 0;
        loop {
            redo.decided.clear();
            redo.doubts.clear();
            redo.looked_up.clear();
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
        for i in redo.in_question.clone() {
            self.lock(redo, i).await?;
        }
        if !redo.in_question.is_empty() {
            self.reach_now().await?;
        }
        for i in 0..redo.rows.len() {
            self.redo_row(redo, i).await?;
        }
        self.check_definitions_now(&redo.member.tables).await?;
        self.look_again(redo).await?;
        let schema = self.schema.clone();
        for conflict in &redo.decided {
            let answered = redo.open.iter().any(|open| open.is(conflict));
            if !answered {
                self.step(conflict.insert(&schema, &self.link.clone()).as_bytes()).await?;
            }
        }
        for open in &redo.open {
            self.step(open.close(&schema).as_bytes()).await?;
        }
        for note in std::mem::take(&mut redo.doubts) {
            self.step(note.as_bytes()).await?;
        }
        let began = Instant::now();
        self.step(b"COMMIT").await?;
        let took = began.elapsed();
        let applied = redo.rows.len() - redo.decided.iter().filter(|c| c.winner == Winner::Target).count();
        self.note_conflicts(&redo.decided);
        let at = redo.member.committed_at;
        self.progress.commit_took(took);
        self.progress.applied([(at, &redo.member.rows)].into_iter());
        let lost = redo.decided.iter().filter(|c| c.winner == Winner::Target);
        self.progress.lost(lost.map(|c| (format!("{}.{}", c.database, c.table), c.operation)));
        self.committed(&covers, &mark, 1, applied as u64, at).map_err(Failure::Fatal)
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
                redo.decided.extend(taken);
                return Ok(());
            };
            let Some(kind) = kind_of(&error) else { return Err(self.not_a_conflict(redo, i, error).await) };
            refused = Some((kind, error));
        }
        if !redo.in_question.contains(&i) {
            self.lock(redo, i).await?;
            self.reach_now().await?;
            redo.looked_up.insert(i);
        }
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
        self.lock(redo, i).await?;
        self.reach_now().await?;
        redo.looked_up.insert(i);
        Ok(has(redo))
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
        let (before, after) = self.lock(redo, i).await?;
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
                match self.force(redo, i, before.is_some(), after.is_some()).await? {
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

    /// Locks the rows that a change names: the one before, and the one after where that is another.
    pub(super) async fn lock(
        &mut self,
        redo: &Redo<'_>,
        i: usize,
    ) -> Result<(Option<Json>, Option<Json>), Failure> {
        let row = &redo.rows[i];
        let malformed = |source| Failure::Fatal(Error::Event { gtid: redo.member.gtid.to_string(), source });
        let rows = RowsEvent::parse(&row.event, &row.map).map_err(malformed)?;
        let Some(change) = rows.changes().next().transpose().map_err(malformed)? else {
            return Ok((None, None));
        };
        let mut found = [None, None];
        for (found, image) in found.iter_mut().zip([&change.before, &change.after]) {
            let Some(image) = image else { continue };
            let locked = local_row::lock(&mut self.connection, &self.collations, &row.table, &row.map, image);
            match locked.await.map_err(Failure::Fatal)? {
                Ok(local) => *found = local,
                Err(error) => {
                    self.rollback().await.map_err(Failure::Fatal)?;
                    return Err(Failure::Refused(error));
                }
            }
        }
        let [before, after] = found;
        Ok((before, after))
    }

    /// Who wrote a row's keys, of those that the transaction's region had not seen.
    fn writers(&self, redo: &Redo<'_>, i: usize) -> Result<Writers, Failure> {
        let mut writers = Writers { times: Vec::new(), gtids: GtidSet::new(), other_row: false };
        let mut same_row = false;
        let Some(window) = self.window.as_ref().filter(|_| self.is_watched(&redo.rows[i].table)) else {
            return Ok(writers);
        };
        let keys = &redo.keys[i];
        let identity = keys.identity.iter().map(|key| (key, true));
        for (key, is_identity) in identity.chain(keys.unique.iter().map(|key| (key, false))) {
            for writer in window.unseen(key, &redo.member.seen).map_err(Failure::Fatal)? {
                writers.gtids.union_with(&writer.gtids);
                writers.times.push(writer.effective);
                same_row |= is_identity;
            }
        }
        writers.other_row = !same_row && !writers.times.is_empty();
        Ok(writers)
    }

    /// All rows are locked now: is one in question that was not before?
    async fn look_again(&mut self, redo: &Redo<'_>) -> Result<(), Failure> {
        if !self.watches(&redo.member.tables) || redo.rows.is_empty() {
            return Ok(());
        }
        self.reach_now().await?;
        if let Some(window) = &self.window {
            altered_since(window, redo.member)?;
        }
        let mut more = Vec::new();
        for i in 0..redo.rows.len() {
            let known = redo.in_question.contains(&i) || redo.looked_up.contains(&i);
            if !known && !self.writers(redo, i)?.times.is_empty() {
                more.push(i);
            }
        }
        if more.is_empty() {
            return Ok(());
        }
        self.rollback().await.map_err(Failure::Fatal)?;
        Err(Failure::Collides(more))
    }

    pub(crate) async fn reach_now(&mut self) -> Result<(), Failure> {
        if self.window.is_none() {
            return Ok(());
        }
        let executed = owned::ask(&mut self.connection).await;
        let executed =
            executed.map_err(Error::target("asking what it has executed")).map_err(Failure::Fatal)?;
        self.reach(&executed).await
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

    /// A refusal that no policy decides: a privilege that is missing, a table that is gone.
    async fn not_a_conflict(&mut self, redo: &Redo<'_>, i: usize, source: ServerError) -> Failure {
        if let Err(error) = self.rollback().await {
            return Failure::Fatal(error);
        }
        let row = &redo.rows[i];
        let column = row.map.columns.first().map(|c| c.name.clone()).unwrap_or_default();
        let (database, table) = (&row.table.database, &row.table.table);
        let missing = target::missing_table_privilege(&mut self.connection, database, table, &column).await;
        Failure::Fatal(missing.unwrap_or_else(|| Error::NotApplicable {
            gtid: redo.member.gtid.to_string(),
            what: format!("{} of {database}.{table} is refused: {source}", row.operation().word()),
            remedy: "mend what the server names, then twinlog link start".into(),
        }))
    }

    async fn undecided(&mut self, conflict: Conflict) -> Result<(), Failure> {
        self.rollback().await.map_err(Failure::Fatal)?;
        Err(Failure::Undecided(Box::new(conflict)))
    }

    /// Writes down what a person must decide, in a transaction of its own, and stops the link.
    async fn report(&mut self, redo: &Redo<'_>, conflict: Conflict) -> Error {
        let known = redo.open.iter().find(|open| open.is(&conflict));
        let id = match known {
            Some(open) => Ok(open.id),
            None => self.write_down(&conflict).await,
        };
        match id {
            Ok(id) => Error::Conflict {
                gtid: conflict.gtid,
                table: format!("{}.{}", conflict.database, conflict.table),
                operation: conflict.operation,
                key: conflict.key.to_string(),
                kind: conflict.kind,
                id: format!("{}/{id}", self.link.to),
                number: id,
                detail: conflict.detail,
            },
            Err(error) => error,
        }
    }

    async fn write_down(&mut self, conflict: &Conflict) -> Result<u64, Error> {
        let (covers, mark) = (GtidSet::new(), self.checkpoint.mark().clone());
        let fence = self.fence(&covers, &mark);
        let insert = conflict.insert(&self.schema, &self.link);
        let id = self.commit_small(&[&fence, &insert]).await?;
        self.persisted(&covers, &mark)?;
        Ok(id)
    }

    /// A conflict as it is written down, without its winner.
    async fn describe(
        &mut self,
        redo: &Redo<'_>,
        i: usize,
        kind: Kind,
        writers: &Writers,
        local: Option<Json>,
        error: Option<&ServerError>,
    ) -> Result<Conflict, Failure> {
        let row = &redo.rows[i];
        let malformed = |source| Failure::Fatal(Error::Event { gtid: redo.member.gtid.to_string(), source });
        let rows = RowsEvent::parse(&row.event, &row.map).map_err(malformed)?;
        let change = rows.changes().next().transpose().map_err(malformed)?;
        let mut images = [None, None];
        if let Some(change) = &change {
            for (image, read) in images.iter_mut().zip([&change.before, &change.after]) {
                let Some(read) = read else { continue };
                let readable = readable::image(&mut self.connection, &self.collations, &row.map, read);
                *image = Some(readable.await.map_err(Failure::Fatal)?);
            }
        }
        let [before, after] = images;
        let unseen = writers.gtids.to_string();
        let detail = match (error, self.is_watched(&row.table), unseen.is_empty()) {
            (Some(error), true, true) => format!("drift, nobody wrote it unseen: {error}"),
            (Some(error), ..) => error.to_string(),
            (None, ..) => String::new(),
        };
        Ok(Conflict {
            gtid: redo.member.gtid.clone(),
            committed_at: redo.member.committed_at,
            database: row.table.database.clone(),
            table: row.table.table.clone(),
            key: row.key_of(before.as_ref().or(after.as_ref())),
            operation: row.operation().word(),
            kind,
            policy: row.rules.policy,
            winner: Winner::Nobody,
            detail,
            // A set of many is cut: it is for people.
            unseen: unseen.chars().take(1000).collect(),
            before,
            after,
            local,
        })
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
