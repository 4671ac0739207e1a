//! Promises 4 and 7: a transaction never returns to its origin, idle regions fall silent, and a pair that is busy one
//! way keeps its logs bounded.

use std::time::Duration;

use harness::{Pace, Pair, PairOptions, Workload, seed, until};

/// Promise 7: drops are persisted after 10 s at the latest, and nothing follows from that.
const FALLS_SILENT: Duration = Duration::from_secs(15);

const IN_STEP: Duration = Duration::from_secs(60);

/// Silent within 15 s from now, and for 30 s from then on: longer than any timer that could write once more.
async fn assert_falls_silent(pair: &Pair) {
    tokio::time::sleep(FALLS_SILENT).await;
    let still = Duration::from_secs(30);
    pair.wait_quiet(still, still + Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_servers_fall_silent_after_the_last_write() {
    let pair = Pair::new(PairOptions::default()).await;
    Workload::prepare(&pair).await;
    pair.start().await;
    let workload = Workload::start(&pair, seed(), Pace::Calm);
    workload.wait_for_more(400).await;
    let written = workload.written();
    let committed = workload.stop().await;
    pair.wait_in_step(IN_STEP).await;
    assert_falls_silent(&pair).await;
    committed.assert_in_both(&pair).await;
    let (there, back) = (pair.link_status("eu-us").await, pair.link_status("us-eu").await);
    // What a link applied is what was written in its source, no more: the rest of the source's log was echo.
    let applied = there.count("transactions_applied") + back.count("transactions_applied");
    assert!(applied >= written && applied <= written + 20, "{written} written, {applied} applied");
    assert!(there.count("echo_dropped") > 0 && back.count("echo_dropped") > 0, "{:?} {:?}", there, back);
    pair.assert_alive();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_fall_silent_after_ddl_on_the_link_that_carries_it() {
    let pair = Pair::new(PairOptions { ddl: Some("eu-us"), ..PairOptions::default() }).await;
    Workload::prepare(&pair).await;
    pair.start().await;
    let workload = Workload::start(&pair, seed(), Pace::Calm);
    for round in 0..3 {
        pair.eu
            .run_all(&[
                format!("CREATE TABLE shop.extra{round} (id INT PRIMARY KEY, t TEXT)"),
                format!("INSERT INTO shop.extra{round} VALUES (1, 'one'), (2, 'two')"),
                format!(
                    "ALTER TABLE shop.extra{round} ADD COLUMN more INT DEFAULT 7 AFTER id, ADD KEY (more)"
                ),
                format!("INSERT INTO shop.extra{round} VALUES (3, 8, 'three')"),
                format!("TRUNCATE TABLE shop.extra{round}"),
                format!("INSERT INTO shop.extra{round} VALUES (4, 9, 'four')"),
                format!("CREATE TABLE shop.gone{round} LIKE shop.extra{round}"),
                format!("DROP TABLE shop.gone{round}"),
                format!("ALTER TABLE shop.extra{round} RENAME TO shop.kept{round}"),
            ])
            .await;
        workload.wait_for_more(50).await;
    }
    let committed = workload.stop().await;
    pair.wait_in_step(IN_STEP).await;
    assert_falls_silent(&pair).await;
    committed.assert_in_both(&pair).await;
    let kept: Vec<(i32, i32, String)> = pair.us.rows("SELECT * FROM shop.kept2").await;
    assert_eq!(kept, [(4, 9, "four".to_owned())]);
    assert_eq!(pair.link_status("eu-us").await.count("ddl_applied"), 18);
    assert_eq!(pair.link_status("us-eu").await.count("ddl_applied"), 0);
    pair.assert_alive();
}

/// Small binlog files make small segments, and nothing is kept that a link does not need.
fn small_logs() -> PairOptions {
    PairOptions { server_args: vec!["--max-binlog-size=1M".into()], ..PairOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_region_and_an_idle_one_keep_both_relay_logs_bounded() {
    const LIMIT: u64 = 12 << 20;
    let mut pair = Pair::new(small_logs()).await;
    pair.configure(|file| {
        for region in ["eu", "us"] {
            file.add_to_region(region, r#"relay.retain = "1s""#);
            // At the limit a relay stops pulling: a log that is not purged ends the test by itself.
            file.add_to_region(region, r#"relay.max_size = "16MiB""#);
        }
    });
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, b LONGBLOB)"])
            .await;
    }
    pair.start().await;
    let mut highest = [0; 2];
    // 60 MB go through, five times what may lie around, while us itself never writes.
    for batch in 0..60 {
        let rows: Vec<String> = (0..10)
            .map(|n| format!("INSERT INTO shop.t VALUES ({}, REPEAT('x', 100000))", batch * 10 + n))
            .collect();
        pair.eu.run_all(&rows).await;
        if batch % 5 == 4 {
            pair.wait_in_step(IN_STEP).await;
            let status = pair.try_status().await.expect("a status");
            for (highest, region) in highest.iter_mut().zip(["eu", "us"]) {
                let bytes = status.relay(region).expect("a relay").count("log_bytes");
                *highest = bytes.max(*highest);
            }
        }
    }
    println!("highest log sizes: {highest:?}");
    // Drops are persisted, and with that acknowledged, after 10 s or 64 MiB; then the rest can go as well.
    until("both relay logs are purged", Duration::from_secs(60), async || {
        let status = pair.try_status().await?;
        for region in ["eu", "us"] {
            let relay = status.relay(region)?;
            if relay.count("log_bytes") > LIMIT {
                return Err(relay.json().to_string());
            }
        }
        Ok(())
    })
    .await;
    pair.wait_quiet(Duration::from_secs(15), Duration::from_secs(45)).await;
}
