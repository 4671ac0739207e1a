//! What the guides of others set up, on real servers: the three scenarios of Tencent's DTS and TapData's forward and
//! reverse pair, with writers in both regions all the while. Regions end equal, and no write to a row that one region alone
//! writes is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::{Pair, PairOptions, Process, Region, seed, until};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

const WITHIN: Duration = Duration::from_secs(90);
/// Rows that are there before, in each region that has some.
const ROWS: u32 = 600;
/// Ids of rows that one region alone writes begin here, and a million further in us.
const OWN: u32 = 1_000_000;

const TABLES: [&str; 3] = [
    "CREATE TABLE shop.customer (id INT PRIMARY KEY, who VARCHAR(20) NOT NULL, n INT NOT NULL)",
    "CREATE TABLE shop.named (name VARCHAR(20) COLLATE utf8mb4_0900_ai_ci PRIMARY KEY, n DOUBLE NOT NULL)",
    "CREATE TABLE shop.document (a SMALLINT NOT NULL, b BIGINT UNSIGNED NOT NULL, doc JSON, PRIMARY KEY (a, b DESC))",
];

/// Rows of `from` on, and a few whose names are written otherwise in the other region.
fn rows(region: &str, from: u32) -> [String; 3] {
    let accent = if region == "eu" { "É" } else { "e" };
    let numbers = format!(
        "WITH RECURSIVE n (i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {})",
        from + ROWS - 1
    );
    [
        format!("INSERT INTO shop.customer {numbers} SELECT i, '{region} before', i FROM n"),
        format!(
            "INSERT INTO shop.named SELECT CONCAT('{accent}', id), id / 7 FROM shop.customer WHERE id % 20 = 0"
        ),
        format!(
            "INSERT INTO shop.document SELECT id % 3, ~0 - id, JSON_OBJECT('at', '{region}', 'n', id, 'list', JSON_ARRAY(id, 1.5)) \
             FROM shop.customer WHERE id % 5 = 0"
        ),
    ]
}

type Writers = JoinSet<(BTreeMap<u32, i32>, u64)>;

/// Writes rows that both regions write, those that are copied among them, and rows that this region alone writes. Gives
/// what it left of the latter, and how much it wrote.
fn write(region: &Region, seed: u64, stop: &Arc<AtomicBool>, writers: &mut Writers) {
    let (options, name, stop) = (region.options(), region.name(), stop.clone());
    let first = if name == "eu" { OWN } else { 2 * OWN };
    writers.spawn(async move {
        let mut session = Conn::new(options).await.expect("a session");
        let (mut rng, mut own, mut written) = (StdRng::seed_from_u64(seed), BTreeMap::new(), 0);
        while !stop.load(Ordering::Relaxed) {
            let (id, n) = (rng.random_range(1..ROWS * 5 / 4), rng.random_range(0..1000));
            let text = format!("{}{}", ["é", "E", "x"][rng.random_range(0..3)], id / 4 * 4);
            let mine = first + rng.random_range(0..800);
            let statement = match rng.random_range(0..10) {
                0 => format!("DELETE FROM shop.customer WHERE id = {id}"),
                1 => format!("UPDATE shop.customer SET n = {n}, who = '{name}' WHERE id = {id}"),
                2 => format!("DELETE FROM shop.named WHERE name = '{text}'"),
                3 => format!("REPLACE INTO shop.named VALUES ('{text}', {n} / 7)"),
                4 => format!(
                    "UPDATE shop.document SET doc = JSON_SET(doc, '$.n', {n}) WHERE a = {id} % 3 AND b = ~0 - {id}"
                ),
                // To another key.
                5 if own.contains_key(&mine) && !own.contains_key(&(mine + 400)) => {
                    let moved = own.remove(&mine).expect("it is there");
                    own.insert(mine + 400, moved);
                    format!("UPDATE shop.customer SET id = {} WHERE id = {mine}", mine + 400)
                }
                6 if own.remove(&mine).is_some() => format!("DELETE FROM shop.customer WHERE id = {mine}"),
                6..=7 => {
                    own.insert(mine, n);
                    format!("REPLACE INTO shop.customer VALUES ({mine}, '{name}', {n})")
                }
                _ => format!("REPLACE INTO shop.customer VALUES ({id}, '{name}', {n})"),
            };
            match session.query_drop(&statement).await {
                Ok(()) => written += 1,
                Err(error) => panic!("{statement}: {error}"),
            }
            // So that a key rests for longer than a round trip takes on a busy machine: else it stays in doubt.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        (own, written)
    });
}

/// Two regions that get into step while both are written.
struct Story {
    pair: Pair,
    stop: Arc<AtomicBool>,
    writers: Writers,
    /// What writers that have stopped left of the rows that their region alone writes.
    own: BTreeMap<u32, i32>,
}

impl Story {
    /// `forward`, `reverse`: lines of the links eu-us and us-eu.
    async fn new(tables: &[&str], forward: &str, reverse: &str) -> Self {
        let mut pair = Pair::new(PairOptions::default()).await;
        pair.configure(|file| {
            if !tables.is_empty() {
                file.set_tables(tables);
            }
            file.add_to_link("eu-us", forward);
            file.add_to_link("us-eu", reverse);
        });
        Self { pair, stop: Arc::default(), writers: Writers::new(), own: BTreeMap::new() }
    }

    fn begin_to_write(&mut self, in_eu: bool) {
        let (region, more) = if in_eu { (&self.pair.eu, 0) } else { (&self.pair.us, 1) };
        write(region, seed() ^ more, &self.stop, &mut self.writers);
    }

    /// Waits until a link has begun: what its source writes from then on, it brings.
    async fn wait_begun(&self, from: &str, to: &Region) {
        let there = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'twinlog' AND table_name = 'link'";
        let born = format!("SELECT COUNT(*) FROM twinlog.link WHERE link LIKE '%/{from}/%'");
        until(&format!("the link from {from} has begun"), WITHIN, async || {
            if to.row::<i64>(there).await == 1 && to.row::<i64>(&born).await == 1 {
                return Ok(());
            }
            Err("not yet".into())
        })
        .await;
    }

    /// Waits until so many chunks are copied into a region.
    async fn wait_chunks(&self, to: &Region, wanted: i64) {
        until("chunks are copied", WITHIN, async || {
            let chunks: i64 = to.row("SELECT COUNT(*) FROM twinlog.load WHERE chunk > 0").await;
            if chunks >= wanted { Ok(()) } else { Err(format!("{chunks} chunks")) }
        })
        .await;
    }

    async fn kill_in_mid_copy(&self, to: &Region, link: &'static str) {
        self.wait_chunks(to, 4).await;
        self.pair.kill9(Process::Applier(link));
        self.pair.start_one(Process::Applier(link));
    }

    /// Waits until all is copied into a region, and nothing is in doubt.
    async fn wait_copied(&self, to: &Region) {
        until("all is copied and settled", WITHIN, async || {
            let state: String =
                to.row("SELECT IFNULL(MAX(state), '') FROM twinlog.load WHERE database_name = ''").await;
            let status = self.pair.try_status().await.map(|s| s.json().to_string());
            if state == "done" { Ok(()) } else { Err(format!("{state}: {status:?}")) }
        })
        .await;
    }

    async fn stop_writing(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(writer) = self.writers.join_next().await {
            let (left, written) = writer.expect("a writer does not panic");
            // On a busy machine a copy is over in the time of a few dozen.
            assert!(written > 20, "only {written} writes met the copy");
            self.own.extend(left);
        }
    }

    /// Writers stop; both regions are equal, and have what each wrote alone.
    async fn end(mut self) {
        self.stop_writing().await;
        self.pair.wait_in_step(WITHIN).await;
        for region in [&self.pair.eu, &self.pair.us] {
            let query = format!("SELECT id, n FROM shop.customer WHERE id >= {OWN} ORDER BY id");
            let found: BTreeMap<u32, i32> = region.rows(&query).await.into_iter().collect();
            assert!(found == self.own, "{} lost rows that one region alone wrote", region.name());
        }
        for link in ["eu-us", "us-eu"] {
            let status = self.pair.wait_state(link, "running", WITHIN).await;
            assert_eq!(status.last_error(), "", "{link}");
        }
        self.pair.assert_alive();
    }
}

const LOAD: &str = "load = { threads = 2, batch_rows = 40, max_rows_per_second = 400 }";

/// DTS, scenario 1: database A has tables and rows, B is empty. Whoever finds the tables in B writes at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_and_rows_into_an_empty_region_that_is_written_as_soon_as_it_has_them() {
    let forward =
        format!("initial = \"structure+data\"\nexisting = \"error\"\non_conflict = \"overwrite\"\n{LOAD}");
    let mut story = Story::new(&[], &forward, "initial = \"none\"\non_conflict = \"ignore\"").await;
    let Pair { eu, us, .. } = &story.pair;
    eu.run("GRANT SHOW VIEW ON shop.* TO twinlog_reader@'127.0.0.1'").await;
    us.run("GRANT CREATE, REFERENCES, CREATE VIEW ON shop.* TO twinlog_writer@'127.0.0.1'").await;
    eu.run("CREATE DATABASE shop").await;
    eu.run_all(&TABLES).await;
    eu.run_all(&rows("eu", 1)).await;
    story.begin_to_write(true);
    Process::ALL.into_iter().for_each(|process| story.pair.start_one(process));
    until("us has the tables", WITHIN, async || {
        let tables = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'shop'";
        let there: i64 = story.pair.us.row(tables).await;
        if there == 3 { Ok(()) } else { Err(format!("{there} tables")) }
    })
    .await;
    story.begin_to_write(false);
    story.wait_copied(&story.pair.us).await;
    story.end().await;
}

/// DTS, scenario 2: database A has tables and rows, B tables only. The link is killed in mid-copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_into_empty_tables_that_are_written_meanwhile() {
    let forward = format!("initial = \"data\"\nexisting = \"keep\"\non_conflict = \"overwrite\"\n{LOAD}");
    let mut story =
        Story::new(&[], &forward, "initial = \"none\"\nexisting = \"keep\"\non_conflict = \"ignore\"").await;
    let Pair { eu, us, .. } = &story.pair;
    for region in [eu, us] {
        region.run("CREATE DATABASE shop").await;
        region.run_all(&TABLES).await;
    }
    eu.run_all(&rows("eu", 1)).await;
    story.begin_to_write(true);
    Process::ALL.into_iter().for_each(|process| story.pair.start_one(process));
    story.wait_begun("us", &story.pair.eu).await;
    story.begin_to_write(false);
    story.wait_begun("eu", &story.pair.us).await;
    story.kill_in_mid_copy(&story.pair.us, "eu-us").await;
    story.wait_copied(&story.pair.us).await;
    story.end().await;
}

/// DTS, scenario 3: both have tables and rows, many with the same keys. Both links are killed in mid-copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_both_regions_into_each_other_while_both_are_written() {
    let lines = format!("initial = \"data\"\nexisting = \"keep\"\non_conflict = \"newest\"\n{LOAD}");
    let mut story = Story::new(&[], &lines, &lines).await;
    let Pair { eu, us, .. } = &story.pair;
    for region in [eu, us] {
        region.run("CREATE DATABASE shop").await;
        region.run_all(&TABLES).await;
    }
    eu.run_all(&rows("eu", 1)).await;
    us.run_all(&rows("us", ROWS / 2)).await;
    Process::ALL.into_iter().for_each(|process| story.pair.start_one(process));
    story.wait_begun("us", &story.pair.eu).await;
    story.wait_begun("eu", &story.pair.us).await;
    story.begin_to_write(true);
    story.begin_to_write(false);
    story.kill_in_mid_copy(&story.pair.us, "eu-us").await;
    story.kill_in_mid_copy(&story.pair.eu, "us-eu").await;
    story.wait_copied(&story.pair.us).await;
    story.wait_copied(&story.pair.eu).await;
    story.end().await;
}

/// TapData: one table, full and incremental forwards, incremental in reverse; here region B's writes win.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forward_copy_with_its_stream_and_a_reverse_stream() {
    let forward =
        format!("initial = \"structure+data\"\nexisting = \"keep\"\non_conflict = \"ignore\"\n{LOAD}");
    let mut story =
        Story::new(&["shop.customer"], &forward, "initial = \"none\"\non_conflict = \"overwrite\"").await;
    let Pair { eu, us, .. } = &story.pair;
    us.run("GRANT CREATE, REFERENCES ON shop.* TO twinlog_writer@'127.0.0.1'").await;
    for region in [eu, us] {
        region.run("CREATE DATABASE shop").await;
        // What is not in step stays each region's own; here it is the same.
        region.run_all(&TABLES[1..]).await;
    }
    eu.run(TABLES[0]).await;
    eu.run(&rows("eu", 1)[0]).await;
    story.begin_to_write(true);
    Process::ALL.into_iter().for_each(|process| story.pair.start_one(process));
    until("us has the table", WITHIN, async || {
        let there: i64 = story
            .pair
            .us
            .row("SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'customer'")
            .await;
        if there == 1 { Ok(()) } else { Err("not yet".into()) }
    })
    .await;
    story.begin_to_write(false);
    story.wait_copied(&story.pair.us).await;
    story.stop_writing().await;
    for region in [&story.pair.eu, &story.pair.us] {
        region.run_all(&["DELETE FROM shop.named", "DELETE FROM shop.document"]).await;
    }
    story.end().await;
}
