//! Certificates and keys from PEM files.

use std::path::Path;

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::Error;

/// A PEM file of certificates is some kilobytes; a larger one is not what was meant.
const MAX_FILE: u64 = 4 << 20;

async fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let bad = |source: std::io::Error| file_error(path, "cannot be read", Some(Box::new(source)));
    if tokio::fs::metadata(path).await.map_err(bad)?.len() > MAX_FILE {
        return Err(file_error(path, "is too large to be PEM", None));
    }
    tokio::fs::read(path).await.map_err(bad)
}

/// All certificates of a file, in its order; at least one.
pub(super) async fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read(path).await?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(file_error(path, "holds no certificate", None)),
        Ok(found) => Ok(found),
        Err(source) => Err(file_error(path, "is not proper PEM", Some(Box::new(source)))),
    }
}

/// The private key of a file.
pub(super) async fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let text = read(path).await?;
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|source| file_error(path, "holds no private key", Some(Box::new(source))))
}

/// The CA certificates of a file as trust anchors.
pub(super) async fn roots(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path).await? {
        roots
            .add(certificate)
            .map_err(|source| file_error(path, "holds an unusable CA certificate", Some(Box::new(source))))?;
    }
    Ok(roots)
}

pub(super) fn file_error(
    path: &Path,
    what: &'static str,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::TlsFile { path: path.to_owned(), what, source }
}
