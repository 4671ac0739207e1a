//! DDL of one region while the other writes: rows in flight the other way have not seen it, and both regions end equal
//! all the same.

use std::time::Duration;

use harness::{Pair, PairOptions, Process, defined_alike, seed};
use mysql_async::prelude::Queryable;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(60);
const WAY_BACK: Process = Process::Applier("us-eu");
const TABLES: [&str; 7] = ["t", "emptied", "dropped", "renamed", "swapped", "wider", "narrow"];

async fn pair() -> Pair {
    let pair = Pair::new(PairOptions { ddl: Some("eu-us"), ..PairOptions::default() }).await;
    for region in [&pair.eu, &pair.us] {
        region.run("CREATE DATABASE shop").await;
        for table in TABLES {
            region
                .run_all(&[
                    format!(
                        "CREATE TABLE shop.{table} (id INT PRIMARY KEY, a INT, b VARCHAR(20) DEFAULT 'none', \
                         e ENUM('x', 'y', 'z') DEFAULT 'x')"
                    ),
                    format!("INSERT INTO shop.{table} VALUES (1, 1, 'one', 'x'), (2, 2, 'two', 'y')"),
                ])
                .await;
        }
    }
    pair.start().await;
    pair
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_have_not_seen_a_statement_go_where_their_table_has_gone() {
    let pair = pair().await;
    // Not its connection: the other link's conflict window is behind it too.
    pair.stop_one(WAY_BACK).await;
    for table in TABLES {
        pair.us
            .run_all(&[
                format!("INSERT INTO shop.{table} (id, a, b) VALUES (10, 10, 'in flight')"),
                format!("UPDATE shop.{table} SET a = 20, e = 'z' WHERE id = 2"),
                format!("DELETE FROM shop.{table} WHERE id = 1"),
            ])
            .await;
    }
    pair.eu
        .run_all(&[
            "TRUNCATE TABLE shop.emptied",
            "DROP TABLE shop.dropped",
            "RENAME TABLE shop.renamed TO shop.elsewhere",
            "ALTER TABLE shop.t ADD KEY (a), COMMENT 'the same rows'",
            // As gh-ost ends: the copy takes the place of the table.
            "CREATE TABLE shop._swapped_gho LIKE shop.swapped",
            "INSERT INTO shop._swapped_gho SELECT * FROM shop.swapped",
            "RENAME TABLE shop.swapped TO shop._swapped_del, shop._swapped_gho TO shop.swapped",
            "INSERT INTO shop.swapped VALUES (3, 3, 'new', 'x')",
            "ALTER TABLE shop.wider ADD COLUMN more INT DEFAULT 5 AFTER id, MODIFY e ENUM('z', 'y', 'x')",
            "ALTER TABLE shop.narrow DROP COLUMN b, RENAME COLUMN a TO c",
            "ALTER TABLE shop.narrow MODIFY c BIGINT AFTER e",
        ])
        .await;
    pair.wait_applied("eu-us", SOON).await;
    pair.start_one(WAY_BACK);
    pair.wait_state("us-eu", "running", SOON).await;
    pair.wait_in_step(SOON).await;
    assert_eq!(pair.eu.rows::<i32>("SELECT id FROM shop.emptied").await, [0i32; 0]);
    assert_eq!(pair.eu.rows::<i32>("SELECT id FROM shop.elsewhere ORDER BY id").await, [2, 10]);
    assert_eq!(pair.eu.rows::<i32>("SELECT id FROM shop._swapped_del ORDER BY id").await, [2, 10]);
    assert_eq!(pair.eu.rows::<i32>("SELECT id FROM shop.swapped ORDER BY id").await, [1, 2, 3]);
    assert!(pair.log(WAY_BACK).contains("rows in flight are left out"));
    let wider = "SELECT CONCAT_WS(' ', id, more, a, b, e) FROM shop.wider ORDER BY id";
    assert_eq!(pair.eu.rows::<String>(wider).await, ["2 5 20 two z", "10 5 10 in flight x"]);
    let narrow = "SELECT CONCAT_WS(' ', id, e, c) FROM shop.narrow ORDER BY id";
    assert_eq!(pair.eu.rows::<String>(narrow).await, ["2 z 20", "10 x 10"]);
    // Rows behind it have seen it, and stay.
    pair.us.run("INSERT INTO shop.emptied (id, a) VALUES (11, 11)").await;
    pair.us.run("INSERT INTO shop.swapped (id, a) VALUES (12, 12)").await;
    pair.wait_in_step(SOON).await;
    assert_eq!(pair.eu.rows::<i32>("SELECT id FROM shop.emptied").await, [11]);
    // Which rows of a dropped partition are gone is not guessed.
    pair.eu
        .run("ALTER TABLE shop.t PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (5), PARTITION p1 VALUES LESS THAN MAXVALUE)")
        .await;
    pair.wait_in_step(SOON).await;
    pair.stop_one(WAY_BACK).await;
    pair.us.run("UPDATE shop.t SET a = 0").await;
    pair.eu.run("ALTER TABLE shop.t DROP PARTITION p0").await;
    pair.wait_applied("eu-us", SOON).await;
    pair.start_one(WAY_BACK);
    let status = pair.wait_state("us-eu", "failed", SOON).await;
    assert!(status.last_error().contains("DROP PARTITION p0"), "{}", status.last_error());
}

/// Writers in both regions, each on rows of its own, while eu alters what they write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_altered_under_writers_in_both_regions_end_equal() {
    let pair = pair().await;
    let random = seed();
    let stop = CancellationToken::new();
    let (written_eu, written_us, statements) = tokio::join!(
        Box::pin(write(&pair.eu, random, 1000, &stop)),
        Box::pin(write(&pair.us, random + 1, 2000, &stop)),
        Box::pin(async {
            let statements = alter(&pair, random + 2).await;
            stop.cancel();
            statements
        }),
    );
    println!("{written_eu} and {written_us} rows written, {statements} statements");
    pair.wait_applied("eu-us", SOON).await;
    pair.wait_applied("us-eu", SOON).await;
    pair.wait_in_step(SOON).await;
    let schemas = ["shop".to_owned()];
    defined_alike(&pair.eu, &pair.us, &schemas).await.unwrap_or_else(|e| panic!("{e}"));
    assert!(written_eu > 50 && written_us > 50 && statements > 10, "too little happened to show anything");
    pair.assert_alive();
}

/// How long it alters; `TWINLOG_DDL_SECONDS`, eight when it is not set.
fn duration() -> Duration {
    let seconds = std::env::var("TWINLOG_DDL_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(8))
}

async fn write(region: &harness::Region, seed: u64, first: u32, stop: &CancellationToken) -> u32 {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut session = region.connect().await;
    let mut written = 0;
    while !stop.is_cancelled() {
        let table = TABLES.choose(&mut rng).expect("there are tables");
        let (id, n) = (first + rng.random_range(0..50), rng.random_range(0..1000));
        let statement = match rng.random_range(0..4) {
            0 | 1 => format!("INSERT INTO shop.{table} (id, a, e) VALUES ({id}, {n}, 'y')"),
            2 => format!("UPDATE shop.{table} SET e = 'z' WHERE id = {id}"),
            _ => format!("DELETE FROM shop.{table} WHERE id = {id}"),
        };
        // A table that is away, a row that is there: all of that is life.
        written += u32::from(session.query_drop(&statement).await.is_ok());
        tokio::time::sleep(Duration::from_millis(rng.random_range(1..10))).await;
    }
    written
}

async fn alter(pair: &Pair, seed: u64) -> u32 {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut session = pair.eu.connect().await;
    let end = tokio::time::Instant::now() + duration();
    let mut done = 0;
    while tokio::time::Instant::now() < end {
        let table = TABLES.choose(&mut rng).expect("there are tables");
        let n = rng.random_range(0..1000);
        let statements = match rng.random_range(0..5) {
            0 => vec![format!("TRUNCATE TABLE shop.{table}")],
            1 => vec![
                format!("CREATE TABLE shop.{table}_new LIKE shop.{table}"),
                format!("RENAME TABLE shop.{table} TO shop.{table}_old, shop.{table}_new TO shop.{table}"),
                format!("DROP TABLE shop.{table}_old"),
            ],
            2 => vec![format!("ALTER TABLE shop.{table} ADD KEY k{n} (a, b)")],
            3 => vec![
                format!("RENAME TABLE shop.{table} TO shop.{table}_away"),
                format!("RENAME TABLE shop.{table}_away TO shop.{table}"),
            ],
            _ => vec![format!("ALTER TABLE shop.{table} COMMENT '{n}', ENGINE = InnoDB")],
        };
        for statement in statements {
            done += u32::from(session.query_drop(&statement).await.is_ok());
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(1..80))).await;
    }
    done
}
