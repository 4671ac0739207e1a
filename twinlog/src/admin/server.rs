//! Answering questions over HTTP: few connections, short requests, nothing that waits for a slow client.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;
use twinlog::config::Admin;

use super::Kind;
use super::access::Access;
use super::call::Call;
use super::publish::Publication;
use super::reply::Reply;
use super::site::Site;
use crate::door::{Door, Whose};
use crate::failure::Failure;

const WHOSE: Whose = Whose { name: "the admin API", key: "admin" };

/// Where it listens when the file does not say.
const ANY_PORT: &str = "127.0.0.1:0";

/// People, a scraper, a health check: more at once is a mistake or worse.
const MOST_CONNECTIONS: usize = 32;

/// A request on loopback arrives at once.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// From the head to the end of the body.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// From accept to the end of the answer: an order may wait for a server's locks.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// An order with a reason is far below.
const LARGEST_BODY: usize = 64 << 10;

/// No request to this API has a long head.
const LARGEST_HEAD: usize = 16 << 10;

/// A bound admin listener, published if need be.
pub(crate) struct Listener {
    door: Door,
    access: Access,
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
        let door = Door::bind(asked, admin, WHOSE).await?;
        let free_port = asked.ends_with(":0");
        let publication = free_port
            .then(|| Publication::write(state_dir, kind, name, &door.address().to_string()))
            .transpose()
            .map_err(|e| Failure::from_error(&format!("cannot write into {}", state_dir.display()), &e))?;
        let access = Access::of(&door, admin);
        Ok(Self { door, access, publication })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.door.address()
    }

    /// Answers until `end` or until it is dropped.
    pub(crate) async fn serve(self, site: Site, end: CancellationToken) {
        let access = Arc::new(self.access);
        let serve = move |stream| {
            let (site, access) = (site.clone(), access.clone());
            async move {
                // Too slow or broken: the client's affair.
                let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection(stream, site, access)).await;
            }
        };
        self.door.serve(MOST_CONNECTIONS, serve, end).await;
        drop(self.publication);
    }
}

async fn connection(
    stream: Box<dyn wire::Stream>,
    site: Site,
    access: Arc<Access>,
) -> Result<(), hyper::Error> {
    let service = service_fn(move |request| {
        let (site, access) = (site.clone(), access.clone());
        async move {
            let reply = answer(request, &site, &access).await.unwrap_or_else(|refused| refused);
            Ok::<_, Infallible>(Response::<Full<Bytes>>::from(reply))
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(LARGEST_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(request: Request<Incoming>, site: &Site, access: &Access) -> Result<Reply, Reply> {
    let (head, body) = request.into_parts();
    access.check(&head.method, head.uri.path(), &head.headers)?;
    let body = match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, LARGEST_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes().to_vec(),
        Ok(Err(_)) => {
            let what = format!("the body is broken, or larger than {LARGEST_BODY} bytes");
            return Err(Reply::error(StatusCode::PAYLOAD_TOO_LARGE, &what, None));
        }
        Err(_) => {
            return Err(Reply::error(StatusCode::REQUEST_TIMEOUT, "the body did not come in time", None));
        }
    };
    let call = Call::new(head.method, head.uri.path(), head.uri.query(), body);
    let call = call.ok_or_else(|| Reply::bad("the address can't be decoded"))?;
    Ok(site.answer(&call).await)
}

#[cfg(test)]
mod tests;
