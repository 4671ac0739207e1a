//! Promise 5: what does not fit the target, or is not to cross, stops the link with both sides shown. Never a guess.

use std::time::Duration;

use harness::{Pair, PairOptions, Process, until};

const APPLIER: Process = Process::Applier("eu-us");
const SOON: Duration = Duration::from_secs(30);

async fn pair(ddl: Option<&'static str>) -> Pair {
    let pair = Pair::one_way(PairOptions { ddl, ..PairOptions::default() }).await;
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&[
                "CREATE DATABASE shop",
                "CREATE TABLE shop.t (id INT PRIMARY KEY, a INT, b INT, e ENUM('x', 'y'))",
                "INSERT INTO shop.t VALUES (1, 1, 1, 'x')",
            ])
            .await;
    }
    pair.start_one(Process::Relay("eu"));
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "running", SOON).await;
    pair
}

async fn assert_stops_naming(pair: &Pair, words: &[&str]) {
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    for word in words {
        assert!(status.last_error().contains(word), "{word:?} is not named: {}", status.last_error());
    }
    let untouched: (i32, i32, i32, String) = pair.us.row("SELECT id, a, b, e FROM shop.t").await;
    assert_eq!(untouched, (1, 1, 1, "x".to_owned()));
    assert!(pair.ended(APPLIER).is_none(), "a failed applier stays and can be asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_type_in_the_target_stops_the_link_with_both_definitions() {
    let pair = pair(None).await;
    pair.us.run_all(&["SET sql_log_bin = 0", "ALTER TABLE shop.t MODIFY b VARCHAR(20)"]).await;
    pair.eu.run("UPDATE shop.t SET a = 2, b = 3, e = 'y'").await;
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    for word in ["shop", "t", "b int at the source", "varchar", "source:", "target:"] {
        assert!(status.last_error().contains(word), "{word:?} is not named: {}", status.last_error());
    }
    assert_eq!(pair.us.row::<(i32, String)>("SELECT a, b FROM shop.t").await, (1, "1".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_missing_in_the_target_stops_the_link() {
    let pair = pair(None).await;
    pair.eu.run_all(&["SET sql_log_bin = 0", "CREATE TABLE shop.only_here (id INT PRIMARY KEY)"]).await;
    pair.eu.run("INSERT INTO shop.only_here VALUES (1)").await;
    assert_stops_naming(&pair, &["only_here"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_without_their_columns_names_stop_the_link() {
    let pair = pair(None).await;
    pair.eu.run("SET GLOBAL binlog_row_metadata = MINIMAL").await;
    pair.eu.run("UPDATE shop.t SET a = 2").await;
    assert_stops_naming(&pair, &["shop.t", "binlog_row_metadata", "FULL"]).await;
}

/// On a link that carries no DDL.
async fn a_statement_that_stops_the_link(statement: &str, words: &[&str]) {
    let pair = pair(None).await;
    pair.eu.run("UPDATE shop.t SET a = 1").await;
    pair.eu.run(statement).await;
    let gtid = pair.eu.executed().await.to_string();
    let number = gtid.rsplit('-').next().expect("a number").to_owned();
    assert_stops_naming(&pair, &[words, &[&number, "ddl"]].concat()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_that_moves_a_synced_table_stops_a_link_that_does_not_carry_it() {
    a_statement_that_stops_the_link("ALTER TABLE shop.t RENAME TO shop.u", &["ALTER TABLE"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncate_on_a_synced_table_stops_a_link_that_does_not_carry_it() {
    a_statement_that_stops_the_link("TRUNCATE TABLE shop.t", &["TRUNCATE"]).await;
}

/// Rows go with a partition, and no row event tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_are_dropped_emptied_or_exchanged_stop_a_link_that_does_not_carry_it() {
    let pair = pair(None).await;
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&[
                "SET sql_log_bin = 0",
                "CREATE TABLE shop.p (id INT PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION a VALUES LESS THAN (10), \
                 PARTITION b VALUES LESS THAN (20), PARTITION c VALUES LESS THAN (30))",
                "CREATE TABLE shop.outside (id INT PRIMARY KEY)",
            ])
            .await;
    }
    pair.eu.run("INSERT INTO shop.p VALUES (1), (11), (21)").await;
    for change in ["DROP PARTITION a", "TRUNCATE PARTITION b", "EXCHANGE PARTITION c WITH TABLE outside"] {
        pair.eu.run_all(&["USE shop".to_owned(), format!("ALTER TABLE p {change}")]).await;
        let error = pair.wait_state("eu-us", "failed", SOON).await.last_error().to_owned();
        for word in [change, "shop.p", "skip --gtid"] {
            assert!(error.contains(word), "{word:?} is not named: {error}");
        }
        assert_eq!(pair.us.rows::<i32>("SELECT id FROM shop.p").await, [1, 11, 21]);
        pair.skip_failed("eu-us").await;
        pair.wait_state("eu-us", "running", SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_in_step_passes_by() {
    let pair = pair(None).await;
    pair.eu
        .run_all(&[
            "CREATE DATABASE elsewhere",
            "CREATE TABLE elsewhere.t (id INT PRIMARY KEY)",
            "INSERT INTO elsewhere.t VALUES (1)",
            "CREATE USER someone IDENTIFIED BY 'x'",
            "GRANT SELECT ON shop.* TO someone",
            "ANALYZE TABLE shop.t",
            "OPTIMIZE TABLE shop.t",
            "FLUSH TABLES",
            "BEGIN",
            "INSERT INTO elsewhere.t VALUES (2)",
            "SAVEPOINT s",
            "UPDATE shop.t SET a = 7",
            "COMMIT",
            "DROP DATABASE elsewhere",
            "DROP USER someone",
        ])
        .await;
    pair.eu.run("UPDATE shop.t SET b = 8").await;
    pair.wait_in_step(SOON).await;
    let there: (i32, i32) = pair.us.row("SELECT a, b FROM shop.t").await;
    assert_eq!(there, (7, 8));
    assert_eq!(pair.us.rows::<String>("SHOW DATABASES LIKE 'elsewhere'").await.len(), 0);
    assert!(pair.link_status("eu-us").await.count("filtered") > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_runs_once_under_its_own_gtid_where_the_link_carries_it() {
    let pair = pair(Some("eu-us")).await;
    pair.eu
        .run_all(&[
            "ALTER TABLE shop.t ADD COLUMN c TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) AFTER id",
            "UPDATE shop.t SET a = 5",
            "CREATE TABLE shop.made AS SELECT id, a FROM shop.t",
            "CREATE TABLE shop.child (id INT PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES shop.t (id))",
            "INSERT INTO shop.child VALUES (1, 1)",
            "ALTER TABLE shop.t MODIFY e ENUM('z', 'y', 'x')",
            "INSERT INTO shop.t (id, a, e) VALUES (2, 2, 'y')",
            "TRUNCATE TABLE shop.child",
            "CREATE INDEX by_a ON shop.t (a)",
            "RENAME TABLE shop.child TO shop.grown",
            "DROP TABLE shop.grown",
        ])
        .await;
    pair.wait_in_step(SOON).await;
    let definition = "SELECT CAST(GROUP_CONCAT(CONCAT(table_name, '.', column_name, ' ', column_type, ' ', column_key) \
        ORDER BY table_name, ordinal_position) AS CHAR) FROM information_schema.columns WHERE table_schema = 'shop'";
    assert_eq!(pair.eu.row::<String>(definition).await, pair.us.row::<String>(definition).await);
    // The target has run them under the source's GTIDs.
    let uuid: String = pair.eu.row("SELECT @@server_uuid").await;
    assert!(pair.us.gtid_executed().await.contains(&uuid));
    // The last one counts a moment after its table is gone.
    until("eight statements are counted", SOON, async || {
        match pair.link_status("eu-us").await.count("ddl_applied") {
            8 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_killed_in_the_middle_is_neither_lost_nor_run_twice() {
    let pair = pair(Some("eu-us")).await;
    for round in 0..6 {
        pair.eu.run(&format!("ALTER TABLE shop.t ADD COLUMN c{round} INT DEFAULT {round}")).await;
        pair.eu.run("UPDATE shop.t SET a = a + 1").await;
        tokio::time::sleep(Duration::from_millis(30 * round)).await;
        pair.kill9(APPLIER);
        pair.start_one(APPLIER);
    }
    pair.wait_in_step(SOON).await;
    let a: i32 = pair.us.row("SELECT a FROM shop.t").await;
    assert_eq!(a, 7);
}
