//! One statement and what it gives.

use bytes::Bytes;

use super::Connection;
use crate::answer::{Answer, unexpected};
use crate::constants::{capability, command, header};
use crate::cursor::Cursor;
use crate::result_set::{MAX_COLUMNS, parse_row};
use crate::{Column, Error, OkInfo, ResultSet, Row, ServerError};

/// How an answer begins.
pub(super) enum Head {
    Ok(OkInfo),
    Columns(Vec<Column>),
}

/// What comes next in a result set.
pub(super) enum Next {
    Row(Bytes),
    End(OkInfo),
}

/// An answer's part, or the error packet that stands in its place. The error packet ends the whole
/// answer, nothing is left unread behind it. Any outer error means that the connection is of no use.
pub(super) type Part<T> = Result<Result<T, ServerError>, Error>;

impl Connection {
    /// Runs one statement. Not cancellation safe.
    ///
    /// # Errors
    ///
    /// [`Error::Server`] is the statement's own; after any other the connection is poisoned. It is so
    /// too if the text holds several statements: those go by [`Self::run_group`].
    pub async fn query(&mut self, sql: impl AsRef<[u8]>) -> Result<Answer, Error> {
        match self.begin(sql.as_ref()).await? {
            Head::Ok(ok) => Ok(Answer::Ok(ok)),
            Head::Columns(columns) => {
                let mut rows = Rows { connection: self, columns, done: false };
                let mut all = Vec::new();
                while let Some(row) = rows.next().await? {
                    all.push(row);
                }
                Ok(Answer::Rows(ResultSet { columns: rows.columns, rows: all }))
            }
        }
    }

    /// Runs one statement that gives no rows. Not cancellation safe.
    ///
    /// # Errors
    ///
    /// As [`Self::query`]; [`Error::Invalid`] if it did give rows (they are read and dropped).
    pub async fn execute(&mut self, sql: impl AsRef<[u8]>) -> Result<OkInfo, Error> {
        match self.query(sql).await? {
            Answer::Ok(ok) => Ok(ok),
            Answer::Rows(_) => Err(Error::invalid("a statement that gives rows was run for its effect")),
        }
    }

    /// Runs one statement that gives rows, and keeps them all in memory. Not cancellation safe.
    ///
    /// # Errors
    ///
    /// As [`Self::query`]; [`Error::Invalid`] if it gives none, not even an empty set.
    pub async fn query_rows(&mut self, sql: impl AsRef<[u8]>) -> Result<ResultSet, Error> {
        match self.query(sql).await? {
            Answer::Rows(rows) => Ok(rows),
            Answer::Ok(_) => Err(no_rows()),
        }
    }

    /// Runs one statement whose rows are taken one by one: for results that don't fit memory. The
    /// connection is poisoned unless the rows are read to their end.
    ///
    /// # Errors
    ///
    /// As [`Self::query_rows`].
    pub async fn query_stream(&mut self, sql: impl AsRef<[u8]>) -> Result<Rows<'_>, Error> {
        match self.begin(sql.as_ref()).await? {
            Head::Columns(columns) => Ok(Rows { connection: self, columns, done: false }),
            Head::Ok(_) => Err(no_rows()),
        }
    }

    /// Sends a statement and reads its answer's head; ends the command if that is all there is.
    async fn begin(&mut self, sql: &[u8]) -> Result<Head, Error> {
        self.command("query", &[&[command::QUERY], sql]).await?;
        match self.read_head().await? {
            Ok(Head::Ok(ok)) => {
                self.finish(&ok)?;
                Ok(Head::Ok(ok))
            }
            Ok(columns) => Ok(columns),
            Err(error) => {
                self.unfinished = None;
                Err(error.into())
            }
        }
    }

    /// The command is answered, unless the server says that more follows.
    fn finish(&mut self, ok: &OkInfo) -> Result<(), Error> {
        if ok.more_results() {
            return Err(Error::protocol("more than one answer to one statement"));
        }
        self.unfinished = None;
        Ok(())
    }

    /// Reads an answer that is OK or ERR.
    pub(super) async fn read_ok(&mut self) -> Result<OkInfo, Error> {
        match self.read_head().await? {
            Ok(Head::Ok(ok)) => {
                self.finish(&ok)?;
                Ok(ok)
            }
            Ok(Head::Columns(_)) => Err(Error::protocol("rows in answer to a command that has none")),
            Err(error) => {
                self.unfinished = None;
                Err(error.into())
            }
        }
    }

    /// Reads an answer's head, the column definitions included.
    pub(super) async fn read_head(&mut self) -> Part<Head> {
        let packet = self.receive().await?;
        match packet.split_first() {
            Some((&header::OK, body)) => {
                let ok = OkInfo::parse(body)?;
                self.note(&ok, body)?;
                Ok(Ok(Head::Ok(ok)))
            }
            Some((&header::ERR, body)) => Ok(Err(ServerError::parse(body)?)),
            Some((&header::LOCAL_INFILE, _)) => {
                Err(Error::protocol("the server asks for a local file, which was never offered"))
            }
            Some(_) => {
                let mut cursor = Cursor::new(&packet);
                let count = cursor.lenenc()?;
                if count > MAX_COLUMNS || !cursor.is_empty() {
                    return Err(unexpected(&packet, "an answer to a statement"));
                }
                self.read_columns(count).await.map(|columns| Ok(Head::Columns(columns)))
            }
            None => Err(unexpected(&packet, "an answer to a statement")),
        }
    }

    /// Keeps what an OK packet tells of the session.
    fn note(&mut self, ok: &OkInfo, body: &[u8]) -> Result<(), Error> {
        self.status = ok.status_flags;
        if self.has_capability(capability::SESSION_TRACK)
            && let Some(gtids) = ok.own_gtids(body)?
        {
            self.own_gtids.push(gtids);
        }
        Ok(())
    }

    async fn read_columns(&mut self, count: u64) -> Result<Vec<Column>, Error> {
        let mut columns = Vec::new();
        for _ in 0..count {
            columns.push(Column::parse(&self.receive().await?)?);
        }
        if !self.has_capability(capability::DEPRECATE_EOF) {
            let packet = self.receive().await?;
            if packet.first() != Some(&header::EOF) {
                return Err(unexpected(&packet, "the end of the column definitions"));
            }
        }
        Ok(columns)
    }

    /// Reads a row's packet, or the end of the rows.
    pub(super) async fn read_next(&mut self) -> Part<Next> {
        let packet = self.receive().await?;
        match packet.split_first() {
            Some((&header::ERR, body)) => Ok(Err(ServerError::parse(body)?)),
            // A row may begin with 0xFE too, but then its first value alone is 16 MiB or more.
            Some((&header::EOF, body)) if packet.len() < 0xff_ffff => {
                let ok = if self.has_capability(capability::DEPRECATE_EOF) {
                    let ok = OkInfo::parse(body)?;
                    self.note(&ok, body)?;
                    ok
                } else {
                    OkInfo::parse_eof(body)?
                };
                self.status = ok.status_flags;
                Ok(Ok(Next::End(ok)))
            }
            Some(_) => Ok(Ok(Next::Row(packet))),
            None => Err(unexpected(&packet, "a row")),
        }
    }
}

fn no_rows() -> Error {
    Error::invalid("a statement without rows was run for its rows")
}

/// Rows on their way; see [`Connection::query_stream`].
#[derive(Debug)]
pub struct Rows<'a> {
    connection: &'a mut Connection,
    columns: Vec<Column>,
    done: bool,
}

impl Rows<'_> {
    /// The columns of every row.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The next row, `None` after the last. Cancellation safe.
    ///
    /// # Errors
    ///
    /// [`Error::Server`] where the statement failed in the middle: there are no more rows then, and the
    /// connection can be used again. After any other error it can't.
    pub async fn next(&mut self) -> Result<Option<Row>, Error> {
        if self.done {
            return Ok(None);
        }
        match self.connection.read_next().await? {
            Ok(Next::Row(packet)) => Ok(Some(parse_row(&packet, self.columns.len())?)),
            Ok(Next::End(ok)) => {
                self.connection.finish(&ok)?;
                self.done = true;
                Ok(None)
            }
            Err(error) => {
                self.connection.unfinished = None;
                self.done = true;
                Err(error.into())
            }
        }
    }
}
