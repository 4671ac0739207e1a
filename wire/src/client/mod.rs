//! A client's connection: log in, ask, run groups, become a replica.
//!
//! A connection does one thing at a time. A call that is cancelled, or fails between its command and the
//! last answer, leaves it **poisoned**: every later call says [`Error::Poisoned`], and what the server did
//! with the command is unknown. After an error *packet* nothing is left unread and the connection goes
//! on; whether a transaction is still open then is the server's affair (see [`Connection::run_group`]).

mod group;
mod login;
mod query;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;

pub use group::GroupError;
pub use query::Rows;

use crate::constants::{MAX_PACKET, command, header, status};
use crate::packet::Line;
use crate::replica::Registered;
use crate::stream::{BoxStream, Stream};
use crate::{ConnectOptions, Error, ServerError, ServerVersion, tls};

/// How long to look for the reason when a server takes no more bytes.
const LAST_WORD: Duration = Duration::from_millis(200);

/// A logged-in connection to a MySQL server.
pub struct Connection {
    line: Line,
    /// Capabilities both sides have.
    capabilities: u32,
    address: String,
    connection_id: u32,
    version: ServerVersion,
    version_text: String,
    encrypted: bool,
    /// Status flags of the last OK.
    status: u16,
    /// GTIDs of the session's own transactions, where it asked to be told.
    own_gtids: Vec<String>,
    /// The command whose answer is not read to its end.
    unfinished: Option<&'static str>,
    /// How long one packet of an answer may take.
    answer_timeout: Option<Duration>,
    /// What the source was told before a dump.
    pub(crate) registered: Option<Registered>,
}

impl Connection {
    /// Connects and logs in. Cancellation safe: nothing is left behind but a closed connection.
    ///
    /// # Errors
    ///
    /// Each names the address; [`Error::Connect`], [`Error::ConnectTimeout`] and [`Error::Login`] say
    /// what to look at.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, Error> {
        Self::connect_with(options, false).await
    }

    /// As [`Self::connect`]; what goes over the connection is packed by zstd, both ways, where the server offers that:
    /// for long distances.
    ///
    /// # Errors
    ///
    /// As [`Self::connect`].
    pub async fn connect_compressed(options: &ConnectOptions) -> Result<Self, Error> {
        Self::connect_with(options, true).await
    }

    async fn connect_with(options: &ConnectOptions, compress: bool) -> Result<Self, Error> {
        let host = host_of(&options.address)?;
        let tls = tls::client::config(&options.tls).await?;
        let work = async {
            let stream = TcpStream::connect(&options.address).await?;
            crate::prepare_socket(&stream)?;
            Box::pin(login::log_in(Box::new(stream), host, tls, options, compress)).await
        };
        within(options, work).await
    }

    /// Logs in over a stream that is connected already: a pipe, a tunnel. `options.address` serves as
    /// the name in errors, and for the host name in TLS.
    ///
    /// # Errors
    ///
    /// As [`Self::connect`].
    pub async fn over(stream: impl Stream + 'static, options: &ConnectOptions) -> Result<Self, Error> {
        let host = host_of(&options.address)?;
        let tls = tls::client::config(&options.tls).await?;
        let stream: BoxStream = Box::new(stream);
        within(options, Box::pin(login::log_in(stream, host, tls, options, false))).await
    }

    /// The server's number of this connection, as in `SHOW PROCESSLIST` and for `KILL`.
    pub fn connection_id(&self) -> u32 {
        self.connection_id
    }

    /// The server's version, as numbers.
    pub fn server_version(&self) -> ServerVersion {
        self.version
    }

    /// The server's version, as it says it.
    pub fn server_version_text(&self) -> &str {
        &self.version_text
    }

    /// The address that was connected to.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether the connection is under TLS.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Whether what goes over it is packed.
    pub fn is_compressed(&self) -> bool {
        self.has_capability(crate::constants::capability::ZSTD_COMPRESSION)
    }

    /// Whether the connection can still be used; `false` after a call that did not end.
    pub fn is_usable(&self) -> bool {
        self.unfinished.is_none()
    }

    /// Bounds the time to the next packet of an answer: a statement that takes longer fails with
    /// [`Error::Timeout`], and the connection is poisoned. `None`, as at first, waits for ever: what a
    /// statement may take (a lock, a commit held for semi-sync) is for the caller to know.
    pub fn set_answer_timeout(&mut self, timeout: Option<Duration>) {
        self.answer_timeout = timeout;
    }

    /// The GTIDs of the session's own transactions, each as text, since this was last called. Told only where
    /// the session has set `session_track_gtids = OWN_GTID`.
    pub fn take_own_gtids(&mut self) -> Vec<String> {
        std::mem::take(&mut self.own_gtids)
    }

    /// Asks whether the server is there. Not cancellation safe.
    ///
    /// # Errors
    ///
    /// Any of a broken connection.
    pub async fn ping(&mut self) -> Result<(), Error> {
        self.command("ping", &[&[command::PING]]).await?;
        self.read_ok().await.map(drop)
    }

    /// Takes leave of the server and closes. Errors are not told: the connection is gone either way.
    pub async fn close(mut self) {
        if self.command("quit", &[&[command::QUIT]]).await.is_ok() {
            self.line.writer.shutdown().await;
        }
    }

    /// Sends a command and marks the connection as waiting for its answer.
    async fn command(&mut self, name: &'static str, parts: &[&[u8]]) -> Result<(), Error> {
        self.check(parts)?;
        self.unfinished = Some(name);
        self.line.set_sequence(0);
        match self.line.send(parts).await {
            Err(Error::Io(error)) => Err(self.last_word().await.map_or(Error::Io(error), Error::Server)),
            result => result,
        }
    }

    /// What a server that takes no more bytes has said before it closed: that the packet is too large
    /// (1153), that it shuts down. It is in the socket already or will not come.
    async fn last_word(&mut self) -> Option<ServerError> {
        let received = tokio::time::timeout(LAST_WORD, self.line.receive()).await.ok()?;
        match received {
            Err(Error::Server(error)) => Some(error),
            Ok(packet) => {
                let (_, body) = packet.split_first().filter(|(first, _)| **first == header::ERR)?;
                ServerError::parse(body).ok()
            }
            Err(_) => None,
        }
    }

    /// The next packet of an answer.
    async fn receive(&mut self) -> Result<Bytes, Error> {
        let Some(after) = self.answer_timeout else { return self.line.receive().await };
        let received = tokio::time::timeout(after, self.line.receive()).await;
        received.map_err(|_| Error::Timeout { what: "an answer of the server", after })?
    }

    /// What stands against sending: an earlier call, or the size.
    fn check(&self, parts: &[&[u8]]) -> Result<(), Error> {
        if let Some(command) = self.unfinished {
            return Err(Error::Poisoned { command });
        }
        let size: usize = parts.iter().map(|part| part.len()).sum();
        if size > MAX_PACKET {
            return Err(Error::PacketTooLarge { size: size as u64, limit: MAX_PACKET });
        }
        Ok(())
    }

    pub(crate) fn has_capability(&self, flag: u32) -> bool {
        self.capabilities & flag != 0
    }

    /// Whether the session takes a backslash in a literal for itself (`sql_mode` `NO_BACKSLASH_ESCAPES`).
    pub(crate) fn no_backslash_escapes(&self) -> bool {
        self.status & status::NO_BACKSLASH_ESCAPES != 0
    }

    /// Sends a command that has no answer of its own and gives up the line.
    pub(crate) async fn command_and_leave(
        mut self,
        name: &'static str,
        parts: &[&[u8]],
    ) -> Result<Line, Error> {
        self.command(name, parts).await?;
        Ok(self.line)
    }

    /// Sends a command that is answered by OK.
    pub(crate) async fn command_ok(&mut self, name: &'static str, parts: &[&[u8]]) -> Result<(), Error> {
        self.command(name, parts).await?;
        self.read_ok().await.map(drop)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.address)
            .field("connection_id", &self.connection_id)
            .field("version", &self.version_text)
            .field("unfinished", &self.unfinished)
            .finish_non_exhaustive()
    }
}

/// The host in `host:port`, brackets taken off.
fn host_of(address: &str) -> Result<&str, Error> {
    let parts =
        address.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    let (host, _) = parts.ok_or_else(|| Error::invalid(format!("address is not host:port: `{address}`")))?;
    Ok(host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host))
}

/// Bounds a login by `connect_timeout` and puts the address to what has none.
async fn within(
    options: &ConnectOptions,
    work: impl Future<Output = Result<Connection, Error>>,
) -> Result<Connection, Error> {
    let after: Duration = options.connect_timeout;
    let address = || options.address.clone();
    match tokio::time::timeout(after, work).await {
        Ok(Err(Error::Io(source))) => Err(Error::Connect { address: address(), source }),
        Ok(Err(Error::Closed { .. })) => Err(Error::Connect {
            address: address(),
            source: io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the server during the login"),
        }),
        Ok(result) => result,
        Err(_) => Err(Error::ConnectTimeout { address: address(), after }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_found_in_all_forms_of_an_address() {
        assert_eq!(host_of("db.example:3306").unwrap(), "db.example");
        assert_eq!(host_of("10.0.0.5:3306").unwrap(), "10.0.0.5");
        assert_eq!(host_of("[::1]:3306").unwrap(), "::1");
        for bad in ["db", "db:", ":3306", "db:port", "db:99999", ""] {
            assert!(matches!(host_of(bad), Err(Error::Invalid { .. })), "{bad}");
        }
    }
}
