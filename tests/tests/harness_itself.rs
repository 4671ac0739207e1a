//! The harness, where a scenario's verdict rests on it.

use std::time::Duration;

use harness::{Pace, Region, RegionOptions, Workload, difference, seed, take_slot};

fn region(name: &'static str, server_id: u32) -> RegionOptions {
    RegionOptions { name, server_id, extra_args: Vec::new() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_know_what_they_committed_over_kills_of_their_server() {
    let _slot = take_slot().await;
    let [eu] = Region::start_all([region("eu", 1)]);
    Workload::prepare_in(&eu).await;
    let workload = Workload::start_in(&[&eu], seed(), Pace::Full);
    for _ in 0..3 {
        workload.wait_for_more(200).await;
        eu.kill9();
        eu.restart();
    }
    workload.wait_for_more(50).await;
    workload.stop().await.assert_in(&eu).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[should_panic(expected = "counter")]
async fn a_counter_raised_once_too_often_is_noticed() {
    let _slot = take_slot().await;
    let [eu] = Region::start_all([region("eu", 1)]);
    Workload::prepare_in(&eu).await;
    let workload = Workload::start_in(&[&eu], seed(), Pace::Full);
    workload.wait_for_more(20).await;
    let committed = workload.stop().await;
    eu.run("UPDATE shop.counter SET n = n + 1 ORDER BY n DESC LIMIT 1").await;
    committed.assert_in(&eu).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_difference_names_the_table_and_the_rows() {
    let _slot = take_slot().await;
    let [eu, us] = Region::start_all([region("eu", 1), region("us", 2)]);
    for region in [&eu, &us] {
        region.run_all(&["CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY, b TEXT)"]).await;
        region.run("INSERT INTO d.t VALUES (1, 'same'), (2, 'same')").await;
    }
    let schemas = ["d".to_owned()];
    assert_eq!(Box::pin(difference(&eu, &us, &schemas)).await, Ok(()));
    us.run("UPDATE d.t SET b = 'other' WHERE a = 2").await;
    let text = Box::pin(difference(&eu, &us, &schemas)).await.unwrap_err();
    assert!(text.contains("`d`.`t` differs: 2 rows in eu, 2 rows in us"), "{text}");
    assert!(text.contains("1 x '2', 'other'") && !text.contains("'1', 'same'"), "{text}");
    us.run("CREATE TABLE d.more (a INT PRIMARY KEY)").await;
    let text = Box::pin(difference(&eu, &us, &schemas)).await.unwrap_err();
    assert!(text.contains("`d`.`more`"), "{text}");
    // A killed server is waited for.
    eu.kill9();
    let (rows, ()) = tokio::join!(eu.rows::<i32>("SELECT a FROM d.t"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        eu.restart();
    });
    assert_eq!(rows, [1, 2]);
}
