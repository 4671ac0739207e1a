//! The client's TLS configuration and upgrade.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::verify::{Check, Verify};
use super::{files, provider, tls_error};
use crate::stream::BoxStream;
use crate::{Error, TlsMode, TlsOptions};

/// A configuration for these options, files read and checked. Made before the connection, so that a
/// missing file is told as such and not as a server that can't be reached.
pub(crate) async fn config(options: &TlsOptions) -> Result<Option<Arc<ClientConfig>>, Error> {
    let check = match options.mode {
        TlsMode::Disabled => return Ok(None),
        TlsMode::Preferred | TlsMode::Required => Check::Nothing,
        TlsMode::VerifyCa => Check::Chain(roots(options).await?),
        TlsMode::VerifyIdentity => Check::ChainAndName(roots(options).await?),
    };
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|source| tls_error("no protocol version in common with ring", source))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verify { check, provider }));
    let config = match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => {
            let chain = files::certificates(cert).await?;
            builder.with_client_auth_cert(chain, files::key(key).await?).map_err(|source| {
                files::file_error(cert, "does not go with its key", Some(Box::new(source)))
            })?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(Error::invalid("a client certificate needs both certificate and key")),
    };
    Ok(Some(Arc::new(config)))
}

async fn roots(options: &TlsOptions) -> Result<rustls::RootCertStore, Error> {
    match &options.ca {
        Some(path) => files::roots(path).await,
        None => Err(Error::invalid("a verifying tls mode needs a CA file")),
    }
}

/// Upgrades a connection whose server awaits a TLS hello. `host` is the name or address that was
/// connected to.
pub(crate) async fn upgrade(
    stream: BoxStream,
    config: Arc<ClientConfig>,
    host: &str,
) -> Result<BoxStream, Error> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|source| tls_error(format!("not a host name: `{host}`"), source))?;
    let stream =
        TlsConnector::from(config).connect(name, stream).await.map_err(|e| handshake_error(host, e))?;
    Ok(Box::new(stream))
}

/// The TLS layer's own errors are definite; a connection that broke meanwhile is just that.
fn handshake_error(host: &str, error: io::Error) -> Error {
    let by_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
    if !by_tls {
        return Error::Io(error);
    }
    let is_certificate = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some_and(|inner| matches!(inner, rustls::Error::InvalidCertificate(_)));
    let what = if is_certificate {
        "the server's certificate does not pass; check the CA file, and with verify-identity that the \
         certificate's subject alternative names hold the host connected to"
    } else {
        "handshake failed"
    };
    tls_error(format!("{what}: `{host}`"), error)
}
