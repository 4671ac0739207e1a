//! A statement: `BEGIN`, `COMMIT`, DDL, and all else that is logged as text.
//!
//! ```text
//! 0   thread id        u32
//! 4   seconds it took  u32
//! 8   database name length  u8
//! 9   error code       u16
//! 11  status variables length  u16
//! 13  status variables, database name, NUL, statement
//! ```

use super::{Event, EventError, EventKind, StatusVars, u32_at};

/// A query event, borrowed from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// The session that ran it.
    pub thread_id: u32,
    /// The session's default database; empty for none.
    pub database: &'a [u8],
    /// The error the statement ended with at the source; 0 for none.
    pub error_code: u16,
    /// The session's settings, encoded.
    pub status_vars: &'a [u8],
    /// The statement, in the session's client character set.
    pub sql: &'a [u8],
}

impl<'a> Query<'a> {
    /// Reads a query event.
    pub fn parse(event: &'a Event) -> Result<Self, EventError> {
        let body = event.body();
        if event.kind() != EventKind::Query || body.len() < 13 {
            return Err(event.malformed("not a query"));
        }
        let cut = || event.malformed("lengths reach beyond its end");
        let database = usize::from(body[8]);
        let vars = usize::from(u16::from_le_bytes([body[11], body[12]]));
        let (status_vars, rest) = body[13..].split_at_checked(vars).ok_or_else(cut)?;
        let (name, rest) = rest.split_at_checked(database).ok_or_else(cut)?;
        let (nul, sql) = rest.split_first().ok_or_else(cut)?;
        if *nul != 0 {
            return Err(cut());
        }
        Ok(Self {
            thread_id: u32_at(body, 0),
            database: name,
            error_code: u16::from_le_bytes([body[9], body[10]]),
            status_vars,
            sql,
        })
    }

    /// The same event with another default database and another statement.
    ///
    /// # Errors
    ///
    /// [`EventError`] when the event is malformed or the name is longer than 255 bytes.
    pub fn rewritten(event: &Event, database: &[u8], sql: &[u8]) -> Result<Event, EventError> {
        let query = Query::parse(event)?;
        let mut body = event.body()[..13 + query.status_vars.len()].to_vec();
        body[8] = u8::try_from(database.len()).map_err(|_| event.malformed("a name that is too long"))?;
        body.extend_from_slice(database);
        body.push(0);
        body.extend_from_slice(sql);
        Ok(Event::build(&event.header(), &body))
    }

    /// The session's settings, decoded.
    pub fn settings(&self) -> StatusVars {
        StatusVars::parse(self.status_vars)
    }

    /// Is the statement this word, whatever its case?
    pub fn is(&self, word: &str) -> bool {
        self.sql.eq_ignore_ascii_case(word.as_bytes())
    }

    /// Does the statement begin with these words, whatever their case?
    pub fn starts_with(&self, words: &str) -> bool {
        self.sql.get(..words.len()).is_some_and(|head| head.eq_ignore_ascii_case(words.as_bytes()))
    }
}
