//! Where people and programs come in by HTTP, below HTTP itself: one listener with its bounds, TLS and token.
//!
//! ```text
//! socket ─▶ door (most connections, TLS) ─▶ admin API, or console
//! ```
//!
//! Beyond loopback it is not opened without a token and TLS: whoever gets in can stop links and read rows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use twinlog::config::Admin;
use wire::Secret;

use crate::failure::Failure;

/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// After `accept` failed, out of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound listener.
pub(crate) struct Door {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
    token: Option<Secret>,
}

/// Whose door it is, for errors.
#[derive(Clone, Copy)]
pub(crate) struct Whose {
    /// `the admin API`
    pub(crate) name: &'static str,
    /// What stands before `listen` and the others in the file: `admin`.
    pub(crate) key: &'static str,
}

impl Door {
    /// Binds at `asked`, with what else `admin` says.
    ///
    /// # Errors
    ///
    /// The address has an owner, the certificate or token can't be used, or one of them is missing beyond loopback.
    pub(crate) async fn bind(asked: &str, admin: &Admin, whose: Whose) -> Result<Self, Failure> {
        let Whose { name, key } = whose;
        let failed = |e| Failure::from_error(&format!("{name} cannot listen on {asked}"), &e);
        let token = admin.token.token().map_err(|fault| Failure::usage(fault.to_string()))?;
        let tls =
            match &admin.tls {
                Some(files) => Some(files.load().await.map_err(|e| {
                    Failure::from_error(&format!("the certificate of {name} can't be used"), &e)
                })?),
                None => None,
            };
        let listener = TcpListener::bind(asked).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        if !address.ip().is_loopback() && (token.is_none() || tls.is_none()) {
            return Err(Failure::usage(format!(
                "beyond loopback {name} needs a token and TLS: {address} has not both"
            ))
            .with_remedy(format!("give {key}.token_file, {key}.tls_cert and {key}.tls_key")));
        }
        Ok(Self { listener, address, tls, token })
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What everybody has to show; `None` where nothing is asked for.
    pub(crate) fn token(&self) -> Option<Secret> {
        self.token.clone()
    }

    /// Do people see a certificate?
    pub(crate) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Lets connections in until `end`, `most` at a time, and serves each; those that are served then are cut off.
    pub(crate) async fn serve<C, F>(self, most: usize, connection: C, end: CancellationToken)
    where
        C: Fn(Box<dyn wire::Stream>) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let slots = Arc::new(Semaphore::new(most));
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
                        tracing::warn!(%error, address = %self.address, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            while connections.try_join_next().is_some() {}
            let (tls, connection) = (self.tls.clone(), connection.clone());
            connections.spawn(async move {
                let _slot = slot;
                if let Some(stream) = secured(stream, tls).await {
                    connection(stream).await;
                }
            });
        }
        connections.shutdown().await;
    }
}

/// Behind its handshake; `None` when there was none in time: the client's affair.
async fn secured(stream: TcpStream, tls: Option<Arc<rustls::ServerConfig>>) -> Option<Box<dyn wire::Stream>> {
    match tls {
        None => Some(Box::new(stream)),
        Some(tls) => tokio::time::timeout(HANDSHAKE, wire::accept_tls(stream, tls)).await.ok()?.ok(),
    }
}
