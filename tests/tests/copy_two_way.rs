//! The initial copy into a region that is written meanwhile, on the rows that are copied: both regions end equal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::{Pair, PairOptions, Region, seed, until};
use mysql_async::prelude::Queryable;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;

const WITHIN: Duration = Duration::from_secs(120);
const ROWS: u32 = 600;

const TABLE: &str = "CREATE TABLE shop.item (id INT PRIMARY KEY, who VARCHAR(20) NOT NULL, n INT NOT NULL)";
const NAMED: &str =
    "CREATE TABLE shop.named (name VARCHAR(20) COLLATE utf8mb4_0900_ai_ci PRIMARY KEY, n DOUBLE NOT NULL)";

/// Inserts, updates and deletes on keys that both regions write, those that are copied among them.
fn write(region: &Region, seed: u64, stop: &Arc<AtomicBool>) -> JoinHandle<u64> {
    let (options, name, stop) = (region.options(), region.name(), stop.clone());
    tokio::spawn(async move {
        let mut session = mysql_async::Conn::new(options).await.expect("a session");
        let (mut rng, mut written) = (StdRng::seed_from_u64(seed), 0);
        while !stop.load(Ordering::Relaxed) {
            let (id, n) = (rng.random_range(1..ROWS * 5 / 4), rng.random_range(0..1000));
            let named = format!("{}{}", ["é", "E", "x"][rng.random_range(0..3)], id % 40);
            let statement = match rng.random_range(0..6) {
                0 => format!("DELETE FROM shop.item WHERE id = {id}"),
                1 => format!("UPDATE shop.item SET n = {n}, who = '{name}' WHERE id = {id}"),
                2 => format!("DELETE FROM shop.named WHERE name = '{named}'"),
                3 => format!(
                    "INSERT INTO shop.named VALUES ('{named}', {n} / 7) ON DUPLICATE KEY UPDATE n = {n}"
                ),
                _ => format!(
                    "INSERT INTO shop.item VALUES ({id}, '{name}', {n}) ON DUPLICATE KEY UPDATE n = {n}"
                ),
            };
            session.query_drop(statement).await.expect("a write");
            written += 1;
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        written
    })
}

async fn fill(region: &Region, first: u32) {
    let name = region.name();
    region
        .run_all(&[
            format!(
                "INSERT INTO shop.item WITH RECURSIVE n (i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {}) \
                 SELECT i, '{name} before', i FROM n",
                first + ROWS - 1
            ),
            format!("INSERT INTO shop.named SELECT CONCAT('É', id % 30), MAX(id) FROM shop.item GROUP BY id % 30"),
        ])
        .await;
}

/// `both`: both regions have rows, and each is copied into the other.
async fn end_equal(there: &str, back: &str, both: bool) {
    let mut pair = Pair::new(PairOptions::default()).await;
    pair.configure(|file| {
        let load = "load = { threads = 2, batch_rows = 40, max_rows_per_second = 250 }";
        let copies: &[&str] = if both { &["eu-us", "us-eu"] } else { &["eu-us"] };
        for link in copies {
            file.add_to_link(link, "initial = \"data\"\nexisting = \"keep\"");
            file.add_to_link(link, load);
        }
        file.add_to_link("eu-us", &format!("on_conflict = \"{there}\""));
        file.add_to_link("us-eu", &format!("on_conflict = \"{back}\""));
    });
    for region in [&pair.eu, &pair.us] {
        region.run_all(&["CREATE DATABASE shop", TABLE, NAMED]).await;
    }
    fill(&pair.eu, 1).await;
    if both {
        fill(&pair.us, ROWS / 2).await;
    }
    for process in harness::Process::ALL {
        pair.start_one(process);
    }
    // What is written in us before the way back has begun is not brought back by it.
    let began = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'twinlog' AND table_name = 'load'";
    until("the way back has begun", WITHIN, async || {
        let there: i64 = pair.eu.row(began).await;
        let born: i64 = if there == 0 { 0 } else { pair.eu.row("SELECT COUNT(*) FROM twinlog.link").await };
        if born == 1 { Ok(()) } else { Err("not yet".into()) }
    })
    .await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers = [write(&pair.eu, seed(), &stop), write(&pair.us, seed() ^ 1, &stop)];
    for region in [&pair.us, &pair.eu].into_iter().take(if both { 2 } else { 1 }) {
        until("all is copied and settled", WITHIN, async || {
            let state = "SELECT IFNULL(MAX(state), '') FROM twinlog.load WHERE database_name = ''";
            let there: i64 = region.row(began).await;
            let state: String = if there == 0 { String::new() } else { region.row(state).await };
            let status = pair.try_status().await.map(|s| s.json().to_string());
            if state == "done" { Ok(()) } else { Err(format!("{state}: {status:?}")) }
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        let written = writer.await.expect("a writer does not panic");
        assert!(written > 100, "only {written} writes met the copy");
    }
    pair.wait_in_step(WITHIN).await;
    pair.assert_alive();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_regions_rows_copied_into_one_that_writes_them_end_equal() {
    end_equal("overwrite", "ignore", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_regions_rows_copied_into_each_other_end_equal() {
    end_equal("newest", "newest", true).await;
}
