//! Serving the page: few connections, small requests, every answer under the guard's headers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::actions::{self, Refusal};
use super::hub::Hub;
use super::{assets, events, guard};
use crate::failure::Failure;

/// A browser opens six for a page, and each page that is open keeps one.
const MOST_CONNECTIONS: usize = 64;

/// A request on loopback arrives at once; a connection that asks nothing more is closed after the same time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// A request's body arrives at once, too.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Cookies of others on loopback come along.
const LARGEST_HEAD: usize = 32 << 10;

/// A draft names a few thousand tables at most.
const LARGEST_BODY: usize = 1 << 20;

/// After `accept` failed, out of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A body that is there, or events that come.
pub(super) type Body = BoxBody<Bytes, Infallible>;

/// A bound listener.
pub(super) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds, on loopback only: whoever reaches the page can stop a link.
    pub(super) async fn bind(asked: &str) -> Result<Self, Failure> {
        let failed = |e| Failure::from_error(&format!("the console cannot listen on {asked}"), &e);
        let listener = TcpListener::bind(asked).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        if !address.ip().is_loopback() {
            let failure = Failure::usage(format!("the console listens on loopback only, not on {address}"));
            return Err(failure.with_remedy(
                "listen on 127.0.0.1, and let people in by ssh -L 7490:127.0.0.1:7490 or a proxy that asks who they are",
            ));
        }
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `end`.
    pub(super) async fn serve(self, hub: Arc<Hub>, end: CancellationToken) {
        let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
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
                        tracing::warn!(%error, "cannot accept a connection of the console");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            while connections.try_join_next().is_some() {}
            let (hub, end) = (hub.clone(), end.clone());
            connections.spawn(async move {
                let _slot = slot;
                // Broken or gone: the browser's affair.
                let _ = connection(stream, hub, end).await;
            });
        }
        connections.shutdown().await;
    }
}

/// Feeds of events that this connection carries; they end with it.
type Feeds = Arc<Mutex<JoinSet<()>>>;

async fn connection(stream: TcpStream, hub: Arc<Hub>, end: CancellationToken) -> Result<(), hyper::Error> {
    let feeds = Feeds::default();
    let service = service_fn(move |request| {
        let (hub, feeds, end) = (hub.clone(), feeds.clone(), end.clone());
        async move { Ok::<_, Infallible>(Box::pin(answer(request, hub, &feeds, end)).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(
    request: Request<Incoming>,
    hub: Arc<Hub>,
    feeds: &Feeds,
    end: CancellationToken,
) -> Response<Body> {
    let mut response = match guard::admit(request.method(), request.headers()) {
        Err((code, why)) => failed(&Refusal { code, message: why.into(), remedy: None }),
        Ok(()) => match admitted(request, hub, feeds, end).await {
            Ok(response) => response,
            Err(refusal) => failed(&refusal),
        },
    };
    guard::protect(response.headers_mut());
    response
}

async fn admitted(
    request: Request<Incoming>,
    hub: Arc<Hub>,
    feeds: &Feeds,
    end: CancellationToken,
) -> Result<Response<Body>, Refusal> {
    let uri = request.uri().clone();
    let path = uri.path();
    if request.method() == Method::POST {
        let body = body_of(request).await?;
        return Ok(json_answer(&Box::pin(actions::post(&hub, path, body)).await?));
    }
    if let Some(asset) = assets::find(path) {
        return Ok(respond(StatusCode::OK, asset.kind, asset.text.as_bytes().to_vec()));
    }
    if path == "/api/v1/events" {
        let (body, feed) = events::open(hub, end);
        feeds.lock().unwrap_or_else(PoisonError::into_inner).spawn(feed);
        let mut response = Response::new(body.boxed());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        return Ok(response);
    }
    if path == "/api/v1/state" {
        return Ok(respond(StatusCode::OK, "application/json", hub.now().to_vec()));
    }
    Ok(json_answer(&Box::pin(actions::get(&hub, path, uri.query().unwrap_or_default())).await?))
}

async fn body_of(request: Request<Incoming>) -> Result<Value, Refusal> {
    let read = Limited::new(request.into_body(), LARGEST_BODY).collect();
    let bad = |message: String| Refusal { code: StatusCode::BAD_REQUEST, message, remedy: None };
    let body = match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => return Err(bad(format!("the request can't be read: {error}"))),
        Err(_) => return Err(bad("the request does not arrive".into())),
    };
    if body.is_empty() {
        return Ok(json!({}));
    }
    serde_json::from_slice(&body).map_err(|e| bad(format!("the request is not JSON: {e}")))
}

fn failed(refusal: &Refusal) -> Response<Body> {
    let body = json!({ "error": { "message": refusal.message, "remedy": refusal.remedy } });
    let mut response = json_answer(&body);
    *response.status_mut() = refusal.code;
    response
}

fn json_answer(value: &Value) -> Response<Body> {
    respond(StatusCode::OK, "application/json", value.to_string().into_bytes())
}

fn respond(code: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body)).boxed());
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
