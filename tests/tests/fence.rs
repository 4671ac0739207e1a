//! Promise 2, the fence: a COMMIT whose outcome nobody heard, and a second applier of the same link, apply nothing twice.

use std::time::Duration;

use harness::{Pace, Pair, PairOptions, Process, Proxy, Workload, seed, until};

const IN_STEP: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(20);

/// The applier under test.
const APPLIER: Process = Process::Applier("eu-us");

/// A pair whose applier eu-us reaches its target through a proxy of its own.
async fn with_a_proxy_before_the_target() -> (Pair, Proxy) {
    let pair = Pair::new(PairOptions::default()).await;
    Workload::prepare(&pair).await;
    let proxy = Proxy::start(pair.us.address().to_owned()).await;
    let mut file = pair.file().clone();
    file.set_mysql_address("us", &proxy.address());
    // The proxy looks for a word in what passes.
    file.add_to_region("us", r#"mysql.tls = "disabled""#);
    let config = file.write("behind-a-proxy.toml");
    for process in Process::ALL {
        if process == APPLIER {
            pair.start_one_with(process, &config);
        } else {
            pair.start_one(process);
        }
    }
    pair.wait_running().await;
    (pair, proxy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_not_done_again() {
    let (pair, proxy) = with_a_proxy_before_the_target().await;
    let workload = Workload::start_in(&[&pair.eu], seed(), Pace::Calm);
    for round in 1..=6 {
        workload.wait_for_more(20).await;
        // The command's byte in front tells it from READ-COMMITTED.
        proxy.swallow_the_answer_to("\x03COMMIT");
        until("an answer is swallowed", SOON, async || {
            if proxy.swallowed() >= round { Ok(()) } else { Err(format!("{} are", proxy.swallowed())) }
        })
        .await;
    }
    let committed = workload.stop().await;
    pair.wait_in_step(IN_STEP).await;
    committed.assert_in_both(&pair).await;
    pair.assert_alive();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_connection_cut_at_any_byte_loses_and_doubles_nothing() {
    let (pair, proxy) = with_a_proxy_before_the_target().await;
    let seed = seed();
    let workload = Workload::start_in(&[&pair.eu], seed, Pace::Full);
    for round in 0..10 {
        pair.wait_state("eu-us", "running", IN_STEP).await;
        // Within the login, a table's definition, or the answers to a group.
        proxy.cut_after(1 + (seed >> round) % 20_011);
        until("the connection is cut", SOON, async || {
            if proxy.is_cut() { Ok(()) } else { Err(format!("round {round}")) }
        })
        .await;
        proxy.mend();
    }
    let committed = workload.stop().await;
    pair.wait_in_step(IN_STEP).await;
    committed.assert_in_both(&pair).await;
    pair.assert_alive();
}

/// Commits of the writer's account that are held at this moment.
async fn held(pair: &Pair) -> u64 {
    pair.us
        .row("SELECT COUNT(*) FROM performance_schema.processlist WHERE state LIKE '%semi-sync ACK%' AND user LIKE 'twinlog%'")
        .await
}

async fn wait_until_held(pair: &Pair) {
    until("the applier's commit is held", SOON, async || match held(pair).await {
        1 => Ok(()),
        other => Err(format!("{other} are held")),
    })
    .await;
}

/// One transaction, with nothing in it that could be done twice unseen.
async fn one_transaction(pair: &Pair) {
    pair.eu
        .transaction(&[
            "UPDATE shop.counter SET n = n + 1 WHERE id = 8",
            "INSERT INTO shop.tape VALUES (1, 1)",
            "UPDATE shop.account SET balance = balance - 10 WHERE id = 4",
        ])
        .await;
}

async fn assert_applied_once(pair: &Pair) {
    pair.wait_in_step(IN_STEP).await;
    let found: (i64, i64, i64) = pair
        .us
        .row(
            "SELECT (SELECT n FROM shop.counter WHERE id = 8), (SELECT COUNT(*) FROM shop.tape), \
             (SELECT CAST(balance AS SIGNED) FROM shop.account WHERE id = 4)",
        )
        .await;
    assert_eq!(found, (1, 1, 990));
    let checkpoint = pair.checkpoint(&pair.us).await;
    assert!(
        checkpoint.contains_all(&pair.eu.executed().await.minus(&pair.us.executed().await)),
        "{checkpoint}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_commit_of_a_killed_applier_is_waited_out() {
    let pair = Pair::one_way(PairOptions::default()).await;
    Workload::prepare(&pair).await;
    pair.start_one(Process::Relay("eu"));
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "running", IN_STEP).await;
    pair.us.hold_commits().await;
    one_transaction(&pair).await;
    wait_until_held(&pair).await;
    pair.kill9(APPLIER);
    pair.start_one(APPLIER);
    // The new one meets the lock of the old one's transaction and must not go past it.
    until("the new applier waits for the old one's commit", SOON, async || {
        let waits: u64 = pair.us.row("SELECT COUNT(*) FROM performance_schema.data_lock_waits").await;
        if waits > 0 { Ok(()) } else { Err("nobody waits for a lock".into()) }
    })
    .await;
    assert_eq!(held(&pair).await, 1, "the server has given the held commit up");
    pair.us.release_commits().await;
    assert_applied_once(&pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_commit_of_a_cut_connection_is_waited_out() {
    let (pair, proxy) = with_a_proxy_before_the_target().await;
    pair.us.hold_commits().await;
    one_transaction(&pair).await;
    wait_until_held(&pair).await;
    proxy.cut();
    proxy.mend();
    until("the applier is back and waits for its own commit", SOON, async || {
        let waits: u64 = pair.us.row("SELECT COUNT(*) FROM performance_schema.data_lock_waits").await;
        if waits > 0 { Ok(()) } else { Err("nobody waits for a lock".into()) }
    })
    .await;
    pair.us.release_commits().await;
    assert_applied_once(&pair).await;
    pair.assert_alive();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_applier_of_a_link_fences_the_first_off() {
    let pair = Pair::new(PairOptions::default()).await;
    Workload::prepare(&pair).await;
    pair.start().await;
    let workload = Workload::start(&pair, seed(), Pace::Full);
    workload.wait_for_more(100).await;
    let mut second = pair.spawn("second-applier", APPLIER, pair.config());
    until("one of the two gives way", SOON, async || {
        let logs = [pair.log(APPLIER), second.log()];
        if logs.iter().any(|l| l.contains("another applier")) { Ok(()) } else { Err(logs.concat()) }
    })
    .await;
    workload.wait_for_more(300).await;
    assert!(second.ended().is_none(), "the second one has ended");
    let committed = workload.stop().await;
    pair.wait_in_step(IN_STEP).await;
    committed.assert_in_both(&pair).await;
}
