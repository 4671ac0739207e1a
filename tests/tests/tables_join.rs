//! `tables` changed while a link runs: what joins is made and copied while all else goes on, what leaves is out of step at
//! once, and statements of the source meanwhile leave no gap.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::{Check, Finished, LinkStatus, Pair, PairOptions, Process, Region, seed, until};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

pub(crate) const WITHIN: Duration = Duration::from_secs(90);
pub(crate) const APPLIER: Process = Process::Applier("eu-us");
/// Rows of a table that joins: at `LOAD` they take long enough that something can happen in the middle.
pub(crate) const ROWS: u32 = 6_000;
pub(crate) const LOAD: &str = "load = { threads = 2, batch_rows = 100, max_rows_per_second = 1000 }";
pub(crate) const ALL: &[&str] = &["shop.*"];
pub(crate) const WITHOUT: &[&str] = &["shop.*", "!shop.late*"];

/// Lets the link eu-us make tables.
pub(crate) async fn allow_structure(pair: &Pair) {
    pair.eu.run("GRANT SHOW VIEW ON shop.* TO twinlog_reader@'127.0.0.1'").await;
    pair.us.run("GRANT CREATE, REFERENCES, CREATE VIEW ON shop.* TO twinlog_writer@'127.0.0.1'").await;
}

/// A table of this name with so many rows.
pub(crate) async fn fill(region: &Region, table: &str, rows: u32) {
    let create = format!("CREATE TABLE shop.{table} (id INT PRIMARY KEY, v INT NOT NULL, w VARCHAR(20))");
    let numbers =
        format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})");
    let insert = format!("INSERT INTO shop.{table} {numbers} SELECT i, i % 7, 'before' FROM n");
    region.run_all(&["SET SESSION cte_max_recursion_depth = 1000000", &create]).await;
    if rows > 0 {
        region.run_all(&["SET SESSION cte_max_recursion_depth = 1000000", &insert]).await;
    }
}

/// Has every process that runs read the file again, and gives what was said.
pub(crate) async fn reload(pair: &Pair) -> String {
    let config = pair.config().to_string_lossy().into_owned();
    let said = Finished::of(&["reload", "-c", &config], WITHIN).await;
    assert!(said.code < 2, "{said}");
    said.out
}

async fn start_link(pair: &Pair, link: &str) {
    let config = pair.config().to_string_lossy().into_owned();
    let said = Finished::of(&["link", "start", "-c", &config, "--link", link], WITHIN).await;
    assert_eq!(said.code, 0, "{said}");
}

/// Waits until so many chunks of a table are copied into a region, and gives how many.
pub(crate) async fn wait_chunks(region: &Region, table: &str, wanted: u64) -> u64 {
    until(&format!("{wanted} chunks of {table} are copied"), WITHIN, async || {
        let begun = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'twinlog' AND table_name = 'load'";
        if region.row::<u64>(begun).await == 0 {
            return Err("not begun".into());
        }
        let chunks: u64 = region
            .row(&format!("SELECT COUNT(*) FROM twinlog.load WHERE table_name = '{table}' AND chunk > 0"))
            .await;
        if chunks >= wanted { Ok(chunks) } else { Err(format!("{chunks} chunks")) }
    })
    .await
}

pub(crate) async fn wait_error(pair: &Pair, link: &str, words: &[&str]) -> LinkStatus {
    let status = pair.wait_state(link, "failed", WITHIN).await;
    for word in words {
        assert!(status.json()["error"].to_string().contains(word), "{word}: {}", status.json());
    }
    status
}

/// Waits until nothing is copied any more and both regions are equal.
pub(crate) async fn wait_joined(pair: &Pair) {
    let status = pair.wait_state("eu-us", "running", WITHIN).await;
    assert_eq!(status.last_error(), "", "{}", status.json());
    pair.wait_in_step(WITHIN).await;
}

/// Sessions that write until they are told to stop.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<u32>,
}

impl Writers {
    pub(crate) fn new() -> Self {
        Self { stop: Arc::default(), tasks: JoinSet::new() }
    }

    /// Changes rows of a table, those that were there before among them, and inserts rows of its own from `own` on.
    pub(crate) fn change(&mut self, region: &Region, table: &'static str, own: u32, pause: Duration) {
        let (options, stop) = (region.options(), self.stop.clone());
        let (name, mut rng) = (region.name(), StdRng::seed_from_u64(seed() ^ u64::from(own)));
        self.tasks.spawn(async move {
            let mut session = Conn::new(options).await.expect("a session");
            let mut written = 0;
            while !stop.load(Ordering::Relaxed) {
                let (id, v) = (rng.random_range(1..=ROWS + 200), rng.random_range(0..1000));
                let statement = match rng.random_range(0..5) {
                    0 => format!("DELETE FROM shop.{table} WHERE id = {id}"),
                    1 => format!("REPLACE INTO shop.{table} (id, v, w) VALUES ({id}, {v}, '{name}')"),
                    2 => format!("UPDATE IGNORE shop.{table} SET id = {} WHERE id = {id}", id + 50),
                    3 => format!(
                        "UPDATE shop.{table} SET v = {v}, w = '{name}' WHERE id BETWEEN {id} AND {id} + 5"
                    ),
                    _ => format!(
                        "INSERT INTO shop.{table} (id, v, w) VALUES ({}, {v}, '{name}')",
                        own + written
                    ),
                };
                session.query_drop(&statement).await.unwrap_or_else(|e| panic!("{statement}: {e}"));
                written += 1;
                tokio::time::sleep(pause).await;
            }
            written
        });
    }

    pub(crate) async fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(writer) = self.tasks.join_next().await {
            let written = writer.expect("a writer does not panic");
            assert!(written > 50, "only {written} writes");
        }
    }
}

/// Writes a row of `shop.t` in eu and waits until it is in us; gives how long that took.
pub(crate) async fn crosses(pair: &Pair, id: u32) -> Duration {
    let begun = std::time::Instant::now();
    pair.eu.run(&format!("INSERT INTO shop.t VALUES ({id}, 0, 'crosses')")).await;
    until("the row crosses", WITHIN, async || {
        let there: u64 = pair.us.row(&format!("SELECT COUNT(*) FROM shop.t WHERE id = {id}")).await;
        if there == 1 { Ok(()) } else { Err("not there".into()) }
    })
    .await;
    begun.elapsed()
}

/// A pair of which eu-us runs, with `shop.t` in step and `shop.late`, of eu alone, not.
pub(crate) async fn one_way(lines: &str, ddl: bool) -> Pair {
    let options = PairOptions { ddl: ddl.then_some("eu-us"), ..PairOptions::default() };
    let mut pair = Pair::one_way(options).await;
    pair.configure(|file| {
        file.set_tables(WITHOUT);
        file.add_to_link("eu-us", lines);
    });
    pair.eu.run("CREATE DATABASE shop").await;
    fill(&pair.eu, "t", 50).await;
    pair
}

pub(crate) async fn start(pair: &Pair) {
    pair.start_one(Process::Relay("eu"));
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "running", WITHIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_added_is_made_and_copied_through_a_kill_while_the_others_go_on() {
    let mut pair = one_way(&format!("initial = \"structure+data\"\n{LOAD}"), false).await;
    allow_structure(&pair).await;
    fill(&pair.eu, "late", ROWS).await;
    start(&pair).await;
    let mut writers = Writers::new();
    let pause = Duration::from_millis(10);
    writers.change(&pair.eu, "late", 1_000_000, pause);
    writers.change(&pair.eu, "t", 2_000_000, pause);

    pair.configure(|file| file.set_tables(ALL));
    let said = reload(&pair).await;
    assert!(said.contains("applier eu-us: shop.late joins: it is copied"), "{said}");
    assert!(!said.contains("shop.t "), "{said}");
    let done = wait_chunks(&pair.us, "late", 5).await;
    let status = pair.wait_state("eu-us", "copying", WITHIN).await;
    let tables = status.json()["load"]["tables"].as_array().cloned().unwrap_or_default();
    assert_eq!(tables.len(), 1, "{}", status.json());
    assert_eq!((&tables[0]["table"], &tables[0]["state"]), (&"shop.late".into(), &"copying".into()));
    let check = Check::of(&pair).await;
    assert!(!check.with_status("fail").join("\n").contains("late"), "{:?}", check.with_status("fail"));

    // The others go on, whether the copy stands in its middle or begins again after a kill.
    let took = crosses(&pair, 9_000_001).await;
    assert!(took < Duration::from_secs(5), "a row of another table took {took:?}");
    let first = "SELECT chunk, CAST(updated_at AS CHAR) FROM twinlog.load WHERE table_name = 'late' AND chunk > 0 ORDER BY chunk LIMIT 5";
    let before: Vec<(u64, String)> = pair.us.rows(first).await;
    pair.kill9(APPLIER);
    pair.start_one(APPLIER);
    wait_chunks(&pair.us, "late", done + 3).await;
    assert_eq!(
        pair.us.rows::<(u64, String)>(first).await,
        before,
        "chunks that were done are not copied again"
    );
    let took = crosses(&pair, 9_000_002).await;
    assert!(took < Duration::from_secs(5), "a row of another table took {took:?}");
    assert_eq!(pair.link_status("eu-us").await.state(), "copying");

    writers.stop().await;
    wait_joined(&pair).await;
    assert!(pair.us.row::<u32>("SELECT COUNT(*) FROM shop.late").await > ROWS / 2);
    // It goes on as any other, over a restart too, and nothing is copied again.
    pair.stop_one(APPLIER).await;
    pair.eu.run("UPDATE shop.late SET v = v + 1").await;
    pair.start_one(APPLIER);
    wait_joined(&pair).await;
    assert!(pair.link_status("eu-us").await.json()["load"].is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_taken_out_and_added_again_is_copied_again_and_its_rows_are_in_the_way() {
    let mut pair = one_way("initial = \"data\"", false).await;
    pair.us.run("CREATE DATABASE shop").await;
    fill(&pair.us, "t", 0).await;
    fill(&pair.us, "late", 0).await;
    fill(&pair.eu, "late", 200).await;
    pair.configure(|file| file.set_tables(ALL));
    start(&pair).await;
    pair.wait_in_step(WITHIN).await;

    pair.configure(|file| file.set_tables(WITHOUT));
    let said = reload(&pair).await;
    assert!(said.contains("applier eu-us: shop.late leaves: nothing of it crosses any more"), "{said}");
    pair.eu.run("UPDATE shop.late SET v = 1000").await;
    crosses(&pair, 9_000_001).await;
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.late WHERE v = 1000").await, 0);

    pair.configure(|file| file.set_tables(ALL));
    reload(&pair).await;
    wait_error(&pair, "eu-us", &["shop.late", "holds rows already", "existing = \\\"keep\\\"", "empty it"])
        .await;
    pair.us.run("TRUNCATE TABLE shop.late").await;
    start_link(&pair, "eu-us").await;
    wait_joined(&pair).await;
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.late WHERE v = 1000").await, 200);

    // Its rows may stay: they go by the link's policy.
    pair.configure(|file| {
        file.set_tables(WITHOUT);
        file.add_to_link("eu-us", "existing = \"keep\"\non_conflict = \"overwrite\"");
    });
    let said = reload(&pair).await;
    assert!(
        said.contains("existing needs a restart: it counts when the link begins, and for tables that join"),
        "{said}"
    );
    crosses(&pair, 9_000_002).await;
    pair.eu
        .run_all(&["UPDATE shop.late SET v = 2000", "INSERT INTO shop.late VALUES (9000, 1, 'new')"])
        .await;
    pair.configure(|file| file.set_tables(ALL));
    reload(&pair).await;
    until("the rows are there", WITHIN, async || {
        let there: u64 = pair.us.row("SELECT COUNT(*) FROM shop.late WHERE v = 2000").await;
        if there == 200 { Ok(()) } else { Err(format!("{there} rows")) }
    })
    .await;
    wait_joined(&pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_join_and_leave_a_copy_that_goes_on() {
    let mut pair = one_way(&format!("initial = \"structure+data\"\n{LOAD}"), false).await;
    allow_structure(&pair).await;
    fill(&pair.eu, "first", ROWS).await;
    fill(&pair.eu, "late", 500).await;
    pair.start_one(Process::Relay("eu"));
    pair.start_one(APPLIER);
    let done = wait_chunks(&pair.us, "first", 3).await;
    pair.configure(|file| file.set_tables(&["shop.*", "!shop.t"]));
    let said = reload(&pair).await;
    assert!(said.contains("shop.late joins: it is copied") && said.contains("shop.t leaves"), "{said}");
    wait_chunks(&pair.us, "first", done + 3).await;
    let status = pair.wait_state("eu-us", "copying", WITHIN).await;
    let tables = status.json()["load"]["tables"].to_string();
    assert!(tables.contains("shop.first") && tables.contains("shop.late"), "{tables}");
    assert!(!tables.contains("shop.t\""), "{tables}");
    pair.eu.run("UPDATE shop.late SET v = v + 1").await;
    // Nothing waits for the rest of the one that left.
    pair.wait_state("eu-us", "running", WITHIN).await;
    for region in [&pair.eu, &pair.us] {
        region.run("DROP TABLE shop.t").await;
    }
    wait_joined(&pair).await;
    let rows = "SELECT COUNT(*) FROM twinlog.load WHERE table_name = 't' OR state <> 'done'";
    assert_eq!(pair.us.row::<u64>(rows).await, 0);
}
