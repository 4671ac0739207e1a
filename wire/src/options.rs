//! How to reach a server: address, account, TLS.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where a server is and how to log in to it.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// `host:port`; an IPv6 host stands in brackets.
    pub address: String,
    /// The account's user name.
    pub user: String,
    /// Its password; empty for none.
    pub password: Secret,
    /// What TLS is asked for.
    pub tls: TlsOptions,
    /// From the first SYN to the end of the login.
    pub connect_timeout: Duration,
}

/// A password. Never printed: `Debug` hides it and there is no `Display`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a password.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The password itself, for the login packet.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// MySQL's `--ssl-mode`, in MySQL's own words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// Plain TCP.
    Disabled,
    /// TLS where the server offers it, plain TCP else.
    #[default]
    Preferred,
    /// TLS or no connection; the certificate is not looked at.
    Required,
    /// TLS, and the certificate is signed by the CA.
    VerifyCa,
    /// As `VerifyCa`, and it names the host.
    VerifyIdentity,
}

/// TLS towards a server. Files are PEM.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// How much is asked for.
    pub mode: TlsMode,
    /// The CA; absent: the usual web roots are not used, so the verifying modes need it.
    pub ca: Option<PathBuf>,
    /// Our certificate, where the server wants one.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// TLS of a listener. Files are PEM.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    /// The certificate chain.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// When given, clients must show a certificate signed by it.
    pub ca: Option<PathBuf>,
}
