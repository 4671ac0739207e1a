//! Logins of clients of another age or make: other plugins offered, or none.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Raw, login_options, peer, soon};
use wire::{Command, Error, accept};

/// A client of another age or make: it offers `plugin` (or knows of none) and answers what the test says.
struct OldClient {
    raw: Raw,
    nonce: Vec<u8>,
}

impl OldClient {
    /// Reads the greeting.
    async fn greeted(stream: tokio::io::DuplexStream) -> Self {
        let mut raw = Raw { stream };
        let (_, greeting) = raw.receive().await;
        let after_version = greeting.iter().position(|byte| *byte == 0).unwrap() + 1;
        let (first, second) = (after_version + 4, after_version + 4 + 8 + 19);
        let nonce = [&greeting[first..first + 8], &greeting[second..second + 12]].concat();
        Self { raw, nonce }
    }

    fn native(&self) -> Vec<u8> {
        mysql_common::scramble::scramble_native(&self.nonce, b"secret").unwrap().to_vec()
    }

    fn sha2(&self) -> Vec<u8> {
        mysql_common::scramble::scramble_sha256(&self.nonce, b"secret").unwrap().to_vec()
    }

    async fn respond(&mut self, proof: &[u8], plugin: Option<&str>) {
        let capabilities: u32 = 0x8200 | if plugin.is_some() { 1 << 19 } else { 0 };
        let mut response = capabilities.to_le_bytes().to_vec();
        response.extend_from_slice(&[0; 28]);
        response.extend_from_slice(b"link\0");
        response.push(u8::try_from(proof.len()).unwrap());
        response.extend_from_slice(proof);
        if let Some(plugin) = plugin {
            response.extend_from_slice(plugin.as_bytes());
            response.push(0);
        }
        self.raw.send(1, &response).await;
    }

    /// Reads a switch, takes its nonce, gives its plugin.
    async fn switched(&mut self) -> String {
        let (sequence, packet) = self.raw.receive().await;
        assert_eq!((sequence, packet[0]), (2, 0xfe));
        let end = packet.iter().position(|byte| *byte == 0).unwrap();
        assert_eq!((packet.len(), packet.last()), (end + 22, Some(&0)));
        self.nonce = packet[end + 1..end + 21].to_vec();
        String::from_utf8(packet[1..end].to_vec()).unwrap()
    }
}

async fn with_old_client<C: Future>(
    client: impl FnOnce(tokio::io::DuplexStream) -> C,
) -> (Result<wire::Session, Error>, C::Output) {
    let (near, far) = tokio::io::duplex(4096);
    let options = login_options();
    soon(async { tokio::join!(accept(far, peer(), &options), client(near)) }).await
}

#[tokio::test]
async fn native_passwords_are_taken_from_clients_that_offer_them() {
    for plugin in [None, Some("mysql_native_password")] {
        let (session, first) = with_old_client(async |stream| {
            let mut client = OldClient::greeted(stream).await;
            let proof = client.native();
            client.respond(&proof, plugin).await;
            client.raw.receive().await.1[0]
        })
        .await;
        assert_eq!(session.unwrap().user(), "link");
        assert_eq!(first, 0, "OK, and nothing of another plugin before it");
    }
}

#[tokio::test]
async fn a_native_client_without_proof_is_asked_for_one() {
    let (session, ()) = with_old_client(async |stream| {
        let mut client = OldClient::greeted(stream).await;
        client.respond(b"", Some("mysql_native_password")).await;
        assert_eq!(client.switched().await, "mysql_native_password");
        let proof = client.native();
        client.raw.send(3, &proof).await;
        assert_eq!(client.raw.receive().await.1[0], 0);
    })
    .await;
    session.unwrap();
}

#[tokio::test]
async fn a_client_of_an_unknown_plugin_is_switched_and_takes_the_fast_path() {
    let (session, ()) = with_old_client(async |stream| {
        let mut client = OldClient::greeted(stream).await;
        client.respond(b"whatever", Some("sha256_password")).await;
        assert_eq!(client.switched().await, "caching_sha2_password");
        let proof = client.sha2();
        client.raw.send(3, &proof).await;
        assert_eq!(client.raw.receive().await, (4, vec![1, 3]));
        assert_eq!(client.raw.receive().await.1[0], 0);
    })
    .await;
    session.unwrap();
}

#[tokio::test]
async fn proofs_of_one_plugin_or_nonce_do_not_pass_for_another() {
    for case in 0..4 {
        let (session, ()) = with_old_client(async |stream| {
            let mut client = OldClient::greeted(stream).await;
            let (native, sha2) = (client.native(), client.sha2());
            match case {
                0 => client.respond(&sha2, Some("mysql_native_password")).await,
                1 => client.respond(&native, Some("caching_sha2_password")).await,
                2 => client.respond(&sha2[..31], Some("caching_sha2_password")).await,
                // The proof for the greeting's nonce, where the switch has brought another.
                _ => {
                    client.respond(b"", Some("mysql_native_password")).await;
                    client.switched().await;
                    client.raw.send(3, &native).await;
                }
            }
            let (_, answer) = client.raw.receive().await;
            assert_eq!(answer[..3], [0xff, 0x15, 0x04], "1045");
        })
        .await;
        assert!(matches!(session, Err(Error::Refused { .. })), "case {case}");
    }
}

#[tokio::test]
async fn another_make_of_client_logs_in_and_is_answered() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let options = login_options();
    let server = async {
        let (stream, address) = listener.accept().await.unwrap();
        let mut session = accept(stream, wire::Peer { address, connection_id: 9 }, &options).await.unwrap();
        loop {
            match session.next_command().await.unwrap() {
                Command::Query(sql) if &sql[..] == b"SELECT @@x" => {
                    let columns = [wire::Column::text("@@x"), wire::Column::integer("n")];
                    let row = vec![wire::Column::value("hello"), None];
                    session.send_rows(&columns, &[row.clone(), row]).await.unwrap();
                }
                Command::Query(_) => session.send_error(1064, "42000", "no").await.unwrap(),
                Command::Ping => session.send_ok().await.unwrap(),
                Command::Quit => break,
                other => panic!("{other:?}"),
            }
        }
    };
    let client = async {
        use mysql_async::prelude::Queryable;
        let options = mysql_async::OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(port)
            .user(Some("link"))
            .pass(Some("secret"))
            .prefer_socket(Some(false))
            .max_allowed_packet(Some(1 << 20))
            .wait_timeout(Some(60));
        let mut conn = mysql_async::Conn::new(options).await.unwrap();
        let rows: Vec<(String, Option<u64>)> = conn.query("SELECT @@x").await.unwrap();
        assert_eq!(rows, vec![("hello".to_owned(), None); 2]);
        assert!(conn.query_drop("nonsense").await.is_err());
        conn.ping().await.unwrap();
        conn.disconnect().await.unwrap();
    };
    soon(async { tokio::join!(server, client) }).await;
}
