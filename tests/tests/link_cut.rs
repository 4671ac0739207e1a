//! The link cut in mid-transaction, for seconds, again and again.

use std::time::Duration;

use harness::{Pace, Pair, PairOptions, Workload, seed, until};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const IN_STEP: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_cut_twenty_times_in_mid_transaction_loses_and_doubles_nothing() {
    let pair = Pair::new(PairOptions::default()).await;
    Workload::prepare(&pair).await;
    pair.start().await;
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let workload = Workload::start(&pair, seed, Pace::Full);
    for round in 0..20 {
        let link = if random.random_bool(0.5) { "eu-us" } else { "us-eu" };
        // After a number of bytes that ends inside an event more often than not.
        pair.link(link).cut_after(random.random_range(1..20_000));
        until("the link is cut", Duration::from_secs(30), async || {
            if pair.link(link).is_cut() {
                Ok(())
            } else {
                Err(format!("{link} still stands in round {round}"))
            }
        })
        .await;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..1500))).await;
        pair.link(link).mend();
    }
    // The writers write as fast as their region lets them: a link that was cut off that often is behind them.
    let committed = workload.stop().await;
    pair.wait_in_step(IN_STEP).await;
    pair.wait_running().await;
    committed.assert_in_both(&pair).await;
    pair.assert_alive();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_falls_silent_is_noticed_and_made_anew() {
    let pair = Pair::new(PairOptions::default()).await;
    Workload::prepare(&pair).await;
    pair.start().await;
    let workload = Workload::start(&pair, seed(), Pace::Calm);
    workload.wait_for_more(50).await;
    // Nothing is delivered and nobody closes: only missed heartbeats can tell.
    pair.link("eu-us").hold();
    until("the applier gives the silent link up", Duration::from_secs(90), async || {
        match pair.link_status("eu-us").await.state() {
            "running" => Err("it still says it runs".into()),
            _ => Ok(()),
        }
    })
    .await;
    pair.link("eu-us").release();
    let committed = workload.stop().await;
    pair.wait_in_step(IN_STEP).await;
    committed.assert_in_both(&pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_and_distant_link_still_ends_in_step() {
    let pair = Pair::new(PairOptions::default()).await;
    Workload::prepare(&pair).await;
    for link in ["eu-us", "us-eu"] {
        pair.link(link).delay(Duration::from_millis(75));
        pair.link(link).limit(2 << 20);
    }
    pair.start().await;
    let workload = Workload::start(&pair, seed(), Pace::Full);
    workload.wait_for_more(1000).await;
    let committed = workload.stop().await;
    pair.wait_in_step(IN_STEP).await;
    committed.assert_in_both(&pair).await;
}
