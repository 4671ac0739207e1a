//! Transactions of every size: one that no process may hold in memory, one row that no statement can carry, and very
//! many that hold nearly nothing.
//!
//! `TWINLOG_LARGE_MIB` makes the large one larger: 128 MiB when it is not set, 1024 for the long run.

use std::time::Duration;

use harness::{Pair, PairOptions, Process, until};

const SOON: Duration = Duration::from_secs(600);
const APPLIER: Process = Process::Applier("eu-us");
const RELAY: Process = Process::Relay("eu");
/// Neither process may take more memory than this, MiB, however large the transaction is; and never so much as would
/// hold it.
fn most_memory() -> u64 {
    mebibytes().min(256)
}

fn mebibytes() -> u64 {
    std::env::var("TWINLOG_LARGE_MIB").ok().and_then(|s| s.parse().ok()).unwrap_or(128)
}

async fn pair(more: &[&str]) -> Pair {
    let args = ["--max-binlog-size=1G", "--max-allowed-packet=64M", "--innodb-buffer-pool-size=64M"];
    let server_args = args.iter().chain(more).map(|&a| a.to_owned()).collect();
    let pair = Pair::one_way(PairOptions { server_args, ..PairOptions::default() }).await;
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&[
                "CREATE DATABASE shop",
                "CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY, n INT, b LONGBLOB)",
                "CREATE TABLE shop.other (id INT PRIMARY KEY, n INT)",
                "CREATE TABLE shop.tiny (id INT PRIMARY KEY, n INT)",
            ])
            .await;
    }
    pair.start_one(RELAY);
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "running", SOON).await;
    pair
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_larger_than_memory_may_be_arrives_whole_and_the_link_goes_on() {
    let pair = pair(&[]).await;
    let rows = mebibytes() * 16;
    // Statements over several tables, and rows that were undone in between.
    let mut session =
        vec!["USE shop".to_owned(), "SET cte_max_recursion_depth = 1000000".into(), "BEGIN".into()];
    session.push("INSERT INTO shop.other VALUES (1, 1)".into());
    session.push(format!(
        "INSERT INTO shop.t (n, b) WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {rows}) \
         SELECT n, REPEAT(SHA2(n, 256), 1024) FROM r"
    ));
    session.push("SAVEPOINT s".into());
    session.push("UPDATE shop.t SET n = -1 WHERE id < 100".into());
    session.push("ROLLBACK TO s".into());
    session.push("UPDATE shop.t SET n = n + 1 WHERE id % 64 = 0".into());
    session.push("DELETE FROM shop.t WHERE id % 50 = 1".into());
    session.push("UPDATE shop.t, shop.other SET shop.t.n = 0, shop.other.n = 2 WHERE shop.t.id = 7".into());
    session.push("COMMIT".into());
    let began = std::time::Instant::now();
    pair.eu.run_all(&session).await;
    let written = began.elapsed();
    // What comes behind it waits its turn, and comes.
    pair.eu.run("INSERT INTO shop.other VALUES (2, 2)").await;
    pair.wait_applied("eu-us", SOON).await;
    let (relay, applier) = (pair.peak_memory(RELAY), pair.peak_memory(APPLIER));
    println!(
        "{} MiB: written in {written:?}, everywhere after {:?}; relay {relay} MiB, applier {applier} MiB at most",
        mebibytes(),
        began.elapsed()
    );
    pair.wait_in_step(SOON).await;
    assert_eq!(pair.us.row::<i32>("SELECT n FROM shop.t WHERE id = 7").await, 0);
    assert!(relay < most_memory(), "the relay had {relay} MiB");
    assert!(applier < most_memory(), "the applier had {applier} MiB");
    // As one transaction of the target, and once.
    let count = |table: &str| format!("SELECT COUNT(*) FROM shop.{table}");
    assert_eq!(pair.us.row::<u64>(&count("t")).await, pair.eu.row::<u64>(&count("t")).await);
    let left: Vec<_> =
        std::fs::read_dir(pair.folder().join("state/spill")).map(Iterator::collect).unwrap_or_default();
    assert!(left.is_empty(), "files are left: {left:?}");
    tiny(&pair).await;
}

/// The packet of us is a little larger than the row, and a statement that carries the row would be a third larger.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_fits_no_statement_arrives_in_pieces() {
    let is_long = std::env::var("TWINLOG_LARGE_MIB").is_ok();
    let (packet, row) = if is_long { (64 << 20, 60 << 20) } else { (4 << 20, 3_700_000) };
    let pair = pair(&["--log-bin-trust-function-creators=ON"]).await;
    pair.us.run(&format!("SET GLOBAL max_allowed_packet = {packet}")).await;
    for process in [APPLIER, RELAY] {
        pair.stop_one(process).await;
    }
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&[
                "CREATE TABLE shop.large (id INT PRIMARY KEY, b LONGBLOB NOT NULL, t LONGTEXT, n INT, \
                 at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), UNIQUE KEY (b(100)))",
                "CREATE TABLE shop.fires LIKE shop.large",
                "CREATE TRIGGER shop.fires BEFORE UPDATE ON shop.fires FOR EACH ROW SET NEW.n = 77",
            ])
            .await;
    }
    pair.us.run("GRANT TRIGGER ON shop.* TO 'twinlog_writer'@'127.0.0.1'").await;
    pair.start_one(RELAY);
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "running", SOON).await;
    for statement in [
        format!(
            "INSERT INTO shop.large (id, b, t, n) VALUES (1, REPEAT('a', {row}), 'é', 1), (2, 'small', REPEAT('é', {}), 2)",
            row / 2
        ),
        "UPDATE shop.large SET n = 10".to_owned(),
        format!("UPDATE shop.large SET b = CONCAT('z', REPEAT('b', {row} - 1)), t = NULL WHERE id = 1"),
        "UPDATE shop.large SET id = id + 100".to_owned(),
        "INSERT INTO shop.other VALUES (50, 1)".to_owned(),
        "DELETE FROM shop.large WHERE id = 101".to_owned(),
    ] {
        pair.eu.run(&statement).await;
        pair.wait_applied("eu-us", SOON).await;
        pair.wait_in_step(SOON).await;
    }
    // Its trigger would fire on the UPDATE.
    pair.eu.run(&format!("INSERT INTO shop.fires (id, b) VALUES (1, REPEAT('a', {row}))")).await;
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    assert!(status.last_error().contains("max_allowed_packet"), "{}", status.last_error());
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.fires").await, 0);
}

/// Very many small ones, with empty ones and undone ones among them.
async fn tiny(pair: &Pair) {
    pair.eu
        .run_all(&[
            "CREATE PROCEDURE shop.many (n INT) BEGIN DECLARE i INT DEFAULT 0; WHILE i < n DO \
             START TRANSACTION; INSERT INTO shop.tiny VALUES (i, i); COMMIT; \
             START TRANSACTION; COMMIT; \
             START TRANSACTION; UPDATE shop.tiny SET n = -1 WHERE id = i; ROLLBACK; \
             SET i = i + 1; END WHILE; END",
            "SET GLOBAL sync_binlog = 1000, GLOBAL innodb_flush_log_at_trx_commit = 2",
        ])
        .await;
    let many = if std::env::var("TWINLOG_LARGE_MIB").is_ok() { 100_000 } else { 5_000 };
    pair.eu.run(&format!("CALL shop.many({many})")).await;
    // One that holds nothing at all.
    let uuid: String = pair.eu.row("SELECT @@server_uuid").await;
    let empty = format!("SET gtid_next = '{uuid}:5000000'");
    pair.eu.run_all(&[&empty, "BEGIN", "COMMIT", "SET gtid_next = 'AUTOMATIC'"]).await;
    pair.wait_applied("eu-us", SOON).await;
    until("all tiny ones are there", SOON, async || {
        match pair.us.row::<u64>("SELECT COUNT(*) FROM shop.tiny WHERE n = id").await {
            n if n == many => Ok(()),
            n => Err(format!("{n} of {many}")),
        }
    })
    .await;
}
