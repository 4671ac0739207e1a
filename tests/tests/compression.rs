//! What crosses between regions is packed by MySQL's own protocol compression, and the rows of an echo do not cross.

use std::time::Duration;

use harness::{Pair, PairOptions, Region, until};

const TABLES: [&str; 2] =
    ["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, v LONGTEXT NOT NULL)"];
/// Bytes of each row: one letter, over and over.
const ROW: u64 = 100_000;
const ROWS: u64 = 40;

async fn write(region: &Region, first: u64) {
    for id in first..first + ROWS {
        region.run(&format!("INSERT INTO shop.t VALUES ({id}, REPEAT('x', {ROW}))")).await;
    }
}

/// What a frame of its own takes for an insert of one short row, packed alone.
const SMALL: u64 = 270;

/// Transactions that cross one at a time, each behind the one before: the bytes of each.
async fn small_ones(pair: &mut Pair) -> u64 {
    const COUNT: u64 = 200;
    let before = pair.link("eu-us").bytes_down();
    for id in 500..500 + COUNT {
        pair.eu.run(&format!("INSERT INTO shop.t VALUES ({id}, 'short')")).await;
        until("it has crossed", Duration::from_secs(30), async || {
            let there: u64 = pair.us.row(&format!("SELECT COUNT(*) FROM shop.t WHERE id = {id}")).await;
            if there == 1 { Ok(()) } else { Err(format!("id {id}")) }
        })
        .await;
    }
    let each = (pair.link("eu-us").bytes_down() - before) / COUNT;
    println!("{each} bytes for each small transaction");
    each
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_crosses_is_packed_and_an_echo_crosses_without_its_rows() {
    // By keys: else each link would read its target's own relay as well, which is near, through the same proxies.
    let mut pair = Pair::one_way(PairOptions::default()).await;
    pair.configure(|file| {
        file.add_to_link("eu-us", "compression = \"zstd\"");
        // The way back would show what comes back: there nothing is packed.
        file.add_to_link("us-eu", "compression = \"uncompressed\"");
    });
    for region in [&pair.eu, &pair.us] {
        region.run_all(&TABLES).await;
    }
    pair.start().await;
    let before = [pair.link("eu-us").bytes_down(), pair.link("us-eu").bytes_down()];
    write(&pair.eu, 1).await;
    pair.wait_in_step(Duration::from_secs(30)).await;
    until("the echo has been passed over", Duration::from_secs(30), async || {
        let status = pair.link_status("us-eu").await;
        let dropped = status.json()["echo_dropped"].as_u64().unwrap_or(0);
        if dropped > 0 { Ok(()) } else { Err(status.json().to_string()) }
    })
    .await;
    let there = pair.link("eu-us").bytes_down() - before[0];
    let back = pair.link("us-eu").bytes_down() - before[1];
    println!("{there} bytes there, {back} back, of {} bytes of rows", ROW * ROWS);
    assert!(there < ROW * ROWS / 20, "what crossed was not packed: {there} bytes");
    assert!(back < ROW * ROWS / 20, "rows came back: {back} bytes");

    let each = small_ones(&mut pair).await;
    assert!(each < SMALL / 2, "{each} bytes for each small transaction of {SMALL}");

    // Without packing all of it crosses, once.
    let before = pair.link("us-eu").bytes_down();
    write(&pair.us, 1000).await;
    pair.wait_in_step(Duration::from_secs(30)).await;
    let crossed = pair.link("us-eu").bytes_down() - before;
    assert!(crossed >= ROW * ROWS, "{crossed} bytes of {}", ROW * ROWS);
    pair.assert_alive();
}
