//! DDL on the link that carries it, seen from both links: definitions change under writers on both sides, and a
//! statement runs in its own database or not at all.

use std::time::Duration;

use harness::{Pair, PairOptions, Process};

const SOON: Duration = Duration::from_secs(30);

async fn pair(schemas: &[&str], server_args: &[&str]) -> Pair {
    let pair = Pair::new(PairOptions {
        ddl: Some("eu-us"),
        schemas: schemas.iter().map(|&s| s.to_owned()).collect(),
        server_args: server_args.iter().map(|&a| a.to_owned()).collect(),
        ..PairOptions::default()
    })
    .await;
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&[
                "CREATE DATABASE shop",
                "CREATE TABLE shop.t (id INT PRIMARY KEY, a INT)",
                "INSERT INTO shop.t VALUES (1, 1)",
            ])
            .await;
    }
    pair
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_back_goes_on_after_ddl_with_rows_of_the_new_definition() {
    let pair = pair(&["shop"], &[]).await;
    pair.start().await;
    // The way back has met the table as it was.
    pair.us.run("UPDATE shop.t SET a = 2").await;
    pair.wait_in_step(SOON).await;
    for (n, change) in
        ["ADD COLUMN x INT DEFAULT 5 AFTER id", "MODIFY x BIGINT", "DROP COLUMN x", "ADD KEY (a)"]
            .into_iter()
            .enumerate()
    {
        pair.eu.run(&format!("ALTER TABLE shop.t {change}")).await;
        pair.wait_in_step(SOON).await;
        pair.us.run(&format!("INSERT INTO shop.t (id, a) VALUES ({}, 7)", 10 + n)).await;
        pair.wait_in_step(SOON).await;
    }
    let restarts = pair.log(Process::Applier("us-eu"));
    assert!(!restarts.contains("does not fit"), "{restarts}");
}

/// The session's database is missing in the target. The statement must not find its table in another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_whose_database_is_missing_in_the_target_hits_no_other_database() {
    let pair = pair(&["shop", "other"], &[]).await;
    pair.eu
        .run_all(&[
            "CREATE DATABASE other",
            "CREATE TABLE other.t (id INT PRIMARY KEY)",
            "CREATE DATABASE elsewhere",
        ])
        .await;
    pair.start_one(Process::Relay("eu"));
    pair.start_one(Process::Applier("eu-us"));
    pair.wait_state("eu-us", "running", SOON).await;
    // The applier's session now has shop as its database.
    pair.eu.run_all(&["USE shop", "ALTER TABLE t ADD KEY (a)"]).await;
    pair.wait_keys(2).await;
    // A default database that is not needed does no harm.
    pair.eu.run_all(&["USE other", "ALTER TABLE shop.t ADD KEY again (a, id)"]).await;
    pair.wait_keys(4).await;
    // Nor does one that the account may not even see.
    pair.eu.run_all(&["USE elsewhere", "ALTER TABLE shop.t ADD KEY third (a, id)"]).await;
    pair.wait_keys(6).await;
    pair.eu.run_all(&["USE other", "TRUNCATE t"]).await;
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    assert!(status.last_error().contains("other"), "{}", status.last_error());
    assert_eq!(pair.us.rows::<i32>("SELECT id FROM shop.t").await, [1], "another table was emptied");
}

/// More rows than one statement can carry to the target.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_made_from_a_large_select_arrives_whole() {
    let pair = pair(&["shop"], &[]).await;
    pair.us.run("SET GLOBAL max_allowed_packet = 1048576").await;
    pair.start_one(Process::Relay("eu"));
    pair.start_one(Process::Applier("eu-us"));
    pair.wait_state("eu-us", "running", SOON).await;
    pair.eu
        .run_all(&[
            "SET cte_max_recursion_depth = 100000",
            "CREATE TABLE shop.large (PRIMARY KEY (n)) WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r \
             WHERE n < 20000) SELECT n, REPEAT('x', 200) AS b FROM r",
            "CREATE TABLE shop.empty SELECT * FROM shop.large WHERE n < 0",
        ])
        .await;
    pair.wait_in_step(SOON).await;
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.large").await, 20000);
}

trait Keys {
    async fn wait_keys(&self, parts: u64);
}

impl Keys for Pair {
    /// Waits until `shop.t` in us has this many key parts.
    async fn wait_keys(&self, parts: u64) {
        harness::until("the key is there", SOON, async || {
            let query = "SELECT COUNT(*) FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = 'shop'";
            match self.us.row::<u64>(query).await {
                n if n == parts => Ok(()),
                n => Err(format!("{n} parts, {}", self.link_status("eu-us").await.json())),
            }
        })
        .await;
    }
}
