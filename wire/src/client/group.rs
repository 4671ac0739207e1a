//! Several statements in one round trip, each answer accounted for.
//!
//! A group of transactions is committed as one text: `BEGIN; UPDATE …; BINLOG '…'; COMMIT`. The server
//! runs the statements one by one and stops at the first that fails. Ordinary clients read answers
//! until one lacks the more-results flag; but the OK of a `BINLOG` statement lacks it although more
//! answers follow, so they take the group for committed before `COMMIT` has run, and take its answer,
//! maybe an error, for that of their next command. Here answers are *counted*: exactly one for each
//! statement, or an error packet, behind which there is nothing. Success is told only when the last
//! statement's own answer was read.

use super::Connection;
use super::query::{Head, Next, Part};
use crate::constants::command;
use crate::result_set::parse_row;
use crate::{Answer, Error, OkInfo, ResultSet, ServerError};

/// Why a group did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// A statement failed. Those before it ran, those behind it did not. The connection is in step, but
    /// **the transaction may be open with half the group in it**: send ROLLBACK and read its OK before
    /// anything else.
    #[error("statement {index} of {statements} of a group failed")]
    Failed {
        /// Which statement, counted from 0.
        index: usize,
        /// How many there were.
        statements: usize,
        /// The server's reason.
        #[source]
        source: ServerError,
    },
    /// The connection broke after sending: the server may have run nothing, some or all of it, the last
    /// statement included. The connection is poisoned.
    #[error("outcome of a group unknown, {answered} of {statements} statements answered")]
    Unknown {
        /// How many statements are known to have succeeded.
        answered: usize,
        /// How many there were.
        statements: usize,
        /// How it broke.
        #[source]
        source: Error,
    },
    /// Nothing was sent: the connection was poisoned already, or the text is too large.
    #[error("group not sent")]
    NotSent {
        /// Why.
        #[source]
        source: Error,
    },
}

impl GroupError {
    /// The server's error number, if a statement failed.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Failed { source, .. } => Some(source.code),
            Self::Unknown { .. } | Self::NotSent { .. } => None,
        }
    }

    /// Whether the same group may succeed later, on a new connection where the outcome is unknown.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Failed { source, .. } => source.is_transient(),
            Self::Unknown { source, .. } | Self::NotSent { source } => source.is_transient(),
        }
    }
}

impl Connection {
    /// Runs statements in one packet and gives one answer for each. The statements are written to the
    /// socket as they lie, with `;` between. Not cancellation safe: after a cancelled call the outcome
    /// is unknown and the connection poisoned.
    ///
    /// Each element must be exactly one statement that gives exactly one answer (no `CALL`, no `;` inside
    /// but in literals): a count that does not fit is [`GroupError::Unknown`] where the server's flags
    /// show it, or waits for an answer that does not come.
    ///
    /// # Errors
    ///
    /// See [`GroupError`]. An empty list is no error and sends nothing.
    pub async fn run_group(&mut self, statements: &[&[u8]]) -> Result<Vec<OkInfo>, GroupError> {
        self.run_parts(&joined(statements), statements.len()).await.map(oks)
    }

    /// As [`Self::run_group`], and keeps the rows that statements give.
    ///
    /// # Errors
    ///
    /// See [`GroupError`].
    pub async fn ask_group(&mut self, statements: &[&[u8]]) -> Result<Vec<Answer>, GroupError> {
        let answers = self.run_parts(&joined(statements), statements.len()).await?;
        Ok(answers.into_iter().map(|(ok, rows)| rows.map_or(Answer::Ok(ok), Answer::Rows)).collect())
    }

    /// As [`Self::run_group`], for a text in which the `statements` stand joined by `;` already.
    ///
    /// # Errors
    ///
    /// See [`GroupError`].
    pub async fn run_script(&mut self, text: &[u8], statements: usize) -> Result<Vec<OkInfo>, GroupError> {
        self.run_parts(&[&[command::QUERY], text], statements).await.map(oks)
    }

    async fn run_parts(&mut self, parts: &[&[u8]], statements: usize) -> Result<Vec<Given>, GroupError> {
        self.check(parts).map_err(|source| GroupError::NotSent { source })?;
        if statements == 0 {
            return Ok(Vec::new());
        }
        let unknown = |answered, source| GroupError::Unknown { answered, statements, source };
        self.command("group", parts).await.map_err(|source| unknown(0, source))?;

        let mut answers = Vec::with_capacity(statements);
        while answers.len() < statements {
            match self.read_answer().await.map_err(|source| unknown(answers.len(), source))? {
                Ok(given) => answers.push(given),
                Err(source) => {
                    self.unfinished = None;
                    return Err(GroupError::Failed { index: answers.len(), statements, source });
                }
            }
        }
        // The flag is of no use for finding the end, but where it is set on the last answer there were
        // more statements than the caller knew of, and what is still to come belongs to no one.
        if answers.last().is_some_and(|(ok, _)| ok.more_results()) {
            return Err(unknown(answers.len(), Error::protocol("more answers than statements")));
        }
        self.unfinished = None;
        Ok(answers)
    }

    /// One statement's answer.
    async fn read_answer(&mut self) -> Part<Given> {
        let columns = match self.read_head().await? {
            Ok(Head::Ok(ok)) => return Ok(Ok((ok, None))),
            Ok(Head::Columns(columns)) => columns,
            Err(error) => return Ok(Err(error)),
        };
        let mut rows = Vec::new();
        loop {
            match self.read_next().await? {
                Ok(Next::Row(packet)) => rows.push(parse_row(&packet, columns.len())?),
                Ok(Next::End(ok)) => return Ok(Ok((ok, Some(ResultSet { columns, rows })))),
                Err(error) => return Ok(Err(error)),
            }
        }
    }
}

/// What one statement gave.
type Given = (OkInfo, Option<ResultSet>);

/// The command and its statements, as they are written to the socket.
fn joined<'a>(statements: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut parts: Vec<&[u8]> = Vec::with_capacity(2 * statements.len());
    for statement in statements {
        parts.push(if parts.is_empty() { &[command::QUERY] } else { b";" });
        parts.push(statement);
    }
    parts
}

fn oks(answers: Vec<Given>) -> Vec<OkInfo> {
    answers.into_iter().map(|(ok, _)| ok).collect()
}
