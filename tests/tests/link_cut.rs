//! The link cut in mid-transaction, for seconds, again and again.

use std::time::Duration;

use harness::{Pace, Pair, PairOptions, Process, Workload, seed, until};
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

/// What the target wrote since the source's region last heard of it is read once, however often the link is cut; and it
/// still tells a conflict.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_cut_does_not_read_the_target_s_log_again_and_still_knows_who_wrote_there() {
    let mut pair = Pair::new(PairOptions::default()).await;
    pair.configure(|file| {
        for link in ["eu-us", "us-eu"] {
            file.add_to_link(link, "on_conflict = \"newest\"");
        }
    });
    for region in [&pair.eu, &pair.us] {
        region.run_all(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, n INT)"]).await;
    }
    pair.start().await;
    pair.eu.run("INSERT INTO shop.t VALUES (1, 0), (2, 0)").await;
    pair.wait_in_step(IN_STEP).await;
    // eu hears nothing of this.
    pair.stop_one(Process::Applier("us-eu")).await;
    for n in 1..=40 {
        pair.us.run(&format!("UPDATE shop.t SET n = {n} WHERE id = 1")).await;
    }
    let unseen = pair.us.gtid_executed().await;
    // A row of its own: to commit it the link reads the target's log as far as that.
    pair.eu.run("UPDATE shop.t SET n = 1 WHERE id = 2").await;
    pair.wait_applied("eu-us", IN_STEP).await;
    let attached = || {
        let log = pair.log(Process::Relay("us"));
        let mine = log.lines().filter(|line| line.contains("attached") && line.contains("shop/eu/us#window"));
        mine.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = attached().len();
    pair.link("eu-us").cut();
    pair.link("eu-us").mend();
    let last = until("the link reads the target's log again", IN_STEP, async || {
        let all = attached();
        all.get(before..).and_then(<[_]>::last).cloned().ok_or(format!("{all:?}"))
    })
    .await;
    let from = last.split("from=after ").nth(1).unwrap_or_else(|| panic!("{last}"));
    let from: binlog::GtidSet = from.trim().parse().unwrap_or_else(|_| panic!("{last}"));
    let unseen: binlog::GtidSet = unseen.parse().expect("a GTID set");
    assert!(from.contains_all(&unseen), "it begins behind {from}, and {unseen} was read before");
    pair.eu.run("UPDATE shop.t SET n = -1 WHERE id = 1").await;
    pair.wait_applied("eu-us", IN_STEP).await;
    let query = "SELECT CONCAT_WS(' ', table_name, kind, operation) FROM twinlog.conflict";
    assert_eq!(pair.us.rows::<String>(query).await, ["t changed update"]);
    pair.start_one(Process::Applier("us-eu"));
    pair.wait_in_step(IN_STEP).await;
}
