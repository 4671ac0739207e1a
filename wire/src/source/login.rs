//! The server's side of a login.
//!
//! A client proves its password by the fast path of `caching_sha2_password`, or by
//! `mysql_native_password` where it knows nothing better; never is it asked for the password itself. Which
//! it is follows from what the client offers:
//!
//! | client offers | what is done |
//! |---|---|
//! | `caching_sha2_password` | its proof is checked, then 0x03 (fast path) and OK |
//! | `mysql_native_password` with a proof | its proof is checked, OK |
//! | `mysql_native_password` without | asked for a proof of that plugin, for it may know no other |
//! | anything else | asked for a proof of `caching_sha2_password` |
//!
//! A user that does not exist goes the same way as one that does, and gets the same error.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rustls::ServerConfig;
use tokio::time::timeout;

use super::Session;
use crate::auth::client::Plugin;
use crate::auth::verifier::{Users, Verifier};
use crate::compressed::{LEVELS, Side};
use crate::constants::{UTF8MB4_0900_AI_CI, capability as cap, header, plugin, status};
use crate::handshake::{AuthSwitch, Greeting, NONCE, Response};
use crate::packet::Line;
use crate::stream::{BoxStream, Stream};
use crate::{Error, OkInfo, ServerError, tls};

/// A client that has not logged in gets no more memory than this.
const LOGIN_PACKET: usize = 64 * 1024;

/// What caching_sha2_password says when the proof was enough.
const FAST_AUTH_OK: u8 = 3;

const OFFERED: u32 = cap::LONG_PASSWORD
    | cap::LONG_FLAG
    | cap::CONNECT_WITH_DB
    | cap::PROTOCOL_41
    | cap::TRANSACTIONS
    | cap::SECURE_CONNECTION
    | cap::MULTI_STATEMENTS
    | cap::MULTI_RESULTS
    | cap::PS_MULTI_RESULTS
    | cap::PLUGIN_AUTH
    | cap::CONNECT_ATTRS
    | cap::PLUGIN_AUTH_LENENC_DATA
    | cap::DEPRECATE_EOF
    | cap::ZSTD_COMPRESSION;

/// What holds for all logins of a listener.
#[derive(Clone, Debug)]
pub struct LoginOptions {
    /// The version told in the greeting; clients and replicas decide by it what they may ask.
    pub server_version: String,
    /// Who may log in.
    pub users: Arc<Users>,
    /// TLS, offered where given; see [`crate::ListenerTls::load`].
    pub tls: Option<Arc<ServerConfig>>,
    /// Refuse clients that don't take TLS.
    pub require_tls: bool,
    /// From accept to the end of the login.
    pub login_timeout: Duration,
    /// How long a session may be without a command.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub write_timeout: Duration,
    /// The largest command accepted after the login, bytes. A dump request holds a GTID set.
    pub max_packet: usize,
}

impl LoginOptions {
    /// No TLS, and MySQL's own defaults: 10 s to log in (`connect_timeout`), 8 h without a command
    /// (`wait_timeout`), 60 s without taking a byte (`net_write_timeout`), 64 MiB a command.
    pub fn new(server_version: impl Into<String>, users: Arc<Users>) -> Self {
        Self {
            server_version: server_version.into(),
            users,
            tls: None,
            require_tls: false,
            login_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(8 * 3600),
            write_timeout: Duration::from_secs(60),
            max_packet: 64 << 20,
        }
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The number this connection gets, told in the greeting.
    pub connection_id: u32,
}

/// Logs a client in. A client that is turned away has been told why when this returns.
///
/// Cancellation safe: the connection is closed.
///
/// # Errors
///
/// [`Error::Refused`] with what the client was told, [`Error::Timeout`], [`Error::Tls`], and those of a
/// broken connection.
pub async fn accept(
    stream: impl Stream + 'static,
    peer: Peer,
    options: &LoginOptions,
) -> Result<Session, Error> {
    let login = Box::pin(log_in(Box::new(stream), peer, options));
    timeout(options.login_timeout, login)
        .await
        .map_err(|_| Error::Timeout { what: "the login of a client", after: options.login_timeout })?
}

async fn log_in(stream: BoxStream, peer: Peer, options: &LoginOptions) -> Result<Session, Error> {
    let nonce = nonce();
    let mut line = Line::new(stream, LOGIN_PACKET);
    line.send(&[&greeting(peer, options, &nonce).encode()]).await?;

    let mut packet = line.receive().await?;
    let mut encrypted = false;
    if let (Some(_), Some(config)) = (Response::parse_ssl_request(&packet), &options.tls) {
        line = upgrade(line, config.clone()).await?;
        packet = line.receive().await?;
        encrypted = true;
    }
    let mut login = Login { line, peer, nonce, user: String::new() };
    let Ok(response) = Response::parse(&packet) else {
        return Err(login.refuse(ServerError::new(1043, "08S01", "Bad handshake")).await);
    };
    login.user.clone_from(&response.user);
    if options.require_tls && !encrypted {
        let text = "Connections using insecure transport are prohibited while --require_secure_transport=ON.";
        return Err(login.refuse(ServerError::new(3159, "HY000", text)).await);
    }
    let unknown = Verifier::impossible();
    let verifier = options.users.get(&response.user).unwrap_or(&unknown);
    login.authenticate(&response, verifier).await?;

    let ok = OkInfo { status_flags: status::AUTOCOMMIT, ..OkInfo::default() };
    login.line.send(&[&ok.encode(header::OK)]).await?;
    let mut line = login.line;
    if response.capabilities & cap::ZSTD_COMPRESSION != 0 {
        let level = response.zstd_level.clamp(*LEVELS.start(), *LEVELS.end());
        line = line.compressed(Side::Server, level)?;
    }
    Ok(Session::new(line, response, peer, encrypted, options))
}

fn greeting(peer: Peer, options: &LoginOptions, nonce: &[u8]) -> Greeting {
    Greeting {
        server_version: options.server_version.clone(),
        connection_id: peer.connection_id,
        nonce: nonce.to_vec(),
        capabilities: OFFERED | if options.tls.is_some() { cap::SSL } else { 0 },
        collation: UTF8MB4_0900_AI_CI,
        status: status::AUTOCOMMIT,
        plugin: plugin::CACHING_SHA2.to_owned(),
    }
}

async fn upgrade(line: Line, config: Arc<ServerConfig>) -> Result<Line, Error> {
    let sequence = line.sequence();
    let stream = tls::server::upgrade(line.into_stream()?, config).await?;
    let mut line = Line::new(stream, LOGIN_PACKET);
    line.set_sequence(sequence);
    Ok(line)
}

/// Random bytes that clients can take for a C string: no NUL, ASCII only, and no `$`, as in MySQL's own.
fn nonce() -> Vec<u8> {
    let mut random = rand::rng();
    std::iter::repeat_with(|| random.random_range(1..=127u8))
        .filter(|byte| *byte != b'$')
        .take(NONCE)
        .collect()
}

struct Login {
    line: Line,
    peer: Peer,
    nonce: Vec<u8>,
    user: String,
}

impl Login {
    async fn authenticate(&mut self, response: &Response, verifier: &Verifier) -> Result<(), Error> {
        let knows_plugins = response.capabilities & cap::PLUGIN_AUTH != 0;
        let offered = match &response.plugin {
            Some(name) => Plugin::from_name(name),
            // Who knows no plugins means what later became mysql_native_password.
            None => Some(Plugin::Native),
        };
        let proof = response.proof.clone();
        match offered {
            Some(Plugin::Native) if proof.is_empty() && knows_plugins && !verifier.accepts_empty() => {
                self.switch(Plugin::Native, verifier).await
            }
            Some(plugin) => self.check(plugin, &proof, verifier).await,
            None if knows_plugins => self.switch(Plugin::CachingSha2, verifier).await,
            None => Err(self.deny(!proof.is_empty()).await),
        }
    }

    /// Asks for a proof of another plugin, with random bytes of its own.
    async fn switch(&mut self, plugin: Plugin, verifier: &Verifier) -> Result<(), Error> {
        self.nonce = nonce();
        let switch = AuthSwitch { plugin: plugin.name().to_owned(), nonce: self.nonce.clone() };
        self.line.send(&[&switch.encode()]).await?;
        let proof = self.line.receive().await?;
        self.check(plugin, &proof, verifier).await
    }

    async fn check(&mut self, plugin: Plugin, proof: &[u8], verifier: &Verifier) -> Result<(), Error> {
        // An empty password is proved by nothing, or by the NUL that ends it.
        if matches!(proof, [] | [0]) {
            return if verifier.accepts_empty() { Ok(()) } else { Err(self.deny(false).await) };
        }
        let right = match plugin {
            Plugin::CachingSha2 => verifier.accepts_sha2(proof, &self.nonce),
            Plugin::Native => verifier.accepts_sha1(proof, &self.nonce),
        };
        if !right {
            return Err(self.deny(true).await);
        }
        if plugin == Plugin::CachingSha2 {
            self.line.send(&[&[header::AUTH_MORE_DATA, FAST_AUTH_OK]]).await?;
        }
        Ok(())
    }

    /// MySQL's own words for a wrong user or password.
    async fn deny(&mut self, with_password: bool) -> Error {
        let using = if with_password { "YES" } else { "NO" };
        let (user, host) = (&self.user, self.peer.address.ip());
        let text = format!("Access denied for user '{user}'@'{host}' (using password: {using})");
        self.refuse(ServerError::new(1045, "28000", text)).await
    }

    /// Tells the client and gives the error for our side. That the client does not hear it any more is
    /// no matter.
    async fn refuse(&mut self, answer: ServerError) -> Error {
        let _ = self.line.send(&[&answer.encode()]).await;
        self.line.writer.shutdown().await;
        Error::Refused { peer: self.peer.address.to_string(), user: self.user.clone(), answer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_are_printable_for_c_and_differ() {
        let (one, other) = (nonce(), nonce());
        assert_eq!(one.len(), NONCE);
        assert!(one.iter().all(|byte| (1..=127).contains(byte) && *byte != b'$'));
        assert_ne!(one, other);
    }
}
