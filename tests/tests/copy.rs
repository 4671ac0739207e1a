//! The initial copy: rows that were there before, copied while writers write, exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::{Finished, Pace, Pair, PairOptions, Process, Workload, seed, until};
use mysql_async::prelude::Queryable;
use tokio::task::JoinSet;

use crate::column_types::{assert_same, snapshot, write};
use crate::column_values::{ROWS, tables};

const IN_STEP: Duration = Duration::from_secs(90);

/// A pair of which eu-us runs alone and copies.
async fn one_way(initial: &str, load: &str) -> Pair {
    let mut pair = Pair::one_way(PairOptions::default()).await;
    pair.configure(|file| {
        file.add_to_link("eu-us", &format!("initial = \"{initial}\""));
        file.add_to_link("eu-us", load);
    });
    pair
}

fn start(pair: &Pair) {
    pair.start_one(Process::Relay("eu"));
    pair.start_one(Process::Applier("eu-us"));
}

async fn wait_copied(pair: &Pair) {
    until("all is copied", IN_STEP, async || {
        let begun = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'twinlog' AND table_name = 'load'";
        if pair.us.row::<i64>(begun).await == 0 {
            return Err("not begun".into());
        }
        let state: String =
            pair.us.row("SELECT IFNULL(MAX(state), '') FROM twinlog.load WHERE database_name = ''").await;
        if state == "done" {
            Ok(())
        } else {
            Err(format!("{:?}", pair.try_status().await.map(|s| s.json().to_string())))
        }
    })
    .await;
}

/// Many rows in the tables that writers write, and some that they do not.
async fn fill(pair: &Pair) {
    pair.eu
        .run_all(&[
            "INSERT INTO shop.note (writer, body, seen, doc) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
             WHERE i < 1000) SELECT i + 1000, CONCAT('note ', i), i / 7, JSON_OBJECT('i', i, 'deep', JSON_ARRAY(i / 3, TRUE, NULL, 'é')) FROM n",
            "INSERT INTO shop.note (writer, body, seen, doc) SELECT writer, CONCAT(body, ' again'), seen, doc FROM shop.note",
            "INSERT INTO shop.note (writer, body, seen, doc) SELECT writer, CONCAT(body, ' and again'), seen, doc FROM shop.note",
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_and_rows_that_were_there_before_are_copied_under_writers_and_through_kills_exactly_once() {
    let pair =
        one_way("structure+data", "load = { threads = 3, batch_rows = 150, max_rows_per_second = 3000 }")
            .await;
    Workload::prepare_in(&pair.eu).await;
    pair.eu.run("GRANT SHOW VIEW ON shop.* TO twinlog_reader@'127.0.0.1'").await;
    pair.us.run("GRANT CREATE, REFERENCES, CREATE VIEW ON shop.* TO twinlog_writer@'127.0.0.1'").await;
    fill(&pair).await;
    let workload = Workload::start_in(&[&pair.eu], seed(), Pace::Calm);
    workload.wait_for_more(20).await;
    start(&pair);
    for kills in 1..=3 {
        let wanted = kills * 4;
        until("more chunks are copied", IN_STEP, async || {
            let done = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'twinlog' AND table_name = 'load'";
            if pair.us.row::<i64>(done).await == 0 {
                return Err("not begun".into());
            }
            let chunks: i64 = pair.us.row("SELECT COUNT(*) FROM twinlog.load WHERE chunk > 0").await;
            if chunks >= wanted { Ok(()) } else { Err(format!("{chunks} chunks")) }
        })
        .await;
        pair.kill9(Process::Applier("eu-us"));
        pair.start_one(Process::Applier("eu-us"));
    }
    wait_copied(&pair).await;
    workload.wait_for_more(20).await;
    let committed = workload.stop().await;
    pair.wait_in_step(IN_STEP).await;
    committed.assert_in(&pair.us).await;
}

/// Tables by the shape of their key: the definition, and a row made of a number `i`.
const KEYS: [(&str, &str, &str); 11] = [
    ("unsigned", "k BIGINT UNSIGNED PRIMARY KEY", "18446744073709551615 - i * 7"),
    (
        "text_ci",
        "k VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci PRIMARY KEY",
        "CONCAT(ELT(1 + i % 4, 'Äb', 'zß', '中', 'k '), i * 37 % 1000)",
    ),
    (
        "text_padded",
        "k VARCHAR(40) CHARACTER SET latin1 COLLATE latin1_german1_ci PRIMARY KEY",
        "CONCAT(ELT(1 + i % 3, 'ä', 'Z', ' '), i)",
    ),
    (
        "text_bin",
        "k CHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY",
        "CONCAT(i * 37 % 1000, 'x')",
    ),
    ("bytes", "k VARBINARY(20) PRIMARY KEY", "UNHEX(LEFT(SHA2(i, 256), 40))"),
    ("fixed", "k BINARY(6) PRIMARY KEY", "UNHEX(LPAD(HEX(i * 256), 12, '0'))"),
    ("number", "k DECIMAL(20,4) PRIMARY KEY", "(i - 150) * 1.0001"),
    ("time", "k DATETIME(3) PRIMARY KEY", "'2020-01-01 00:00:00.5' + INTERVAL i * 977 MINUTE"),
    (
        "down",
        "a INT NOT NULL, k TIMESTAMP(6) NOT NULL, PRIMARY KEY (a, k DESC)",
        "FROM_UNIXTIME(1e9 + i * 1.000001)",
    ),
    ("unique_only", "k INT NOT NULL, n INT NULL, UNIQUE KEY (n), UNIQUE KEY (k)", "i * 3 - 400"),
    ("none", "k INT NULL", "i % 50"),
];

fn key_tables() -> Vec<String> {
    let table = |(name, key, _): &(&str, &str, &str)| {
        format!(
            "CREATE TABLE shop.k_{name} ({key}, v INT NOT NULL DEFAULT 0, w VARCHAR(20) INVISIBLE DEFAULT 'unseen')"
        )
    };
    KEYS.iter().map(table).collect()
}

/// Statements that fill each table with rows, `from` on.
fn key_rows(from: u32, rows: u32) -> Vec<String> {
    let fill = |(name, key, row): &(&str, &str, &str)| {
        let (columns, values) =
            if key.starts_with("a ") { ("a, k", format!("i % 5, {row}")) } else { ("k", (*row).into()) };
        format!(
            "INSERT IGNORE INTO shop.k_{name} ({columns}) WITH RECURSIVE n (i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n \
             WHERE i < {}) SELECT {values} FROM n",
            from + rows - 1
        )
    };
    KEYS.iter().map(fill).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_every_type_and_keys_of_every_shape_are_copied_while_they_change() {
    let pair = one_way("data", "load = { threads = 4, batch_rows = 23, max_rows_per_second = 2000 }").await;
    for region in [&pair.eu, &pair.us] {
        write(region, &tables()).await;
    }
    write(&pair.eu, ROWS).await;
    let typed = snapshot(&pair.eu).await;
    for region in [&pair.eu, &pair.us] {
        region.run_all(&key_tables()).await;
    }
    pair.eu.run_all(&key_rows(1, 300)).await;

    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, options) = (stop.clone(), pair.eu.options());
    let mut writer = JoinSet::new();
    writer.spawn(async move {
        let mut session = mysql_async::Conn::new(options).await.expect("a session");
        let (mut from, mut rounds) = (1000, 0);
        while !stopped.load(Ordering::Relaxed) {
            for statement in key_rows(from, 3) {
                session.query_drop(statement).await.expect("an insert");
            }
            for (name, ..) in KEYS {
                let change = format!("UPDATE shop.k_{name} SET v = v + 1 ORDER BY RAND() LIMIT 4");
                session.query_drop(change).await.expect("an update");
                let delete = format!("DELETE FROM shop.k_{name} ORDER BY RAND() LIMIT 2");
                session.query_drop(delete).await.expect("a delete");
            }
            // Rows that move to another key.
            let moves = "UPDATE IGNORE shop.k_unsigned SET k = k - 1 WHERE k > 1000 ORDER BY RAND() LIMIT 3";
            session.query_drop(moves).await.expect("a move");
            (from, rounds) = (from + 3, rounds + 1);
        }
        rounds
    });
    start(&pair);
    wait_copied(&pair).await;
    stop.store(true, Ordering::Relaxed);
    let rounds: u32 = writer.join_next().await.expect("it was spawned").expect("the writer does not panic");
    assert!(rounds > 3, "the writer wrote {rounds} rounds only: nothing was touched while it was copied");
    pair.wait_in_step(IN_STEP).await;
    for (name, ..) in KEYS {
        pair.us.run(&format!("DROP TABLE shop.k_{name}")).await;
    }
    assert_same("copied", &typed, &snapshot(&pair.us).await);
}

/// Chunks end at values of a key: with another key they say nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_altered_during_the_copy_stops_the_link_which_then_begins_anew_with_a_reset() {
    let mut pair = Pair::one_way(PairOptions { ddl: Some("eu-us"), ..PairOptions::default() }).await;
    pair.configure(|file| {
        file.add_to_link("eu-us", "initial = \"structure+data\"");
        file.add_to_link("eu-us", "load = { threads = 2, batch_rows = 100, max_rows_per_second = 500 }");
    });
    pair.eu
        .run_all(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.t (id INT NOT NULL, code VARCHAR(20) NOT NULL, v INT NOT NULL, PRIMARY KEY (id))",
            "SET SESSION cte_max_recursion_depth = 1000000",
            "INSERT INTO shop.t WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) \
             SELECT i, CONCAT('code ', i * 7919 % 3001), i FROM n",
        ])
        .await;
    start(&pair);
    until("some of it is copied", IN_STEP, async || {
        let there: u64 =
            pair.us.row("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'shop'").await;
        if there == 1 && pair.us.row::<u64>("SELECT COUNT(*) FROM shop.t").await > 300 {
            Ok(())
        } else {
            Err("not yet".into())
        }
    })
    .await;
    pair.eu.run("ALTER TABLE shop.t DROP PRIMARY KEY, ADD PRIMARY KEY (code)").await;
    pair.eu.run("UPDATE shop.t SET v = v + 1").await;
    let status = pair.wait_state("eu-us", "failed", IN_STEP).await;
    let said = status.json()["error"].to_string();
    assert!(said.contains("shop.t") && said.contains("twinlog link reset"), "{said}");
    // What was copied is in the way of a new beginning.
    let config = pair.config().to_string_lossy().into_owned();
    for order in [&["reset", "--yes"][..], &["start"]] {
        if order[0] == "reset" {
            pair.us.run("DROP TABLE shop.t").await;
        }
        let mut words = vec!["link", order[0], "-c", &config, "--link", "eu-us"];
        words.extend(&order[1..]);
        let said = Finished::of(&words, IN_STEP).await;
        assert_eq!(said.code, 0, "{said}");
    }
    wait_copied(&pair).await;
    pair.wait_state("eu-us", "running", IN_STEP).await;
    pair.wait_in_step(IN_STEP).await;
}
