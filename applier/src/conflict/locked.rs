//! The rows that a transaction done again has in question: read and locked together, and the window brought up to what
//! the target has executed by then.

use std::collections::HashMap;

use binlog::GtidSet;
use binlog::row::{RowsEvent, TableMap};
use serde_json::Value as Json;
use wire::Answer;

use super::check::altered_since;
use super::key::{ChangeKeys, Key};
use super::redo::{Redo, Writers};
use super::row::Row;
use super::{local_row, owned, readable};
use crate::Error;
use crate::apply::{Applier, Failure};

/// Rows that are asked for in one round trip.
const TOGETHER: usize = 500;
/// Rows that are remembered; of more, each is read once more when it is decided about.
const KEPT: usize = 1000;

/// What stands in the target under the keys of a row's change.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// The row before.
    pub(super) before: Option<Json>,
    /// The row after: another where the change gives it another key.
    pub(super) after: Option<Json>,
}

impl Found {
    fn take(&mut self, question: &Question, map: &TableMap, answer: &Answer) {
        let Answer::Rows(rows) = answer else { return };
        let row = rows.first().map(|row| readable::local(map, row));
        if question.of_before {
            self.before.clone_from(&row);
        }
        if question.of_after {
            self.after = row;
        }
    }
}

/// What rows stood in the target when they were locked, by their position in the transaction.
#[derive(Debug, Default)]
pub(super) struct Locked(HashMap<usize, Found>);

impl Locked {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The transaction has applied this row itself: what was read of the same keys before is no longer so.
    pub(super) fn forget(&mut self, rows: &[Row], keys: &[ChangeKeys<Key>], applied: usize) {
        if !rows[applied].table.cascades.is_empty() {
            return self.0.clear();
        }
        let shares = |row: &usize| keys[*row].identity.iter().any(|key| keys[applied].identity.contains(key));
        self.0.retain(|row, _| !shares(row));
    }
}

/// A row to read, and which of a change's images it is: both where the change leaves it its key.
struct Question {
    row: usize,
    of_before: bool,
    of_after: bool,
    query: Vec<u8>,
}

impl Applier {
    /// Locks rows, and brings the window up to what the target has executed then. Where there is no row the gap is locked,
    /// so that nobody inserts it meanwhile (the transaction runs REPEATABLE READ).
    pub(super) async fn lock_all(&mut self, redo: &mut Redo<'_>, rows: &[usize]) -> Result<(), Failure> {
        let questions = self.questions_of(redo, rows)?;
        let mut asked: Vec<&[u8]> = questions.iter().map(|q| q.query.as_slice()).collect();
        if self.window.is_some() {
            asked.push(owned::QUESTION.as_bytes());
        }
        let mut answers = Vec::with_capacity(asked.len());
        for some in asked.chunks(TOGETHER) {
            let ran = self.connection.ask_group(some).await;
            answers.extend(self.owner.settle(&mut self.connection, ran, false).await?);
        }
        if let Some(answer) = answers.get(questions.len()) {
            let malformed = || wire::Error::Invalid { what: "not a GTID set".into() };
            let failed = Error::target("asking what it has executed");
            let executed = owned::read(answer).ok_or_else(|| Failure::Fatal(failed(malformed())))?;
            self.reach(&executed).await?;
        }
        let kept = &rows[..rows.len().min(KEPT)];
        redo.locked.0.extend(kept.iter().map(|row| (*row, Found::default())));
        for (question, answer) in questions.iter().zip(&answers) {
            if let Some(found) = redo.locked.0.get_mut(&question.row) {
                found.take(question, &redo.rows[question.row].map, answer);
            }
        }
        Ok(())
    }

    /// How the target's row stands; it is locked then.
    pub(super) async fn found(&mut self, redo: &Redo<'_>, i: usize) -> Result<Found, Failure> {
        if let Some(found) = redo.locked.0.get(&i) {
            return Ok(found.clone());
        }
        let questions = self.questions_of(redo, &[i])?;
        let asked: Vec<&[u8]> = questions.iter().map(|q| q.query.as_slice()).collect();
        let ran = self.connection.ask_group(&asked).await;
        let answers = self.owner.settle(&mut self.connection, ran, false).await?;
        let mut found = Found::default();
        for (question, answer) in questions.iter().zip(&answers) {
            found.take(question, &redo.rows[i].map, answer);
        }
        Ok(found)
    }

    fn questions_of(&self, redo: &Redo<'_>, rows: &[usize]) -> Result<Vec<Question>, Failure> {
        let mut questions = Vec::new();
        for &at in rows {
            let gtid = &redo.member(at).gtid;
            let malformed = |source| Failure::Fatal(Error::Event { gtid: gtid.to_string(), source });
            let row = &redo.rows[at];
            let all = RowsEvent::parse(&row.event, &row.map).map_err(malformed)?;
            let Some(change) = all.changes().next().transpose().map_err(malformed)? else { continue };
            let stays = row.keys.identity.len() < 2;
            let images = match (&change.before, &change.after) {
                // It keeps its key: one row is both.
                (Some(before), Some(_)) if stays => vec![(before, true, true)],
                (before, after) => {
                    let before = before.iter().map(|image| (image, true, false));
                    before.chain(after.iter().map(|image| (image, false, true))).collect()
                }
            };
            for (image, of_before, of_after) in images {
                let query = local_row::question(&self.collations, &row.table, &row.map, image);
                questions.extend(query.map(|query| Question { row: at, of_before, of_after, query }));
            }
        }
        Ok(questions)
    }

    /// Who wrote a row's keys, of those that the transaction's region had not seen.
    pub(super) fn writers(&self, redo: &Redo<'_>, i: usize) -> Result<Writers, Failure> {
        let mut writers = Writers { times: Vec::new(), gtids: GtidSet::new(), other_row: false };
        let mut same_row = false;
        let Some(window) = self.window.as_ref().filter(|_| self.is_watched(&redo.rows[i].table)) else {
            return Ok(writers);
        };
        let keys = &redo.keys[i];
        let identity = keys.identity.iter().map(|key| (key, true));
        for (key, is_identity) in identity.chain(keys.unique.iter().map(|key| (key, false))) {
            for writer in window.unseen(key, &redo.member(i).seen).map_err(Failure::Fatal)? {
                writers.gtids.union_with(&writer.gtids);
                writers.times.push(writer.effective);
                same_row |= is_identity;
            }
        }
        writers.other_row = !same_row && !writers.times.is_empty();
        Ok(writers)
    }

    /// Those of these rows that changed unseen, as far as the window knows.
    pub(super) fn in_question(
        &self,
        redo: &Redo<'_>,
        rows: impl Iterator<Item = usize>,
    ) -> Result<Vec<usize>, Failure> {
        let mut found = Vec::new();
        for row in rows {
            if !self.writers(redo, row)?.times.is_empty() {
                found.push(row);
            }
        }
        Ok(found)
    }

    /// All rows are locked now: is one in question that was not before? Those that were locked by themselves are known.
    pub(super) async fn look_again(&mut self, redo: &Redo<'_>) -> Result<(), Failure> {
        if !redo.members.iter().any(|member| self.watches(&member.tables)) || redo.rows.is_empty() {
            return Ok(());
        }
        let others: Vec<usize> = (0..redo.rows.len()).filter(|row| !redo.is_known(*row)).collect();
        if !others.is_empty() {
            self.reach_now().await?;
        }
        if let Some(window) = &self.window {
            redo.members.iter().try_for_each(|member| altered_since(window, member))?;
        }
        let more = self.in_question(redo, others.into_iter())?;
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
}
