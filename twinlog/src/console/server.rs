//! Serving the page: few connections, small requests, every answer under the guard's headers. Beside the page's own
//! files nothing is answered to who has not shown the token, where there is one.

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
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use twinlog::config::Admin;

use super::actions::{self, Refusal};
use super::hub::Hub;
use super::sessions::Sessions;
use super::{assets, events, guard};
use crate::admin::Access;
use crate::door::{Door, Whose};
use crate::failure::Failure;

const WHOSE: Whose = Whose { name: "the console", key: "console" };

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

/// A body that is there, or events that come.
pub(super) type Body = BoxBody<Bytes, Infallible>;

/// A bound listener.
pub(super) struct Listener {
    door: Door,
    access: Access,
}

impl Listener {
    /// Binds, beyond loopback with a token and TLS only: whoever reaches the page can stop a link.
    pub(super) async fn bind(asked: &str, console: &Admin) -> Result<Self, Failure> {
        let door = Door::bind(asked, console, WHOSE).await?;
        let access = Access::of(&door, console);
        Ok(Self { door, access })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.door.address()
    }

    /// Do people see a certificate?
    pub(super) fn has_tls(&self) -> bool {
        self.door.has_tls()
    }

    /// Answers until `end`.
    pub(super) async fn serve(self, hub: Arc<Hub>, end: CancellationToken) {
        let sessions = Sessions::new(self.door.token(), self.address().port(), self.has_tls());
        let desk = Arc::new(Desk { hub, access: self.access, sessions, end: end.clone() });
        let serve = move |stream| {
            let desk = desk.clone();
            async move {
                // Broken or gone: the browser's affair.
                let _ = connection(stream, desk).await;
            }
        };
        self.door.serve(MOST_CONNECTIONS, serve, end).await;
    }
}

/// What every request is answered from.
struct Desk {
    hub: Arc<Hub>,
    access: Access,
    sessions: Sessions,
    end: CancellationToken,
}

/// Feeds of events that this connection carries; they end with it.
type Feeds = Arc<Mutex<JoinSet<()>>>;

async fn connection(stream: Box<dyn wire::Stream>, desk: Arc<Desk>) -> Result<(), hyper::Error> {
    let feeds = Feeds::default();
    let service = service_fn(move |request| {
        let (desk, feeds) = (desk.clone(), feeds.clone());
        async move { Ok::<_, Infallible>(Box::pin(answer(request, &desk, &feeds)).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(request: Request<Incoming>, desk: &Desk, feeds: &Feeds) -> Response<Body> {
    let mut response = match guard::admit(&desk.access, request.method(), request.headers()) {
        Err((code, why)) => failed(&Refusal { code, message: why.into(), remedy: None }),
        Ok(()) => match admitted(request, desk, feeds).await {
            Ok(response) => response,
            Err(refusal) => failed(&refusal),
        },
    };
    guard::protect(response.headers_mut());
    response
}

async fn admitted(request: Request<Incoming>, desk: &Desk, feeds: &Feeds) -> Result<Response<Body>, Refusal> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let path = uri.path();
    if let Some(asset) = assets::find(path).filter(|_| method == Method::GET) {
        return Ok(respond(StatusCode::OK, asset.kind, asset.text.as_bytes().to_vec()));
    }
    if method == Method::POST && path == "/api/v1/login" {
        return login(&desk.sessions, &body_of(request).await?);
    }
    if !desk.sessions.knows(request.headers()) {
        return Err(Refusal {
            code: StatusCode::UNAUTHORIZED,
            message: "this needs the console's token".into(),
            remedy: Some("sign in on the page, or send Authorization: Bearer TOKEN".into()),
        });
    }
    let hub = &desk.hub;
    if method == Method::POST {
        let body = body_of(request).await?;
        return Ok(json_answer(&Box::pin(actions::post(hub, path, body)).await?));
    }
    if path == "/api/v1/events" {
        let (body, feed) = events::open(hub.clone(), desk.end.clone());
        feeds.lock().unwrap_or_else(PoisonError::into_inner).spawn(feed);
        let mut response = Response::new(body.boxed());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        return Ok(response);
    }
    if path == "/api/v1/state" {
        return Ok(respond(StatusCode::OK, "application/json", hub.now().to_vec()));
    }
    Ok(json_answer(&Box::pin(actions::get(hub, path, uri.query().unwrap_or_default())).await?))
}

fn login(sessions: &Sessions, body: &Value) -> Result<Response<Body>, Refusal> {
    let cookie = sessions.begin(body["token"].as_str().unwrap_or_default());
    let Some(cookie) = cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()) else {
        tracing::warn!("somebody showed the console a token that is not its own");
        return Err(Refusal {
            code: StatusCode::FORBIDDEN,
            message: "this is not the console's token".into(),
            remedy: Some("it stands in the file that console.token_file names".into()),
        });
    };
    let mut response = json_answer(&json!({}));
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
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
