//! The listener of a real relay: too many clients, wrong passwords, bytes that mean nothing.

use std::time::Duration;

use harness::{LoneRelay, Region, RegionOptions, Slot, Sources, Workload, seed, take_slot};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use wire::{ConnectOptions, Connection, DumpFlags, Secret};

use crate::wire_group::replica;

/// As many as a relay lets in.
const CONNECTIONS: usize = 500;

struct Stage {
    relay: LoneRelay,
    source: Region,
    _folder: TempDir,
    _slot: Slot,
}

async fn stage() -> Stage {
    let slot = take_slot().await;
    let [source] = Region::start_all([RegionOptions { name: "eu", server_id: 1, extra_args: Vec::new() }]);
    Workload::prepare_in(&source).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sources = Sources::servers(&[&source]).await;
    let mut relay = LoneRelay::new(folder.path(), "relay", &sources, &[r#"relay.start = "oldest""#]);
    relay.start_and_wait().await;
    Stage { relay, source, _folder: folder, _slot: slot }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_too_many_is_told_1040_and_those_inside_go_on() {
    let Stage { relay, source, _folder, _slot } = stage().await;
    let mut follower = relay.connect().await;
    follower.register_replica(&replica()).await.unwrap_or_else(|e| panic!("{e}"));
    let after = source.executed().await;
    let mut events =
        follower.dump_gtid(&after.to_wire(), DumpFlags::NONE).await.unwrap_or_else(|e| panic!("{e}"));
    let mut inside = Vec::new();
    while inside.len() < CONNECTIONS - 1 {
        inside.push(relay.connect().await);
    }
    let refused = Connection::connect(&relay.options()).await.expect_err("one too many");
    assert_eq!(refused.code(), Some(1040), "{refused}");
    assert!(refused.is_transient(), "it is worth another try");
    source.run("INSERT INTO shop.tape VALUES (1, 1)").await;
    let arrives =
        async { while events.next().await.unwrap_or_else(|e| panic!("{e}")).event.get(4) != Some(&16) {} };
    tokio::time::timeout(Duration::from_secs(20), arrives).await.expect("the transaction arrives");
    for connection in &mut inside {
        connection.ping().await.unwrap_or_else(|e| panic!("{e}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_logins_are_logged_with_address_and_user_and_not_all_of_them() {
    let Stage { relay, source: _source, _folder, _slot } = stage().await;
    let intruder = "intruder\nERROR forged line";
    let options = ConnectOptions { user: intruder.into(), password: Secret::new("guess"), ..relay.options() };
    for _ in 0..7 {
        let refused = Connection::connect(&options).await.expect_err("a wrong password");
        assert_eq!(refused.code(), Some(1045), "{refused}");
    }
    let log = relay.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("login refused")).collect();
    assert!((3..7).contains(&lines.len()), "{lines:#?}");
    for line in lines {
        assert!(line.contains("127.0.0.1") && line.contains("intruder") && line.contains("1045"), "{line}");
        assert!(line.contains("forged line"), "a name does not begin a line of its own: {line}");
    }
    relay.connect().await.ping().await.unwrap_or_else(|e| panic!("{e}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_at_the_port_does_not_end_the_process_nor_a_session() {
    let Stage { mut relay, source, _folder, _slot } = stage().await;
    let mut session = relay.connect().await;
    let mut random = StdRng::seed_from_u64(seed());
    for round in 0..300 {
        // From an address of its own: noise can look like a wrong password, and that is slowed down.
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, random.random(), random.random(), 9], 0).into()).expect("all of 127 is here");
        let mut stream =
            socket.connect(relay.address().parse().expect("an address")).await.expect("it listens");
        let mut noise = vec![0; random.random_range(1..4000)];
        random.fill_bytes(&mut noise);
        if random.random_bool(0.5) {
            // A packet of a length that fits, so that what is in it is looked at.
            let [a, b, c, ..] = (noise.len() - 1).to_le_bytes();
            noise.splice(0..0, [a, b, c, 1]);
        }
        // It may close before all was said.
        let _ = stream.write_all(&noise).await;
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
        assert!(read.is_ok(), "round {round}: not closed");
        if round % 50 == 0 {
            session.ping().await.unwrap_or_else(|e| panic!("{e}"));
        }
    }
    assert!(relay.running().ended().is_none());
    let log = relay.log();
    assert!(!log.contains("panicked") && !log.contains("ended badly"), "{log}");
    source.run("INSERT INTO shop.tape VALUES (1, 1)").await;
    relay.wait_durable(&source.executed().await).await;
}
