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

/// Bytes of questions that are asked in one round trip: of a wide table each is long.
const TOGETHER: usize = 1 << 20;
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
    /// Which of the rows asked about.
    at: usize,
    of_before: bool,
    of_after: bool,
    query: Vec<u8>,
}

impl Applier {
    /// Locks rows, and brings the window up to what the target has executed then. Where there is no row the gap is locked,
    /// so that nobody inserts it meanwhile (the transaction runs REPEATABLE READ).
    pub(super) async fn lock_all(&mut self, redo: &mut Redo<'_>, rows: &[usize]) -> Result<(), Failure> {
        let last = self.window.is_some().then_some(owned::QUESTION);
        let (found, answer) = self.ask_about(redo, rows, last).await?;
        if let Some(answer) = answer {
            let malformed = || wire::Error::Invalid { what: "not a GTID set".into() };
            let failed = Error::target("asking what it has executed");
            let executed = owned::read(&answer).ok_or_else(|| Failure::Fatal(failed(malformed())))?;
            self.reach(&executed).await?;
        }
        redo.locked.0.extend(rows.iter().copied().zip(found).take(KEPT));
        Ok(())
    }

    /// How the target's row stands; it is locked then.
    pub(super) async fn found(&mut self, redo: &Redo<'_>, i: usize) -> Result<Found, Failure> {
        if let Some(found) = redo.locked.0.get(&i) {
            return Ok(found.clone());
        }
        let (found, _) = self.ask_about(redo, &[i], None).await?;
        Ok(found.into_iter().next().unwrap_or_default())
    }

    /// Reads and locks rows; gives how each stands, and the answer to a `last` question, asked under their locks.
    async fn ask_about(
        &mut self,
        redo: &Redo<'_>,
        rows: &[usize],
        last: Option<&str>,
    ) -> Result<(Vec<Found>, Option<Answer>), Failure> {
        let questions = self.questions_of(redo, rows)?;
        let mut asked: Vec<&[u8]> = questions.iter().map(|q| q.query.as_slice()).collect();
        asked.extend(last.map(str::as_bytes));
        let mut answers = Vec::with_capacity(asked.len());
        for some in packets(&asked, TOGETHER.min(self.largest_event)) {
            let ran = self.connection.ask_group(some).await;
            answers.extend(self.owner.settle(&mut self.connection, ran, false).await?);
        }
        let mut found = vec![Found::default(); rows.len()];
        for (question, answer) in questions.iter().zip(&answers) {
            let map = &redo.rows[rows[question.at]].map;
            found[question.at].take(question, map, answer);
        }
        Ok((found, answers.into_iter().nth(questions.len())))
    }

    fn questions_of(&self, redo: &Redo<'_>, rows: &[usize]) -> Result<Vec<Question>, Failure> {
        let mut questions = Vec::new();
        for (at, &i) in rows.iter().enumerate() {
            let gtid = &redo.member(i).gtid;
            let malformed = |source| Failure::Fatal(Error::Event { gtid: gtid.to_string(), source });
            let row = &redo.rows[i];
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
                questions.extend(query.map(|query| Question { at, of_before, of_after, query }));
            }
        }
        Ok(questions)
    }

    /// Who wrote a row's keys, of those that the transaction's region had not seen.
    pub(super) fn writers(&self, redo: &Redo<'_>, i: usize) -> Result<Writers, Error> {
        let mut writers = Writers { times: Vec::new(), gtids: GtidSet::new(), other_row: false };
        let mut same_row = false;
        let Some(window) = self.window.as_ref().filter(|_| self.is_watched(&redo.rows[i].table)) else {
            return Ok(writers);
        };
        let keys = &redo.keys[i];
        let identity = keys.identity.iter().map(|key| (key, true));
        for (key, is_identity) in identity.chain(keys.unique.iter().map(|key| (key, false))) {
            for writer in window.unseen(key, &redo.member(i).seen)? {
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
    ) -> Result<Vec<usize>, Error> {
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
        let more = self.in_question(redo, others.into_iter()).map_err(Failure::Fatal)?;
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

/// Statements in runs of about so many bytes, none empty.
pub(crate) fn packets<'a, 's>(mut all: &'a [&'s [u8]], bytes: usize) -> impl Iterator<Item = &'a [&'s [u8]]> {
    std::iter::from_fn(move || {
        let mut sum = 0;
        let fit = all.iter().take_while(|statement| {
            sum += statement.len();
            sum <= bytes
        });
        let (some, rest) = all.split_at(fit.count().max(1).min(all.len()));
        all = rest;
        (!some.is_empty()).then_some(some)
    })
}

#[cfg(test)]
mod tests {
    use super::packets;

    #[test]
    fn what_is_asked_together_is_no_longer_than_a_packet_may_be_and_nothing_is_left_out() {
        let all: Vec<&[u8]> = vec![b"aaaa", b"bb", b"cc", b"dddddddddd", b"e"];
        let cut = |bytes| packets(&all, bytes).map(<[_]>::len).collect::<Vec<_>>();
        assert_eq!(cut(100), [5]);
        assert_eq!(cut(8), [3, 1, 1]);
        assert_eq!(cut(1), [1, 1, 1, 1, 1]);
        assert_eq!(packets(&[], 8).count(), 0);
    }
}
