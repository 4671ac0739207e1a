//! The admin API of a pair's processes, asked as any program would.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Pair, Process};

/// Code and body of an answer.
#[derive(Clone, Debug)]
pub struct AdminAnswer {
    /// The HTTP status.
    pub code: u16,
    /// The body; `null` when it is no JSON.
    pub json: Value,
}

impl Pair {
    /// Where a process answers, as it has published.
    pub fn admin_address(&self, process: Process) -> String {
        let path = self.folder().join("state").join(format!("{}.admin", process.name()));
        let text = std::fs::read_to_string(&path);
        text.unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
    }

    /// Asks a process; a body makes it a POST. Further lines of the head may be given.
    pub async fn ask(&self, process: Process, path: &str, body: Option<&str>, head: &str) -> AdminAnswer {
        self.ask_at(&self.admin_address(process), path, body, head).await
    }

    /// The same, of whoever answers at an address.
    pub async fn ask_at(&self, address: &str, path: &str, body: Option<&str>, head: &str) -> AdminAnswer {
        let answer = exchange(address, path, body, head).await;
        let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let json = answer.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok());
        AdminAnswer { code, json: json.unwrap_or_default() }
    }

    /// What is at a path, as it is.
    pub async fn text_at(&self, address: &str, path: &str) -> String {
        let answer = exchange(address, path, None, "").await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        body.to_owned()
    }
}

async fn exchange(address: &str, path: &str, body: Option<&str>, head: &str) -> String {
    let (method, body) = body.map_or(("GET", ""), |body| ("POST", body));
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{head}\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.expect("the admin address answers");
    stream.write_all(request.as_bytes()).await.expect("a request can be sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer can be read");
    answer
}
