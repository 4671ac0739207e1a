//! Several workers: groups run side by side, commit in the source's order, and an earlier one that waits for a later one
//! is helped.

use std::time::{Duration, Instant};

use harness::{Pair, PairOptions, until};
use mysql_async::prelude::Queryable;

const TABLES: [&str; 3] = [
    "CREATE DATABASE shop",
    "CREATE TABLE shop.t (id INT PRIMARY KEY, u INT, v INT NOT NULL DEFAULT 0, UNIQUE KEY u (u))",
    "CREATE TABLE shop.much (id INT PRIMARY KEY, v VARCHAR(2000) NOT NULL)",
];

/// Lock waits that ended without the lock, since the server started.
const GIVEN_UP: &str = "SELECT SUM_ERROR_RAISED FROM performance_schema.events_errors_summary_global_by_error \
                        WHERE ERROR_NAME = 'ER_LOCK_WAIT_TIMEOUT'";

async fn pair() -> Pair {
    let mut pair = Pair::one_way(PairOptions::default()).await;
    pair.configure(|file| {
        file.add_to_link("eu-us", "workers = 4");
        file.add_to_link("eu-us", "group = { max_transactions = 1 }");
    });
    for region in [&pair.eu, &pair.us] {
        region.run_all(&TABLES).await;
        region.run("INSERT INTO shop.t (id, u) VALUES (1, 1), (2, 2), (3, 3)").await;
    }
    pair.start().await;
    pair
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_run_side_by_side_and_commit_in_order_and_a_deadlock_that_no_server_sees_is_resolved() {
    let pair = pair().await;
    a_later_group_runs_while_an_earlier_one_waits(&pair).await;
    an_earlier_group_that_waits_for_a_later_one_gets_its_lock(&pair).await;
    a_group_that_needs_an_earlier_one_finds_it(&pair).await;
    pair.wait_in_step(Duration::from_secs(20)).await;
    pair.assert_alive();
}

/// The earlier one meets a row that a session of the target has locked; the later one changes its row meanwhile, and
/// nobody sees that before the earlier one is there. A worker gives up waiting after a second, so what is looked for can
/// be missed on a busy machine, and is brought about again.
async fn a_later_group_runs_while_an_earlier_one_waits(pair: &Pair) {
    let mut seen = false;
    for n in 1..=10 {
        let mut local = pair.us.connect().await;
        local.query_drop("BEGIN").await.expect("a transaction");
        local.query_drop("SELECT * FROM shop.t WHERE id = 1 FOR UPDATE").await.expect("a lock");
        pair.link("eu-us").hold();
        pair.eu.run(&format!("UPDATE shop.t SET v = {n} WHERE id = 1")).await;
        pair.eu.run(&format!("UPDATE shop.t SET v = {n} WHERE id = 2")).await;
        pair.link("eu-us").release();
        let until_given_up = Instant::now() + Duration::from_millis(900);
        while !seen && Instant::now() < until_given_up {
            seen = are_side_by_side(pair).await;
        }
        let later: i32 = pair.us.row("SELECT v FROM shop.t WHERE id = 2").await;
        assert_eq!(later, n - 1, "a later transaction is visible before an earlier one");
        local.query_drop("COMMIT").await.expect("the end of a transaction");
        pair.wait_in_step(Duration::from_secs(20)).await;
        if seen {
            return;
        }
    }
    panic!("the later group never ran while the earlier one waited");
}

/// In one look: the later one holds its row while the earlier one waits for its own.
async fn are_side_by_side(pair: &Pair) -> bool {
    let look = "SELECT CONCAT_WS(' ', SUM(LOCK_DATA = '1' AND LOCK_STATUS = 'WAITING'), \
                SUM(LOCK_DATA = '2' AND LOCK_STATUS = 'GRANTED')) FROM performance_schema.data_locks \
                WHERE OBJECT_SCHEMA = 'shop' AND OBJECT_NAME = 't' AND LOCK_TYPE = 'RECORD'";
    pair.us.row::<Option<String>>(look).await.as_deref() == Some("1 1")
}

/// The mark that a deleted row leaves in a unique index makes the insert of its value lock the gap before it. The earlier
/// transaction inserts into that gap, but only after many other rows: by then the later one has the gap, and waits
/// for the earlier one's commit.
async fn an_earlier_group_that_waits_for_a_later_one_gets_its_lock(pair: &Pair) {
    // An old view keeps the mark.
    let mut view = pair.us.connect().await;
    view.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT").await.expect("a view");
    let _: Option<i64> = view.query_first("SELECT COUNT(*) FROM shop.t").await.expect("a look");
    pair.eu
        .run_all(&["INSERT INTO shop.t (id, u) VALUES (50, 50)", "DELETE FROM shop.t WHERE id = 50"])
        .await;
    pair.wait_in_step(Duration::from_secs(20)).await;
    let before: u64 = pair.us.row(GIVEN_UP).await;

    pair.link("eu-us").hold();
    let many = "INSERT INTO shop.much WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 4000) \
                SELECT n, REPEAT('x', 2000) FROM c";
    let earlier =
        ["SET cte_max_recursion_depth = 5000", "BEGIN", many, "INSERT INTO shop.t (id, u) VALUES (45, 45)"];
    pair.eu.run_all(&[&earlier[..], &["COMMIT"]].concat()).await;
    pair.eu.run("INSERT INTO shop.t (id, u) VALUES (51, 50)").await;
    pair.link("eu-us").release();
    until("both are there", Duration::from_secs(20), async || {
        let both: i64 = pair.us.row("SELECT COUNT(*) FROM shop.t WHERE u IN (45, 50)").await;
        if both == 2 { Ok(()) } else { Err(format!("{both} rows")) }
    })
    .await;
    let given_up = pair.us.row::<u64>(GIVEN_UP).await - before;
    assert!(given_up > 0, "the earlier one did not wait for the later one: nothing was shown");
    view.query_drop("COMMIT").await.expect("the end of a view");
}

/// Each of these needs the row as the one before it left it.
async fn a_group_that_needs_an_earlier_one_finds_it(pair: &Pair) {
    pair.link("eu-us").hold();
    for n in 0..60 {
        let statement = match n % 3 {
            0 => "INSERT INTO shop.t (id, u) VALUES (70, 70)",
            1 => "UPDATE shop.t SET id = 71, u = NULL, v = v + 1 WHERE id = 70",
            _ => "DELETE FROM shop.t WHERE id = 71",
        };
        pair.eu.run(statement).await;
    }
    pair.link("eu-us").release();
    pair.wait_in_step(Duration::from_secs(20)).await;
}
