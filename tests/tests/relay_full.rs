//! A relay log at its limit: pulling stops and says so, nothing a link needs is removed, and it goes on by itself when
//! there is room.

use std::time::Duration;

use harness::{LINK, LoneRelay, Region, RegionOptions, Sources, Workload, take_slot, until};
use wire::{DumpFlags, ReplicaOptions};

use crate::wire_group::replica;

const SOON: Duration = Duration::from_secs(60);

/// Writes so many rows of 1 MB.
async fn write(source: &Region, rows: usize) {
    for _ in 0..rows {
        source.run("INSERT INTO shop.large (b) VALUES (REPEAT('x', 1000000))").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_log_stops_pulling_with_an_alarm_and_goes_on_when_its_link_has_moved() {
    let _slot = take_slot().await;
    let [source] = Region::start_all([RegionOptions { name: "eu", server_id: 1, extra_args: Vec::new() }]);
    Workload::prepare_in(&source).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sources = Sources::servers(&[&source]).await;
    let lines = [r#"relay.start = "oldest""#, r#"relay.max_size = "16MiB""#, r#"relay.retain = "0s""#];
    let mut relay = LoneRelay::new(folder.path(), "relay", &sources, &lines);
    relay.start_and_wait().await;

    source.run("CREATE TABLE shop.large (id INT AUTO_INCREMENT PRIMARY KEY, b LONGBLOB)").await;
    write(&source, 8).await;
    let first = source.executed().await;
    source.run("FLUSH BINARY LOGS").await;
    write(&source, 16).await;
    let all = source.executed().await;
    let full = relay.wait_state("full").await;
    assert!(full.text("last_error").contains("max_size"), "{}", full.json());
    let bytes = full.count("log_bytes");
    assert!((15 << 20..24 << 20).contains(&bytes), "{bytes} bytes");
    let has: binlog::GtidSet = full.text("gtid_durable").parse().expect("a GTID set");
    assert!(has.contains_all(&first) && !has.contains_all(&all), "{has}");
    assert!(relay.log().contains("pulling stops until there is room"), "{}", relay.log());

    // The link says that it has the first file.
    let mut link = relay.connect().await;
    let options = ReplicaOptions { user_variables: vec![("twinlog_link".into(), LINK.into())], ..replica() };
    link.register_replica(&options).await.unwrap_or_else(|e| panic!("{e}"));
    let stream = link.dump_gtid(&first.to_wire(), DumpFlags::default()).await;
    let _stream = stream.unwrap_or_else(|e| panic!("{e}"));
    until("the relay has everything", SOON, async || {
        let status = relay.status().await?;
        let durable: binlog::GtidSet = status.text("gtid_durable").parse().map_err(|e| format!("{e}"))?;
        let goes_on = durable.contains_all(&all) || status.count("log_bytes") > bytes;
        if goes_on && status.count("segments") == 1 { Ok(()) } else { Err(status.json().to_string()) }
    })
    .await;
    assert!(relay.log().contains("there is room again"), "{}", relay.log());
}
