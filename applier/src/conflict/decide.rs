//! One row of a transaction that is done again: applied as its own event, or decided about by the rules of its table.

use binlog::row::RowsEvent;
use wire::ServerError;

use super::locked::Found;
use super::record::Conflict;
use super::redo::{Redo, Writers};
use super::row::Operation;
use super::rules::{Effective, Kind, Winner, decide};
use crate::Error;
use crate::apply::{Applier, Failure};
use crate::copy::{LoadTable, Named, doubt_number, passes_over};

impl Applier {
    /// Applies a row, or decides about it.
    pub(super) async fn redo_row(&mut self, redo: &mut Redo<'_>, i: usize) -> Result<(), Failure> {
        let mut refused = None;
        if self.is_in_doubt(redo, i).await? {
            return self.leave_in_doubt(redo, i).await;
        }
        if self.writers(redo, i).map_err(Failure::Fatal)?.times.is_empty() {
            let taken = self.taken_along(redo, i).await?;
            let Some(error) = self.try_event(redo, i, &redo.rows[i].event).await? else {
                self.mend_row(redo, i).await?;
                redo.locked.forget(&redo.rows, &redo.keys, i);
                redo.decided.extend(taken);
                redo.taken.push(i);
                return Ok(());
            };
            let Some(kind) = kind_of(&error) else { return Err(self.not_a_conflict(redo, i, error).await) };
            refused = Some((kind, error));
        }
        self.look_up_row(redo, i).await?;
        let writers = self.writers(redo, i).map_err(Failure::Fatal)?;
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
        let malformed =
            |source| Failure::Fatal(Error::Event { gtid: redo.member(i).gtid.to_string(), source });
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
        let name = (row.table.database.clone(), row.table.table.clone());
        if writers.times.is_empty() && settles && self.pair_copies_table(&name).await {
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
        conflict.winner = self.winner(redo, i, &conflict, &writers);
        match conflict.winner {
            Winner::Nobody => return self.undecided(conflict).await,
            Winner::Target => {}
            Winner::Source => {
                let taken = self.taken_along(redo, i).await?;
                let refused = self.force(redo, i, before.is_some(), after.is_some()).await?;
                redo.locked.forget(&redo.rows, &redo.keys, i);
                match refused {
                    None => {
                        redo.decided.extend(taken);
                        redo.taken.push(i);
                    }
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
        conflict.winner = self.winner(redo, i, &conflict, writers);
        if conflict.winner == Winner::Target {
            redo.decided.push(conflict);
            return Ok(());
        }
        // Who wins by a person's word must still fit: they are told what is in the way.
        conflict.winner = Winner::Nobody;
        self.undecided(conflict).await
    }

    /// What the policy says, or a person.
    fn winner(&self, redo: &Redo<'_>, i: usize, conflict: &Conflict, writers: &Writers) -> Winner {
        let answer =
            redo.open.iter().find(|open| open.is(conflict)).and_then(|open| open.resolution.as_deref());
        match answer {
            Some("source") => Winner::Source,
            Some("target") => Winner::Target,
            _ => {
                let incoming = Effective { time: redo.member(i).time, region: self.link.from.clone() };
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
        let malformed =
            |source| Failure::Fatal(Error::Event { gtid: redo.member(i).gtid.to_string(), source });
        for event in row.forced(before, after).map_err(malformed)? {
            if let Some(error) = self.try_event(redo, i, &event).await? {
                return Ok(Some(error));
            }
        }
        self.mend_row(redo, i).await?;
        Ok(None)
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
