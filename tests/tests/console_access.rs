//! Who may look at the console and decide there, asked as no browser would.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::console::console;

const SOON: Duration = Duration::from_secs(30);

/// A request as no browser would send it; the answer's first line and its headers.
async fn raw(url: &str, request: &str) -> String {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).await.expect("the console listens");
    let request = request.replace("HOST", address);
    stream.write_all(request.as_bytes()).await.expect("it takes a request");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await;
    read.expect("it answers in time").expect("it can be read");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_neither_read_nor_change_anything_and_beyond_loopback_a_token_and_tls_are_required() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("shop.toml");
    std::fs::write(&file, LONELY).expect("a file can be written");
    let (_console, url) = console(folder.path(), &file).await;
    let page = raw(&url, "GET / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n").await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    let head = page.split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "nosniff", "no-store"] {
        assert!(head.contains(part), "{part} in {head}");
    }
    for (code, request) in [
        (403, "GET /api/v1/state HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"),
        (
            403,
            "GET /api/v1/state HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: cross-site\r\nConnection: close\r\n\r\n",
        ),
        (
            403,
            "POST /api/v1/links/eu-us/stop HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        ),
        (
            403,
            "POST /api/v1/links/eu-us/stop HTTP/1.1\r\nHost: HOST\r\nOrigin: http://evil.example\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        ),
        (
            415,
            "POST /api/v1/links/eu-us/stop HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        ),
        (404, "GET /api/v1/links/eu-us/stop HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"),
        (
            404,
            "POST /api/v1/links/none/stop HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        ),
        (405, "DELETE / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"),
        (
            502,
            "POST /api/v1/links/eu-us/stop HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        ),
    ] {
        let answer = raw(&url, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{request}: {answer}");
    }
    let path = file.to_string_lossy().into_owned();
    let open = harness::Finished::of(&["console", "-c", &path, "--listen", "0.0.0.0:0"], SOON).await;
    open.assert_failed(2, &["needs a token and TLS", "0.0.0.0", "console.token_file", "console.tls_cert"]);
}

/// A sync of which nothing runs.
const LONELY: &str = "[sync]\nname = \"shop\"\ntables = \"shop.*\"\nstate_dir = \"state\"\nallow_inline_secrets = true\n\
    [region.eu]\nmysql.address = \"127.0.0.1:1\"\nmysql.user = \"u\"\nmysql.password = \"p\"\nrelay.listen = \"127.0.0.1:2\"\nrelay.password = \"p\"\n\
    [region.us]\nmysql.address = \"127.0.0.1:3\"\nmysql.user = \"u\"\nmysql.password = \"p\"\n\
    [link.eu-us]\nfrom = \"eu\"\nto = \"us\"\n";
