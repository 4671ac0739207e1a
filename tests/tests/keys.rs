//! Keys and constraints of every kind, both ways, and where they can meet, in conflict.

use std::time::Duration;

use harness::{Pair, PairOptions, Process, Region, until};

const SOON: Duration = Duration::from_secs(30);

const TABLES: [&str; 19] = [
    "CREATE DATABASE shop",
    "CREATE TABLE shop.composite (b VARCHAR(9), n INT, a INT, PRIMARY KEY (a, b))",
    "CREATE TABLE shop.word (w VARCHAR(20) COLLATE utf8mb4_0900_ai_ci PRIMARY KEY, n INT)",
    "CREATE TABLE shop.cased (w VARCHAR(20) COLLATE utf8mb4_0900_as_cs PRIMARY KEY, n INT)",
    "CREATE TABLE shop.padded (w VARCHAR(20) COLLATE utf8mb4_bin PRIMARY KEY, n INT)",
    "CREATE TABLE shop.bytes (w VARBINARY(20) PRIMARY KEY, n INT)",
    "CREATE TABLE shop.prefix (id INT PRIMARY KEY, t VARCHAR(50) COLLATE utf8mb4_0900_ai_ci, b BLOB, \
     UNIQUE KEY t (t(2)), UNIQUE KEY b (b(3)))",
    "CREATE TABLE shop.seat (id INT PRIMARY KEY, a INT, b INT, UNIQUE KEY a (a), UNIQUE KEY b (b))",
    "CREATE TABLE shop.unique_only (code CHAR(4) NOT NULL, other INT NULL, n INT, UNIQUE KEY other (other), \
     UNIQUE KEY code (code))",
    "CREATE TABLE shop.unkeyed (a INT, t TEXT)",
    "CREATE TABLE shop.parent (id INT PRIMARY KEY)",
    "CREATE TABLE shop.child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES shop.parent (id))",
    "CREATE TABLE shop.account (id INT PRIMARY KEY, n INT)",
    "CREATE TABLE shop.audit (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(30))",
    "CREATE TABLE shop.small (id TINYINT AUTO_INCREMENT PRIMARY KEY, n INT)",
    "CREATE TABLE shop.made (id INT PRIMARY KEY, n INT, twice INT AS (n * 2) VIRTUAL, half INT AS (n DIV 2) STORED, \
     hidden INT INVISIBLE DEFAULT 7, UNIQUE KEY half (half), UNIQUE KEY f ((n + 1000)))",
    "CREATE TRIGGER shop.noted AFTER UPDATE ON shop.account FOR EACH ROW \
     INSERT INTO shop.audit (what) VALUES (CONCAT(NEW.id, ': ', OLD.n, ' to ', NEW.n))",
    "SET SESSION sql_generate_invisible_primary_key = ON",
    "CREATE TABLE shop.invisible_key (a INT, b INT)",
];

/// Statements of one region. `at` begins its numbers, so that the regions do not meet.
fn statements(at: i32, letter: char) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut run = |statement: String| all.push(statement);
    run(format!("INSERT INTO shop.composite VALUES ('x', 1, {at}), ('y', 1, {at}), ('x', 1, {at} + 1)"));
    run(format!("UPDATE shop.composite SET n = 2, b = 'z' WHERE a = {at} AND b = 'y'"));
    run(format!("DELETE FROM shop.composite WHERE a = {at} + 1"));
    for table in ["word", "cased", "padded", "bytes"] {
        run(format!(
            "INSERT INTO shop.{table} VALUES ('{letter} Émile', 1), ('{letter} straße', 2), ('{letter}', 3)"
        ));
        run(format!("UPDATE shop.{table} SET w = '{letter} STRASSE', n = 4 WHERE w = '{letter} straße'"));
        run(format!("DELETE FROM shop.{table} WHERE w = '{letter} émile'"));
    }
    run(format!("INSERT INTO shop.cased VALUES ('{letter} a', 1), ('{letter} A', 2), ('{letter} a ', 3)"));
    run(format!(
        "INSERT INTO shop.prefix VALUES ({at}, '{letter}é1', X'{at:06}00'), ({at} + 1, '{letter}f1', NULL)"
    ));
    run(format!("UPDATE shop.prefix SET t = '{letter}É2', b = X'{at:06}01' WHERE id = {at}"));
    run(format!("INSERT INTO shop.seat VALUES ({at}, {at}, {at} + 1), ({at} + 1, {at} + 1, {at})"));
    // Swapped within a transaction, and then across transactions.
    run("BEGIN".into());
    run(format!("UPDATE shop.seat SET a = NULL WHERE id = {at}"));
    run(format!("UPDATE shop.seat SET a = {at}, b = NULL WHERE id = {at} + 1"));
    run(format!("UPDATE shop.seat SET a = {at} + 1, b = {at} WHERE id = {at}"));
    run(format!("UPDATE shop.seat SET b = {at} + 1 WHERE id = {at} + 1"));
    run("COMMIT".into());
    for statement in ["a = -a - 5 WHERE id = {}", "a = {} + 1 WHERE id = {} + 1", "a = {} WHERE id = {}"] {
        run(format!("UPDATE shop.seat SET {}", statement.replace("{}", &at.to_string())));
    }
    // Primary keys that move, one into the place of another.
    run(format!("UPDATE shop.seat SET id = id + 1 WHERE id BETWEEN {at} AND {at} + 1 ORDER BY id DESC"));
    run(format!(
        "INSERT INTO shop.unique_only VALUES ('{letter}1', NULL, 1), ('{letter}2', NULL, 2), ('{letter}3', {at}, 3)"
    ));
    run(format!("UPDATE shop.unique_only SET n = 9, code = '{letter}9' WHERE code = '{letter}1'"));
    run(format!("UPDATE shop.unique_only SET other = {at} + 1, n = n + 1 WHERE code = '{letter}3'"));
    run(format!("DELETE FROM shop.unique_only WHERE code = '{letter}2'"));
    run(format!(
        "INSERT INTO shop.unkeyed VALUES ({at}, 'twice'), ({at}, 'twice'), ({at}, NULL), ({at}, 'gone')"
    ));
    run(format!("UPDATE shop.unkeyed SET t = 'once' WHERE a = {at} AND t = 'twice' LIMIT 1"));
    run(format!("DELETE FROM shop.unkeyed WHERE a = {at} AND t = 'gone'"));
    run(format!("INSERT INTO shop.parent VALUES ({at})"));
    run(format!("INSERT INTO shop.child VALUES ({at}, {at})"));
    // A session that does not look at foreign keys: nor does the applier, for its rows.
    run("SET foreign_key_checks = 0".into());
    run(format!("INSERT INTO shop.child VALUES ({at} + 1, -1)"));
    run(format!("DELETE FROM shop.parent WHERE id = {at}"));
    run("SET foreign_key_checks = 1".into());
    run(format!("INSERT INTO shop.account VALUES ({at}, 1)"));
    run(format!("UPDATE shop.account SET n = 2 WHERE id = {at}"));
    run(format!("INSERT INTO shop.made (id, n) VALUES ({at}, {at} * 20), ({at} + 1, {at} * 20 + 10)"));
    run(format!("UPDATE shop.made SET n = n + 2, hidden = 8 WHERE id = {at}"));
    run(format!("INSERT INTO shop.invisible_key (my_row_id, a, b) VALUES ({at}, 1, 1), ({at} + 1, 2, 2)"));
    run(format!("UPDATE shop.invisible_key SET b = 3 WHERE a = 1 AND my_row_id = {at}"));
    run(format!("DELETE FROM shop.invisible_key WHERE my_row_id = {at} + 1"));
    all
}

async fn pair() -> Pair {
    let mut pair = Pair::new(PairOptions::default()).await;
    pair.configure(|file| {
        file.add_to_link("eu-us", "on_conflict = \"overwrite\"");
        file.add_to_link("us-eu", "on_conflict = \"ignore\"");
    });
    for (region, offset) in [(&pair.eu, 1), (&pair.us, 2)] {
        region.run_all(&TABLES).await;
        let numbers =
            format!("SET GLOBAL auto_increment_increment = 2, GLOBAL auto_increment_offset = {offset}");
        region.run(&numbers).await;
    }
    pair.start().await;
    pair
}

async fn conflicts(region: &Region) -> Vec<String> {
    let query = "SELECT CONCAT_WS(' ', table_name, kind, winner) FROM twinlog.conflict ORDER BY id";
    region.rows(query).await
}

async fn apart(pair: &Pair) {
    pair.wait_in_step(SOON).await;
    for link in ["eu-us", "us-eu"] {
        pair.stop_one(Process::Applier(link)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_constraints_of_every_kind_cross_both_ways_and_collide_by_their_own_rules() {
    let pair = pair().await;
    let (eu, us) = (statements(100, 'e'), statements(200, 'u'));
    tokio::join!(pair.eu.run_all(&eu), pair.us.run_all(&us));
    pair.wait_in_step(SOON).await;
    for region in [&pair.eu, &pair.us] {
        assert_eq!(conflicts(region).await, [""; 0], "{}", region.name());
        // Each trigger has fired once, where the row was changed by an application.
        let notes: Vec<String> = region.rows("SELECT what FROM shop.audit ORDER BY what").await;
        assert_eq!(notes, ["100: 1 to 2", "200: 1 to 2"], "{}", region.name());
        let made: Vec<String> =
            region.rows("SELECT CONCAT_WS(' ', id, n, twice, half, hidden) FROM shop.made ORDER BY id").await;
        let expected =
            ["100 2002 4004 1001 8", "101 2010 4020 1005 7", "200 4002 8004 2001 8", "201 4010 8020 2005 7"];
        assert_eq!(made, expected, "{}", region.name());
    }
    fill_up(&pair).await;
    collide(&pair).await;
    pair.assert_alive();
}

/// Auto-increment up to the end of its column: the application is told, the links are not troubled.
async fn fill_up(pair: &Pair) {
    pair.eu.run("INSERT INTO shop.small VALUES (125, 1)").await;
    pair.wait_in_step(SOON).await;
    // The counter has followed what was applied.
    pair.us.run("INSERT INTO shop.small (n) VALUES (2)").await;
    pair.wait_in_step(SOON).await;
    pair.eu.run("INSERT INTO shop.small (n) VALUES (3)").await;
    pair.wait_in_step(SOON).await;
    let ids: Vec<i32> = pair.us.rows("SELECT id FROM shop.small ORDER BY id").await;
    assert_eq!(ids, [125, 126, 127]);
    for region in [&pair.eu, &pair.us] {
        let refused = region.run_failing("INSERT INTO shop.small (n) VALUES (4)").await;
        assert!(matches!(refused, 167 | 1062 | 1264 | 1467), "{refused}");
    }
}

/// Both regions write the same keys while neither sees the other.
async fn collide(pair: &Pair) {
    apart(pair).await;
    pair.eu
        .run_all(&[
            "UPDATE shop.composite SET n = 11 WHERE a = 100 AND b = 'x'",
            "UPDATE shop.word SET n = 11 WHERE w = 'e strasse'",
            "INSERT INTO shop.padded VALUES ('pad', 11)",
            "INSERT INTO shop.cased VALUES ('case', 11)",
            "UPDATE shop.seat SET id = 500 WHERE id = 101",
            "UPDATE shop.unique_only SET n = 11 WHERE code = 'e9'",
            "UPDATE shop.made SET n = 1000 WHERE id = 101",
            "UPDATE shop.invisible_key SET b = 11 WHERE my_row_id = 100",
        ])
        .await;
    pair.us
        .run_all(&[
            "UPDATE shop.composite SET n = 22 WHERE a = 100 AND b = 'x'",
            "DELETE FROM shop.word WHERE w = 'E STRAßE'",
            // One key under a collation that pads.
            "INSERT INTO shop.padded VALUES ('pad  ', 22)",
            // Another one under one that tells case.
            "INSERT INTO shop.cased VALUES ('Case', 22)",
            "UPDATE shop.seat SET b = NULL WHERE id = 101",
            "UPDATE shop.unique_only SET n = 22 WHERE code = 'e9'",
            "UPDATE shop.made SET hidden = 22 WHERE id = 101",
            "UPDATE shop.invisible_key SET b = 22 WHERE my_row_id = 100",
        ])
        .await;
    for link in ["eu-us", "us-eu"] {
        pair.start_one(Process::Applier(link));
    }
    let tables = ["composite", "word", "padded", "seat", "unique_only", "made", "invisible_key"];
    let kinds = |kinds: [&str; 7], winner: &str| -> Vec<String> {
        tables.iter().zip(kinds).map(|(table, kind)| format!("{table} {kind} {winner}")).collect()
    };
    let at_us = kinds(["changed", "missing", "exists", "changed", "changed", "changed", "changed"], "source");
    let at_eu = kinds(["changed", "changed", "exists", "missing", "changed", "changed", "changed"], "target");
    for (region, expected) in [(&pair.us, at_us), (&pair.eu, at_eu)] {
        until("each collision is written down", SOON, async || {
            let found = conflicts(region).await;
            if found == expected { Ok(()) } else { Err(format!("{}: {found:?}", region.name())) }
        })
        .await;
    }
    pair.wait_in_step(SOON).await;
    let cased: Vec<String> = pair.us.rows("SELECT w FROM shop.cased WHERE w LIKE '_ase' ORDER BY n").await;
    assert_eq!(cased, ["case", "Case"]);
    // A prefix that another row has is another row's unique key: nobody decides that by rule.
    apart(pair).await;
    pair.eu.run("INSERT INTO shop.prefix VALUES (900, 'Ωa first', NULL)").await;
    pair.us.run("INSERT INTO shop.prefix VALUES (901, 'ωÀ second', NULL)").await;
    for link in ["eu-us", "us-eu"] {
        pair.start_one(Process::Applier(link));
    }
    let error = pair.wait_state("eu-us", "failed", SOON).await.last_error().to_owned();
    assert!(error.contains("shop.prefix"), "{error}");
    assert_eq!(conflicts(&pair.us).await.last().map(String::as_str), Some("prefix unique nobody"));
}
