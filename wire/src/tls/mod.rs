//! TLS in MySQL's way: the TCP connection is upgraded after the greeting.
//!
//! One provider, ring, named everywhere, so no process-wide default is needed. TLS 1.2 and 1.3.

pub(crate) mod client;
mod files;
pub(crate) mod server;
mod verify;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use crate::Error;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn tls_error(what: impl Into<String>, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Tls { what: what.into(), source: Some(Box::new(source)) }
}
