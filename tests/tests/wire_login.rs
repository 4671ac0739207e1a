//! The wire crate's client against a real server: every way to log in.

use std::time::Duration;

use harness::{Region, RegionOptions, take_slot};
use wire::{ConnectOptions, Connection, Error, Secret, TlsMode, TlsOptions};

const PASSWORD: &str = "sésame 'ouvre' \"toi\"";

async fn server() -> (harness::Slot, Region) {
    let slot = take_slot().await;
    let [server] = Region::start_all([RegionOptions { name: "eu", server_id: 1, extra_args: Vec::new() }]);
    let password = PASSWORD.replace('\'', "''");
    server.run(&format!("CREATE USER someone@'127.0.0.1' IDENTIFIED BY '{password}'")).await;
    (slot, server)
}

fn options(server: &Region, mode: TlsMode) -> ConnectOptions {
    let ca =
        matches!(mode, TlsMode::VerifyCa | TlsMode::VerifyIdentity).then(|| server.datadir().join("ca.pem"));
    ConnectOptions {
        address: server.address().to_owned(),
        user: "someone".into(),
        password: Secret::new(PASSWORD),
        tls: TlsOptions { mode, ca, ..TlsOptions::default() },
        connect_timeout: Duration::from_secs(10),
    }
}

/// Logs in and has the server say who that is, and by which cipher.
async fn who(options: &ConnectOptions) -> (String, String) {
    let mut connection = Connection::connect(options).await.unwrap_or_else(|e| panic!("{e}"));
    let rows = connection.query_rows("SELECT CURRENT_USER(), VARIABLE_VALUE FROM performance_schema.session_status WHERE VARIABLE_NAME = 'Ssl_cipher'");
    let rows = rows.await.unwrap_or_else(|e| panic!("{e}"));
    let row = rows.first().expect("a row");
    let text = |index| row.text_at(index).expect("text");
    assert_eq!(connection.is_encrypted(), !text(1).is_empty());
    let told = (text(0), text(1));
    connection.close().await;
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caching_sha2_password_works_on_the_full_and_the_fast_path_with_and_without_tls() {
    let (_slot, server) = server().await;
    for mode in [TlsMode::Disabled, TlsMode::Preferred, TlsMode::Required, TlsMode::VerifyCa] {
        let options = options(&server, mode);
        // The server forgets its cache: the first login takes the full path, by RSA key or under TLS, the next the fast.
        server.run("FLUSH PRIVILEGES").await;
        for _ in 0..2 {
            let (user, cipher) = who(&options).await;
            assert_eq!(user, "someone@127.0.0.1");
            assert_eq!(cipher.is_empty(), mode == TlsMode::Disabled, "{mode:?}: {cipher}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_refused_on_both_paths_and_an_empty_one_works() {
    let (_slot, server) = server().await;
    for mode in [TlsMode::Disabled, TlsMode::Required] {
        let wrong = ConnectOptions { password: Secret::new("wrong"), ..options(&server, mode) };
        for _ in 0..2 {
            let error = Connection::connect(&wrong).await.expect_err("a wrong password is refused");
            assert_eq!(error.code(), Some(1045), "{error}");
            assert!(error.to_string().contains("someone"), "{error}");
            // The second attempt meets a server that has the right one in its cache.
            who(&options(&server, mode)).await;
        }
    }
    server.run("ALTER USER someone@'127.0.0.1' IDENTIFIED BY ''").await;
    for mode in [TlsMode::Disabled, TlsMode::Required] {
        who(&ConnectOptions { password: Secret::default(), ..options(&server, mode) }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verifying_modes_refuse_what_they_are_there_to_refuse() {
    let (_slot, server) = server().await;
    // The certificate that MySQL makes itself names no host.
    let error =
        Connection::connect(&options(&server, TlsMode::VerifyIdentity)).await.expect_err("no name in it");
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    // A CA that did not sign the certificate: the server makes new ones when its own are gone.
    let old = server.datadir().join("old-ca");
    std::fs::copy(server.datadir().join("ca.pem"), &old).expect("a CA");
    for entry in std::fs::read_dir(server.datadir()).expect("the data folder").flatten() {
        if entry.path().extension().is_some_and(|e| e == "pem") {
            std::fs::remove_file(entry.path()).expect("a certificate can be removed");
        }
    }
    server.restart();
    who(&options(&server, TlsMode::VerifyCa)).await;
    let mut foreign = options(&server, TlsMode::VerifyCa);
    foreign.tls.ca = Some(old);
    let error = Connection::connect(&foreign).await.expect_err("a foreign CA");
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tls_is_taken_as_preferred_and_refused_as_required() {
    let slot = take_slot().await;
    let extra_args = vec!["--tls-version=".into()];
    let [server] = Region::start_all([RegionOptions { name: "eu", server_id: 1, extra_args }]);
    let password = PASSWORD.replace('\'', "''");
    server.run(&format!("CREATE USER someone@'127.0.0.1' IDENTIFIED BY '{password}'")).await;
    assert_eq!(who(&options(&server, TlsMode::Preferred)).await.1, "");
    let error = Connection::connect(&options(&server, TlsMode::Required)).await.expect_err("there is no TLS");
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    drop(slot);
}
