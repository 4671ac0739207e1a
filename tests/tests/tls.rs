//! Everything under TLS, verified: processes to MySQL, appliers to relays, a stock replica to a relay.

use std::time::Duration;

use harness::{Finished, Pace, Pair, PairOptions, Process, Region, SyncFile, Workload, seed, until};

const SOON: Duration = Duration::from_secs(60);

/// The certificates that MySQL made for itself serve the relay beside it too.
fn under_tls(file: &mut SyncFile, region: &Region) {
    let pem = |name: &str| region.datadir().join(name).to_string_lossy().into_owned();
    for line in [
        "mysql.tls = \"verify-ca\"".to_owned(),
        format!("mysql.tls_ca = {:?}", pem("ca.pem")),
        "relay.tls = \"verify-ca\"".to_owned(),
        format!("relay.tls_cert = {:?}", pem("server-cert.pem")),
        format!("relay.tls_key = {:?}", pem("server-key.pem")),
        format!("relay.tls_ca = {:?}", pem("ca.pem")),
    ] {
        file.add_to_region(region.name(), &line);
    }
}

async fn pair() -> Pair {
    let mut pair = Pair::new(PairOptions::default()).await;
    let mut file = pair.file().clone();
    under_tls(&mut file, &pair.eu);
    under_tls(&mut file, &pair.us);
    pair.configure(|current| *current = file);
    // Nothing else is let in, so that a process that went without TLS would not get far.
    for region in [&pair.eu, &pair.us] {
        for user in ["twinlog_reader", "twinlog_writer"] {
            region.run(&format!("ALTER USER '{user}'@'127.0.0.1' REQUIRE SSL")).await;
        }
    }
    pair
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_under_tls_ends_up_equal_and_nothing_is_readable_on_the_link() {
    let pair = pair().await;
    Workload::prepare(&pair).await;
    pair.start().await;
    let workload = Workload::start(&pair, seed(), Pace::Full);
    workload.wait_for_more(500).await;
    let committed = workload.stop().await;
    pair.wait_in_step(SOON).await;
    committed.assert_in_both(&pair).await;
    assert!(pair.link("eu-us").bytes_down() > 0);
    assert_plain_clients_are_refused(&pair).await;
}

/// MySQL's own client is let in with TLS, and not without.
async fn assert_plain_clients_are_refused(pair: &Pair) {
    let mut plain = pair.mysqlbinlog("eu");
    plain.arg("--ssl-mode=DISABLED");
    let refused = Finished::of_command(&mut plain, SOON).await;
    assert_ne!(refused.code, 0, "{refused}");
    let mut verified = pair.mysqlbinlog("eu");
    verified.arg("--ssl-mode=VERIFY_CA").arg(format!("--ssl-ca={}", ca(&pair.eu)));
    verified.arg(format!("--exclude-gtids={}", pair.eu.gtid_executed().await));
    let read = Finished::of_command(&mut verified, SOON).await;
    assert_eq!(read.code, 0, "{read}");
}

fn ca(region: &Region) -> String {
    region.datadir().join("ca.pem").to_string_lossy().into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_with_another_certificate_is_refused() {
    let pair = pair().await;
    pair.eu.run_all(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)"]).await;
    pair.start_one(Process::Relay("eu"));
    // A CA that signed nothing here: the server certificate itself is none.
    let wrong = pair.eu.datadir().join("client-cert.pem");
    let text = pair.file().text().replace(
        &format!("relay.tls_ca = {:?}", ca(&pair.eu)),
        &format!("relay.tls_ca = {:?}", wrong.to_string_lossy()),
    );
    let config = pair.write_file("wrong-ca.toml", &text);
    let applier = pair.run_to_failure(Process::Applier("eu-us"), &config).await;
    applier.assert_failed(1, &["certificate", "remedy:", "tls_ca"]);
    until("the relay still runs", SOON, async || match pair.try_status().await?.relay("eu")?.state() {
        "running" => Ok(()),
        other => Err(other.to_owned()),
    })
    .await;
}
