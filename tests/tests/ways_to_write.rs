//! Every way SQL has to change rows ends up the same in the other region: once, and with nothing fired twice.

use std::time::Duration;

use harness::{Finished, Pair, PairOptions, Region, until};

const SOON: Duration = Duration::from_secs(30);

const TABLES: [&str; 12] = [
    "CREATE DATABASE shop",
    "CREATE TABLE shop.item (id INT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(20) UNIQUE, stock INT NOT NULL DEFAULT 0)",
    "CREATE TABLE shop.audit (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(60))",
    "CREATE TABLE shop.parent (id INT PRIMARY KEY, note VARCHAR(20))",
    "CREATE TABLE shop.child (id INT PRIMARY KEY, parent INT, \
     FOREIGN KEY (parent) REFERENCES shop.parent (id) ON DELETE CASCADE ON UPDATE CASCADE)",
    "CREATE TABLE shop.orphan (id INT PRIMARY KEY, parent INT, \
     FOREIGN KEY (parent) REFERENCES shop.parent (id) ON DELETE SET NULL ON UPDATE CASCADE)",
    "CREATE TABLE shop.plain (id INT PRIMARY KEY, a INT, b VARCHAR(200))",
    "CREATE TRIGGER shop.item_made AFTER INSERT ON shop.item FOR EACH ROW \
     INSERT INTO shop.audit (what) VALUES (CONCAT('made ', NEW.code))",
    "CREATE TRIGGER shop.item_changed BEFORE UPDATE ON shop.item FOR EACH ROW SET NEW.stock = NEW.stock + 1000",
    "CREATE TRIGGER shop.item_gone AFTER DELETE ON shop.item FOR EACH ROW \
     INSERT INTO shop.audit (what) VALUES (CONCAT('gone ', OLD.code))",
    "CREATE PROCEDURE shop.fill (n INT) BEGIN DECLARE i INT DEFAULT 0; WHILE i < n DO \
     INSERT INTO shop.plain VALUES (i, i * i, REPEAT('x', i)); SET i = i + 1; END WHILE; END",
    "CREATE VIEW shop.seen AS SELECT id, a FROM shop.plain",
];

const WRITES: &[&str] = &[
    "INSERT INTO shop.item (code, stock) VALUES ('a', 1), ('b', 2), ('c', 3)",
    "UPDATE shop.item SET stock = stock + 1",
    "INSERT INTO shop.item (code, stock) VALUES ('a', 5) ON DUPLICATE KEY UPDATE stock = 7",
    "REPLACE INTO shop.item (code, stock) VALUES ('b', 9)",
    "INSERT IGNORE INTO shop.item (code) VALUES ('c'), ('d')",
    "DELETE FROM shop.item WHERE code = 'd'",
    "INSERT INTO shop.parent VALUES (1, 'one'), (2, 'two'), (3, 'three')",
    "INSERT INTO shop.child VALUES (10, 1), (11, 1), (20, 2), (30, 3)",
    "INSERT INTO shop.orphan SELECT * FROM shop.child",
    "DELETE FROM shop.parent WHERE id = 1",
    "UPDATE shop.parent SET id = 22 WHERE id = 2",
    "SET foreign_key_checks = 0",
    "INSERT INTO shop.child VALUES (99, 12345)",
    "SET foreign_key_checks = 1",
    "CALL shop.fill(40)",
    "UPDATE shop.plain p JOIN shop.child c ON p.id = c.id SET p.a = -1, c.parent = 3",
    "DELETE FROM shop.plain, shop.child USING shop.plain JOIN shop.child ON plain.id = child.id WHERE plain.id = 20",
    "UPDATE shop.seen SET a = 4242 WHERE id = 5",
    "UPDATE shop.plain SET id = id + 1000 ORDER BY id DESC",
    "BEGIN",
    "INSERT INTO shop.plain VALUES (1, 1, 'kept')",
    "SAVEPOINT s",
    "INSERT INTO shop.plain VALUES (2, 2, 'undone')",
    "ROLLBACK TO s",
    "INSERT INTO shop.plain VALUES (3, 3, 'kept')",
    "COMMIT",
    "BEGIN",
    "INSERT INTO shop.plain VALUES (4, 4, 'undone')",
    "ROLLBACK",
    "CREATE TEMPORARY TABLE shop.temporary (id INT)",
    "INSERT INTO shop.temporary VALUES (1)",
    "INSERT INTO shop.plain SELECT id + 50, id, 'from temporary' FROM shop.temporary",
    "DROP TEMPORARY TABLE shop.temporary",
    "SET time_zone = '-08:00', sql_mode = 'ANSI_QUOTES'",
    "INSERT INTO \"shop\".plain VALUES (60, 1, CONVERT(_utf8mb4 X'E6BCA2' USING utf8mb4))",
    "SET sql_mode = DEFAULT, character_set_client = latin1, character_set_connection = latin1",
    "INSERT INTO shop.plain VALUES (63, 1, 'naïve')",
    "SET NAMES utf8mb4",
    "INSERT INTO shop.plain VALUES (61, 2147483647, 'quote '' and \\\\'), (62, NULL, NULL)",
    "UPDATE shop.plain SET a = a WHERE id = 61",
];

async fn pair() -> Pair {
    let pair = Pair::new(PairOptions {
        server_args: vec!["--log-bin-trust-function-creators=ON".into()],
        ..PairOptions::default()
    })
    .await;
    for region in [&pair.eu, &pair.us] {
        region.run_all(&TABLES).await;
    }
    pair.start().await;
    pair
}

async fn counts(region: &Region) -> (u64, u64, i64) {
    let counts = "SELECT (SELECT COUNT(*) FROM shop.audit), (SELECT COUNT(*) FROM shop.child), \
                  (SELECT CAST(SUM(stock) AS SIGNED) FROM shop.item)";
    region.row(counts).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggers_and_cascades_take_effect_once_and_every_statement_arrives() {
    let pair = pair().await;
    pair.eu.run_all(WRITES).await;
    let written = counts(&pair.eu).await;
    pair.wait_in_step(SOON).await;
    assert_eq!(counts(&pair.us).await, written);
    // And back: us changes what eu wrote, with its own triggers and cascades.
    pair.us
        .run_all(&[
            "UPDATE shop.item SET stock = stock * 2",
            "DELETE FROM shop.parent WHERE id = 3",
            "DELETE FROM shop.item WHERE code = 'a'",
        ])
        .await;
    let written = counts(&pair.us).await;
    pair.wait_in_step(SOON).await;
    assert_eq!(counts(&pair.eu).await, written);
    pair.assert_alive();
}

/// One statement on a parent and a child that the parent takes along: the server logs the child's row twice, and nobody
/// can delete it twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_is_logged_twice_stops_the_link_until_a_person_says_go_on() {
    let pair = pair().await;
    pair.eu
        .run_all(&[
            "INSERT INTO shop.parent VALUES (4, 'four')",
            "INSERT INTO shop.child VALUES (40, 4), (41, 4)",
        ])
        .await;
    pair.wait_in_step(SOON).await;
    pair.eu
        .run_all(&[
            "USE shop",
            "DELETE p, c FROM shop.parent p JOIN shop.child c ON c.parent = p.id WHERE p.id = 4 AND c.id = 40",
        ])
        .await;
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    for words in ["delete of shop.child at {\"id\":40}", "the row is not there"] {
        assert!(status.last_error().contains(words), "{words}: {}", status.last_error());
    }
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.child").await, 2, "nothing is half done");
    let config = pair.config().to_string_lossy();
    let decide = ["conflicts", "resolve", "us/1", "-c", &config, "--take", "source"];
    let said = Finished::of(&decide, SOON).await;
    assert_eq!(said.code, 0, "{said}");
    pair.wait_in_step(SOON).await;
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.child").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tagged_transactions_cross_and_are_remembered() {
    let pair = pair().await;
    pair.eu
        .run_all(&[
            "SET gtid_next = 'AUTOMATIC:billing'",
            "INSERT INTO shop.plain VALUES (1, 1, 'tagged')",
            "UPDATE shop.plain SET a = a + 1",
            "SET gtid_next = 'AUTOMATIC:other'",
            "UPDATE shop.plain SET a = a + 10",
            "SET gtid_next = 'AUTOMATIC'",
            "UPDATE shop.plain SET a = a + 100",
        ])
        .await;
    pair.wait_in_step(SOON).await;
    assert_eq!(pair.us.row::<i32>("SELECT a FROM shop.plain").await, 112);
    // Everything is asked for again after a restart: what is covered is not done twice.
    for process in harness::Process::ALL {
        pair.kill9(process);
        pair.start_one(process);
    }
    pair.us.run("UPDATE shop.plain SET a = a + 1000").await;
    until("the change of us is in eu", SOON, async || {
        match pair.eu.row::<i32>("SELECT a FROM shop.plain").await {
            1112 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    pair.wait_in_step(SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_logged_as_a_statement_stops_the_link() {
    let pair = pair().await;
    pair.eu.run("INSERT INTO shop.plain VALUES (1, 1, 'a')").await;
    pair.wait_in_step(SOON).await;
    pair.eu.run_all(&["SET SESSION binlog_format = 'STATEMENT'", "UPDATE shop.plain SET a = 2"]).await;
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    assert!(status.last_error().contains("statement"), "{}", status.last_error());
    assert_eq!(pair.us.row::<i32>("SELECT a FROM shop.plain").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_without_transactions_stops_the_link_before_anything_is_half_done() {
    let pair = pair().await;
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&["SET sql_log_bin = 0", "CREATE TABLE shop.old (id INT PRIMARY KEY) ENGINE = MyISAM"])
            .await;
    }
    pair.eu.run("INSERT INTO shop.old VALUES (1)").await;
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.old").await, 0, "{}", status.last_error());
    assert!(status.last_error().contains("shop.old"), "{}", status.last_error());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_xa_transaction_is_never_half_applied() {
    let pair = pair().await;
    pair.eu
        .run_all(&[
            "XA START 'x'",
            "INSERT INTO shop.plain VALUES (1, 1, 'xa')",
            "XA END 'x'",
            "XA PREPARE 'x'",
        ])
        .await;
    pair.eu.run("INSERT INTO shop.plain VALUES (2, 2, 'after')").await;
    // Either it is applied with its XA COMMIT, or the link stops and says so; a row of an undecided transaction is
    // never there.
    until("the link goes on or says why not", SOON, async || {
        let rows: Vec<i32> = pair.us.rows("SELECT id FROM shop.plain ORDER BY id").await;
        assert!(!rows.contains(&1), "an undecided row is there");
        let status = pair.link_status("eu-us").await;
        if rows == [2] || (status.state() == "failed" && status.last_error().contains("XA")) {
            Ok(())
        } else {
            Err(format!("{rows:?} {}", status.json()))
        }
    })
    .await;
    pair.eu.run("XA COMMIT 'x'").await;
    if pair.link_status("eu-us").await.state() != "failed" {
        pair.wait_in_step(SOON).await;
    }
}
