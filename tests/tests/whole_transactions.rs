//! Promise 3: a source transaction is never split across target commits, and a reader of the target never sees a later
//! one without the earlier ones.

use std::time::Duration;

use harness::{Pair, PairOptions, Region, seed, until};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;

const TABLES: [&str; 5] = [
    "CREATE DATABASE shop",
    "CREATE TABLE shop.account (id INT PRIMARY KEY, balance BIGINT NOT NULL)",
    "CREATE TABLE shop.even (k BIGINT PRIMARY KEY)",
    "CREATE TABLE shop.odd (k BIGINT PRIMARY KEY)",
    "CREATE TABLE shop.part (k BIGINT, n INT, PRIMARY KEY (k, n))",
];

/// Accounts in the tables, and what they hold together, always.
const ACCOUNTS: u32 = 10;
const SUM: i64 = 1000;

async fn pair() -> Pair {
    let pair = Pair::new(PairOptions::default()).await;
    for region in [&pair.eu, &pair.us] {
        region.run_all(&TABLES).await;
        for id in 0..ACCOUNTS {
            region
                .run(&format!("INSERT INTO shop.account VALUES ({id}, {})", SUM / i64::from(ACCOUNTS)))
                .await;
        }
    }
    pair.start().await;
    pair
}

/// Transaction `k` moves money between accounts, leaves its number in one of two tables, and `k % 7` rows in a third.
async fn write(region: &Region, seed: u64, stop: &CancellationToken) -> i64 {
    let mut random = StdRng::seed_from_u64(seed);
    let mut session = region.connect().await;
    let mut k = 0;
    while !stop.is_cancelled() {
        k += 1;
        let (from, to) = (random.random_range(0..ACCOUNTS), random.random_range(0..ACCOUNTS));
        let amount: i32 = random.random_range(1..50);
        let side = if k % 2 == 0 { "even" } else { "odd" };
        let mut statements = vec![
            "BEGIN".to_owned(),
            format!("UPDATE shop.account SET balance = balance - {amount} WHERE id = {from}"),
            format!("INSERT INTO shop.{side} VALUES ({k})"),
        ];
        statements.extend((0..k % 7).map(|n| format!("INSERT INTO shop.part VALUES ({k}, {n})")));
        statements.push(format!("UPDATE shop.account SET balance = balance + {amount} WHERE id = {to}"));
        statements.push("COMMIT".to_owned());
        for statement in statements {
            session.query_drop(&statement).await.unwrap_or_else(|e| panic!("{e}: {statement}"));
        }
    }
    k
}

/// One consistent look at the target: how far it has come, after checking that nothing is half there.
async fn look(session: &mut Conn) -> i64 {
    session.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT").await.expect("a snapshot");
    let sum: i64 = number(session, "SELECT SUM(balance) FROM shop.account").await;
    let last = number(
        session,
        "SELECT GREATEST((SELECT COALESCE(MAX(k), 0) FROM shop.even), (SELECT COALESCE(MAX(k), 0) FROM shop.odd))",
    )
    .await;
    let count =
        number(session, "SELECT (SELECT COUNT(*) FROM shop.even) + (SELECT COUNT(*) FROM shop.odd)").await;
    let parts = number(session, "SELECT COUNT(*) FROM shop.part").await;
    session.query_drop("COMMIT").await.expect("the end of a snapshot");
    assert_eq!(sum, SUM, "half a transaction is there, near number {last}");
    assert_eq!(count, last, "number {last} is there without all before it");
    assert_eq!(
        parts,
        (1..=last).map(|k| k % 7).sum::<i64>(),
        "rows of a third table are missing near number {last}"
    );
    last
}

async fn number(session: &mut Conn, query: &str) -> i64 {
    let value: Option<i64> =
        session.query_first(format!("SELECT CAST(({query}) AS SIGNED)")).await.expect(query);
    value.expect("an aggregate has a row")
}

/// Looks until it has seen number `goal`; gives how often it looked and how many different states it saw.
async fn watch(region: &Region, stop: &CancellationToken) -> (u64, u64) {
    let mut session = region.connect().await;
    let (mut looks, mut states, mut last) = (0, 0, 0);
    while !stop.is_cancelled() {
        let now = look(&mut session).await;
        assert!(now >= last, "the target went back from {last} to {now}");
        looks += 1;
        states += u64::from(now > last);
        last = now;
    }
    (looks, states)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_the_target_never_sees_half_a_transaction_or_a_gap() {
    let pair = pair().await;
    let (stop_writing, stop_watching) = (CancellationToken::new(), CancellationToken::new());
    let story = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        // A backlog makes large groups, which are whole all the same.
        pair.link("eu-us").hold();
        tokio::time::sleep(Duration::from_secs(2)).await;
        pair.link("eu-us").release();
        tokio::time::sleep(Duration::from_secs(2)).await;
        stop_writing.cancel();
    };
    let (written, (looks, states), ()) = tokio::join!(
        Box::pin(async {
            let written = write(&pair.eu, seed(), &stop_writing).await;
            pair.wait_in_step(Duration::from_secs(30)).await;
            stop_watching.cancel();
            written
        }),
        Box::pin(watch(&pair.us, &stop_watching)),
        story,
    );
    println!("{written} transactions written, {looks} looks, {states} different states");
    assert!(written > 100 && states > 20, "too little happened to show anything");
    assert_eq!(look(&mut pair.us.connect().await).await, written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_transaction_larger_than_any_group_arrives_whole() {
    let mut pair = Pair::new(PairOptions::default()).await;
    pair.configure(|file| {
        file.add_to_link("eu-us", r#"group = { max_transactions = 10, max_bytes = "64KiB" }"#);
    });
    for region in [&pair.eu, &pair.us] {
        region.run_all(&TABLES).await;
        region.run("CREATE TABLE shop.big (id INT PRIMARY KEY, body LONGBLOB)").await;
    }
    pair.start().await;
    let mut statements = vec!["SET SESSION cte_max_recursion_depth = 100000".to_owned(), "BEGIN".to_owned()];
    statements.push(
        "INSERT INTO shop.part WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 60000) \
         SELECT 1, n FROM c"
            .to_owned(),
    );
    statements.extend((0..8).map(|id| format!("INSERT INTO shop.big VALUES ({id}, REPEAT('x', 3 << 20))")));
    statements.push("COMMIT".to_owned());
    let count = "SELECT CONCAT((SELECT COUNT(*) FROM shop.part), ' ', (SELECT COUNT(*) FROM shop.big))";
    let stop = CancellationToken::new();
    let seen = async {
        let mut seen = Vec::new();
        while !stop.is_cancelled() {
            let now: String = pair.us.row(count).await;
            if seen.last() != Some(&now) {
                seen.push(now);
            }
        }
        seen
    };
    let ((), seen) = tokio::join!(
        Box::pin(async {
            pair.eu.run_all(&statements).await;
            until("the large transaction arrives", Duration::from_secs(60), async || {
                let now: String = pair.us.row(count).await;
                if now == "60000 8" { Ok(()) } else { Err(now) }
            })
            .await;
            stop.cancel();
        }),
        Box::pin(seen)
    );
    assert!(seen.iter().all(|s| s == "0 0" || s == "60000 8"), "half of it was there: {seen:?}");
    pair.wait_in_step(Duration::from_secs(30)).await;
}
