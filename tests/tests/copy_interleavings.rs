//! Orders of steps in which a copy that is not careful leaves two regions that are written unequal, each forced: who copies
//! is held by a row lock in the target between its read and its write, and the way back stands still where it must.

use std::time::Duration;

use harness::{Pair, PairOptions, Process, Region, until};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

const WITHIN: Duration = Duration::from_secs(60);
const LINES: &str = "initial = \"data\"\nexisting = \"keep\"\nload.threads = 2";

/// A pair with `shop.item` on both sides, holding `eu` and `us`; the way back has begun, and eu-us is not started.
async fn pair(policies: [&str; 2], back: &str, eu: &[&str], us: &[&str]) -> Pair {
    let mut pair = Pair::new(PairOptions::default()).await;
    pair.configure(|file| {
        for region in ["eu", "us"] {
            // Not all links are there at once: nobody is to wait for them.
            file.add_to_region(region, "relay.start = \"oldest\"");
        }
        file.add_to_link("eu-us", LINES);
        file.add_to_link("eu-us", &format!("on_conflict = \"{}\"", policies[0]));
        file.add_to_link("us-eu", &format!("{back}\non_conflict = \"{}\"", policies[1]));
    });
    for (region, rows) in [(&pair.eu, eu), (&pair.us, us)] {
        region.run("CREATE DATABASE shop").await;
        region.run("CREATE TABLE shop.item (id INT PRIMARY KEY, body VARCHAR(20) NOT NULL)").await;
        region.run_all(rows).await;
    }
    for process in [Process::Relay("eu"), Process::Relay("us"), Process::Applier("us-eu")] {
        pair.start_one(process);
    }
    let there = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'twinlog' AND table_name = 'link'";
    until("the way back has begun", WITHIN, async || {
        if pair.eu.row::<i64>(there).await == 1
            && pair.eu.row::<i64>("SELECT COUNT(*) FROM twinlog.link").await == 1
        {
            return Ok(());
        }
        Err("not yet".into())
    })
    .await;
    pair
}

/// A session that holds a lock on a row, or on the place where it would be.
async fn hold(region: &Region, id: u32) -> Conn {
    let mut session = region.connect().await;
    session.query_drop("BEGIN").await.expect("it begins");
    let lock = format!("SELECT * FROM shop.item WHERE id = {id} FOR UPDATE");
    session.query_drop(lock).await.expect("it locks");
    session
}

/// Waits until somebody waits for a row of `shop.item` there. In us: the chunk is read, and is to be written.
async fn wait_held(region: &Region) {
    let waits = "SELECT COUNT(*) FROM performance_schema.data_lock_waits w JOIN performance_schema.data_locks l \
                 ON l.engine_lock_id = w.requesting_engine_lock_id WHERE l.object_name = 'item'";
    until("a row is waited for", WITHIN, async || {
        if region.row::<i64>(waits).await > 0 { Ok(()) } else { Err("nobody waits".into()) }
    })
    .await;
}

async fn wait_row(region: &Region, id: u32, body: Option<&str>) {
    until(&format!("row {id} in {} is {body:?}", region.name()), WITHIN, async || {
        let found: Vec<String> = region.rows(&format!("SELECT body FROM shop.item WHERE id = {id}")).await;
        if found.first().map(String::as_str) == body { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

async fn wait_copied(pair: &Pair, to: &Region) {
    until("all is copied and settled", WITHIN, async || {
        let state: String =
            to.row("SELECT IFNULL(MAX(state), '') FROM twinlog.load WHERE database_name = ''").await;
        let status = pair.try_status().await.map(|s| s.json().to_string());
        if state == "done" { Ok(()) } else { Err(format!("{state}: {status:?}")) }
    })
    .await;
}

/// How often the table stands in a region's binary log.
async fn times_written(region: &Region) -> usize {
    let mut times = 0;
    for (log, ..) in region.rows::<(String, u64, String)>("SHOW BINARY LOGS").await {
        let events = format!("SHOW BINLOG EVENTS IN '{log}'");
        let events = region.rows::<(String, u64, String, u32, u64, String)>(&events).await;
        times += events.iter().filter(|event| event.5.contains("(shop.item)")).count();
    }
    times
}

/// The chunk is read with a row, the target deletes the row, the chunk is written; only then the deletion crosses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_deleted_in_the_target_between_read_and_write_of_its_chunk_does_not_come_back() {
    let rows = ["INSERT INTO shop.item VALUES (1, 'both'), (2, 'both'), (3, 'both')"];
    let pair = pair(["overwrite", "ignore"], "initial = \"none\"", &rows, &rows).await;
    pair.kill9(Process::Applier("us-eu"));
    let mut session = hold(&pair.us, 1).await;
    pair.start_one(Process::Applier("eu-us"));
    wait_held(&pair.us).await;
    session.query_drop("DELETE FROM shop.item WHERE id = 2").await.expect("a delete");
    session.query_drop("COMMIT").await.expect("it commits");
    until("the chunk is written", WITHIN, async || {
        let there = "SELECT COUNT(*) FROM twinlog.load WHERE state = 'done' AND table_name = 'item'";
        if pair.us.row::<i64>(there).await > 0 { Ok(()) } else { Err("not yet".into()) }
    })
    .await;
    assert_eq!(pair.us.rows::<u32>("SELECT id FROM shop.item ORDER BY id").await, [1, 3], "it came back");
    assert_eq!(pair.eu.rows::<u32>("SELECT id FROM shop.item ORDER BY id").await, [1, 2, 3]);
    pair.start_one(Process::Applier("us-eu"));
    wait_copied(&pair, &pair.us).await;
    pair.wait_in_step(WITHIN).await;
    wait_row(&pair.eu, 2, None).await;
}

/// The copy's status while the stream has passed a commit of eu that no read sees yet.
async fn wait_for_unseen_commit(pair: &Pair) {
    until("the copy waits for a commit", WITHIN, async || {
        let status = pair.try_status().await?.link("eu-us")?;
        let says = status.text("reason").contains("has not committed it");
        if says { Ok(()) } else { Err(status.json().to_string()) }
    })
    .await;
}

/// The source sends its log before a commit shows its rows: what the stream has passed, a chunk that is read behind must
/// hold, else nobody brings it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_sent_before_its_rows_are_seen_is_in_the_chunk_that_is_read_behind_it() {
    let mut pair = Pair::one_way(PairOptions::default()).await;
    pair.configure(|file| {
        file.add_to_link("eu-us", "initial = \"data\"\nload = { threads = 1, batch_rows = 1 }")
    });
    for region in [&pair.eu, &pair.us] {
        region.run("CREATE DATABASE shop").await;
        region.run("CREATE TABLE shop.item (id INT PRIMARY KEY, body VARCHAR(20) NOT NULL)").await;
        region.run("CREATE TABLE shop.unnamed (body VARCHAR(20) NOT NULL)").await;
    }
    pair.eu.run("INSERT INTO shop.item VALUES (1, 'first'), (9, 'old')").await;
    pair.eu.run("INSERT INTO shop.unnamed VALUES ('one'), ('two')").await;
    let mut session = hold(&pair.us, 1).await;
    pair.start_one(Process::Relay("eu"));
    pair.start_one(Process::Applier("eu-us"));
    wait_held(&pair.us).await;
    pair.eu.hold_commits().await;
    let received = pair.link_status("eu-us").await.text("last_gtid").to_owned();
    let mut source = pair.eu.connect().await;
    let mut change = tokio::task::JoinSet::new();
    change.spawn(async move {
        source.query_drop("BEGIN").await?;
        source.query_drop("UPDATE shop.item SET body = 'new' WHERE id = 9").await?;
        source.query_drop("INSERT INTO shop.unnamed VALUES ('three')").await?;
        source.query_drop("COMMIT").await
    });
    until("the stream has passed it", WITHIN, async || {
        let now = pair.try_status().await?.link("eu-us")?;
        if now.text("last_gtid") != received { Ok(()) } else { Err(now.json().to_string()) }
    })
    .await;
    session.query_drop("COMMIT").await.expect("it lets the chunk go");
    wait_for_unseen_commit(&pair).await;
    pair.eu.release_commits().await;
    change.join_next().await.expect("it was begun").expect("no panic").expect("it commits");
    wait_copied(&pair, &pair.us).await;
    pair.wait_in_step(WITHIN).await;
    wait_row(&pair.us, 9, Some("new")).await;
}

/// The same where a key in doubt is read once more: the way back has deleted its row, and the source's log tells that before
/// a read there sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_the_way_back_is_still_committing_is_not_undone_by_settling() {
    let rows = ["INSERT INTO shop.item VALUES (1, 'both'), (2, 'both'), (3, 'both')"];
    let pair = pair(["overwrite", "ignore"], "initial = \"none\"", &rows, &rows).await;
    let mut session = hold(&pair.us, 1).await;
    pair.start_one(Process::Applier("eu-us"));
    wait_held(&pair.us).await;
    let mut way_back = hold(&pair.eu, 2).await;
    session.query_drop("DELETE FROM shop.item WHERE id = 2").await.expect("a delete");
    session.query_drop("COMMIT").await.expect("it commits");
    wait_held(&pair.eu).await;
    pair.eu.hold_commits().await;
    way_back.query_drop("COMMIT").await.expect("it lets the way back go");
    wait_for_unseen_commit(&pair).await;
    assert_eq!(pair.us.rows::<u32>("SELECT id FROM shop.item ORDER BY id").await, [1, 3], "it came back");
    pair.eu.release_commits().await;
    wait_copied(&pair, &pair.us).await;
    pair.wait_in_step(WITHIN).await;
    wait_row(&pair.us, 2, None).await;
}

/// A row that the target inserts before the source's of the same key is copied: the way back keeps the source's, the copy
/// finds the target's. Whichever comes first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_inserted_in_the_target_before_its_chunk_ends_as_the_policies_say_in_either_order() {
    let eu = ["INSERT INTO shop.item VALUES (1, 'of eu'), (5, 'of eu'), (9, 'of eu')"];
    let pair = pair(["overwrite", "ignore"], "initial = \"none\"", &eu, &[]).await;
    // The way back meets the source's row before the copy begins, and leaves it.
    pair.us.run("INSERT INTO shop.item VALUES (5, 'of us'), (6, 'of us')").await;
    wait_row(&pair.eu, 6, Some("of us")).await;
    wait_row(&pair.eu, 5, Some("of eu")).await;
    // And another when its chunk is read already, which the way back meets last.
    pair.kill9(Process::Applier("us-eu"));
    let mut session = hold(&pair.us, 6).await;
    pair.start_one(Process::Applier("eu-us"));
    wait_held(&pair.us).await;
    session.query_drop("INSERT INTO shop.item VALUES (9, 'of us')").await.expect("an insert");
    session.query_drop("COMMIT").await.expect("it commits");
    wait_row(&pair.us, 1, Some("of eu")).await;
    wait_row(&pair.us, 9, Some("of us")).await;
    pair.start_one(Process::Applier("us-eu"));
    wait_copied(&pair, &pair.us).await;
    pair.wait_in_step(WITHIN).await;
    for id in [5, 9] {
        wait_row(&pair.us, id, Some("of eu")).await;
    }
    // Copied and settled rows bear the stamp: none of them went back to where it came from.
    assert_eq!(times_written(&pair.eu).await, 2, "once its own rows, and once row 6 from us");
}

/// Both regions had the row; the source takes the target's, then deletes it, before its own chunk is read: the chunk lacks
/// the row, and the deletion was passed over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_the_source_deletes_before_its_chunk_is_read_goes_in_the_target_too() {
    let [eu, us] =
        ["eu", "us"].map(|name| format!("INSERT INTO shop.item VALUES (1, '{name}'), (2, '{name}')"));
    let mut pair = pair(["ignore", "overwrite"], LINES, &[&eu], &[&us]).await;
    pair.configure(|file| file.add_to_link("eu-us", "load.max_load = 8"));
    // The copy out of eu pauses while so much runs there.
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let mut session = pair.eu.connect().await;
        running.spawn(async move { session.query_drop("DO SLEEP(60)").await });
    }
    let started = "SELECT COUNT(*) FROM information_schema.processlist WHERE info = 'DO SLEEP(60)'";
    until("the source is busy", WITHIN, async || {
        let busy: u32 = pair.eu.row(started).await;
        if busy == 12 { Ok(()) } else { Err(format!("{busy} sessions")) }
    })
    .await;
    pair.start_one(Process::Applier("eu-us"));
    wait_row(&pair.eu, 1, Some("us")).await;
    pair.eu.run("DELETE FROM shop.item WHERE id = 1").await;
    let chunks: u32 = pair.us.row("SELECT COUNT(*) FROM twinlog.load WHERE chunk > 0").await;
    assert_eq!(chunks, 0, "the copy out of eu has begun too early");
    for id in
        pair.eu.rows::<u64>("SELECT id FROM information_schema.processlist WHERE info = 'DO SLEEP(60)'").await
    {
        pair.eu.run(&format!("KILL {id}")).await;
    }
    wait_copied(&pair, &pair.eu).await;
    wait_copied(&pair, &pair.us).await;
    pair.wait_in_step(WITHIN).await;
    wait_row(&pair.us, 1, None).await;
    wait_row(&pair.us, 2, Some("us")).await;
}

/// The target gives a row that is copied the key of one that is not: at the source that key is held by another row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_moves_from_a_copied_key_to_one_that_is_not_leaves_both_regions_equal() {
    let eu = ["INSERT INTO shop.item VALUES (1, 'of eu'), (10, 'of eu')"];
    let mut pair = pair(["overwrite", "ignore"], "initial = \"none\"", &eu, &[]).await;
    pair.configure(|file| file.add_to_link("eu-us", "load.batch_rows = 1"));
    pair.us.run("INSERT INTO shop.item VALUES (5, 'of us')").await;
    wait_row(&pair.eu, 5, Some("of us")).await;
    let mut session = hold(&pair.us, 10).await;
    pair.start_one(Process::Applier("eu-us"));
    wait_row(&pair.us, 1, Some("of eu")).await;
    session.query_drop("UPDATE shop.item SET id = 10 WHERE id = 1").await.expect("a move");
    session.query_drop("COMMIT").await.expect("it commits");
    wait_row(&pair.eu, 1, None).await;
    wait_copied(&pair, &pair.us).await;
    pair.wait_in_step(WITHIN).await;
    wait_row(&pair.us, 10, Some("of eu")).await;
}

/// Commits of the source take a third of a second between their place in the log and their rows: whatever a chunk's read
/// sees, some transaction is neither executed nor gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_are_committing_while_a_chunk_is_read_are_in_it_exactly_once() {
    let rows = "INSERT INTO shop.item WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60) SELECT i, '0' FROM n";
    let mut pair = pair(["overwrite", "ignore"], "initial = \"none\"", &[rows], &[]).await;
    pair.configure(|file| file.add_to_link("eu-us", "load.batch_rows = 10"));
    pair.eu.run("SET GLOBAL binlog_group_commit_sync_delay = 300000").await;
    let mut committing = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let options = pair.eu.options();
        committing.spawn(async move {
            let mut session = Conn::new(options).await.expect("a session");
            for round in 0..12 {
                let change = format!("UPDATE shop.item SET body = body + 1 WHERE id % 4 = {writer}");
                session.query_drop(change).await.unwrap_or_else(|e| panic!("round {round}: {e}"));
            }
        });
    }
    pair.start_one(Process::Applier("eu-us"));
    while let Some(ended) = committing.join_next().await {
        ended.expect("a writer does not panic");
    }
    wait_copied(&pair, &pair.us).await;
    pair.wait_in_step(WITHIN).await;
    let bodies = "SELECT DISTINCT body FROM shop.item";
    assert_eq!(pair.us.rows::<String>(bodies).await, ["12"], "each change is there once");
}
