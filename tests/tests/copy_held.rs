//! The initial copy, held back: by a person, while the source is busy, and while the link is behind. It writes nothing
//! meanwhile, says why, and goes on from where it was.

use std::time::Duration;

use harness::{Finished, LinkStatus, Pair, PairOptions, Process, until};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(60);
const STILL: Duration = Duration::from_secs(2);
const APPLIER: Process = Process::Applier("eu-us");
/// Rows of `shop.big`: at `PACE` it takes long enough to be held back in the middle.
const ROWS: u64 = 16_000;
const PACE: &str = "threads = 2, batch_rows = 100, max_rows_per_second = 2000";
/// The source is busy beyond so many threads, and so many wait for a lock there.
const BUSY: u32 = 20;
const WAITERS: u32 = 40;

/// A pair of which eu-us copies, that is not started yet.
pub(crate) async fn one_way(lines: &str) -> Pair {
    let mut pair = Pair::one_way(PairOptions::default()).await;
    pair.configure(|file| file.add_to_link("eu-us", lines));
    pair
}

/// A table of one row, which is copied first by its name, and a large one.
pub(crate) async fn fill(pair: &Pair) {
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&[
                "CREATE DATABASE shop",
                "CREATE TABLE shop.a (id INT PRIMARY KEY, v INT)",
                // What the server takes for larger comes first: here it does not look again.
                "CREATE TABLE shop.big (id INT PRIMARY KEY, v INT) STATS_PERSISTENT = 1, STATS_AUTO_RECALC = 0",
            ])
            .await;
    }
    pair.eu
        .run_all(&[
            "INSERT INTO shop.a VALUES (1, 0)",
            "SET SESSION cte_max_recursion_depth = 1000000",
            &format!(
                "INSERT INTO shop.big WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) \
                 SELECT i, 0 FROM n"
            ),
        ])
        .await;
}

pub(crate) fn start(pair: &Pair) {
    pair.start_one(Process::Relay("eu"));
    pair.start_one(APPLIER);
}

async fn order(pair: &Pair, words: &[&str]) {
    let config = pair.config().to_string_lossy().into_owned();
    let mut args = vec!["link", words[0], "-c", &config, "--link", "eu-us"];
    args.extend(&words[1..]);
    let said = Finished::of(&args, SOON).await;
    assert_eq!(said.code, 0, "{words:?}: {said}");
}

/// The chunks of `shop.big` that are copied, and when each was.
async fn chunks(pair: &Pair) -> Vec<(u64, String)> {
    let begun = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'twinlog' AND table_name = 'load'";
    if pair.us.row::<u64>(begun).await == 0 {
        return Vec::new();
    }
    let done = "SELECT chunk, CAST(updated_at AS CHAR) FROM twinlog.load WHERE table_name = 'big' AND chunk > 0 ORDER BY chunk";
    pair.us.rows(done).await
}

/// Waits until so many are, and the small table.
async fn wait_for_chunks(pair: &Pair, wanted: usize) -> Vec<(u64, String)> {
    until(&format!("{wanted} chunks are copied"), SOON, async || {
        let (done, small) = (chunks(pair).await, pair.us.row::<usize>("SELECT COUNT(*) FROM shop.a").await);
        if done.len() >= wanted && small == 1 { Ok(done) } else { Err(format!("{} chunks", done.len())) }
    })
    .await
}

/// Waits until the copy says that it pauses, with these words, and gives the status.
async fn wait_for_reason(pair: &Pair, words: &str) -> LinkStatus {
    let told = until(&format!("the copy says {words:?}"), SOON, async || {
        let status = pair.try_status().await?.link("eu-us")?;
        if status.text("reason").contains(words) { Ok(status) } else { Err(status.json().to_string()) }
    })
    .await;
    assert_eq!(told.state(), "copying", "{}", told.json());
    told
}

/// Waits until nothing holds the copy back any more and all is equal.
async fn ends_in_step(pair: &Pair) {
    let status = pair.wait_state("eu-us", "running", SOON).await;
    assert_eq!(status.text("reason"), "", "{}", status.json());
    pair.wait_in_step(SOON).await;
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.big").await, ROWS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_paused_writes_nothing_more_and_goes_on_behind_the_chunks_that_are_done() {
    let pair = one_way(&format!("initial = \"data\"\nload = {{ {PACE} }}")).await;
    fill(&pair).await;
    start(&pair);
    wait_for_chunks(&pair, 5).await;
    order(&pair, &["pause", "--reason", "rush hour"]).await;
    let status = pair.wait_state("eu-us", "paused", SOON).await;
    assert!(status.text("reason").contains("rush hour"), "{}", status.json());
    // What is in hand is written; then nothing is, neither of the copy nor of the stream.
    pair.eu.run("UPDATE shop.a SET v = 7").await;
    pair.eu.run(&format!("UPDATE shop.big SET v = 7 WHERE id IN (1, {ROWS})")).await;
    pair.wait_quiet(STILL, SOON).await;
    let done = chunks(&pair).await;
    let rows: u64 = pair.us.row("SELECT COUNT(*) FROM shop.big").await;
    assert!(rows > 0 && rows < ROWS / 2, "{rows} rows of {ROWS} were copied in spite of the pause");
    assert_eq!(pair.us.row::<i64>("SELECT v FROM shop.a").await, 0);
    let status = pair.link_status("eu-us").await;
    assert_eq!(status.state(), "paused");
    assert!(status.text("reason").contains("rush hour"), "{}", status.json());
    assert_eq!(status.json()["load"]["rows_done"], rows + 1, "{}", status.json());

    order(&pair, &["resume"]).await;
    pair.wait_state("eu-us", "copying", SOON).await;
    let more = wait_for_chunks(&pair, done.len() + 3).await;
    assert_eq!(more[..done.len()], done, "chunks that were done are not copied again");

    // A process that dies meanwhile finds the wish, and the chunks.
    order(&pair, &["pause"]).await;
    pair.wait_state("eu-us", "paused", SOON).await;
    pair.wait_quiet(STILL, SOON).await;
    let done = chunks(&pair).await;
    pair.kill9(APPLIER);
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "paused", SOON).await;
    assert_eq!(chunks(&pair).await, done);
    order(&pair, &["resume"]).await;
    let more = wait_for_chunks(&pair, done.len() + 3).await;
    assert_eq!(more[..done.len()], done, "chunks that were done are not copied again");
    ends_in_step(&pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_paused_while_it_makes_tables_makes_none_more_until_it_is_resumed() {
    let pair = one_way("initial = \"structure\"\nstart_at = \"2099-01-01T00:00:00Z\"").await;
    let tables = 8;
    pair.eu.run("CREATE DATABASE shop").await;
    for table in 0..tables {
        pair.eu.run(&format!("CREATE TABLE shop.t{table} (id INT PRIMARY KEY)")).await;
    }
    pair.us.run("GRANT CREATE, REFERENCES, CREATE VIEW ON shop.* TO twinlog_writer@'127.0.0.1'").await;
    start(&pair);
    pair.wait_state("eu-us", "scheduled", SOON).await;
    // The first step waits for this lock: the pause finds it in hand.
    let mut lock = pair.us.connect().await;
    lock.query_drop("LOCK INSTANCE FOR BACKUP").await.expect("a lock");
    order(&pair, &["start"]).await;
    pair.wait_state("eu-us", "structure", SOON).await;
    until("the first step is in hand", SOON, async || {
        let waits = "SELECT COUNT(*) FROM performance_schema.processlist WHERE USER = 'twinlog_writer' AND STATE = 'Waiting for backup lock'";
        if pair.us.row::<u64>(waits).await == 1 { Ok(()) } else { Err("nobody waits".into()) }
    })
    .await;
    order(&pair, &["pause", "--reason", "backup"]).await;
    pair.wait_state("eu-us", "paused", SOON).await;
    lock.query_drop("UNLOCK INSTANCE").await.expect("it is unlocked");
    let made = async || {
        let made = "SELECT COUNT(*) FROM twinlog.structure WHERE step > 0 AND state = 'made'";
        pair.us.row::<u64>(made).await
    };
    until("the step in hand is done", SOON, async || match made().await {
        0 => Err("nothing is made".into()),
        _ => Ok(()),
    })
    .await;
    pair.wait_quiet(STILL, SOON).await;
    assert_eq!(made().await, 1, "steps were made in spite of the pause");
    let status = pair.link_status("eu-us").await;
    assert_eq!(status.state(), "paused");
    assert!(status.text("reason").contains("backup"), "{}", status.json());

    // The next step is held once more: it says what it does again.
    lock.query_drop("LOCK INSTANCE FOR BACKUP").await.expect("a lock");
    order(&pair, &["resume"]).await;
    pair.wait_state("eu-us", "structure", SOON).await;
    lock.query_drop("UNLOCK INSTANCE").await.expect("it is unlocked");
    pair.wait_state("eu-us", "running", SOON).await;
    let there = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'shop'";
    assert_eq!(pair.us.row::<u64>(there).await, tables);
    let (steps, first): (u64, String) =
        pair.us.row("SELECT COUNT(*), MIN(gtid) FROM twinlog.structure WHERE step > 0").await;
    let uuid = first.split(':').next().expect("a uuid");
    let executed = pair.us.gtid_executed().await;
    assert!(executed.contains(&format!("{uuid}:1-{steps}")), "each step once: {uuid} {steps} {executed}");
}

/// Sessions of the source that wait for a lock until the first of them lets it go.
async fn occupy(pair: &Pair) -> (Conn, JoinSet<()>) {
    let mut holder = pair.eu.connect().await;
    let held: Option<u8> = holder.query_first("SELECT GET_LOCK('held', 0)").await.expect("a lock");
    assert_eq!(held, Some(1));
    let mut waiters = JoinSet::new();
    for _ in 0..WAITERS {
        let mut session = pair.eu.connect().await;
        waiters.spawn(async move {
            session.query_drop("DO GET_LOCK('held', 600), RELEASE_LOCK('held')").await.expect("a lock");
        });
    }
    (holder, waiters)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_reads_nothing_while_more_threads_run_in_the_source_than_max_load() {
    let pair = one_way(&format!("initial = \"data\"\nload = {{ {PACE}, max_load = {BUSY} }}")).await;
    fill(&pair).await;
    let (mut holder, mut waiters) = occupy(&pair).await;
    start(&pair);
    let told = wait_for_reason(&pair, &format!("more than load.max_load = {BUSY}")).await;
    assert!(told.text("reason").starts_with("pausing: 4"), "{}", told.json());
    pair.wait_quiet(STILL, SOON).await;
    assert_eq!(chunks(&pair).await, [], "it was busy from the first chunk on");
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.a").await, 0);

    holder.query_drop("DO RELEASE_LOCK('held')").await.expect("it is released");
    while let Some(waited) = waiters.join_next().await {
        waited.expect("a waiter does not panic");
    }
    let done = wait_for_chunks(&pair, 3).await;
    // And again, in the middle.
    let (mut holder, _waiters) = occupy(&pair).await;
    wait_for_reason(&pair, &format!("more than load.max_load = {BUSY}")).await;
    pair.wait_quiet(STILL, SOON).await;
    let held = chunks(&pair).await;
    assert!(held.len() >= done.len() && held.len() < 100, "{} chunks", held.len());
    holder.query_drop("DO RELEASE_LOCK('held')").await.expect("it is released");
    ends_in_step(&pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_waits_while_the_link_is_further_behind_than_max_lag() {
    let pair = one_way(&format!("initial = \"data\"\nload = {{ {PACE}, max_lag = \"1s\" }}")).await;
    fill(&pair).await;
    start(&pair);
    wait_for_chunks(&pair, 3).await;
    // A row that the stream changes is held in the target.
    let mut holder = pair.us.connect().await;
    holder.query_drop("BEGIN").await.expect("a transaction");
    holder.query_drop("SELECT * FROM shop.a FOR UPDATE").await.expect("a lock");
    pair.eu.run("UPDATE shop.a SET v = 7").await;
    let told = wait_for_reason(&pair, "more than load.max_lag = 1s").await;
    assert!(told.text("reason").starts_with("pausing: the link is "), "{}", told.json());
    let done = chunks(&pair).await;
    assert!(done.len() < 100, "{} chunks", done.len());
    until("the link is still further behind", SOON, async || {
        let status = pair.try_status().await?.link("eu-us")?;
        let lag = status.json()["lag_seconds"].as_f64();
        if lag > Some(2.5) { Ok(()) } else { Err(status.json().to_string()) }
    })
    .await;
    assert_eq!(chunks(&pair).await, done, "chunks were copied although the link is behind");
    holder.query_drop("ROLLBACK").await.expect("it lets go");
    wait_for_chunks(&pair, done.len() + 3).await;
    ends_in_step(&pair).await;
    assert_eq!(pair.us.row::<i64>("SELECT v FROM shop.a").await, 7);
}
