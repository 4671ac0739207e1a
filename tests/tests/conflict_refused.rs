//! Rows that the target refuses whatever stands under their key: a foreign key without its parent, a check constraint
//! that only the target enforces. No policy can make room for them but `ignore`.

use std::time::Duration;

use harness::{Pair, PairOptions, Process, until};

const SOON: Duration = Duration::from_secs(30);

/// `eu-us` overwrites, but ignores in table `shop.loose`; `us-eu` ignores.
async fn pair() -> Pair {
    let mut pair = Pair::new(PairOptions::default()).await;
    pair.configure(|file| {
        file.add_to_link("eu-us", "on_conflict = \"overwrite\"");
        file.add_to_link("eu-us", "table = { \"shop.loose\" = { on_conflict = \"ignore\" } }");
        file.add_to_link("us-eu", "on_conflict = \"ignore\"");
    });
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&[
                "CREATE DATABASE IF NOT EXISTS shop",
                "CREATE TABLE shop.parent (id INT PRIMARY KEY)",
                "CREATE TABLE shop.child (id INT PRIMARY KEY, p INT NOT NULL, FOREIGN KEY (p) REFERENCES shop.parent (id))",
                "CREATE TABLE shop.strict (id INT PRIMARY KEY, n INT, CONSTRAINT small CHECK (n < 100))",
                "CREATE TABLE shop.loose (id INT PRIMARY KEY, n INT, CONSTRAINT few CHECK (n < 100))",
                "INSERT INTO shop.parent VALUES (1), (2)",
            ])
            .await;
    }
    pair.eu
        .run_all(&[
            "SET sql_log_bin = 0",
            "ALTER TABLE shop.strict ALTER CHECK small NOT ENFORCED",
            "ALTER TABLE shop.loose ALTER CHECK few NOT ENFORCED",
        ])
        .await;
    pair.start().await;
    pair
}

/// Waits until a region's conflict table holds these: `kind winner`, in order.
async fn wait_conflicts(pair: &Pair, region: &str, expected: &[&str]) {
    until("the conflicts are recorded", SOON, async || {
        let all = "SELECT CONCAT(kind, ' ', winner) FROM twinlog.conflict ORDER BY id";
        let found: Vec<String> = pair.region(region).rows(all).await;
        if found == expected { Ok(()) } else { Err(format!("{region} has {found:?}")) }
    })
    .await;
}

async fn wait_row(pair: &Pair, region: &str, count: &str) {
    until("the row is there", SOON, async || {
        let found: i64 = pair.region(region).row(count).await;
        if found == 1 { Ok(()) } else { Err(format!("{region} has {found}: {count}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_whose_parent_was_deleted_unseen_is_reported_even_by_a_link_that_overwrites() {
    let pair = pair().await;
    pair.wait_in_step(SOON).await;
    for link in ["eu-us", "us-eu"] {
        pair.stop_one(Process::Applier(link)).await;
    }
    pair.eu.run("INSERT INTO shop.child VALUES (7, 1)").await;
    pair.us.run("DELETE FROM shop.parent WHERE id = 1").await;
    for link in ["eu-us", "us-eu"] {
        pair.start_one(Process::Applier(link));
    }
    // Neither the child is applied without its parent nor the parent deleted from under its child.
    wait_conflicts(&pair, "us", &["parent nobody"]).await;
    wait_conflicts(&pair, "eu", &["parent target"]).await;
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    let error = status.last_error();
    assert!(error.contains("shop.child") && error.contains("twinlog conflicts resolve us/1"), "{error}");
    // With the parent back the child is taken as it came.
    pair.us.run("INSERT INTO shop.parent VALUES (1)").await;
    pair.us.run("UPDATE twinlog.conflict SET resolution = 'source'").await;
    wait_row(&pair, "us", "SELECT COUNT(*) FROM shop.child WHERE id = 7 AND p = 1").await;
    pair.wait_in_step(SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_breaks_a_constraint_of_the_target_is_left_out_where_ignored_and_reported_elsewhere() {
    let pair = pair().await;
    pair.eu
        .run_all(&[
            "INSERT INTO shop.loose VALUES (1, 500)",
            "INSERT INTO shop.loose VALUES (2, 5)",
            "INSERT INTO shop.strict VALUES (1, 500)",
            "INSERT INTO shop.strict VALUES (2, 5)",
        ])
        .await;
    wait_conflicts(&pair, "us", &["other target", "other nobody"]).await;
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    let error = status.last_error();
    assert!(error.contains("shop.strict") && error.contains("small"), "{error}");
    assert_eq!(pair.us.rows::<String>("SELECT CONCAT(id, ' ', n) FROM shop.loose").await, ["2 5"]);
    assert!(
        pair.us.rows::<i32>("SELECT id FROM shop.strict").await.is_empty(),
        "nothing behind the row is applied"
    );
    pair.us.run("UPDATE twinlog.conflict SET resolution = 'skip' WHERE table_name = 'strict'").await;
    wait_row(&pair, "us", "SELECT COUNT(*) FROM shop.strict WHERE id = 2 AND n = 5").await;
    assert_eq!(pair.us.rows::<String>("SELECT CONCAT(id, ' ', n) FROM shop.strict").await, ["2 5"]);
}
