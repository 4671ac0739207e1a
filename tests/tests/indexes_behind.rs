//! Indexes of large tables are made behind the rows that an initial copy brings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::{Pair, PairOptions, Process, Region, until};
use mysql_async::prelude::Queryable;
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(60);
const APPLIER: Process = Process::Applier("eu-us");
/// More than a table needs to count as large.
const ROWS: u64 = 12_000;
const SLOWLY: &str = "load = { threads = 2, batch_rows = 200, max_rows_per_second = 3000 }";

/// A pair of which eu-us makes and copies `shop.big` and `shop.small`, with what its account is granted in us.
async fn one_way(ddl: bool, lines: &str, granted: &str) -> Pair {
    let ddl = ddl.then_some("eu-us");
    one_way_of(PairOptions { ddl, ..PairOptions::default() }, lines, granted).await
}

async fn one_way_of(options: PairOptions, lines: &str, granted: &str) -> Pair {
    let mut pair = Pair::one_way(options).await;
    pair.configure(|file| file.add_to_link("eu-us", &format!("initial = \"structure+data\"\n{lines}")));
    fill(&pair.eu).await;
    pair.us.run(&format!("GRANT {granted} ON shop.* TO twinlog_writer@'127.0.0.1'")).await;
    pair.start_one(Process::Relay("eu"));
    pair.start_one(APPLIER);
    pair
}

async fn fill(region: &Region) {
    region
        .run_all(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.who (id INT PRIMARY KEY)",
            "CREATE TABLE shop.big (id INT PRIMARY KEY, v INT, body VARCHAR(40), who INT, UNIQUE KEY one (v, id), KEY by_v (v), \
             KEY by_body (body(10) DESC, v) COMMENT 'it''s, large', KEY by_who (who), FOREIGN KEY (who) REFERENCES shop.who (id))",
            "CREATE TABLE shop.small (id INT PRIMARY KEY, v INT, KEY by_v (v))",
            "INSERT INTO shop.small VALUES (1, 1), (2, 2)",
            "SET SESSION cte_max_recursion_depth = 1000000",
            &format!(
                "INSERT INTO shop.big (id, v, body) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
                 WHERE i < {ROWS}) SELECT i, i * 7919 % 1000, CONCAT(i * 31 % 977, ' of them') FROM n"
            ),
            "ANALYZE TABLE shop.big, shop.small",
        ])
        .await;
}

async fn definition(region: &Region, table: &str) -> String {
    let (_, create): (String, String) = region.row(&format!("SHOW CREATE TABLE shop.{table}")).await;
    create
}

/// Waits until some of the large table's chunks are there, and gives its definition in the target.
async fn while_copying(pair: &Pair) -> String {
    until("some chunks are copied", SOON, async || {
        let there = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'twinlog' AND table_name = 'load'";
        if pair.us.row::<u64>(there).await == 0 {
            return Err("the copy has not begun".into());
        }
        let done = "SELECT COUNT(*) FROM twinlog.load WHERE table_name = 'big' AND chunk > 0";
        let chunks: u64 = pair.us.row(done).await;
        if chunks > 2 { Ok(()) } else { Err(format!("{chunks} chunks")) }
    })
    .await;
    definition(&pair.us, "big").await
}

/// Waits until all is copied, and compares rows and definitions.
async fn ends_in_step(pair: &Pair) {
    pair.wait_state("eu-us", "running", SOON).await;
    pair.wait_in_step(SOON).await;
    for table in ["big", "small", "who"] {
        assert_eq!(definition(&pair.us, table).await, definition(&pair.eu, table).await);
    }
    let steps = "SELECT COUNT(*) FROM twinlog.structure WHERE state <> 'made'";
    assert_eq!(pair.us.row::<u64>(steps).await, 0);
}

/// Who write the large table until they are told to stop.
struct Writers {
    stop: Arc<AtomicBool>,
    running: JoinSet<()>,
}

impl Writers {
    /// One in each of these.
    async fn begin(regions: &[&Region]) -> Self {
        let (stop, mut running) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for (writer, region) in regions.iter().enumerate() {
            let (mut session, stop) = (region.connect().await, stop.clone());
            running.spawn(async move {
                let mut n = writer;
                while !stop.load(Ordering::Relaxed) {
                    n = (n + 2) % 997;
                    let change = format!("UPDATE shop.big SET v = v + 1 WHERE id % 997 = {n}");
                    match session.query_drop(change).await {
                        // The victim of a deadlock with a link, as applications are.
                        Err(mysql_async::Error::Server(error)) if matches!(error.code, 1205 | 1213) => {}
                        other => other.expect("an update"),
                    }
                }
            });
        }
        Self { stop, running }
    }

    async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.running.join_next().await {
            ended.expect("a writer does not panic");
        }
    }
}

/// How many statements of the target's binary log make these indexes.
async fn times_made(region: &Region) -> usize {
    let mut times = 0;
    for (log, ..) in region.rows::<(String, u64, String)>("SHOW BINARY LOGS").await {
        let events = format!("SHOW BINLOG EVENTS IN '{log}'");
        let events = region.rows::<(String, u64, String, u32, u64, String)>(&events).await;
        times += events.iter().filter(|event| event.5.contains("ADD KEY `by_v`")).count();
    }
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexes_of_a_large_table_are_made_behind_its_rows_and_once_whatever_is_killed() {
    let pair = one_way(false, SLOWLY, "CREATE, REFERENCES, ALTER").await;
    let there = while_copying(&pair).await;
    assert!(!there.contains("`by_v`") && !there.contains("`by_body`"), "{there}");
    assert!(there.contains("UNIQUE KEY `one`") && there.contains("KEY `by_who`"), "{there}");
    assert!(definition(&pair.us, "small").await.contains("`by_v`"));
    pair.kill9(APPLIER);
    // A reader in the target keeps the statement from its table.
    let mut reader = pair.us.connect().await;
    reader.query_drop("BEGIN").await.expect("it begins");
    reader.query_drop("SELECT * FROM shop.big LIMIT 1").await.expect("it reads");
    pair.start_one(APPLIER);
    for _ in 0..2 {
        until("the indexes are in hand", SOON, async || {
            let status = pair.try_status().await?.link("eu-us")?;
            let says = status.text("reason").contains("making the indexes of shop.big");
            if says && status.state() == "copying" { Ok(()) } else { Err(status.json().to_string()) }
        })
        .await;
        pair.kill9(APPLIER);
        pair.start_one(APPLIER);
    }
    reader.query_drop("COMMIT").await.expect("it ends");
    ends_in_step(&pair).await;
    assert_eq!(times_made(&pair.us).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_names_a_table_finds_its_indexes_there() {
    let pair = one_way(true, SLOWLY, "CREATE, DROP, INDEX, REFERENCES, ALTER").await;
    assert!(!while_copying(&pair).await.contains("`by_v`"));
    pair.eu
        .run_all(&[
            "CREATE TABLE shop.like_big LIKE shop.big",
            "ALTER TABLE shop.big RENAME KEY by_v TO v_by",
        ])
        .await;
    ends_in_step(&pair).await;
    assert!(definition(&pair.us, "big").await.contains("`v_by`"));
    assert_eq!(definition(&pair.us, "like_big").await, definition(&pair.eu, "like_big").await);
    assert_eq!(times_made(&pair.us).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_may_not_alter_tables_makes_them_whole() {
    let pair = one_way(false, SLOWLY, "CREATE, REFERENCES").await;
    assert!(while_copying(&pair).await.contains("`by_v`"));
    ends_in_step(&pair).await;
    assert_eq!(times_made(&pair.us).await, 0);
    assert!(pair.log(APPLIER).contains("ALTER is not granted"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_written_while_an_index_is_made_do_not_interrupt_the_link() {
    let pair = one_way(
        false,
        "load = { threads = 2, batch_rows = 200, max_rows_per_second = 6000 }",
        "CREATE, REFERENCES, ALTER",
    )
    .await;
    let writers = Writers::begin(&[&pair.eu, &pair.eu]).await;
    let status = pair.wait_state("eu-us", "running", SOON).await;
    writers.end().await;
    assert!(status.count("transactions_applied") > 0, "{}", status.json());
    ends_in_step(&pair).await;
    let log = pair.log(APPLIER);
    assert!(!log.contains("link interrupted"), "{log}");
}

/// Of what is written while an index is made a server keeps `innodb_online_alter_log_max_size`, then it gives up: error 1799.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexes_of_a_table_that_is_written_more_than_the_server_keeps_are_made_while_writers_wait() {
    let least = ["--innodb-sort-buffer-size=65536", "--innodb-online-alter-log-max-size=65536"];
    let options = PairOptions { server_args: least.map(Into::into).to_vec(), ..PairOptions::default() };
    let load = "load = { threads = 2, batch_rows = 200, max_rows_per_second = 6000 }";
    let pair = one_way_of(options, load, "CREATE, REFERENCES, ALTER").await;
    until("a third is copied", SOON, async || {
        match pair.us.connect().await.query_first::<u64, _>("SELECT COUNT(*) FROM shop.big").await {
            Ok(Some(rows)) if rows >= 4000 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut running = JoinSet::new();
    // Changes that cancel out, in the target itself.
    for rows in ["id <= 1500", "id BETWEEN 1501 AND 3000"] {
        let (mut session, stop) = (pair.us.connect().await, stop.clone());
        running.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                for statement in [
                    "BEGIN",
                    &format!("UPDATE shop.big SET v = v + 1000 WHERE {rows}"),
                    &format!("UPDATE shop.big SET v = v - 1000 WHERE {rows}"),
                    "COMMIT",
                ] {
                    match session.query_drop(statement).await {
                        // All of it is rolled back then.
                        Err(mysql_async::Error::Server(error)) if error.code == 1213 => break,
                        done => done.expect("a change"),
                    }
                }
            }
        });
    }
    let times = async |words: &str| {
        let mut times = 0;
        for (log, ..) in pair.us.rows::<(String, u64, String)>("SHOW BINARY LOGS").await {
            let events = format!("SHOW BINLOG EVENTS IN '{log}'");
            let events = pair.us.rows::<(String, u64, String, u32, u64, String)>(&events).await;
            times += events.iter().filter(|event| event.5.contains(words)).count();
        }
        times
    };
    until("the indexes are there", SOON, async || {
        let there = definition(&pair.us, "big").await;
        if there.contains("`by_v`") { Ok(()) } else { Err(there) }
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = running.join_next().await {
        ended.expect("a writer does not panic");
    }
    ends_in_step(&pair).await;
    assert_eq!((times_made(&pair.us).await, times("LOCK = SHARED").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_pair_both_regions_write_the_table_before_its_indexes_are_there() {
    let mut pair = Pair::new(PairOptions::default()).await;
    pair.configure(|file| {
        file.add_to_link("eu-us", "initial = \"structure+data\"\non_conflict = \"overwrite\"");
        file.add_to_link("eu-us", "load = { threads = 2, batch_rows = 200, max_rows_per_second = 6000 }");
        file.add_to_link("us-eu", "initial = \"none\"\non_conflict = \"ignore\"");
    });
    fill(&pair.eu).await;
    pair.us.run("GRANT CREATE, REFERENCES, ALTER ON shop.* TO twinlog_writer@'127.0.0.1'").await;
    Process::ALL.into_iter().for_each(|process| pair.start_one(process));
    let there = while_copying(&pair).await;
    assert!(!there.contains("`by_v`"), "{there}");
    let writers = Writers::begin(&[&pair.eu, &pair.us]).await;
    until("the indexes are there", SOON, async || {
        let there = definition(&pair.us, "big").await;
        if there.contains("`by_v`") { Ok(()) } else { Err(there) }
    })
    .await;
    writers.end().await;
    ends_in_step(&pair).await;
    assert_eq!(times_made(&pair.us).await, 1);
}
