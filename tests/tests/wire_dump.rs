//! Being a replica of a real server: what arrives, heartbeats, large events, refusals, acknowledgements.

use std::time::Duration;

use binlog::event::Heartbeat;
use binlog::{Event, EventKind, GtidSet};
use harness::{Region, RegionOptions, Slot, take_slot};
use wire::{DumpFlags, Error, EventStream};

use crate::wire_group::{dump, replica, root};

async fn server(extra_args: &[&str]) -> (Slot, Region) {
    let slot = take_slot().await;
    let extra_args = extra_args.iter().map(|&a| a.to_owned()).collect();
    let [server] = Region::start_all([RegionOptions { name: "eu", server_id: 1, extra_args }]);
    server
        .run_all(&["CREATE DATABASE d", "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, b LONGBLOB)"])
        .await;
    (slot, server)
}

/// The next event of this kind; its checksum and those of all before it are verified.
async fn next(stream: &mut EventStream, kind: EventKind) -> Event {
    loop {
        let within = tokio::time::timeout(Duration::from_secs(20), stream.next()).await;
        let incoming =
            within.unwrap_or_else(|_| panic!("no {kind:?} in 20 s")).unwrap_or_else(|e| panic!("{e}"));
        let event = Event::new(incoming.event).unwrap_or_else(|e| panic!("{e}"));
        if event.kind() == kind {
            return event;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_events_arrive_and_an_idle_source_sends_heartbeats() {
    let (_slot, server) = server(&[]).await;
    let mut stream = dump(&server, &server.executed().await, DumpFlags::NONE).await;
    next(&mut stream, EventKind::FormatDescription).await;
    next(&mut stream, EventKind::Heartbeat).await;
    server.run("INSERT INTO d.t (b) VALUES ('x')").await;
    next(&mut stream, EventKind::Gtid).await;
    next(&mut stream, EventKind::Xid).await;
    next(&mut stream, EventKind::Heartbeat).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_of_both_versions_tell_the_place_that_the_source_has_come_to() {
    let (_slot, server) = server(&[]).await;
    server.run_all(&["FLUSH BINARY LOGS", "INSERT INTO d.t (b) VALUES ('x')"]).await;
    let (file, position): (String, u64) = server
        .rows::<(String, u64, String)>("SHOW BINARY LOGS")
        .await
        .pop()
        .map(|l| (l.0, l.1))
        .expect("a log");
    let kinds = [(DumpFlags::NONE, EventKind::Heartbeat), (DumpFlags::HEARTBEAT_V2, EventKind::HeartbeatV2)];
    for (flags, kind) in kinds {
        let mut stream = dump(&server, &server.executed().await, flags).await;
        next(&mut stream, EventKind::FormatDescription).await;
        // The first may tell where the search for the end began.
        next(&mut stream, kind).await;
        let beat = Heartbeat::parse(&next(&mut stream, kind).await).expect("a heartbeat");
        assert_eq!(beat, Heartbeat { file: file.clone(), position }, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tagged_transactions_arrive() {
    let (_slot, server) = server(&[]).await;
    let mut stream = dump(&server, &server.executed().await, DumpFlags::NONE).await;
    server.run_all(&["SET gtid_next = 'AUTOMATIC:mine'", "INSERT INTO d.t (b) VALUES ('x')"]).await;
    next(&mut stream, EventKind::GtidTagged).await;
    next(&mut stream, EventKind::Xid).await;
    // And a set that holds tags is understood: nothing of it is sent again.
    let executed: GtidSet = server.executed().await;
    let mut stream = dump(&server, &executed, DumpFlags::NON_BLOCK).await;
    loop {
        match stream.next().await {
            Ok(incoming) => {
                let event = Event::new(incoming.event).unwrap_or_else(|e| panic!("{e}"));
                assert!(!event.kind().is_gtid(), "sent again");
            }
            Err(Error::EndOfStream) => break,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_several_packets_arrives_whole() {
    let (_slot, server) = server(&["--max-allowed-packet=128M"]).await;
    let mut stream = dump(&server, &server.executed().await, DumpFlags::NONE).await;
    server.run("INSERT INTO d.t (b) VALUES (REPEAT('twinlog', 6000000))").await;
    let rows = next(&mut stream, EventKind::WriteRows).await;
    assert!(rows.size() > 42_000_000, "{}", rows.size());
    next(&mut stream, EventKind::Xid).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_purged_transactions_is_refused_with_the_server_s_own_words() {
    let (_slot, server) = server(&[]).await;
    server.run("FLUSH BINARY LOGS").await;
    let (last, ..): (String, u64, String) = server.rows("SHOW BINARY LOGS").await.pop().expect("a binlog");
    server.run(&format!("PURGE BINARY LOGS TO '{last}'")).await;
    let mut stream = dump(&server, &GtidSet::new(), DumpFlags::NONE).await;
    let error = loop {
        match stream.next().await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Some(1236), "{error}");
    assert!(error.to_string().contains("purged"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_waits_for_the_semi_sync_acknowledgement() {
    let (_slot, server) = server(&[]).await;
    server
        .run_all(&[
            "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'",
            "SET GLOBAL rpl_semi_sync_source_timeout = 60000",
            "SET GLOBAL rpl_semi_sync_source_enabled = ON",
        ])
        .await;
    let mut connection = root(&server).await;
    let options = wire::ReplicaOptions { semi_sync: true, ..replica() };
    let info = connection.register_replica(&options).await.unwrap_or_else(|e| panic!("{e}"));
    assert!(info.semi_sync);
    let after = server.executed().await.to_wire();
    let stream = connection.dump_gtid(&after, DumpFlags::NONE).await.unwrap_or_else(|e| panic!("{e}"));
    let (mut stream, mut acknowledge) = stream.split();
    let file = rotate_name(&next(&mut stream, EventKind::Rotate).await);
    for _ in 0..3 {
        let commit = server.run("INSERT INTO d.t (b) VALUES ('x')");
        let replica = async {
            loop {
                let incoming = stream.next().await.unwrap_or_else(|e| panic!("{e}"));
                let event = Event::new(incoming.event).unwrap_or_else(|e| panic!("{e}"));
                if incoming.wants_ack {
                    // The commit has not returned: it waits for this.
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    let position = u64::from(event.log_pos());
                    acknowledge.acknowledge(&file, position).await.unwrap_or_else(|e| panic!("{e}"));
                    return std::time::Instant::now();
                }
            }
        };
        let ((), committed, acknowledged) = {
            let commit = async {
                commit.await;
                std::time::Instant::now()
            };
            let (committed, acknowledged) = tokio::join!(commit, replica);
            ((), committed, acknowledged)
        };
        assert!(committed > acknowledged - Duration::from_millis(50), "the commit did not wait");
        assert!(committed < acknowledged + Duration::from_secs(10), "the acknowledgement was not heard");
    }
}

/// The file's name in a rotate event: after the position.
fn rotate_name(event: &Event) -> Vec<u8> {
    event.body()[8..].to_vec()
}
