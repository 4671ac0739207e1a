//! Promise 2, exactly once: whatever is killed at whatever moment, every row and every counter is what the writers know.

use std::time::Duration;

use harness::{Pace, Pair, PairOptions, Process, Workload, seed};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// What is left to do after the last kill: backlog of the whole test in the worst case.
const IN_STEP: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_kills_of_random_processes_lose_and_double_nothing() {
    let pair = Pair::new(PairOptions::default()).await;
    Workload::prepare(&pair).await;
    pair.start().await;
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let workload = Workload::start(&pair, seed, Pace::Full);
    for round in 0..30 {
        tokio::time::sleep(Duration::from_millis(random.random_range(50..1500))).await;
        let victim = *Process::ALL.choose(&mut random).expect("there are four");
        pair.kill9(victim);
        println!("round {round}: killed {}", victim.name());
        // Some stay away for a moment, so that backlogs build up and others meet a closed door.
        tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
        pair.start_one(victim);
    }
    pair.wait_running().await;
    let committed = workload.stop().await;
    pair.wait_in_step(IN_STEP).await;
    committed.assert_in_both(&pair).await;
    pair.assert_alive();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_mysqld_loses_and_doubles_nothing() {
    let pair = Pair::new(PairOptions::default()).await;
    Workload::prepare(&pair).await;
    pair.start().await;
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let workload = Workload::start(&pair, seed, Pace::Full);
    for round in 0..4 {
        tokio::time::sleep(Duration::from_millis(random.random_range(500..3000))).await;
        // Each region is source and target: its relay loses its source, an applier its target.
        let region = if random.random_bool(0.5) { &pair.eu } else { &pair.us };
        println!("round {round}: killing mysqld of {}", region.name());
        region.kill9();
        tokio::time::sleep(Duration::from_millis(random.random_range(0..1000))).await;
        region.restart();
        workload.wait_for_more(100).await;
    }
    pair.wait_running().await;
    let committed = workload.stop().await;
    pair.wait_in_step(IN_STEP).await;
    committed.assert_in_both(&pair).await;
    pair.assert_alive();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_stopped_in_good_order_resume_where_they_were() {
    let pair = Pair::new(PairOptions::default()).await;
    Workload::prepare(&pair).await;
    pair.start().await;
    let workload = Workload::start(&pair, seed(), Pace::Calm);
    for process in Process::ALL {
        workload.wait_for_more(50).await;
        let status = pair.stop_one(process).await;
        assert!(status.success(), "{} ended with {status}", process.name());
        workload.wait_for_more(50).await;
        pair.start_one(process);
    }
    pair.wait_running().await;
    let committed = workload.stop().await;
    pair.wait_in_step(IN_STEP).await;
    committed.assert_in_both(&pair).await;
}
