//! Disks that fill up under a relay and an applier: both say so, wait, and go on when there is room.

use std::time::Duration;

use harness::{LinkStatus, Pair, PairOptions, Process, SmallDisk, until};

const SOON: Duration = Duration::from_secs(90);
const APPLIER: Process = Process::Applier("eu-us");
const RELAY: Process = Process::Relay("eu");

async fn pair(change: impl FnOnce(&mut harness::SyncFile)) -> Pair {
    let mut pair = Pair::one_way(PairOptions::default()).await;
    pair.configure(change);
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&[
                "CREATE DATABASE shop",
                "CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY, b LONGBLOB)",
            ])
            .await;
    }
    pair.start_one(RELAY);
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "running", SOON).await;
    pair
}

/// Rows of a mebibyte, in one transaction or in one each.
async fn write(pair: &Pair, rows: usize, together: bool) {
    let mut session = vec!["INSERT INTO shop.t (b) VALUES (REPEAT('x', 1 << 20))"; rows];
    if together {
        session.insert(0, "BEGIN");
        session.push("COMMIT");
    }
    pair.eu.run_all(&session).await;
}

async fn relay_status(pair: &Pair) -> Result<LinkStatus, String> {
    pair.try_status().await?.relay("eu")
}

/// What a large transaction is kept in while it arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_applier_without_room_for_a_large_transaction_waits_and_applies_it_once() {
    let mut disk = SmallDisk::new(24);
    let pair = pair(|file| file.set_state_dir(disk.path())).await;
    write(&pair, 1, false).await;
    write(&pair, 48, true).await;
    write(&pair, 1, false).await;
    let status = until("the link says that there is no room", SOON, async || {
        let status = pair.try_status().await?.link("eu-us")?;
        if status.last_error().contains("make room in") { Ok(status) } else { Err(status.json().to_string()) }
    })
    .await;
    assert_ne!(status.state(), "failed", "{}", status.json());
    assert_eq!(
        pair.us.row::<u64>("SELECT COUNT(*) FROM shop.t").await,
        1,
        "nothing of it, and nothing behind"
    );
    // A new process fares no other.
    pair.kill9(APPLIER);
    pair.start_one(APPLIER);
    until("it says so again", SOON, async || {
        let status = pair.try_status().await?.link("eu-us")?;
        if status.last_error().contains("make room in") { Ok(()) } else { Err(status.json().to_string()) }
    })
    .await;
    disk.resize(400);
    pair.wait_in_step(SOON).await;
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.t").await, 50);
}

/// The relay's log: what is durable is served, nothing is lost, not even when the relay is killed where it stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_without_room_stops_pulling_outlives_a_kill_and_goes_on() {
    let mut disk = SmallDisk::new(24);
    let pair = pair(|file| file.set_relay_dir("eu", &disk.path().join("relay"))).await;
    write(&pair, 4, false).await;
    pair.wait_in_step(SOON).await;
    write(&pair, 40, false).await;
    let is_full = async || {
        let status = relay_status(&pair).await?;
        let is_full = status.state() == "full" && status.last_error().contains("make room");
        if is_full { Ok(()) } else { Err(status.json().to_string()) }
    };
    until("the relay says that there is no room", SOON, is_full).await;
    pair.kill9(RELAY);
    pair.start_one(RELAY);
    until("it says so again", SOON, is_full).await;
    disk.resize(400);
    pair.wait_in_step(SOON).await;
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.t").await, 44);
    let status = relay_status(&pair).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(status.state(), "running", "{}", status.json());
}
