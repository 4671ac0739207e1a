//! A group's transaction on a session of the target: all of it but the commit, then the commit.
//!
//! After any error of a statement the session sends ROLLBACK and reads its OK before anything else: a failed
//! `BINLOG` leaves the row events before the failing one in the open transaction, and a COMMIT or BEGIN would
//! commit them. After an error of the connection nothing is sent at all: the link begins again, and the fence
//! decides what was committed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use binlog::GtidSet;
use wire::{Answer, Connection, GroupError};

use crate::apply::Failure;
use crate::catalog::{TargetTable, definition_in};
use crate::collations::Collations;
use crate::conflict::owned;
use crate::group::Group;
use crate::origin::LinkKey;
use crate::versions::{Asked, Versions};
use crate::{Error, sql, zone};

/// The target does not know a time zone by this name: it may have no tables of them.
const UNKNOWN_ZONE: u16 = 1298;

/// A table is not there: one of the group's, or one that is asked about beside them.
const NO_SUCH_TABLE: u16 = 1146;

/// Whose transactions these are.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) link: LinkKey,
    pub(crate) schema: String,
    /// Most bytes of row events in one `BINLOG` statement.
    pub(crate) max_event_bytes: usize,
    pub(crate) collations: Arc<Collations>,
}

/// What goes around a group's rows.
#[derive(Debug)]
pub(crate) struct Around {
    /// The statement that moves the checkpoint, or fails.
    pub(crate) fence: String,
    /// What is asked before the rows: whether foreign keys would take rows of the target alone along, each with the
    /// member of the group that would.
    pub(crate) below: Vec<(usize, String)>,
    /// The tables that it changes: are they what it was checked against? Asked behind the rows, under their locks.
    pub(crate) tables: Vec<Arc<TargetTable>>,
    /// Is what the target has executed asked there too?
    pub(crate) asks_executed: bool,
}

/// What the target said under a group's locks.
#[derive(Debug)]
pub(crate) struct Told {
    /// The first table that is not what the group was checked against, for people.
    pub(crate) altered: Option<String>,
    /// What it had executed, where that was asked.
    pub(crate) executed: Option<GtidSet>,
}

impl Owner {
    /// Runs a group's transaction up to its commit. `versions` is of this session.
    pub(crate) async fn apply(
        &self,
        connection: &mut Connection,
        versions: &mut Versions,
        group: &Group,
        around: &Around,
    ) -> Result<Told, Failure> {
        let asked = versions.choose(connection, &around.tables).await.map_err(Failure::Fatal)?;
        let ran = self.try_apply(connection, versions, &asked, group, around).await;
        let Err(Failure::Refused(source)) = &ran else { return ran };
        let is_table_gone = asked.is_by_statements() && source.code == NO_SUCH_TABLE;
        versions.forget();
        if !is_table_gone {
            return ran;
        }
        // It may be none of the group's, whose rows are not to blame then.
        let asked = versions.choose(connection, &around.tables).await.map_err(Failure::Fatal)?;
        self.try_apply(connection, versions, &asked, group, around).await
    }

    async fn try_apply(
        &self,
        connection: &mut Connection,
        versions: &mut Versions,
        asked: &Asked<'_>,
        group: &Group,
        around: &Around,
    ) -> Result<Told, Failure> {
        let mut questions = asked.statements();
        questions.extend(around.asks_executed.then(|| owned::QUESTION.to_owned()));
        let answers = self.run_in_zone(connection, group, around, &questions).await?;
        let altered = versions.altered(self, connection, asked, &answers).await?;
        let told = Told {
            altered: altered.map(TargetTable::display_name),
            executed: executed(around, &answers).map_err(Failure::Fatal)?,
        };
        self.mend(connection, group).await?;
        Ok(told)
    }

    /// Gives the answers to the questions.
    async fn run_in_zone(
        &self,
        connection: &mut Connection,
        group: &Group,
        around: &Around,
        questions: &[String],
    ) -> Result<Vec<Answer>, Failure> {
        let zone = group.zone().map(|zone| zone::set(zone));
        let mut ran = self.run(connection, group, around, questions, zone.as_deref()).await;
        if zone.is_some() && ran.is_err() {
            // Its connection may be gone: then the first error is the one to tell.
            _ = connection.execute(zone::UTC).await;
            if matches!(&ran, Err(Failure::Refused(source)) if source.code == UNKNOWN_ZONE) {
                ran = self.run(connection, group, around, questions, None).await;
            }
        }
        ran
    }

    /// One try, with the rows written under a time zone.
    async fn run(
        &self,
        connection: &mut Connection,
        group: &Group,
        around: &Around,
        questions: &[String],
        zone: Option<&str>,
    ) -> Result<Vec<Answer>, Failure> {
        let asked = questions.iter().map(String::as_bytes);
        let mut chunks = group.statements(self.max_event_bytes).peekable();
        let first = chunks.next().transpose().map_err(Failure::Fatal)?.unwrap_or_default();
        let mut statements: Vec<&[u8]> = vec![b"BEGIN", around.fence.as_bytes()];
        statements.extend(around.below.iter().map(|(_, question)| question.as_bytes()));
        statements.extend(zone.map(str::as_bytes));
        statements.push(&first);
        let in_one = chunks.peek().is_none();
        let back = zone.map(|_| zone::UTC.as_bytes());
        let behind: Vec<&[u8]> = back.into_iter().chain(asked).collect();
        if in_one {
            statements.extend(&behind);
        }
        let mut answers = self.run_fenced(connection, &statements).await?.split_off(2);
        let take = around.would_take(&answers);
        if !take.is_empty() {
            rollback(connection).await.map_err(Failure::Fatal)?;
            return Err(Failure::Collides(take));
        }
        if in_one {
            return Ok(answers.split_off(answers.len() - questions.len()));
        }
        drop(first);
        for chunk in chunks {
            // One that can't be made leaves a transaction open: the session ends with the link's round.
            let chunk = chunk.map_err(Failure::Fatal)?;
            let ran = connection.run_group(&[chunk.as_slice()]).await;
            self.settle(connection, ran, false).await?;
        }
        let ran = connection.ask_group(&behind).await;
        let mut answers = self.settle(connection, ran, false).await?;
        Ok(answers.split_off(answers.len() - questions.len()))
    }

    /// Commits it. Only COMMIT's own OK says that it is.
    /// Gives how long that took.
    pub(crate) async fn commit(&self, connection: &mut Connection) -> Result<Duration, Failure> {
        let began = Instant::now();
        let ran = connection.run_group(&[b"COMMIT"]).await;
        self.settle(connection, ran, false).await.map(|_| began.elapsed())
    }

    /// Runs statements that begin with BEGIN and the fence. A fence that finds no row holds nobody back and
    /// leaves no stamp: rows behind it must not be committed, and the link stops.
    pub(crate) async fn run_fenced(
        &self,
        connection: &mut Connection,
        statements: &[&[u8]],
    ) -> Result<Vec<Answer>, Failure> {
        let ran = connection.ask_group(statements).await;
        let answers = self.settle(connection, ran, true).await?;
        if matches!(answers.get(1), Some(Answer::Ok(ok)) if ok.affected_rows == 1) {
            return Ok(answers);
        }
        rollback(connection).await.map_err(Failure::Fatal)?;
        Err(Failure::Fatal(Error::CheckpointLost {
            link: self.link.text(),
            schema: self.schema.clone(),
            evidence: "its row was there when the link was taken over",
        }))
    }

    /// The definitions of these tables, asked for within a transaction.
    pub(crate) async fn definitions<'t>(
        &self,
        connection: &mut Connection,
        tables: impl IntoIterator<Item = &'t Arc<TargetTable>>,
    ) -> Result<Vec<Answer>, Failure> {
        let questions: Vec<String> = tables.into_iter().map(|table| definition_question(table)).collect();
        let questions: Vec<&[u8]> = questions.iter().map(String::as_bytes).collect();
        let ran = connection.ask_group(&questions).await;
        self.settle(connection, ran, false).await
    }

    /// Turns a failed statement into a rolled-back transaction. `fenced`: its second statement was the fence.
    pub(crate) async fn settle<T>(
        &self,
        connection: &mut Connection,
        ran: Result<T, GroupError>,
        fenced: bool,
    ) -> Result<T, Failure> {
        let error = match ran {
            Ok(answers) => return Ok(answers),
            Err(error) => error,
        };
        match error {
            GroupError::Failed { index, source, .. } => {
                rollback(connection).await.map_err(Failure::Fatal)?;
                if fenced && index == 1 && source.code == 1048 {
                    return Err(Failure::Fatal(Error::Fenced { link: self.link.text() }));
                }
                Err(Failure::Refused(source))
            }
            GroupError::Unknown { source, .. } | GroupError::NotSent { source } => {
                Err(Failure::Fatal(Error::target("applying a group")(source)))
            }
        }
    }
}

impl Around {
    /// The members for which rows were found, by the answers behind the fence's.
    fn would_take(&self, answers: &[Answer]) -> Vec<usize> {
        let found = |answer: &Answer| matches!(answer, Answer::Rows(rows) if !rows.rows.is_empty());
        let hits = self.below.iter().zip(answers).filter(|(_, answer)| found(answer));
        let mut members: Vec<usize> = hits.map(|((member, _), _)| *member).collect();
        members.dedup();
        members
    }
}

/// Leaves the transaction, whatever it holds.
pub(crate) async fn rollback(connection: &mut Connection) -> Result<(), Error> {
    connection.execute("ROLLBACK").await.map_err(Error::target("rolling back")).map(drop)
}

/// The question for a table's definition.
pub(crate) fn definition_question(table: &TargetTable) -> String {
    format!("SHOW CREATE TABLE {}", sql::table(&table.database, &table.table))
}

/// The first table whose definition, asked for under the group's own metadata locks, is not what the group was checked
/// against: values would have gone into the wrong columns.
pub(crate) fn altered<'t>(
    tables: impl IntoIterator<Item = &'t Arc<TargetTable>>,
    answers: &[Answer],
) -> Option<&'t TargetTable> {
    let differs = |(table, answer): &(&Arc<TargetTable>, &Answer)| {
        definition_in(answer).as_ref() != Some(&table.create)
    };
    tables.into_iter().zip(answers).find(differs).map(|(table, _)| &**table)
}

/// What the target had executed under the group's row locks, where that was asked: it is the last answer.
fn executed(around: &Around, answers: &[Answer]) -> Result<Option<GtidSet>, Error> {
    let Some(answer) = answers.last().filter(|_| around.asks_executed) else { return Ok(None) };
    let what = || wire::Error::Invalid { what: "not a GTID set".into() };
    let set = owned::read(answer).ok_or_else(|| Error::target("asking what it has executed")(what()));
    set.map(Some)
}
