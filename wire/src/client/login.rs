//! The client's login.
//!
//! Greeting, TLS if wanted, response, then whatever the server asks until OK. Over TLS the full path of
//! `caching_sha2_password` sends the password as it is; without TLS, encrypted with the RSA key that the
//! server shows.

use std::sync::Arc;

use rustls::ClientConfig;

use super::Connection;
use crate::answer::unexpected;
use crate::auth::client::Plugin;
use crate::auth::public_key;
use crate::compressed::{self, Side};
use crate::constants::{
    MAX_PACKET, UTF8MB4_0900_AI_CI, UTF8MB4_GENERAL_CI, capability as cap, header, status,
};
use crate::handshake::{AuthSwitch, Greeting, Response};
use crate::packet::Line;
use crate::stream::BoxStream;
use crate::{ConnectOptions, Error, OkInfo, ServerError, ServerVersion, TlsMode, tls};

/// Nothing in a login is larger.
const LOGIN_PACKET: usize = 64 * 1024;

/// Queries have small answers; a dump raises this.
const READ_AHEAD: usize = 16 * 1024;

const WANTED: u32 = cap::LONG_PASSWORD
    | cap::LONG_FLAG
    | cap::PROTOCOL_41
    | cap::TRANSACTIONS
    | cap::SECURE_CONNECTION
    | cap::MULTI_STATEMENTS
    | cap::MULTI_RESULTS
    | cap::PLUGIN_AUTH
    | cap::PLUGIN_AUTH_LENENC_DATA
    | cap::CONNECT_ATTRS
    | cap::SESSION_TRACK
    | cap::DEPRECATE_EOF;

/// A server without these can't be talked to.
const NEEDED: u32 = cap::PROTOCOL_41 | cap::SECURE_CONNECTION | cap::MULTI_STATEMENTS | cap::MULTI_RESULTS;

/// What caching_sha2_password says in its further packets.
mod sha2 {
    pub(super) const REQUEST_PUBLIC_KEY: u8 = 2;
    pub(super) const FAST_AUTH_OK: u8 = 3;
    pub(super) const FULL_AUTH: u8 = 4;
}

/// Logs in over a stream fresh from the server's accept.
pub(super) async fn log_in(
    stream: BoxStream,
    host: &str,
    tls: Option<Arc<ClientConfig>>,
    options: &ConnectOptions,
    compress: bool,
) -> Result<Connection, Error> {
    let mut line = Line::new(stream, LOGIN_PACKET);
    let greeting = receive_greeting(&mut line, options).await?;
    let version = ServerVersion::parse(&greeting.server_version)
        .ok_or_else(|| Error::protocol(format!("not a version: `{}`", greeting.server_version)))?;
    let lacking = NEEDED & !greeting.capabilities;
    if lacking != 0 {
        return Err(Error::protocol(format!("server lacks capabilities {lacking:#x}")));
    }

    let tls = tls_to_use(tls, greeting.capabilities, options)?;
    let encrypted = tls.is_some();
    let plugin = Plugin::from_name(&greeting.plugin).unwrap_or(Plugin::CachingSha2);
    let compress = if compress { cap::ZSTD_COMPRESSION & greeting.capabilities } else { 0 };
    let response = Response {
        capabilities: WANTED & greeting.capabilities | compress | if encrypted { cap::SSL } else { 0 },
        max_packet: 1 << 30,
        collation: if version >= ServerVersion::new(8, 0, 1) && version.major < 10 {
            UTF8MB4_0900_AI_CI
        } else {
            UTF8MB4_GENERAL_CI
        },
        user: options.user.clone(),
        proof: plugin.proof(&options.password, &greeting.nonce),
        plugin: Some(plugin.name().to_owned()),
        attributes: attributes(),
        zstd_level: compressed::LEVEL,
        ..Response::default()
    };
    if let Some(config) = tls {
        line = upgrade(line, &response, config, host).await?;
    }
    line.send(&[&response.encode()]).await?;

    let mut login = Login { line, options, plugin, nonce: greeting.nonce, encrypted };
    let ok = login.authenticate().await?;
    let mut line = login.line;
    if compress != 0 {
        line = line.compressed(Side::Client, compressed::LEVEL)?;
    }
    line.reader.set_limit(MAX_PACKET);
    line.reader.set_read_ahead(READ_AHEAD);
    Ok(Connection {
        line,
        capabilities: response.capabilities,
        address: options.address.clone(),
        connection_id: greeting.connection_id,
        version,
        version_text: greeting.server_version,
        encrypted,
        status: ok.status_flags | status::AUTOCOMMIT,
        unfinished: None,
        answer_timeout: None,
        own_gtids: Vec::new(),
        registered: None,
    })
}

async fn receive_greeting(line: &mut Line, options: &ConnectOptions) -> Result<Greeting, Error> {
    let packet = line.receive().await?;
    match packet.split_first() {
        Some((&header::ERR, body)) => Err(refused(options, ServerError::parse(body)?)),
        _ => Ok(Greeting::parse(&packet)?),
    }
}

/// TLS where it is wanted and there, or an error where it is needed and not there.
fn tls_to_use(
    tls: Option<Arc<ClientConfig>>,
    server: u32,
    options: &ConnectOptions,
) -> Result<Option<Arc<ClientConfig>>, Error> {
    if server & cap::SSL != 0 {
        return Ok(tls);
    }
    match options.tls.mode {
        TlsMode::Disabled | TlsMode::Preferred => Ok(None),
        TlsMode::Required | TlsMode::VerifyCa | TlsMode::VerifyIdentity => Err(Error::Tls {
            what: format!(
                "server offers none; give it a certificate, or ask for less than required: `{}`",
                options.address
            ),
            source: None,
        }),
    }
}

async fn upgrade(
    mut line: Line,
    response: &Response,
    config: Arc<ClientConfig>,
    host: &str,
) -> Result<Line, Error> {
    line.send(&[&response.encode_ssl_request()]).await?;
    let sequence = line.sequence();
    let stream = tls::client::upgrade(line.into_stream()?, config, host).await?;
    let mut line = Line::new(stream, LOGIN_PACKET);
    line.set_sequence(sequence);
    Ok(line)
}

/// What `performance_schema.session_connect_attrs` shows of us.
fn attributes() -> Vec<(String, String)> {
    [
        ("_client_name", "twinlog".to_owned()),
        ("_client_version", env!("CARGO_PKG_VERSION").to_owned()),
        ("_pid", std::process::id().to_string()),
        ("program_name", "twinlog".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// A login between the response and the server's OK.
struct Login<'a> {
    line: Line,
    options: &'a ConnectOptions,
    plugin: Plugin,
    nonce: Vec<u8>,
    encrypted: bool,
}

impl Login<'_> {
    /// Answers what the server asks until it says OK or ERR.
    async fn authenticate(&mut self) -> Result<OkInfo, Error> {
        loop {
            let packet = self.line.receive().await?;
            match packet.split_first() {
                Some((&header::OK, body)) => return Ok(OkInfo::parse(body)?),
                Some((&header::ERR, body)) => return Err(refused(self.options, ServerError::parse(body)?)),
                Some((&header::EOF, [])) => {
                    return Err(self.cannot("the account uses the password hash of MySQL 4.0"));
                }
                Some((&header::EOF, body)) => self.switch(AuthSwitch::parse(body)?).await?,
                Some((&header::AUTH_MORE_DATA, body)) if self.plugin == Plugin::CachingSha2 => match body {
                    [sha2::FAST_AUTH_OK] => {}
                    [sha2::FULL_AUTH] => self.full_auth().await?,
                    _ => return Err(self.cannot("caching_sha2_password asks for something unknown")),
                },
                _ => return Err(unexpected(&packet, "the answer to a login")),
            }
        }
    }

    async fn switch(&mut self, switch: AuthSwitch) -> Result<(), Error> {
        self.plugin = Plugin::from_name(&switch.plugin).ok_or_else(|| {
            self.cannot(format!(
                "the account uses the plugin `{}`; give it caching_sha2_password",
                switch.plugin
            ))
        })?;
        self.nonce = switch.nonce;
        let proof = self.plugin.proof(&self.options.password, &self.nonce);
        self.line.send(&[&proof]).await
    }

    /// The server has no hash of this account in its cache: it needs the password itself.
    async fn full_auth(&mut self) -> Result<(), Error> {
        let password = self.options.password.expose();
        if self.encrypted {
            return self.line.send(&[password.as_bytes(), &[0]]).await;
        }
        self.line.send(&[&[sha2::REQUEST_PUBLIC_KEY]]).await?;
        let packet = self.line.receive().await?;
        let pem = match packet.split_first() {
            Some((&header::AUTH_MORE_DATA, pem)) => pem,
            Some((&header::ERR, body)) => return Err(refused(self.options, ServerError::parse(body)?)),
            _ => return Err(unexpected(&packet, "the server's public key")),
        };
        let encrypted =
            public_key::encrypt_password(password, &self.nonce, pem).map_err(|what| self.cannot(what))?;
        self.line.send(&[&encrypted]).await
    }

    fn cannot(&self, what: impl Into<String>) -> Error {
        Error::Auth {
            address: self.options.address.clone(),
            user: self.options.user.clone(),
            what: what.into(),
        }
    }
}

/// The server's refusal with what to look at.
fn refused(options: &ConnectOptions, source: ServerError) -> Error {
    let remedy = match source.code {
        1040 => "all connections are taken, raise max_connections or end some",
        // MySQL does not tell a wrong password from an account that takes TLS only.
        1044 | 1045 | 1698 if options.tls.mode == TlsMode::Disabled => {
            "check the user name, the password, that the account may log in from this host, and without TLS"
        }
        1044 | 1045 | 1698 => {
            "check the user name, the password, and that the account may log in from this host"
        }
        1129 => "this host is blocked after too many failed connections, run FLUSH HOSTS there",
        1130 => "no account may log in from this host, create one whose host part covers it",
        1203 | 1226 => "the account has used up a limit, raise it or end other sessions",
        1524 => "the account's authentication plugin is not loaded there, give it caching_sha2_password",
        1820 | 1862 => "the password has expired, set a new one",
        3118 | 3955 => "the account is locked, unlock it with ALTER USER",
        3159 => "the server takes TLS connections only, set the TLS mode to required or stricter",
        _ => "see the server's reason",
    };
    Error::Login { address: options.address.clone(), user: options.user.clone(), remedy, source }
}
