//! Relays in a row: each the source of the next.

use std::time::Duration;

use harness::{
    LoneRelay, Pace, Proxy, Region, RegionOptions, Sources, Workload, replica_state, replicate_relay, seed,
    take_slot, until, wait_equal,
};

fn source_and_replica() -> [Region; 2] {
    Region::start_all([("eu", 1), ("replica", 33)].map(|(name, server_id)| RegionOptions {
        name,
        server_id,
        extra_args: Vec::new(),
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_relays_in_a_row_give_a_replica_everything_though_the_middle_one_is_killed() {
    let _slot = take_slot().await;
    let [source, replica] = source_and_replica();
    Workload::prepare_in(&source).await;
    let workload = Workload::start_in(&[&source], seed(), Pace::Full);
    workload.wait_for_more(50).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lines = |id: &'static str| [r#"relay.start = "oldest""#, id, "relay.semi_sync = true"];
    let first_source = Sources::servers(&[&source]).await;
    let mut first = LoneRelay::new(folder.path(), "first", &first_source, &lines("relay.server_id = 501"));
    first.start_and_wait().await;
    let second_source = Sources::relay(&first);
    let mut second = LoneRelay::new(folder.path(), "second", &second_source, &lines("relay.server_id = 502"));
    second.start_and_wait().await;
    let third_source = Sources::relay(&second);
    let mut third = LoneRelay::new(folder.path(), "third", &third_source, &lines("relay.server_id = 503"));
    third.start_and_wait().await;
    replicate_relay(&replica, &third, "SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 1").await;
    for round in 0..4 {
        workload.wait_for_more(60).await;
        source.run("FLUSH BINARY LOGS").await;
        second.kill9();
        if round % 2 == 1 {
            // Long enough for the third to look for it a few times.
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        second.start();
    }
    workload.wait_for_more(60).await;
    let committed = workload.stop().await;
    wait_equal(&source, &replica).await;
    committed.assert_in(&replica).await;
    // Files and positions are the source's, all the way.
    let executed = source.executed().await;
    let (file, position): (String, u64) = {
        let row: (String, u64, String, String, String) = source.row("SHOW BINARY LOG STATUS").await;
        (row.0, row.1)
    };
    for relay in [&first, &second, &third] {
        relay.wait_durable(&executed).await;
        let rows = relay.connect().await.query_rows("SHOW BINARY LOG STATUS").await.expect("an answer");
        let row = rows.first().expect("a row");
        let place = (row.text("File").expect("a file"), row.parse::<u64>("Position").expect("a position"));
        assert_eq!(place, (file.clone(), position));
        let uuids =
            relay.connect().await.query_rows("SELECT @@twinlog_source_uuids").await.expect("an answer");
        let of_source: String = source.row("SELECT @@server_uuid").await;
        assert!(
            uuids.single_text().expect("a text").contains(&of_source),
            "the region's own uuid is handed on"
        );
    }
}

const SOON: Duration = Duration::from_secs(60);
/// A rotation's bytes on the wire: the packet's header, its first byte, the event with a position and a name of 13.
const ROTATION: u64 = 4 + 1 + 19 + 8 + 13 + 4;

/// The source is lost between two of its files: the relay knows which comes next, and has nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_stays_attached_while_the_source_is_lost_right_behind_a_rotation() {
    let _slot = take_slot().await;
    let [source, replica] = source_and_replica();
    source.run_all(&["CREATE DATABASE shop", "CREATE TABLE shop.item (id INT PRIMARY KEY)"]).await;
    let proxy = Proxy::start(source.address().to_owned()).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    // The account is made there.
    Sources::servers(&[&source]).await;
    let mut relay = LoneRelay::new(
        folder.path(),
        "relay",
        &Sources::at(&[proxy.address()]),
        &[r#"relay.start = "oldest""#],
    );
    relay.start_and_wait().await;
    replicate_relay(&replica, &relay, "SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 1").await;
    wait_equal(&source, &replica).await;
    for id in 1..=10 {
        proxy.cut_after(ROTATION);
        source.run("FLUSH BINARY LOGS").await;
        until(
            "the source is lost",
            SOON,
            async || if proxy.is_cut() { Ok(()) } else { Err("not yet".into()) },
        )
        .await;
        let (file, ..): (String, u64, String, String, String) = source.row("SHOW BINARY LOG STATUS").await;
        let beats = "SELECT COUNT_RECEIVED_HEARTBEATS FROM performance_schema.replication_connection_status";
        let before: u64 = replica.row(beats).await;
        until("the replica hears that the relay is there", SOON, async || {
            let state = replica_state(&replica).await;
            assert!(state.contains("(\"ON\", 0, \"\")") && !state.contains("OFF"), "{state}");
            let now: u64 = replica.row(beats).await;
            if now > before + 2 { Ok(()) } else { Err(format!("{} heartbeats", now - before)) }
        })
        .await;
        let state: mysql_async::Row = replica.row("SHOW REPLICA STATUS").await;
        let is_there = state.get::<String, _>("Source_Log_File").expect("a file") == file;
        proxy.mend();
        source.run(&format!("INSERT INTO shop.item VALUES ({id})")).await;
        wait_equal(&source, &replica).await;
        if is_there {
            return;
        }
        // What passed was a heartbeat of the source, and the rotation was cut: once more.
    }
    panic!("the source was never lost right behind a rotation");
}
