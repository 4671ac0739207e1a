//! The admin API over a real socket.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use twinlog::config::Admin;

use super::super::{Board, Kind, ProcessStatus, ask, published};
use super::{Listener, is_local};

struct Served {
    board: Board,
    address: String,
    state: tempfile::TempDir,
    _tasks: JoinSet<()>,
}

async fn served() -> Served {
    let state = tempfile::tempdir().unwrap();
    let listener = Listener::bind(&Admin::default(), state.path(), Kind::Relay, "eu").await.unwrap();
    let address = listener.address().to_string();
    let board = Board::new("shop", Kind::Relay, "eu");
    let mut tasks = JoinSet::new();
    tasks.spawn(listener.serve(board.clone(), CancellationToken::new()));
    Served { board, address, state, _tasks: tasks }
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
    let report = ask(&served.address).await.unwrap();
    assert_eq!((report.sync.as_str(), report.pid), ("shop", std::process::id()));
    let ProcessStatus::Relay(status) = report.status else { panic!("a relay") };
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
    let admin = Admin { listen: Some("0.0.0.0:0".into()), address: None };
    let state = tempfile::tempdir().unwrap();
    let refused = Listener::bind(&admin, state.path(), Kind::Relay, "eu").await;
    assert!(refused.err().unwrap().text().contains("loopback only"));
}

#[test]
fn only_addresses_and_localhost_are_local_names() {
    for host in ["localhost", "LocalHost:80", "127.0.0.1:7480", "[::1]:7480"] {
        assert!(is_local(Some(host)), "{host}");
    }
    for host in ["evil.example", "evil.example:80", "localhost.evil.example", ""] {
        assert!(!is_local(Some(host)), "{host}");
    }
    assert!(is_local(None));
}
