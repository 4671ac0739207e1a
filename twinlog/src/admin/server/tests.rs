//! The admin API over a real socket.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use twinlog::config::{self, Admin, File};

use super::Listener;
use crate::admin::client::{Peer, Refused};
use crate::admin::{Board, Kind, ProcessStatus, Site, published};

struct Served {
    board: Board,
    address: String,
    file: File,
    state: tempfile::TempDir,
    _tasks: JoinSet<()>,
}

/// A file in which region eu has a relay with this further line.
fn file(state: &Path, line: &str) -> File {
    let text = format!(
        "[sync]\nname = \"shop\"\ntables = \"shop.*\"\nstate_dir = {state:?}\nallow_inline_secrets = true\n\
         [region.eu]\nmysql.address = \"a\"\nmysql.user = \"u\"\nrelay.listen = \"127.0.0.1:1\"\n\
         relay.password = \"p\"\n{line}\n"
    );
    config::parse(&text, &state.join("shop.toml")).unwrap()
}

async fn served_with(line: &str) -> Served {
    let state = tempfile::tempdir().unwrap();
    let file = file(state.path(), line);
    let admin = file.regions["eu"].relay.as_ref().unwrap().admin.clone();
    let listener = Listener::bind(&admin, state.path(), Kind::Relay, "eu").await.unwrap();
    let address = listener.address().to_string();
    let board = Board::new("shop", Kind::Relay, "eu");
    let site = Site::of(&board, Kind::Relay, "eu", file.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(listener.serve(site, CancellationToken::new()));
    Served { board, address, file, state, _tasks: tasks }
}

async fn served() -> Served {
    served_with("").await
}

impl Served {
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        tokio::time::timeout(Duration::from_secs(10), read).await.unwrap().unwrap();
        answer
    }

    async fn get(&self, path: &str) -> String {
        self.raw(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address)).await
    }
}

#[tokio::test]
async fn a_process_tells_whether_it_lives_whether_it_is_ready_and_what_it_does() {
    let served = served().await;
    assert_eq!(published(served.state.path(), Kind::Relay, "eu").unwrap(), served.address);
    assert!(served.get("/livez").await.starts_with("HTTP/1.1 200"));
    assert!(served.get("/readyz").await.starts_with("HTTP/1.1 503"));
    let status = relay::Status { state: "running".into(), segments: 3, ..Default::default() };
    served.board.runs(Box::new(move || ProcessStatus::Relay(status.clone())));
    assert!(served.get("/readyz").await.starts_with("HTTP/1.1 200"));
    let status = Peer::of(&served.file, Kind::Relay, "eu").status().await.unwrap();
    let ProcessStatus::Relay(status) = status else { panic!("a relay") };
    assert_eq!((status.region.as_str(), status.segments), ("eu", 3));
}

#[tokio::test]
async fn other_methods_paths_and_host_names_are_refused() {
    let served = served().await;
    assert!(served.get("/").await.starts_with("HTTP/1.1 404"));
    assert!(
        served
            .raw("POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 405")
    );
    assert!(
        served
            .raw("GET /api/v1/status HTTP/1.1\r\nHost: evil.example\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 403")
    );
    let long = "x".repeat(64 << 10);
    let answer = served.raw(&format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_let_go() {
    let served = served().await;
    let mut silent = TcpStream::connect(&served.address).await.unwrap();
    let mut buffer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), silent.read_to_end(&mut buffer)).await;
    assert!(ended.is_ok(), "the connection is still open");
}

#[tokio::test]
async fn beyond_loopback_it_does_not_listen() {
    let admin = Admin { listen: Some("0.0.0.0:0".into()), ..Admin::default() };
    let state = tempfile::tempdir().unwrap();
    let refused = Listener::bind(&admin, state.path(), Kind::Relay, "eu").await;
    assert!(refused.err().unwrap().text().contains("needs a token and TLS"));
}

#[tokio::test]
async fn a_token_is_shown_by_our_own_client_and_asked_of_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "0123456789abcdef\n").unwrap();
    let served = served_with(&format!("relay.admin.token_file = {token:?}")).await;
    assert!(served.get("/api/v1/status").await.starts_with("HTTP/1.1 401"));
    assert!(served.get("/livez").await.starts_with("HTTP/1.1 200"));
    assert!(Peer::of(&served.file, Kind::Relay, "eu").status().await.is_ok());
    std::fs::write(&token, "fedcba9876543210\n").unwrap();
    let refused = Peer::of(&served.file, Kind::Relay, "eu").get::<serde_json::Value>("/api/v1/status").await;
    let Err(Refused::Answered { code: 401, message, remedy }) = refused else { panic!("{refused:?}") };
    assert!(message.contains("token") && remedy.unwrap().contains("Bearer"));
}

#[tokio::test]
async fn a_body_too_large_or_too_slow_is_refused() {
    let served = served().await;
    let post = |length: usize, body: &str| {
        format!("POST /api/v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let large = "x".repeat(65 << 10);
    assert!(served.raw(&post(large.len(), &large)).await.starts_with("HTTP/1.1 413"));
    assert!(served.raw(&post(10, "{")).await.starts_with("HTTP/1.1 408"));
    assert!(served.raw(&post(2, "[}")).await.starts_with("HTTP/1.1 400"));
}
