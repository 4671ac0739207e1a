//! A random workload against a source that both a stock MySQL replica and a link follow: every few seconds all three
//! are compared, definitions and rows.
//!
//! `TWINLOG_DIFFERENTIAL_SECONDS` makes it longer: 45 when it is not set, 1800 for the long run.

use std::time::Duration;

use harness::{
    Generator, Pair, PairOptions, Process, Region, RegionOptions, defined_alike, difference, replica_state,
    replicate, seed, until,
};

/// For the followers to have all.
const SOON: Duration = Duration::from_secs(180);
/// How long is written between two comparisons.
const ROUND: Duration = Duration::from_secs(7);

fn duration() -> Duration {
    let seconds = std::env::var("TWINLOG_DIFFERENTIAL_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(45))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_and_a_stock_replica_end_equal_to_their_source() {
    let schemas = ["alpha", "beta"].map(str::to_owned).to_vec();
    let pair = Pair::one_way(PairOptions {
        ddl: Some("eu-us"),
        schemas: schemas.clone(),
        server_args: vec!["--max-binlog-size=4M".into()],
        ..PairOptions::default()
    })
    .await;
    let replica = Region::start(RegionOptions {
        name: "replica",
        server_id: 9,
        extra_args: vec!["--skip-log-bin".into(), "--replica-parallel-workers=2".into()],
    });
    pair.us.run("GRANT CREATE VIEW, SHOW VIEW, SET_ANY_DEFINER, SYSTEM_USER ON *.* TO 'twinlog_writer'@'127.0.0.1'").await;
    pair.start_one(Process::Relay("eu"));
    pair.start_one(Process::Applier("eu-us"));
    pair.wait_state("eu-us", "running", SOON).await;
    replicate(&replica, pair.eu.port(), "root", "", "GET_SOURCE_PUBLIC_KEY = 1").await;
    for schema in &schemas {
        pair.eu.run(&format!("CREATE DATABASE {schema}")).await;
    }
    let random = seed();
    let mut generator = Generator::new(&pair.eu, random, &schemas).await;
    let end = tokio::time::Instant::now() + duration();
    let mut rounds = 0;
    while tokio::time::Instant::now() < end {
        generator.write_for(&pair.eu, ROUND).await;
        rounds += 1;
        compare(&pair, &replica, &schemas).await;
        println!("round {rounds}: equal after {}", generator.done());
    }
    println!("seed {random}: {rounds} rounds, {}", generator.done());
    assert!(generator.done().accepted() > 200 && generator.done().defined() > 10, "too little happened");
}

async fn compare(pair: &Pair, replica: &Region, schemas: &[String]) {
    let executed = pair.eu.executed().await;
    until("the replica has all", SOON, async || {
        let missing = executed.minus(&replica.executed().await);
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing} {}", replica_state(replica).await)) }
    })
    .await;
    pair.wait_applied("eu-us", SOON).await;
    for other in [replica, &pair.us] {
        defined_alike(&pair.eu, other, schemas).await.unwrap_or_else(|e| panic!("{e}"));
        Box::pin(difference(&pair.eu, other, schemas)).await.unwrap_or_else(|e| panic!("{e}"));
    }
}
