//! A listener's TLS configuration and upgrade.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use super::{files, provider, tls_error};
use crate::stream::BoxStream;
use crate::{Error, ListenerTls};

impl ListenerTls {
    /// Reads the files and makes the configuration that [`crate::LoginOptions`] takes.
    ///
    /// # Errors
    ///
    /// Names the file that is missing, or is not what it should be.
    pub async fn load(&self) -> Result<Arc<ServerConfig>, Error> {
        let provider = provider();
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|source| tls_error("no protocol version in common with ring", source))?;
        let builder = match &self.ca {
            Some(path) => {
                let roots = Arc::new(files::roots(path).await?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build().map_err(
                    |source| files::file_error(path, "is not usable as CA", Some(Box::new(source))),
                )?;
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let chain = files::certificates(&self.cert).await?;
        let config = builder.with_single_cert(chain, files::key(&self.key).await?).map_err(|source| {
            files::file_error(&self.cert, "does not go with its key", Some(Box::new(source)))
        })?;
        Ok(Arc::new(config))
    }
}

/// Upgrades a connection whose client has asked for TLS.
pub(crate) async fn upgrade(stream: BoxStream, config: Arc<ServerConfig>) -> Result<BoxStream, Error> {
    match TlsAcceptor::from(config).accept(stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
            Err(tls_error("handshake with a client failed", error))
        }
        Err(error) => Err(Error::Io(error)),
    }
}
