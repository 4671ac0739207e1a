//! A prepared XA transaction holds back what is acknowledged: after any restart its rows must still be there to be
//! committed (promises 6 and 7).

use std::time::Duration;

use harness::{Pair, PairOptions, Process, until};

const SOON: Duration = Duration::from_secs(60);
const APPLIER: Process = Process::Applier("eu-us");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_prepared_transaction_needs_is_neither_acknowledged_nor_purged() {
    let mut pair =
        Pair::new(PairOptions { server_args: vec!["--max-binlog-size=1M".into()], ..PairOptions::default() })
            .await;
    pair.configure(|file| file.add_to_region("eu", r#"relay.retain = "1s""#));
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, b LONGBLOB)"])
            .await;
    }
    pair.start().await;
    for (id, xid) in [(1, "'x'"), (2, "X'0102', X'ff', 7"), (3, "'gone'")] {
        let row = format!("INSERT INTO shop.t VALUES ({id}, 'xa')");
        let [start, end, prepare] = ["START", "END", "PREPARE"].map(|word| format!("XA {word} {xid}"));
        pair.eu.run_all(&[&start, &row, &end, &prepare]).await;
    }
    // Several files of the source, and as many segments.
    for id in 10..20 {
        pair.eu.run(&format!("INSERT INTO shop.t VALUES ({id}, REPEAT('x', 700000))")).await;
    }
    until("what came behind it is applied", SOON, async || {
        match pair.us.rows::<i32>("SELECT id FROM shop.t ORDER BY id").await {
            ids if ids == (10..20).collect::<Vec<_>>() => Ok(()),
            ids => Err(format!("{ids:?}")),
        }
    })
    .await;
    // Nothing waits to be applied: there is no lag, once the last group is counted.
    until("the lag is gone", SOON, async || {
        let status = pair.link_status("eu-us").await;
        if status.json()["lag_seconds"].as_f64() == Some(0.0) {
            Ok(())
        } else {
            Err(status.json().to_string())
        }
    })
    .await;
    // The relay purges once a second or so.
    tokio::time::sleep(Duration::from_secs(8)).await;
    for _ in 0..2 {
        pair.kill9(APPLIER);
        pair.start_one(APPLIER);
        pair.wait_state("eu-us", "running", SOON).await;
    }
    let acknowledged = acknowledged(&pair).await;
    assert!(acknowledged < 1 << 20, "no file is that long: {acknowledged}");
    pair.eu.run("XA COMMIT X'0102', X'ff', 7").await;
    pair.eu.run("XA ROLLBACK 'gone'").await;
    pair.eu.run("INSERT INTO shop.t VALUES (30, 'between')").await;
    pair.eu.run("XA COMMIT 'x'").await;
    pair.wait_in_step(SOON).await;
    let ids = pair.us.rows::<i32>("SELECT id FROM shop.t WHERE id < 10 ORDER BY id").await;
    assert_eq!(ids, [1, 2]);
    let all = pair.eu.executed().await.minus(&pair.us.executed().await);
    let missing = all.minus(&pair.checkpoint(&pair.us).await);
    assert!(missing.is_empty(), "not in the checkpoint: {missing}");
    // With nothing prepared any more, the log behind it may go.
    until("the relay log is purged", SOON, async || {
        let relay = pair.try_status().await?.relay("eu")?;
        if relay.count("segments") < 6 { Ok(()) } else { Err(relay.json().to_string()) }
    })
    .await;
}

/// The position in its file that the link has acknowledged to the relay of eu.
async fn acknowledged(pair: &Pair) -> u64 {
    until("a position is acknowledged", SOON, async || {
        let relay = pair.try_status().await?.relay("eu")?;
        let downstreams = relay.json()["downstreams"].as_array().cloned().unwrap_or_default();
        let link = downstreams.iter().find(|d| d["name"] == "shop/eu/us");
        let place = link.and_then(|d| d["acknowledged"].as_str()).unwrap_or_default();
        let position = place.rsplit_once(':').and_then(|(_, position)| position.parse().ok());
        position.ok_or_else(|| relay.json().to_string())
    })
    .await
}
