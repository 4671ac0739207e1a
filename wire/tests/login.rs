//! Logging in: the client against our server, against another make's behaviour, and other clients.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{CAPABILITIES, Raw, both, client_options, logged_in, login_options, peer, soon};
use wire::{Command, ConnectOptions, Connection, Error, ServerVersion, accept};

#[tokio::test]
async fn a_client_with_the_right_password_gets_a_session() {
    let (mut connection, mut session) = logged_in().await;
    assert_eq!(session.user(), "link");
    assert_eq!(session.attribute("program_name"), Some("twinlog"));
    assert_eq!(connection.connection_id(), 42);
    assert_eq!(connection.server_version(), ServerVersion::new(8, 4, 0));
    assert!(!connection.is_encrypted() && !session.is_encrypted());
    let (pong, command) = soon(async {
        tokio::join!(connection.ping(), async {
            let command = session.next_command().await;
            session.send_ok().await.unwrap();
            command
        })
    })
    .await;
    pong.unwrap();
    assert_eq!(command.unwrap(), Command::Ping);
    connection.close().await;
    assert_eq!(soon(session.next_command()).await.unwrap(), Command::Quit);
}

#[tokio::test]
async fn an_account_without_password_is_entered_without_one() {
    let (connection, session) = both(&client_options("open", ""), &login_options()).await;
    connection.unwrap();
    assert_eq!(session.unwrap().user(), "open");
}

#[tokio::test]
async fn a_wrong_password_and_a_user_that_is_none_get_mysqls_own_answer() {
    for (user, password, using) in
        [("link", "wrong", "YES"), ("link", "", "NO"), ("nobody", "secret", "YES"), ("open", "x", "YES")]
    {
        let (connection, session) = both(&client_options(user, password), &login_options()).await;
        let error = connection.unwrap_err();
        assert_eq!(error.code(), Some(1045), "{user}");
        assert!(!error.is_transient());
        let Error::Login { address, source, .. } = &error else { panic!("{error:?}") };
        assert_eq!(address, "db.example:3306");
        let text = format!("Access denied for user '{user}'@'192.0.2.7' (using password: {using})");
        assert_eq!(source.message, text);
        assert_eq!(source.sqlstate, "28000");
        assert!(matches!(session.unwrap_err(), Error::Refused { user: refused, .. } if refused == user));
    }
}

/// A server that greets with `plugin` and has the client prove by native password after a switch.
#[tokio::test]
async fn the_client_follows_a_switch_to_another_plugin() {
    let (near, far) = tokio::io::duplex(4096);
    let mut raw = Raw { stream: far };
    let options = client_options("link", "secret");
    let server = async {
        raw.send(0, &Raw::greeting("caching_sha2_password", CAPABILITIES)).await;
        let (_, response) = raw.receive().await;
        assert!(response.windows(22).any(|w| w == b"caching_sha2_password\0"));
        raw.send(2, b"\xfemysql_native_password\0ABCDEFGHIJKLMNOPQRST\0").await;
        let (sequence, proof) = raw.receive().await;
        assert_eq!((sequence, proof.len()), (3, 20));
        raw.send(4, common::OK).await;
    };
    let (connection, ()) = soon(async { tokio::join!(Connection::over(near, &options), server) }).await;
    connection.unwrap();
}

const KEY: &[u8] = b"\x01-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAxSKOcxiet8lLMn8ImyUE
bGGKob5EdRz/4wdiw12ED0GfKKTKhVnodFCfm1mdy7bKOX5QxL9skrvYodpW43eR
R5bfOzIgy1qIB8RYb6qOXRBw1oA4snBDqtUjDv/lbHLJN+IbzM4oU+e3Lt9rXyLX
VY289ewONPweXHqSCnTL91w+wkU1peIFV2QhZ+upUCdCtwOn5hnJPNgxtbklFoya
C8W3Z7Xx7He2QDJsEWAqX197efw0L6j8X8Tyd8Uwb7zUB1tfMGhHfm9EwejPAtzx
4GztQNtNMtGS2oGZLQBLV9hib4dDL92iiZeckg2LAf4GsJofLLR8mcHCRoqVbQJ1
YQIDAQAB
-----END PUBLIC KEY-----\n";

/// Takes a client up to the point where it has asked for the RSA key, and gives it `key`.
async fn full_auth_with(key: &[u8]) -> (Result<Connection, Error>, Option<usize>) {
    let (near, far) = tokio::io::duplex(4096);
    let mut raw = Raw { stream: far };
    let options = client_options("link", "secret");
    let server = async {
        raw.send(0, &Raw::greeting("caching_sha2_password", CAPABILITIES)).await;
        raw.receive().await;
        raw.send(2, b"\x01\x04").await;
        assert_eq!(raw.receive().await, (3, vec![2]));
        raw.send(4, key).await;
        let mut byte = [0; 4];
        let sent = tokio::io::AsyncReadExt::read_exact(&mut raw.stream, &mut byte).await.is_ok();
        let length = sent.then(|| usize::from(byte[0]) | usize::from(byte[1]) << 8);
        if let Some(length) = length {
            tokio::io::AsyncReadExt::read_exact(&mut raw.stream, &mut vec![0; length]).await.unwrap();
            raw.send(6, common::OK).await;
        }
        length
    };
    soon(async { tokio::join!(Connection::over(near, &options), server) }).await
}

#[tokio::test]
async fn without_tls_the_password_goes_encrypted_with_the_servers_key() {
    let (connection, length) = full_auth_with(KEY).await;
    connection.unwrap();
    assert_eq!(length, Some(256));
}

#[tokio::test]
async fn a_key_that_is_none_is_an_error_and_nothing_is_sent() {
    for key in [&b"\x01"[..], b"\x01nonsense", &KEY[..200]] {
        let (connection, length) = full_auth_with(key).await;
        assert!(matches!(connection, Err(Error::Auth { .. })), "{connection:?}");
        assert_eq!(length, None);
    }
}

#[tokio::test]
async fn a_server_that_is_full_is_worth_another_try() {
    let (near, far) = tokio::io::duplex(4096);
    let mut raw = Raw { stream: far };
    raw.send(0, b"\xff\x10\x04Too many connections").await;
    let error = soon(Connection::over(near, &client_options("link", "secret"))).await.unwrap_err();
    assert_eq!(error.code(), Some(1040));
    assert!(error.is_transient());
    assert!(error.to_string().contains("max_connections"), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_after_the_timeout() {
    let (near, _far) = tokio::io::duplex(4096);
    let options =
        ConnectOptions { connect_timeout: Duration::from_millis(50), ..client_options("link", "secret") };
    let error = soon(Connection::over(near, &options)).await.unwrap_err();
    assert_eq!(error.to_string(), "no login within 50 ms: `db.example:3306`");
}

#[tokio::test]
async fn a_client_that_says_nothing_is_given_up_after_the_timeout() {
    let (near, far) = tokio::io::duplex(4096);
    let options = wire::LoginOptions { login_timeout: Duration::from_millis(50), ..login_options() };
    let error = soon(accept(far, peer(), &options)).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    drop(near);
}

#[tokio::test]
async fn a_client_that_is_not_logged_in_gets_no_memory() {
    let (near, far) = tokio::io::duplex(4096);
    let mut raw = Raw { stream: near };
    let options = login_options();
    let client = async {
        raw.receive().await;
        tokio::io::AsyncWriteExt::write_all(&mut raw.stream, &[0xff, 0xff, 0xff, 1]).await.unwrap();
    };
    let (session, ()) = soon(async { tokio::join!(accept(far, peer(), &options), client) }).await;
    assert!(matches!(session.unwrap_err(), Error::PacketTooLarge { limit: 65_536, .. }));
}

#[tokio::test]
async fn a_refused_connection_names_the_address_and_what_to_look_at() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let options = ConnectOptions { address: address.clone(), ..client_options("link", "secret") };
    let error = soon(Connection::connect(&options)).await.unwrap_err();
    assert!(error.is_transient());
    assert!(error.to_string().contains(&address) && error.to_string().contains("check that"), "{error}");
}

#[tokio::test]
async fn a_server_that_asks_for_an_unknown_plugin_gets_no_password() {
    let (near, far) = tokio::io::duplex(4096);
    let mut raw = Raw { stream: far };
    let options = client_options("link", "secret");
    let server = async {
        raw.send(0, &Raw::greeting("caching_sha2_password", CAPABILITIES)).await;
        raw.receive().await;
        raw.send(2, b"\xfemysql_clear_password\0").await;
    };
    let (connection, ()) = soon(async { tokio::join!(Connection::over(near, &options), server) }).await;
    let error = connection.unwrap_err();
    assert!(error.to_string().contains("mysql_clear_password"), "{error}");
    let mut rest = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut raw.stream, &mut rest).await.unwrap();
    assert!(rest.is_empty(), "nothing may follow: {rest:?}");
}

#[tokio::test]
async fn the_session_ends_an_idle_client_and_tells_it() {
    let server = wire::LoginOptions {
        idle_timeout: Duration::from_millis(50),
        users: Arc::new(wire::Users::new().with("link", &wire::Secret::new("secret"))),
        ..login_options()
    };
    let (connection, session) = both(&client_options("link", "secret"), &server).await;
    let (mut connection, mut session) = (connection.unwrap(), session.unwrap());
    assert!(matches!(soon(session.next_command()).await, Err(Error::Timeout { .. })));
    let error = soon(connection.query("SELECT 1")).await.unwrap_err();
    assert_eq!(error.code(), Some(4031), "{error:?}");
    assert!(error.is_transient());
    assert!(!connection.is_usable(), "what became of the query is unknown");
}
