//! TLS in MySQL's way: the TCP connection is upgraded after the greeting.
//!
//! One provider, ring, named everywhere, so no process-wide default is needed. TLS 1.2 and 1.3.

pub(crate) mod client;
mod files;
pub(crate) mod server;
mod verify;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use crate::stream::{BoxStream, Stream};
use crate::{Error, TlsOptions};

/// TLS over any stream, as a client: for protocols that speak it from their first byte. `host` is what was connected
/// to. With mode `disabled` the stream stays plain.
///
/// # Errors
///
/// Files that can't be used; a handshake that fails, and why.
pub async fn connect_tls(
    stream: impl Stream + 'static,
    options: &TlsOptions,
    host: &str,
) -> Result<Box<dyn Stream>, Error> {
    let stream: BoxStream = Box::new(stream);
    match client::config(options).await? {
        Some(config) => client::upgrade(stream, config, host).await,
        None => Ok(stream),
    }
}

/// TLS over any stream, as a server with what [`crate::ListenerTls::load`] gave.
///
/// # Errors
///
/// A handshake that fails, and why.
pub async fn accept_tls(
    stream: impl Stream + 'static,
    config: Arc<rustls::ServerConfig>,
) -> Result<Box<dyn Stream>, Error> {
    server::upgrade(Box::new(stream), config).await
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn tls_error(what: impl Into<String>, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Tls { what: what.into(), source: Some(Box::new(source)) }
}
