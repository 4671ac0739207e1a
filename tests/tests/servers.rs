//! What happens to the servers themselves: a disk that is full, a new identity, a backup that lacks transactions, binary
//! logs begun anew.

use std::time::Duration;

use harness::{Pair, PairOptions, Process, Region, until};

const SOON: Duration = Duration::from_secs(60);

async fn pair(server_args: &[&str]) -> Pair {
    let server_args = server_args.iter().map(|&arg| arg.to_owned()).collect();
    let pair = Pair::new(PairOptions { server_args, ..PairOptions::default() }).await;
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, b LONGBLOB)"])
            .await;
    }
    pair
}

async fn crosses(pair: &Pair, id: u32) {
    pair.eu.run(&format!("INSERT INTO shop.t VALUES ({id}, 'eu')")).await;
    pair.us.run(&format!("INSERT INTO shop.t VALUES ({id} + 1, 'us')")).await;
    pair.wait_in_step(SOON).await;
}

/// A tablespace that may not grow is to the server what a full disk is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_without_room_is_waited_for_and_gets_everything_when_there_is_some() {
    const ROOM: &str = "--innodb-data-file-path=ibdata1:12M:autoextend:max:20M";
    const MORE: &str = "--innodb-data-file-path=ibdata1:12M:autoextend";
    let pair = pair(&["--innodb-file-per-table=OFF"]).await;
    pair.us.run("SET PERSIST_ONLY innodb_file_per_table = OFF").await;
    pair.us.kill9();
    pair.us.restart_with(&[ROOM]);
    pair.start().await;
    for id in 0..24 {
        pair.eu.run(&format!("INSERT INTO shop.t VALUES ({id}, REPEAT('x', 1 << 20))")).await;
    }
    let status = until("the link says that there is no room", SOON, async || {
        let status = pair.try_status().await?.link("eu-us")?;
        if status.last_error().contains("is full") { Ok(status) } else { Err(status.json().to_string()) }
    })
    .await;
    assert_ne!(status.state(), "failed", "{}", status.json());
    assert!(status.last_error().contains("make room"), "{}", status.last_error());
    pair.us.kill9();
    pair.us.restart_with(&[MORE]);
    pair.wait_in_step(SOON).await;
    pair.assert_alive();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_new_uuid_is_taken_for_its_region_and_both_directions_go_on() {
    let pair = pair(&[]).await;
    pair.start().await;
    crosses(&pair, 1).await;
    let before: String = pair.eu.row("SELECT @@server_uuid").await;
    pair.eu.kill9();
    std::fs::remove_file(pair.eu.datadir().join("auto.cnf")).expect("eu had a uuid");
    pair.eu.restart();
    let after: String = pair.eu.row("SELECT @@server_uuid").await;
    assert_ne!(before, after);
    crosses(&pair, 11).await;
    let echo: Vec<u32> = pair.eu.rows("SELECT id FROM shop.t ORDER BY id").await;
    assert_eq!(echo, [1, 2, 11, 12]);
    pair.wait_running().await;
}

/// A copy of the server's files as they are now, for [`put_back`].
fn back_up(region: &Region, to: &std::path::Path) {
    region.kill9();
    copy(&region.datadir(), to);
    region.restart();
}

fn put_back(region: &Region, from: &std::path::Path) {
    region.kill9();
    std::fs::remove_dir_all(region.datadir()).expect("the data folder goes");
    copy(from, &region.datadir());
    region.restart();
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(done.success(), "cp {} {}", from.display(), to.display());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_and_binary_logs_begun_anew_are_named_and_nothing_is_passed_over() {
    let pair = pair(&[]).await;
    pair.start().await;
    crosses(&pair, 1).await;
    let backup = pair.folder().join("backup");
    back_up(&pair.us, &backup);
    pair.wait_running().await;
    crosses(&pair, 11).await;
    // us is put back to what it was before: it lacks what its relay has already sent.
    put_back(&pair.us, &backup);
    // By the time it looks, the link to us may have written there again, under numbers that were used.
    let relay = until("the relay of us says what its server lacks, or has anew", SOON, async || {
        let status = pair.try_status().await?.relay("us")?;
        let said = ["lacks transactions", "another transaction under a GTID"];
        if said.iter().any(|words| status.last_error().contains(words)) {
            Ok(status)
        } else {
            Err(status.json().to_string())
        }
    })
    .await;
    assert!(relay.last_error().contains("restored"), "{}", relay.last_error());
    let held: Vec<u32> = pair.eu.rows("SELECT id FROM shop.t ORDER BY id").await;
    assert_eq!(held, [1, 2, 11, 12], "eu keeps what it has");
    // Numbers begun anew: the same is said of them, before they come to be those of other transactions.
    for process in [Process::Relay("us"), Process::Applier("eu-us"), Process::Applier("us-eu")] {
        pair.stop_one(process).await;
    }
    pair.us.run("RESET BINARY LOGS AND GTIDS").await;
    pair.us.run("INSERT INTO shop.t VALUES (21, 'under a number that was used')").await;
    let relay = pair.run_to_failure(Process::Relay("us"), pair.config()).await;
    relay.assert_failed(1, &["lacks transactions", "remedy"]);
    let held: Vec<u32> = pair.eu.rows("SELECT id FROM shop.t ORDER BY id").await;
    assert_eq!(held, [1, 2, 11, 12]);
}
