//! What the tests share: both sides over a pipe, and a server made of bare packets.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod replica;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use wire::{
    ConnectOptions, Connection, Error, LoginOptions, Peer, Secret, Session, TlsMode, TlsOptions, Users,
    accept,
};

/// Long enough for any machine, short enough to see a hang.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn client_options(user: &str, password: &str) -> ConnectOptions {
    ConnectOptions {
        address: "db.example:3306".into(),
        user: user.into(),
        password: Secret::new(password),
        tls: TlsOptions { mode: TlsMode::Disabled, ..TlsOptions::default() },
        connect_timeout: DEADLINE,
    }
}

pub(crate) fn login_options() -> LoginOptions {
    let users = Users::new().with("link", &Secret::new("secret")).with("open", &Secret::default());
    LoginOptions::new("8.4.0-twinlog", Arc::new(users))
}

pub(crate) fn peer() -> Peer {
    Peer { address: SocketAddr::from(([192, 0, 2, 7], 4711)), connection_id: 42 }
}

/// Runs a client's and a server's login against each other over a pipe.
pub(crate) async fn both(
    client: &ConnectOptions,
    server: &LoginOptions,
) -> (Result<Connection, Error>, Result<Session, Error>) {
    let (near, far) = tokio::io::duplex(256 * 1024);
    let login = async { tokio::join!(Connection::over(near, client), accept(far, peer(), server)) };
    tokio::time::timeout(DEADLINE, login).await.expect("a login hangs")
}

pub(crate) async fn logged_in() -> (Connection, Session) {
    let (connection, session) = both(&client_options("link", "secret"), &login_options()).await;
    (connection.unwrap(), session.unwrap())
}

/// A future that must end, or the test fails instead of hanging.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("it hangs")
}

/// One side of a pipe, packet by packet, with nothing checked: what a server or client may do wrong.
pub(crate) struct Raw {
    pub(crate) stream: DuplexStream,
}

impl Raw {
    pub(crate) async fn send(&mut self, sequence: u8, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        let header = [length[0], length[1], length[2], sequence];
        self.stream.write_all(&header).await.unwrap();
        self.stream.write_all(payload).await.unwrap();
    }

    pub(crate) async fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header).await.unwrap();
        let mut payload = vec![0; u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize];
        self.stream.read_exact(&mut payload).await.unwrap();
        (header[3], payload)
    }

    /// What MySQL 8 greets with; no TLS.
    pub(crate) fn greeting(plugin: &str, capabilities: u32) -> Vec<u8> {
        let [a, b, c, d] = capabilities.to_le_bytes();
        let mut out = b"\x0a8.4.0\0\x07\0\0\0".to_vec();
        out.extend_from_slice(b"abcdefgh\0");
        out.extend_from_slice(&[a, b, 255, 2, 0, c, d, 21]);
        out.extend_from_slice(&[0; 10]);
        out.extend_from_slice(b"ijklmnopqrst\0");
        out.extend_from_slice(plugin.as_bytes());
        out.push(0);
        out
    }
}

/// Everything a client here asks for.
pub(crate) const CAPABILITIES: u32 = 0x013b_a205;
pub(crate) const DEPRECATE_EOF: u32 = 1 << 24;

/// A server of bare packets, with a client logged in to it.
pub(crate) async fn raw_server(capabilities: u32) -> (Connection, Raw) {
    let (near, far) = tokio::io::duplex(256 * 1024);
    let mut raw = Raw { stream: far };
    let options = client_options("link", "secret");
    let server = async {
        raw.send(0, &Raw::greeting("mysql_native_password", capabilities)).await;
        raw.receive().await;
        raw.send(2, OK).await;
    };
    let (connection, ()) = soon(async { tokio::join!(Connection::over(near, &options), server) }).await;
    (connection.unwrap(), raw)
}

/// A client of bare packets, of the capabilities of MySQL 5.1, logged in to a server of ours.
pub(crate) async fn raw_client(options: &LoginOptions) -> (Session, Raw) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let mut raw = Raw { stream: near };
    let client = async {
        raw.receive().await;
        let mut response = 0x0000_8200u32.to_le_bytes().to_vec();
        response.extend_from_slice(&[0; 28]);
        response.extend_from_slice(b"open\0\0");
        raw.send(1, &response).await;
        assert_eq!(raw.receive().await.1[0], 0, "logged in");
    };
    let (session, ()) = soon(async { tokio::join!(accept(far, peer(), options), client) }).await;
    (session.unwrap(), raw)
}

pub(crate) const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];
pub(crate) const OK_MORE: &[u8] = &[0, 0, 0, 0x0a, 0, 0, 0];

pub(crate) fn err(code: u16, message: &str) -> Vec<u8> {
    let mut out = vec![0xff];
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(b"#HY000");
    out.extend_from_slice(message.as_bytes());
    out
}

/// An event of `length` bytes whose header tells that length.
pub(crate) fn event(length: usize) -> Vec<u8> {
    // Not a power of two, so that chunks and buffers don't begin alike.
    let pattern: Vec<u8> = (0..=250).collect();
    let mut out = pattern.repeat(length / pattern.len() + 1);
    out.truncate(length);
    out[..9].copy_from_slice(&[0, 0, 0, 0, 4, 1, 0, 0, 0]);
    out[9..13].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
    out
}
