//! The main job: applications write in both regions, and both end up equal.

use std::time::Duration;

use harness::{Pace, Pair, PairOptions, Workload, seed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_regions_written_at_once_end_up_equal() {
    let pair = Pair::new(PairOptions::default()).await;
    Workload::prepare(&pair).await;
    pair.start().await;
    let workload = Workload::start(&pair, seed(), Pace::Full);
    workload.wait_for_more(3000).await;
    let committed = workload.stop().await;
    pair.wait_in_step(Duration::from_secs(60)).await;
    committed.assert_in_both(&pair).await;
    pair.assert_alive();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_read_the_servers_themselves_end_up_equal_too() {
    let pair = Pair::new(PairOptions { relays: false, ..PairOptions::default() }).await;
    Workload::prepare(&pair).await;
    pair.start().await;
    let workload = Workload::start(&pair, seed(), Pace::Full);
    workload.wait_for_more(1000).await;
    let committed = workload.stop().await;
    pair.wait_in_step(Duration::from_secs(60)).await;
    committed.assert_in_both(&pair).await;
    pair.assert_alive();
}
