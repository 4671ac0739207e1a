//! A logged-in client that asks and is answered.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::dump::{AckReceiver, EventSender};
use super::{Command, LoginOptions, Peer};
use crate::constants::{capability, header, status};
use crate::encode::put_lenenc;
use crate::handshake::Response;
use crate::packet::Line;
use crate::result_set::encode_row;
use crate::{Column, Error, OkInfo, Row, ServerError};

/// Commands are small and wait for their answers.
const READ_AHEAD: usize = 4 * 1024;

/// A client's session. One command at a time: each must be answered before the next is read.
pub struct Session {
    line: Line,
    capabilities: u32,
    user: String,
    database: Option<String>,
    attributes: Vec<(String, String)>,
    peer: Peer,
    encrypted: bool,
    idle_timeout: Duration,
}

impl Session {
    pub(super) fn new(
        mut line: Line,
        response: Response,
        peer: Peer,
        encrypted: bool,
        options: &LoginOptions,
    ) -> Self {
        line.reader.set_limit(options.max_packet);
        line.reader.set_read_ahead(READ_AHEAD);
        line.writer.set_stall_limit(options.write_timeout);
        Self {
            line,
            capabilities: response.capabilities,
            user: response.user,
            database: response.database,
            attributes: response.attributes,
            peer,
            encrypted,
            idle_timeout: options.idle_timeout,
        }
    }

    /// Who logged in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Where from.
    pub fn peer(&self) -> SocketAddr {
        self.peer.address
    }

    /// The number the client was given.
    pub fn connection_id(&self) -> u32 {
        self.peer.connection_id
    }

    /// The schema the client chose at login.
    pub fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// What the client told of itself: `program_name`, `_client_version`.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether the client came by TLS.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// The next command. Cancellation safe. A client that sends none within the idle timeout is told so
    /// (4031) and ended.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] where the client left without a word, [`Error::Timeout`] where it was idle too
    /// long, [`Error::Protocol`] for a packet that is no command (the client is told 1835); the session
    /// is at its end after any of them.
    pub async fn next_command(&mut self) -> Result<Command, Error> {
        self.line.set_sequence(0);
        let Ok(received) = timeout(self.idle_timeout, self.line.receive()).await else {
            let text = "The client was disconnected by the server because of inactivity. See wait_timeout \
                        and interactive_timeout for configuring this behavior.";
            // The client may not even read any more.
            let _ = self.send_error(4031, "HY000", text).await;
            return Err(Error::Timeout { what: "a command of a client", after: self.idle_timeout });
        };
        match Command::parse(&received?) {
            Ok(command) => Ok(command),
            Err(malformed) => {
                let _ = self.send_error(1835, "HY000", "Malformed communication packet.").await;
                Err(malformed.into())
            }
        }
    }

    /// Answers OK. Not cancellation safe, like every answer here: after a cancelled call the session is
    /// of no use.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] where the client takes nothing, and those of a broken connection.
    pub async fn send_ok(&mut self) -> Result<(), Error> {
        self.send(&session_ok().encode(header::OK)).await
    }

    /// Answers with an error. SQLSTATE has five characters, `HY000` for most.
    ///
    /// # Errors
    ///
    /// As [`Self::send_ok`].
    pub async fn send_error(&mut self, code: u16, sqlstate: &str, message: &str) -> Result<(), Error> {
        self.send(&ServerError::new(code, sqlstate, message).encode()).await
    }

    /// Answers EOF, or the OK in its place for clients that know it: the answer to COM_SET_OPTION.
    ///
    /// # Errors
    ///
    /// As [`Self::send_ok`].
    pub async fn send_eof(&mut self) -> Result<(), Error> {
        let packet = self.end_packet();
        self.send(&packet).await
    }

    /// Answers with a line of text and nothing else: the answer to COM_STATISTICS.
    ///
    /// # Errors
    ///
    /// As [`Self::send_ok`].
    pub async fn send_text(&mut self, text: &str) -> Result<(), Error> {
        self.send(text.as_bytes()).await
    }

    /// Answers with rows, each with a value for every column.
    ///
    /// # Errors
    ///
    /// As [`Self::send_ok`], and [`Error::Invalid`] for a row of another length, before anything is sent.
    pub async fn send_rows(&mut self, columns: &[Column], rows: &[Row]) -> Result<(), Error> {
        if columns.is_empty() || rows.iter().any(|row| row.len() != columns.len()) {
            return Err(Error::invalid("rows don't fit their columns"));
        }
        let mut count = Vec::new();
        put_lenenc(&mut count, columns.len() as u64);
        self.line.write(&[&count]).await?;
        for column in columns {
            self.line.write(&[&column.encode()]).await?;
        }
        if !self.has(capability::DEPRECATE_EOF) {
            self.line.write(&[&self.end_packet()]).await?;
        }
        for row in rows {
            self.line.write(&[&encode_row(row)]).await?;
        }
        self.line.send(&[&self.end_packet()]).await
    }

    /// From here on what is packed goes on over the ends of frames: small ones get far smaller. Only for a client
    /// that reads such frames, as a [`crate::Connection`] does. Without compression it has no effect.
    pub fn pack_on(&self) {
        self.line.go_on_packing();
    }

    /// Becomes a stream of events, the answer to a dump command. With `semi_sync` each event carries the
    /// two bytes of semi-sync, which only a client that has set `@rpl_semi_sync_replica` expects.
    pub fn into_dump(self, semi_sync: bool) -> (EventSender, AckReceiver) {
        let sequence = self.line.sequence();
        let Line { reader, writer, .. } = self.line;
        (EventSender::new(writer, sequence, semi_sync), AckReceiver::new(reader))
    }

    fn has(&self, flag: u32) -> bool {
        self.capabilities & flag != 0
    }

    fn end_packet(&self) -> Vec<u8> {
        if self.has(capability::DEPRECATE_EOF) {
            session_ok().encode(header::EOF)
        } else {
            session_ok().encode_eof()
        }
    }

    async fn send(&mut self, packet: &[u8]) -> Result<(), Error> {
        self.line.send(&[packet]).await
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("user", &self.user)
            .field("peer", &self.peer)
            .field("encrypted", &self.encrypted)
            .finish_non_exhaustive()
    }
}

fn session_ok() -> OkInfo {
    OkInfo { status_flags: status::AUTOCOMMIT, ..OkInfo::default() }
}

/// A value of a row.
impl Column {
    /// A text as a row's value.
    pub fn value(text: impl Into<String>) -> Option<Bytes> {
        Some(Bytes::from(text.into()))
    }
}
