//! TLS: MySQL's modes, both sides of them ours, with certificates made for the test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::PathBuf;
use std::sync::Arc;

use common::{both, client_options, login_options};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use wire::{ConnectOptions, Error, ListenerTls, LoginOptions, TlsMode, TlsOptions};

/// A CA and what it signed, as files.
struct Pki {
    folder: TempDir,
}

impl Pki {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Self { folder };
        for ca in ["ca", "other-ca"] {
            let mut params = CertificateParams::new(vec![]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            let certificate = params.self_signed(&key).unwrap();
            pki.write(ca, &certificate.pem(), &key);
            let issuer = Issuer::new(params, key);
            // MySQL's own certificates name no host; those made by hand do.
            for (name, hosts) in [("named", vec!["db.example".to_owned()]), ("nameless", vec![])] {
                let key = KeyPair::generate().unwrap();
                let certificate = CertificateParams::new(hosts).unwrap().signed_by(&key, &issuer).unwrap();
                let name = if ca == "ca" { name.to_owned() } else { format!("other-{name}") };
                pki.write(&name, &certificate.pem(), &key);
            }
        }
        pki
    }

    fn write(&self, name: &str, certificate: &str, key: &KeyPair) {
        std::fs::write(self.path(name, "pem"), certificate).unwrap();
        std::fs::write(self.path(name, "key"), key.serialize_pem()).unwrap();
    }

    fn path(&self, name: &str, kind: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.{kind}"))
    }

    /// A listener with that certificate; it wants clients signed by `ca`, if given.
    async fn listener(&self, name: &str, ca: Option<&str>) -> LoginOptions {
        let tls = ListenerTls {
            cert: self.path(name, "pem"),
            key: self.path(name, "key"),
            ca: ca.map(|ca| self.path(ca, "pem")),
        };
        LoginOptions { tls: Some(tls.load().await.unwrap()), ..login_options() }
    }

    fn client(&self, mode: TlsMode, ca: Option<&str>, own: Option<&str>) -> ConnectOptions {
        let tls = TlsOptions {
            mode,
            ca: ca.map(|ca| self.path(ca, "pem")),
            cert: own.map(|own| self.path(own, "pem")),
            key: own.map(|own| self.path(own, "key")),
        };
        ConnectOptions { tls, ..client_options("link", "secret") }
    }
}

#[tokio::test]
async fn each_mode_takes_the_certificates_it_should_and_no_others() {
    use TlsMode::{Preferred, Required, VerifyCa, VerifyIdentity};
    let pki = Pki::new();
    for (mode, certificate, passes) in [
        (Preferred, "other-nameless", true),
        (Required, "other-nameless", true),
        (VerifyCa, "nameless", true),
        (VerifyCa, "named", true),
        (VerifyCa, "other-named", false),
        (VerifyIdentity, "named", true),
        (VerifyIdentity, "nameless", false),
        (VerifyIdentity, "other-named", false),
    ] {
        let server = pki.listener(certificate, None).await;
        let (connection, session) = both(&pki.client(mode, Some("ca"), None), &server).await;
        if passes {
            assert!(connection.unwrap().is_encrypted(), "{mode:?} {certificate}");
            assert!(session.unwrap().is_encrypted(), "{mode:?} {certificate}");
        } else {
            let error = connection.unwrap_err();
            assert!(matches!(error, Error::Tls { .. }), "{mode:?} {certificate}: {error:?}");
            assert!(!error.is_transient() && error.to_string().contains("db.example"), "{error}");
            assert!(session.is_err(), "{mode:?} {certificate}");
        }
    }
}

#[tokio::test]
async fn a_certificate_for_another_host_does_not_pass_by_name() {
    let pki = Pki::new();
    let server = pki.listener("named", None).await;
    let client = ConnectOptions {
        address: "other.example:3306".into(),
        ..pki.client(TlsMode::VerifyIdentity, Some("ca"), None)
    };
    let (connection, _) = both(&client, &server).await;
    assert!(connection.unwrap_err().to_string().contains("other.example"));
}

#[tokio::test]
async fn without_tls_at_the_server_preferred_goes_on_and_required_does_not() {
    let pki = Pki::new();
    let (connection, _) = both(&pki.client(TlsMode::Preferred, None, None), &login_options()).await;
    assert!(!connection.unwrap().is_encrypted());
    let (connection, session) = both(&pki.client(TlsMode::Required, None, None), &login_options()).await;
    assert!(matches!(connection, Err(Error::Tls { source: None, .. })));
    assert!(session.is_err());
}

#[tokio::test]
async fn a_listener_that_wants_tls_tells_a_client_that_comes_without() {
    let pki = Pki::new();
    let server = LoginOptions { require_tls: true, ..pki.listener("named", None).await };
    let (connection, session) = both(&client_options("link", "secret"), &server).await;
    let error = connection.unwrap_err();
    assert_eq!(error.code(), Some(3159));
    assert!(error.to_string().contains("TLS mode"), "{error}");
    assert!(matches!(session, Err(Error::Refused { .. })));
}

#[tokio::test]
async fn a_wrong_password_is_refused_under_tls_too() {
    let pki = Pki::new();
    let server = pki.listener("named", None).await;
    let client =
        ConnectOptions { password: wire::Secret::new("wrong"), ..pki.client(TlsMode::Required, None, None) };
    let (connection, _) = both(&client, &server).await;
    assert_eq!(connection.unwrap_err().code(), Some(1045));
}

#[tokio::test]
async fn a_listener_with_a_ca_takes_only_clients_signed_by_it() {
    let pki = Pki::new();
    let server = pki.listener("named", Some("ca")).await;
    for (own, passes) in [(Some("nameless"), true), (Some("other-nameless"), false), (None, false)] {
        let (connection, session) = both(&pki.client(TlsMode::VerifyCa, Some("ca"), own), &server).await;
        assert_eq!(connection.is_ok(), passes, "{own:?}: {connection:?}");
        assert_eq!(session.is_ok(), passes, "{own:?}");
    }
}

#[tokio::test]
async fn files_that_are_missing_or_wrong_are_named() {
    let pki = Pki::new();
    let missing = ListenerTls { cert: pki.path("absent", "pem"), key: pki.path("named", "key"), ca: None };
    assert!(missing.load().await.unwrap_err().to_string().contains("absent.pem"));
    let swapped = ListenerTls { cert: pki.path("named", "key"), key: pki.path("named", "key"), ca: None };
    assert!(swapped.load().await.unwrap_err().to_string().contains("holds no certificate"));
    let strange = ListenerTls { cert: pki.path("named", "pem"), key: pki.path("ca", "key"), ca: None };
    assert!(strange.load().await.unwrap_err().to_string().contains("does not go with its key"));

    let (connection, _) = both(&pki.client(TlsMode::VerifyCa, None, None), &login_options()).await;
    assert!(matches!(connection, Err(Error::Invalid { .. })));
    let (connection, _) = both(&pki.client(TlsMode::VerifyCa, Some("absent"), None), &login_options()).await;
    assert!(matches!(connection, Err(Error::TlsFile { .. })));
}

#[tokio::test]
async fn another_make_of_client_logs_in_by_tls() {
    let pki = Pki::new();
    let server = Arc::new(LoginOptions { require_tls: true, ..pki.listener("named", None).await });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = async {
        let (stream, address) = listener.accept().await.unwrap();
        wire::accept(stream, wire::Peer { address, connection_id: 1 }, &server).await
    };
    let tls = mysql_async::SslOpts::default().with_danger_accept_invalid_certs(true);
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some("link"))
        .pass(Some("secret"))
        .prefer_socket(Some(false))
        .max_allowed_packet(Some(1 << 20))
        .wait_timeout(Some(60))
        .ssl_opts(Some(tls));
    let (session, client) =
        common::soon(async { tokio::join!(serve, mysql_async::Conn::new(options)) }).await;
    client.unwrap();
    assert!(session.unwrap().is_encrypted());
}
