//! `twinlog verify --repair`: both sides end up equal, nothing is echoed, and the links do not notice.

use std::time::Duration;

use harness::{Finished, Pace, Pair, PairOptions, Region, Workload, seed};
use mysql_async::prelude::Queryable;

use crate::column_values::{ROWS, SESSION, tables};

const IN_STEP: Duration = Duration::from_secs(60);

const TABLES: &[&str] = &[
    "CREATE DATABASE shop",
    "CREATE TABLE shop.t (id INT PRIMARY KEY, name VARCHAR(40) NOT NULL, code INT UNIQUE, \
     changed TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP)",
    "CREATE TABLE shop.parent (id INT AUTO_INCREMENT PRIMARY KEY, w VARCHAR(20) NOT NULL UNIQUE)",
    "CREATE TABLE shop.child (id INT PRIMARY KEY, parent INT NOT NULL, \
     FOREIGN KEY (parent) REFERENCES shop.parent (id) ON DELETE CASCADE)",
    "INSERT INTO shop.t (id, name, code, changed) VALUES (1, 'one', 10, '2024-01-01'), (2, 'two', 20, '2024-01-01'), \
     (3, 'three', 30, '2024-01-01'), (4, 'four', 40, '2024-01-01'), (5, 'five', NULL, '2024-01-01')",
    "INSERT INTO shop.parent VALUES (1, 'a'), (2, 'b'), (3, 'c')",
    "INSERT INTO shop.child VALUES (1, 1), (2, 2), (3, 3)",
];

/// Rows of us that are not those of eu: of every kind, and such as stand in each other's way.
const DRIFT: &[&str] = &[
    "SET foreign_key_checks = 0",
    "UPDATE shop.t SET name = 'ONE' WHERE id = 1",
    // Two rows with each other's unique value.
    "UPDATE shop.t SET code = NULL WHERE id = 2",
    "UPDATE shop.t SET code = 20 WHERE id = 3",
    "UPDATE shop.t SET code = 30 WHERE id = 2",
    "DELETE FROM shop.t WHERE id = 4",
    // One that holds the unique value of the row that is missing.
    "INSERT INTO shop.t (id, name, code) VALUES (6, 'six', 40)",
    // A parent with children too many, and one too few.
    "DELETE FROM shop.parent WHERE id = 2",
    "INSERT INTO shop.parent VALUES (4, 'd')",
    "INSERT INTO shop.child VALUES (4, 4), (5, 1)",
    "UPDATE shop.parent SET w = 'A' WHERE id = 1",
];

async fn pair() -> Pair {
    let pair = Pair::new(PairOptions::default()).await;
    for region in [&pair.eu, &pair.us] {
        region.drift(TABLES).await;
    }
    pair.allow_repairs().await;
    pair.start().await;
    pair
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_differ_are_repaired_not_echoed_and_the_links_run_on() {
    let pair = pair().await;
    pair.eu.run("INSERT INTO shop.t (id, name) VALUES (0, 'zero')").await;
    pair.us.run("INSERT INTO shop.t (id, name) VALUES (100, 'hundred')").await;
    pair.wait_in_step(IN_STEP).await;
    pair.us.drift(DRIFT).await;
    let before = snapshot(&pair.eu).await;
    let back = pair.link_status("us-eu").await.count("transactions_applied");

    let repaired = pair.verify(&["--repair", "eu", "--yes"]).await;
    assert_eq!(repaired.differences().len(), 10, "{repaired}");
    repaired.assert_equal();
    let repair = &repaired.json["repair"];
    assert_eq!((repair["inserted"].as_u64(), repair["deleted"].as_u64()), (Some(2), Some(4)), "{repair}");
    assert_eq!(repair["updated"], 4, "{repair}");

    pair.verify(&[]).await.assert_equal();
    assert_eq!(snapshot(&pair.us).await, before, "us is as eu");
    assert_eq!(snapshot(&pair.eu).await, before, "and eu as it was");
    let status = pair.link_status("us-eu").await;
    assert_eq!(status.count("transactions_applied"), back, "nothing came back: {}", status.json());
    assert!(status.count("echo_dropped") > 0);

    // Both links go on, over the repaired rows too, and a second repair follows the first.
    pair.eu.run("UPDATE shop.t SET name = CONCAT(name, '!')").await;
    pair.wait_in_step(IN_STEP).await;
    pair.us.run("UPDATE shop.parent SET w = CONCAT(w, '?')").await;
    pair.wait_in_step(IN_STEP).await;
    pair.us.drift(&["DELETE FROM shop.child"]).await;
    pair.verify(&["--repair", "eu", "--yes"]).await.assert_equal();
    pair.eu.drift(&["UPDATE shop.t SET name = 'drifted' WHERE id = 3"]).await;
    pair.verify(&["--repair", "us", "--yes"]).await.assert_equal();
    pair.wait_in_step(IN_STEP).await;
    for link in ["eu-us", "us-eu"] {
        assert_eq!(pair.link_status(link).await.state(), "running");
    }
    pair.assert_alive();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_shows_every_step_and_changes_nothing() {
    let pair = pair().await;
    pair.us.drift(DRIFT).await;
    let (eu, us) = (snapshot(&pair.eu).await, snapshot(&pair.us).await);
    let config = pair.config().to_string_lossy().into_owned();
    let finished = Finished::of(&["verify", "-c", &config, "--repair", "eu", "--dry-run"], IN_STEP).await;
    assert_eq!(finished.code, 1, "{finished}");
    for step in [
        "update us: shop.t (id=1)\n",
        "    name: \"ONE\" -> \"one\"\n",
        "insert us: shop.t (id=4)\n",
        "delete us: shop.t (id=6)\n",
        "delete us: shop.child (id=4)\n",
    ] {
        assert!(finished.out.contains(step), "{step:?}: {finished}");
    }
    assert_eq!((snapshot(&pair.eu).await, snapshot(&pair.us).await), (eu, us));

    let nobody_to_ask = Finished::of(&["verify", "-c", &config, "--repair", "eu"], IN_STEP).await;
    nobody_to_ask.assert_failed(2, &["--yes", "--dry-run"]);
    let no_such_region = Finished::of(&["verify", "-c", &config, "--repair", "ap", "--yes"], IN_STEP).await;
    no_such_region.assert_failed(2, &["ap", "eu, us"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_repaired_under_writers_who_never_stop() {
    let pair = Pair::new(PairOptions::default()).await;
    Workload::prepare(&pair).await;
    pair.allow_repairs().await;
    pair.start().await;
    let workload = Workload::start(&pair, seed(), Pace::Calm);
    workload.wait_for_more(100).await;
    let rows: Vec<String> = (1000..1400).map(|id| format!("({id}, 'owner', {id})")).collect();
    pair.eu.run(&format!("INSERT INTO shop.account VALUES {}", rows.join(", "))).await;
    workload.wait_for_more(50).await;
    pair.verify(&["--table", "shop.account"]).await.assert_equal();
    pair.us
        .drift(&[
            "UPDATE shop.account SET balance = balance + 0.0001 WHERE id >= 1000 AND id % 3 = 0",
            "DELETE FROM shop.account WHERE id >= 1000 AND id % 3 = 1",
        ])
        .await;
    let repaired = pair.verify(&["--repair", "eu", "--yes"]).await;
    assert_eq!(repaired.differences().len(), 267, "{repaired}");
    repaired.assert_equal();
    workload.wait_for_more(100).await;
    let committed = workload.stop().await;
    pair.wait_in_step(IN_STEP).await;
    committed.assert_in_both(&pair).await;
    pair.assert_alive();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_every_type_are_repaired_exactly() {
    let pair = Pair::new(PairOptions::default()).await;
    for region in [&pair.eu, &pair.us] {
        write(region, &tables()).await;
    }
    pair.allow_repairs().await;
    write(&pair.eu, ROWS).await;
    // Only eu has rows; those of tables without a key, and documents that SQL has no text for, stay.
    let repaired = pair.verify(&["--repair", "eu", "--yes"]).await;
    let left = repaired.json["repair"]["unrepaired"].as_array().cloned().unwrap_or_default();
    for row in &left {
        let why = row["why"].as_str().unwrap_or_default();
        let known = row["table"] == "shop.unkeyed" && why.contains("no key")
            || row["table"] == "shop.documents" && why.contains("exactly");
        assert!(known, "{row}");
    }
    let again = pair.verify(&[]).await;
    let rest = again.differences();
    assert!(
        rest.iter().all(|row| row.starts_with("shop.documents") || row.starts_with("shop.unkeyed")),
        "{rest:#?}"
    );
    assert_eq!(rest.len(), left.len(), "{rest:#?}\n{left:#?}");
    assert!(rest.len() < 12, "{rest:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_with_triggers_are_left_alone_and_an_account_that_cannot_see_them_is_told() {
    let pair = Pair::new(PairOptions::default()).await;
    for region in [&pair.eu, &pair.us] {
        region.drift(TABLES).await;
    }
    pair.us.drift(&["UPDATE shop.t SET name = 'x' WHERE id = 1"]).await;
    let blind = pair.verify(&["--repair", "eu", "--yes"]).await;
    let why = blind.json["repair"]["unrepaired"][0]["why"].to_string();
    assert!(blind.code == 1 && why.contains("GRANT TRIGGER ON `shop`.*"), "{blind}");
    pair.allow_repairs().await;
    pair.us.drift(&["CREATE TRIGGER shop.loud AFTER UPDATE ON shop.t FOR EACH ROW SET @loud = 1"]).await;
    let refused = pair.verify(&["--repair", "eu", "--yes"]).await;
    let why = refused.json["repair"]["unrepaired"][0]["why"].to_string();
    assert!(refused.code == 1 && why.contains("it has triggers"), "{refused}");
    pair.us.drift(&["DROP TRIGGER shop.loud"]).await;
    pair.verify(&["--repair", "eu", "--yes"]).await.assert_equal();
}

/// All rows of the tables of this file.
async fn snapshot(region: &Region) -> Vec<String> {
    let mut all = Vec::new();
    for table in ["t", "parent", "child"] {
        let columns = match table {
            "t" => "id, HEX(name), code, changed",
            "parent" => "id, HEX(w)",
            _ => "id, parent",
        };
        let query = format!("SELECT CAST(JSON_ARRAY({columns}) AS CHAR) FROM shop.{table} ORDER BY id");
        all.extend(region.rows::<String>(&query).await);
    }
    all
}

async fn write<S: AsRef<str>>(region: &Region, statements: &[S]) {
    let mut session = region.connect().await;
    for statement in SESSION.into_iter().chain(statements.iter().map(AsRef::as_ref)) {
        let done = session.query_drop(statement).await;
        done.unwrap_or_else(|e| panic!("{e}: {statement}"));
    }
}
