//! What a server or an account lacks: each ends in an error that names the thing and the remedy, with exit code 1, and
//! nothing half done.

use std::time::Duration;

use harness::{Pair, PairOptions, Process, Region};

const RELAY: Process = Process::Relay("eu");
const APPLIER: Process = Process::Applier("eu-us");
const SOON: Duration = Duration::from_secs(30);

async fn pair() -> Pair {
    let pair = Pair::one_way(PairOptions::default()).await;
    for region in [&pair.eu, &pair.us] {
        region.run_all(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)"]).await;
    }
    pair.write_file("wrong", "not the password\n");
    pair
}

/// The configuration with something in it replaced, once.
fn changed(pair: &Pair, name: &str, from: &str, to: &str) -> std::path::PathBuf {
    let text = pair.file().text();
    assert!(text.contains(from), "{from:?} is not in the configuration");
    pair.write_file(name, &text.replacen(from, to, 1))
}

async fn assert_untouched(region: &Region, before: &str) {
    assert_eq!(region.gtid_executed().await, before, "something was written into {}", region.name());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_names_account_and_server() {
    let pair = pair().await;
    let (eu, us) = (pair.eu.gtid_executed().await, pair.us.gtid_executed().await);
    let config = changed(
        &pair,
        "a.toml",
        "mysql.reader_password_file = \"secret\"",
        "mysql.reader_password_file = \"wrong\"",
    );
    let relay = pair.run_to_failure(RELAY, &config).await;
    relay.assert_failed(1, &["twinlog_reader", pair.eu.address(), "Access denied", "remedy:"]);

    // Both writer passwords: that of us is the second.
    let text = pair
        .file()
        .text()
        .replace("mysql.writer_password_file = \"secret\"", "mysql.writer_password_file = \"wrong\"");
    let config = pair.write_file("b.toml", &text);
    pair.start_one(RELAY);
    let applier = pair.run_to_failure(APPLIER, &config).await;
    applier.assert_failed(1, &["twinlog_writer", pair.us.address(), "Access denied", "remedy:"]);

    assert_untouched(&pair.us, &us).await;

    // The relay refuses who does not know its password. The meta schema is made by then; the link has not begun.
    let config =
        changed(&pair, "c.toml", "relay.password_file = \"secret\"", "relay.password_file = \"wrong\"");
    let applier = pair.run_to_failure(APPLIER, &config).await;
    applier.assert_failed(1, &["link", &pair.link("eu-us").address(), "Access denied", "remedy:"]);
    for word in ["not the password", "p@ss"] {
        assert!(!applier.err.contains(word) && !relay.err.contains(word), "a password is shown");
    }
    assert_untouched(&pair.eu, &eu).await;
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM twinlog.checkpoint").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_server_is_named_with_its_address() {
    let pair = pair().await;
    // The relay is not there.
    let applier = pair.run_to_failure(APPLIER, pair.config()).await;
    applier.assert_failed(1, &[&pair.link("eu-us").address(), "remedy:"]);
    pair.us.kill9();
    pair.start_one(RELAY);
    let applier = pair.run_to_failure(APPLIER, pair.config()).await;
    applier.assert_failed(1, &[pair.us.address(), "refused", "remedy:"]);
    pair.kill9(RELAY);
    pair.eu.kill9();
    let relay = pair.run_to_failure(RELAY, pair.config()).await;
    relay.assert_failed(1, &[pair.eu.address(), "refused", "remedy:"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_is_found_without_anybody_s_help() {
    let pair = pair().await;
    pair.eu.kill9();
    pair.us.kill9();
    for process in Process::ALL {
        pair.start_one(process);
    }
    // Long enough for each to have failed at least once.
    tokio::time::sleep(Duration::from_secs(2)).await;
    pair.eu.restart();
    pair.us.restart();
    pair.wait_running().await;
    pair.eu.run("INSERT INTO shop.t VALUES (1)").await;
    pair.wait_in_step(SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_can_not_be_replicated_names_the_setting_and_its_sql() {
    let pair = pair().await;
    pair.eu.restart_with(&["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"]);
    let relay = pair.run_to_failure(RELAY, pair.config()).await;
    relay.assert_failed(1, &["gtid_mode", pair.eu.address(), "remedy:", "SET GLOBAL"]);

    pair.eu.restart_with(&["--binlog-format=STATEMENT"]);
    let relay = pair.run_to_failure(RELAY, pair.config()).await;
    relay.assert_failed(1, &["binlog_format", "STATEMENT", "remedy:", "ROW"]);

    pair.eu.restart_with(&["--binlog-row-image=MINIMAL"]);
    let relay = pair.run_to_failure(RELAY, pair.config()).await;
    relay.assert_failed(1, &["binlog_row_image", "MINIMAL", "remedy:", "FULL"]);

    pair.eu.restart_with(&["--skip-log-bin"]);
    let relay = pair.run_to_failure(RELAY, pair.config()).await;
    relay.assert_failed(1, &["log_bin", "remedy:"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_privilege_of_the_reader_is_named_with_its_grant() {
    let pair = pair().await;
    pair.eu.run("REVOKE REPLICATION SLAVE ON *.* FROM 'twinlog_reader'@'127.0.0.1'").await;
    let relay = pair.run_to_failure(RELAY, pair.config()).await;
    relay.assert_failed(1, &["REPLICATION SLAVE", "remedy:", "GRANT"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_privilege_of_the_writer_is_named_with_its_grant() {
    let pair = pair().await;
    pair.start_one(RELAY);
    pair.us.run("REVOKE REPLICATION_APPLIER ON *.* FROM 'twinlog_writer'@'127.0.0.1'").await;
    let applier = pair.run_to_failure(APPLIER, pair.config()).await;
    applier.assert_failed(1, &["REPLICATION_APPLIER", "remedy:", "GRANT"]);
    pair.us.run("GRANT REPLICATION_APPLIER ON *.* TO 'twinlog_writer'@'127.0.0.1'").await;

    pair.us.run("REVOKE ALL ON `twinlog`.* FROM 'twinlog_writer'@'127.0.0.1'").await;
    let applier = pair.run_to_failure(APPLIER, pair.config()).await;
    applier.assert_failed(1, &["twinlog", "remedy:", "GRANT"]);
    pair.us.run("GRANT ALL ON `twinlog`.* TO 'twinlog_writer'@'127.0.0.1'").await;

    // The server hides this one behind "Unknown error".
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "running", SOON).await;
    pair.us.run("REVOKE INSERT ON `shop`.* FROM 'twinlog_writer'@'127.0.0.1'").await;
    pair.eu.run("INSERT INTO shop.t VALUES (1)").await;
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    for word in ["INSERT", "shop", "t", "GRANT"] {
        assert!(status.last_error().contains(word), "{word:?} is not named: {}", status.last_error());
    }
    pair.us.run("GRANT INSERT ON `shop`.* TO 'twinlog_writer'@'127.0.0.1'").await;
    pair.kill9(APPLIER);
    pair.start_one(APPLIER);
    pair.wait_in_step(SOON).await;
}
