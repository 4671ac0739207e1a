//! Answering questions over HTTP: few connections, short requests, nothing that waits for a slow client.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use twinlog::config::Admin;

use super::publish::Publication;
use super::{Board, Kind};
use crate::failure::Failure;

/// Where it listens when the file does not say.
const ANY_PORT: &str = "127.0.0.1:0";

/// People, a scraper, a health check: more at once is a mistake or worse.
const MOST_CONNECTIONS: usize = 32;

/// A request on loopback arrives at once.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// From accept to the end of the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);

/// The text format's own type.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// No request to this API has a long head.
const LARGEST_HEAD: usize = 16 << 10;

/// After `accept` failed, out of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound admin listener, published if need be.
pub(crate) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    publication: Option<Publication>,
}

impl Listener {
    /// Binds and publishes.
    pub(crate) async fn bind(
        admin: &Admin,
        state_dir: &Path,
        kind: Kind,
        name: &str,
    ) -> Result<Self, Failure> {
        let asked = admin.listen.as_deref().unwrap_or(ANY_PORT);
        let failed = |e| Failure::from_error(&format!("cannot listen for admin requests on {asked}"), &e);
        let listener = TcpListener::bind(asked).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        // Defence in depth: the configuration refuses anything else.
        if !address.ip().is_loopback() {
            return Err(Failure::usage(format!("the admin API listens on loopback only, not on {address}")));
        }
        let free_port = asked.ends_with(":0");
        let publication = free_port
            .then(|| Publication::write(state_dir, kind, name, &address.to_string()))
            .transpose()
            .map_err(|e| Failure::from_error(&format!("cannot write into {}", state_dir.display()), &e))?;
        Ok(Self { listener, address, publication })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `end` or until it is dropped.
    pub(crate) async fn serve(self, board: Board, end: CancellationToken) {
        let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            // A slot first: the kernel's queue holds those who are too many.
            let slot = tokio::select! {
                biased;
                () = end.cancelled() => break,
                slot = slots.clone().acquire_owned() => slot,
            };
            let stream = tokio::select! {
                biased;
                () = end.cancelled() => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept an admin connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            while connections.try_join_next().is_some() {}
            let board = board.clone();
            connections.spawn(async move {
                let _slot = slot;
                // Too slow or broken: the client's affair.
                let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection(stream, board)).await;
            });
        }
        drop(self.publication);
    }
}

async fn connection(stream: TcpStream, board: Board) -> Result<(), hyper::Error> {
    let service = service_fn(move |request| {
        let response = answer(&request, &board);
        async move { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(LARGEST_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer(request: &Request<Incoming>, board: &Board) -> Response<Full<Bytes>> {
    let host = request.headers().get(header::HOST).and_then(|h| h.to_str().ok());
    if !is_local(host) {
        return text(StatusCode::FORBIDDEN, "this host name is not served here\n");
    }
    if request.method() != Method::GET {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        return refused;
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" => readiness(board.report().status.state()),
        "/metrics" => respond(
            StatusCode::OK,
            METRICS,
            super::metrics::render(&board.report(), board.verified().as_ref()).into_bytes(),
        ),
        "/api/v1/status" => match serde_json::to_vec(&board.report()) {
            Ok(json) => respond(StatusCode::OK, "application/json", json),
            Err(e) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{e}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, "no such page\n"),
    }
}

fn readiness(state: &str) -> Response<Full<Bytes>> {
    let code = if state == "running" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    text(code, &format!("{state}\n"))
}

/// A page of some other site may have its name point to loopback; it is not to read this API.
pub(crate) fn is_local(host: Option<&str>) -> bool {
    let Some(host) = host else { return true };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

fn text(code: StatusCode, body: &str) -> Response<Full<Bytes>> {
    respond(code, "text/plain; charset=utf-8", body.as_bytes().to_vec())
}

fn respond(code: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests;
