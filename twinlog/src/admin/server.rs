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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use twinlog::config::Admin;

use super::Kind;
use super::access::Access;
use super::call::Call;
use super::publish::Publication;
use super::reply::Reply;
use super::site::Site;
use crate::failure::Failure;

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

/// After `accept` failed, out of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound admin listener, published if need be.
pub(crate) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
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
        let failed = |e| Failure::from_error(&format!("cannot listen for admin requests on {asked}"), &e);
        let token = admin.token.token().map_err(|fault| Failure::usage(fault.to_string()))?;
        let tls = match &admin.tls {
            Some(files) => {
                let loaded = files.load().await;
                Some(loaded.map_err(|e| Failure::from_error("cannot use the admin API's certificate", &e))?)
            }
            None => None,
        };
        let listener = TcpListener::bind(asked).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        // Defence in depth: the configuration refuses it, too.
        if !address.ip().is_loopback() && (token.is_none() || tls.is_none()) {
            return Err(Failure::usage(format!(
                "beyond loopback the admin API needs a token and TLS: {address} has not both"
            ))
            .with_remedy("give admin.token_file, admin.tls_cert and admin.tls_key"));
        }
        let free_port = asked.ends_with(":0");
        let publication = free_port
            .then(|| Publication::write(state_dir, kind, name, &address.to_string()))
            .transpose()
            .map_err(|e| Failure::from_error(&format!("cannot write into {}", state_dir.display()), &e))?;
        let names =
            admin.address.as_deref().and_then(|a| a.rsplit_once(':')).map(|(host, _)| host.to_owned());
        let access = Access { token, names: names.into_iter().collect() };
        Ok(Self { listener, address, tls, access, publication })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `end` or until it is dropped.
    pub(crate) async fn serve(self, site: Site, end: CancellationToken) {
        let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let access = Arc::new(self.access);
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
            let (site, access, tls) = (site.clone(), access.clone(), self.tls.clone());
            connections.spawn(async move {
                let _slot = slot;
                // Too slow or broken: the client's affair.
                let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection(stream, tls, site, access)).await;
            });
        }
        drop(self.publication);
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<Arc<rustls::ServerConfig>>,
    site: Site,
    access: Arc<Access>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream: Box<dyn wire::Stream> = match tls {
        Some(tls) => tokio::time::timeout(HEADER_TIMEOUT, wire::accept_tls(stream, tls)).await??,
        None => Box::new(stream),
    };
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
        .await?;
    Ok(())
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
