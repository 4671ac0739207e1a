//! Where a relay begins, and what it keeps: a lost disk, a lost index.

use std::time::Duration;

use harness::{Pace, Pair, PairOptions, Process, Region, Workload, seed, until};

const RELAY: Process = Process::Relay("eu");
const APPLIER: Process = Process::Applier("eu-us");
const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_lost_its_disk_begins_where_its_links_are_and_nothing_is_missing() {
    let pair = Pair::new(PairOptions::default()).await;
    Workload::prepare(&pair).await;
    pair.start().await;
    let workload = Workload::start(&pair, seed(), Pace::Calm);
    workload.wait_for_more(60).await;
    // The link falls behind, so that what it lacks is nowhere but at the source.
    pair.kill9(APPLIER);
    workload.wait_for_more(60).await;
    pair.kill9(RELAY);
    std::fs::remove_dir_all(pair.relay_dir("eu")).expect("the relay's folder");
    workload.wait_for_more(60).await;
    pair.start_one(RELAY);
    // It waits for the link, and the link finds it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    pair.start_one(APPLIER);
    workload.wait_for_more(60).await;
    pair.wait_running().await;
    let committed = workload.stop().await;
    pair.wait_in_step(SOON).await;
    committed.assert_in_both(&pair).await;
    pair.assert_alive();
    let log = pair.log(RELAY);
    assert!(log.matches("relay log begins").count() == 2, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_no_link_asks_begins_at_the_present_after_a_while() {
    let pair = Pair::new(PairOptions::default()).await;
    Workload::prepare(&pair).await;
    let executed = pair.eu.executed().await;
    pair.start_one(RELAY);
    let status = until("the relay runs", SOON, async || {
        let status = pair.try_status().await?.relay("eu")?;
        if status.state() == "running" { Ok(status) } else { Err(status.json().to_string()) }
    })
    .await;
    let purged: binlog::GtidSet = status.text("gtid_purged").parse().expect("a set");
    assert_eq!(purged, executed);
    assert!(pair.log(RELAY).contains("links have not asked"), "{}", pair.log(RELAY));
}

/// So many files at the source, with something in each.
async fn files(region: &Region, n: usize) {
    for _ in 0..n {
        region.run_all(&["INSERT INTO shop.tape VALUES (77, 1)", "FLUSH BINARY LOGS"]).await;
    }
}

async fn segments(pair: &Pair) -> u64 {
    let status = pair.try_status().await.and_then(|status| status.relay("eu"));
    status.unwrap_or_else(|e| panic!("no status: {e}")).count("segments")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_rebuilt_index_nothing_is_purged_until_the_links_have_attached_again() {
    let mut pair = Pair::new(PairOptions::default()).await;
    pair.configure(|file| {
        file.add_to_region("eu", r#"relay.start = "oldest""#);
        file.add_to_region("eu", r#"relay.retain = "1s""#);
    });
    Workload::prepare(&pair).await;
    pair.start().await;
    files(&pair.eu, 6).await;
    pair.wait_in_step(SOON).await;
    // What the link has is purged.
    until("the log is purged", SOON, async || match segments(&pair).await {
        0..=3 => Ok(()),
        n => Err(format!("{n} segments")),
    })
    .await;
    pair.kill9(APPLIER);
    files(&pair.eu, 6).await;
    until("the relay has the new files", SOON, async || match segments(&pair).await {
        7.. => Ok(()),
        n => Err(format!("{n} segments")),
    })
    .await;
    pair.kill9(RELAY);
    std::fs::remove_dir_all(pair.relay_dir("eu").join("index")).expect("the index's folder");
    pair.start_one(RELAY);
    files(&pair.eu, 2).await;
    let before = until("the relay runs again", SOON, async || {
        let status = pair.try_status().await?.relay("eu")?;
        let has_all = status.state() == "running" && status.count("segments") >= 9;
        if has_all { Ok(status.count("segments")) } else { Err(status.json().to_string()) }
    })
    .await;
    // Longer than two rounds of purging, and than what is to be retained.
    tokio::time::sleep(Duration::from_secs(13)).await;
    assert!(segments(&pair).await >= before, "purged without the link");
    pair.start_one(APPLIER);
    pair.wait_in_step(SOON).await;
    until("the log is purged again", SOON, async || match segments(&pair).await {
        0..=3 => Ok(()),
        n => Err(format!("{n} segments")),
    })
    .await;
    pair.assert_alive();
}
