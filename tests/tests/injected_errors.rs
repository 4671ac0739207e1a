//! Errors in the middle of a group: nothing of what failed is there, and the checkpoint says exactly what is.

use std::time::Duration;

use binlog::GtidSet;
use harness::{LinkStatus, Pair, PairOptions, Process, until};
use mysql_async::prelude::Queryable;

const TRANSACTIONS: usize = 10;
/// The one that meets the error, counted from 1.
const BAD: usize = 6;
const SOON: Duration = Duration::from_secs(30);

/// One link, eu-us, and ten transactions of eu that wait for it and will arrive as one group.
struct Group {
    pair: Pair,
    gtids: Vec<GtidSet>,
}

impl Group {
    async fn waiting() -> Self {
        let pair = Pair::one_way(PairOptions::default()).await;
        for region in [&pair.eu, &pair.us] {
            region
                .run_all(&[
                    "CREATE DATABASE shop",
                    "CREATE TABLE shop.first (id INT PRIMARY KEY)",
                    "CREATE TABLE shop.raised (id INT PRIMARY KEY, n INT NOT NULL)",
                    "CREATE TABLE shop.last (id INT PRIMARY KEY, note VARCHAR(20))",
                    "INSERT INTO shop.raised VALUES (1,0),(2,0),(3,0),(4,0),(5,0),(6,0),(7,0),(8,0),(9,0),(10,0)",
                ])
                .await;
        }
        pair.start_one(Process::Relay("eu"));
        pair.start_one(Process::Applier("eu-us"));
        pair.wait_state("eu-us", "running", SOON).await;
        pair.link("eu-us").hold();
        let mut gtids = Vec::new();
        for k in 1..=TRANSACTIONS {
            let statements = [
                format!("INSERT INTO shop.first VALUES ({k})"),
                format!("UPDATE shop.raised SET n = n + 1 WHERE id = {k}"),
                format!("INSERT INTO shop.last VALUES ({k}, 'of eu')"),
            ];
            gtids.push(pair.eu.transaction(&statements).await);
        }
        Self { pair, gtids }
    }

    fn release(&self) {
        self.pair.link("eu-us").release();
    }

    /// Changes the target alone: nothing of it reaches eu.
    async fn meddle(&self, statement: &str) {
        self.pair.us.run_all(&["SET sql_log_bin = 0", statement]).await;
    }

    /// How many of the transactions the target holds, after checking that each is there whole or not at all, exactly
    /// when the checkpoint of the same moment says so.
    async fn applied(&self) -> usize {
        let mut session = self.pair.us.connect().await;
        session.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT").await.expect("a snapshot");
        let texts: Vec<String> = session
            .query("SELECT CAST(gtid_set AS CHAR) FROM twinlog.checkpoint")
            .await
            .expect("the checkpoint");
        let mut checkpoint = GtidSet::new();
        for text in texts {
            checkpoint.union_with(&text.parse().expect("a GTID set"));
        }
        let mut applied = 0;
        for (k, gtid) in (1..).zip(&self.gtids) {
            let there: (i64, i64, i64) = session
                .query_first(format!(
                    "SELECT (SELECT COUNT(*) FROM shop.first WHERE id = {k}), \
                     COALESCE((SELECT n FROM shop.raised WHERE id = {k}), 0), \
                     (SELECT COUNT(*) FROM shop.last WHERE id = {k} AND note = 'of eu')"
                ))
                .await
                .expect("a look")
                .expect("a row");
            let covered = i64::from(checkpoint.contains_all(gtid));
            assert_eq!(
                there,
                (covered, covered, covered),
                "transaction {k}; the checkpoint covers it: {covered}"
            );
            assert!(covered == 0 || applied == k - 1, "transaction {k} is there without the one before it");
            applied = if covered == 1 { k } else { applied };
        }
        applied
    }

    /// Looks for a while: never more than what comes before the bad one is there.
    async fn stays_before_the_bad_one(&self, looks: usize) {
        for _ in 0..looks {
            let applied = self.applied().await;
            assert!(applied < BAD, "{applied} transactions are there");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn wait_until_all_are_there(&self) {
        until("all transactions are applied", SOON, async || match self.applied().await {
            TRANSACTIONS => Ok(()),
            applied => Err(format!("{applied} are")),
        })
        .await;
        self.pair.wait_in_step(SOON).await;
    }

    /// The link stops, and its error names the table, the key and the transaction.
    async fn assert_stops(&self, table: &str) -> LinkStatus {
        let status = self.pair.wait_state("eu-us", "failed", SOON).await;
        let gtid = self.gtids[BAD - 1].to_string();
        for word in [&format!("shop.{table}"), &format!("\"id\":{BAD}"), &gtid] {
            assert!(status.last_error().contains(word), "{word:?} is not named: {}", status.last_error());
        }
        self.stays_before_the_bad_one(5).await;
        assert!(
            self.pair.ended(Process::Applier("eu-us")).is_none(),
            "a failed applier stays and can be asked"
        );
        status
    }

    async fn restart(&self) {
        self.pair.kill9(Process::Applier("eu-us"));
        self.pair.start_one(Process::Applier("eu-us"));
    }

    async fn assert_goes_on(&self) {
        let status = self.pair.link_status("eu-us").await;
        assert_ne!(status.state(), "failed", "{:?}", status.json());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_row_in_the_target_stops_the_link_with_nothing_of_the_transaction_there() {
    let group = Group::waiting().await;
    group.meddle("INSERT INTO shop.last VALUES (6, 'of us')").await;
    group.release();
    let status = group.assert_stops("last").await;
    assert!(status.last_error().contains("1062"), "{}", status.last_error());
    group.meddle("DELETE FROM shop.last WHERE id = 6").await;
    group.restart().await;
    group.wait_until_all_are_there().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_missing_in_the_target_stops_the_link_with_nothing_of_the_transaction_there() {
    let group = Group::waiting().await;
    group.meddle("DELETE FROM shop.raised WHERE id = 6").await;
    group.release();
    let status = group.assert_stops("raised").await;
    assert!(status.last_error().contains("1032"), "{}", status.last_error());
    // A restart without a repair stops at the same place.
    group.restart().await;
    group.assert_stops("raised").await;
    group.meddle("INSERT INTO shop.raised VALUES (6, 0)").await;
    group.restart().await;
    group.wait_until_all_are_there().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_held_in_the_target_is_waited_for_with_nothing_of_the_group_there() {
    let group = Group::waiting().await;
    let mut holder = group.pair.us.connect().await;
    holder.query_drop("BEGIN").await.expect("begin");
    holder.query_drop("SELECT * FROM shop.raised WHERE id = 6 FOR UPDATE").await.expect("the lock");
    group.release();
    let lock_waits = "SELECT COUNT(*) FROM performance_schema.data_lock_waits";
    until("the applier waits for the lock", SOON, async || {
        match group.pair.us.row::<u64>(lock_waits).await {
            0 => Err("nobody waits".into()),
            _ => Ok(()),
        }
    })
    .await;
    // Longer than a lock wait lasts, so that 1205 comes at least once.
    group.stays_before_the_bad_one(70).await;
    group.assert_goes_on().await;
    holder.query_drop("ROLLBACK").await.expect("rollback");
    group.wait_until_all_are_there().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_in_the_target_is_tried_again_with_nothing_of_the_group_there() {
    let group = Group::waiting().await;
    let us = &group.pair.us;
    us.run_all(&[
        "CREATE DATABASE aside",
        "CREATE TABLE aside.heavy (id INT PRIMARY KEY)",
        "SET GLOBAL innodb_monitor_enable = 'lock_deadlocks'",
    ])
    .await;
    let mut other = us.connect().await;
    // More rows changed than by the group, so that the group is the victim.
    let rows: Vec<String> = (0..3000).map(|id| format!("({id})")).collect();
    other.query_drop("BEGIN").await.expect("begin");
    other.query_drop(format!("INSERT INTO aside.heavy VALUES {}", rows.join(","))).await.expect("many rows");
    other.query_drop("SELECT * FROM shop.raised WHERE id = 6 FOR UPDATE").await.expect("the first lock");
    group.release();
    let waiting = "SELECT COUNT(*) FROM performance_schema.data_lock_waits";
    let deadlocks =
        "SELECT CAST(count AS SIGNED) FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'";
    let before: i64 = us.row(deadlocks).await;
    until("the group meets the other in a deadlock", SOON, async || {
        let waits: u64 = us.row(waiting).await;
        if waits == 0 {
            return Err("the group does not wait".into());
        }
        // The group holds this row, having inserted it, and waits for the other one.
        other.query_drop("SELECT * FROM shop.first WHERE id = 6 FOR UPDATE").await.expect("the second lock");
        match us.row::<i64>(deadlocks).await - before {
            0 => Err("no deadlock yet".into()),
            _ => Ok(()),
        }
    })
    .await;
    group.stays_before_the_bad_one(10).await;
    other.query_drop("ROLLBACK").await.expect("rollback");
    group.wait_until_all_are_there().await;
    group.assert_goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_turns_read_only_is_waited_for_with_nothing_of_the_group_there() {
    let group = Group::waiting().await;
    group.pair.us.run("SET GLOBAL super_read_only = ON").await;
    group.release();
    until("the applier meets the read-only server", SOON, async || {
        let status = group.pair.link_status("eu-us").await;
        if status.last_error().contains("1290") { Ok(()) } else { Err(status.json().to_string()) }
    })
    .await;
    for _ in 0..10 {
        assert_eq!(group.applied().await, 0);
    }
    group.assert_goes_on().await;
    group.pair.us.run("SET GLOBAL super_read_only = OFF").await;
    group.pair.us.run("SET GLOBAL read_only = OFF").await;
    group.wait_until_all_are_there().await;
    assert_eq!(
        group.pair.link_status("eu-us").await.last_error(),
        "",
        "the error is gone when the link runs again"
    );
}
