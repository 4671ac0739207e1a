//! Events and acknowledgements between a replica of ours and a source of ours.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::replica::{Attached, answer_raw_replica, answer_replica, attach, replica_options};
use common::{event, logged_in, raw_client, raw_server, soon};
use wire::{Ack, Command, DumpFlags, Error};

#[tokio::test]
async fn events_of_all_sizes_arrive_untouched_with_and_without_semi_sync() {
    for semi_sync in [false, true] {
        let Attached { mut stream, mut sender, acks: _acks, .. } =
            attach(semi_sync, semi_sync, Duration::from_secs(60)).await;
        let chunk = 0xff_ffff;
        let sizes = [
            19,
            20,
            100,
            65_534,
            65_535,
            65_536,
            300_000,
            chunk - 4,
            chunk - 3,
            chunk - 2,
            chunk - 1,
            chunk,
            40 << 20,
        ];
        let send = async {
            for (index, size) in sizes.into_iter().enumerate() {
                sender.send(&event(size), index % 2 == 0).await.unwrap();
            }
            sender.flush().await.unwrap();
        };
        let receive = async {
            for (index, size) in sizes.into_iter().enumerate() {
                let incoming = stream.next().await.unwrap();
                assert!(incoming.event[..] == event(size)[..], "size {size}");
                assert_eq!(incoming.wants_ack, semi_sync && index % 2 == 0, "size {size}");
            }
        };
        soon(async { tokio::join!(send, receive) }).await;
    }
}

#[tokio::test]
async fn a_source_without_semi_sync_sends_plain_events_to_a_replica_that_asks_for_it() {
    let mut attached = attach(true, false, Duration::from_secs(60)).await;
    assert!(!attached.info.semi_sync && !attached.stream.is_semi_sync());
    attached.sender.send(&event(50), true).await.unwrap();
    attached.sender.flush().await.unwrap();
    let incoming = soon(attached.stream.next()).await.unwrap();
    assert!(!incoming.wants_ack);
    // Nothing may be sent to such a source in the middle of a dump.
    let (_stream, mut acks) = attached.stream.split();
    acks.acknowledge(b"binlog.000001", 4).await.unwrap();
    drop((_stream, acks));
    assert_eq!(soon(attached.acks.next()).await.unwrap(), None);
}

#[tokio::test]
async fn a_source_whose_semi_sync_leaves_the_two_bytes_out_is_understood() {
    let (mut connection, mut session) = logged_in().await;
    let options = replica_options(true, Duration::from_secs(60));
    let replica = async {
        connection.register_replica(&options).await.unwrap();
        connection.dump_gtid(&[], DumpFlags::HEARTBEAT_V2).await.unwrap()
    };
    let (mut stream, _) = soon(async { tokio::join!(replica, answer_replica(&mut session, true)) }).await;
    let (mut sender, _acks) = session.into_dump(false);
    // Its first byte is that of semi-sync, by chance of the clock.
    let mut first = event(60);
    first[0] = 0xef;
    sender.send(&first, false).await.unwrap();
    sender.flush().await.unwrap();
    assert_eq!(soon(stream.next()).await.unwrap().event, first);
}

#[tokio::test]
async fn acknowledgements_arrive_in_order_and_leaving_is_noticed() {
    let Attached { stream, mut sender, mut acks, .. } = attach(true, true, Duration::from_secs(60)).await;
    let (mut stream, mut ack_sender) = stream.split();
    for position in [1000u64, 5_000_000_000] {
        sender.send(&event(40), true).await.unwrap();
        sender.flush().await.unwrap();
        assert!(soon(stream.next()).await.unwrap().wants_ack);
        ack_sender.acknowledge(b"binlog.000007", position).await.unwrap();
        let ack = Ack { file: "binlog.000007".into(), position };
        assert_eq!(soon(acks.next()).await.unwrap(), Some(ack));
    }
    assert!(matches!(ack_sender.acknowledge(b"", 4).await, Err(Error::Invalid { .. })));
    assert!(matches!(ack_sender.acknowledge(&[b'x'; 600], 4).await, Err(Error::Invalid { .. })));
    drop(stream);
    drop(ack_sender);
    assert_eq!(soon(acks.next()).await.unwrap(), None);
}

#[tokio::test]
async fn numbers_begin_anew_where_a_stock_replica_expects_it() {
    let (mut session, mut raw) = raw_client(&common::login_options()).await;
    raw.send(0, b"\x12\x04\0\0\0\0\0\x07\0\0\0").await;
    assert!(matches!(soon(session.next_command()).await, Ok(Command::BinlogDump { server_id: 7, .. })));
    let (mut sender, mut acks) = session.into_dump(true);
    for ack_wanted in [false, true, false, false, true, true] {
        sender.send(&event(30), ack_wanted).await.unwrap();
    }
    sender.flush().await.unwrap();
    for (number, flag) in [(1, 0), (2, 1), (1, 0), (2, 0), (3, 1), (1, 1)] {
        let (sequence, packet) = soon(raw.receive()).await;
        assert_eq!((sequence, &packet[..3]), (number, &[0, 0xef, flag][..]));
    }
    raw.send(0, b"\xef\x07\0\0\0\0\0\0\0binlog.000001").await;
    assert_eq!(soon(acks.next()).await.unwrap().unwrap().position, 7);
}

#[tokio::test]
async fn every_acknowledgement_has_packet_number_zero() {
    let (mut connection, mut raw) = raw_server(common::CAPABILITIES).await;
    let options = replica_options(true, Duration::from_secs(60));
    let replica = async {
        connection.register_replica(&options).await.unwrap();
        connection.dump_gtid(&[], DumpFlags::NONE).await.unwrap()
    };
    let (stream, _) = soon(async { tokio::join!(replica, answer_raw_replica(&mut raw)) }).await;
    let (_stream, mut acks) = stream.split();
    for position in [4u64, 5] {
        acks.acknowledge(b"f.1", position).await.unwrap();
        let expected = [&[0xef][..], &position.to_le_bytes(), b"f.1"].concat();
        assert_eq!(soon(raw.receive()).await, (0, expected));
    }
}

#[tokio::test]
async fn a_source_is_made_to_gather_more_by_a_ping_that_it_does_not_refuse() {
    let (mut connection, mut raw) = raw_server(common::CAPABILITIES).await;
    let options = replica_options(false, Duration::from_secs(60));
    let replica = async {
        connection.register_replica(&options).await.unwrap();
        connection.dump_gtid(&[], DumpFlags::NONE).await.unwrap()
    };
    let (_stream, largest) = soon(async { tokio::join!(replica, answer_raw_replica(&mut raw)) }).await;
    assert_eq!(largest, 50_001, "half of what the source says it accepts");
    let asked = attach(false, false, Duration::from_secs(60)).await.asked;
    let last = asked.iter().rev().take(3).map(String::as_str).collect::<Vec<_>>();
    assert_eq!(last, ["ping", "SELECT @@session.max_allowed_packet", "register"]);
}
