//! Presenting oneself to a source, against sources of ours and of bare packets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::replica::{answer_raw_replica, attach, replica_options};
use common::{event, logged_in, raw_server, soon};
use wire::{Checksum, DumpFlags, Error};

#[tokio::test]
async fn a_replica_presents_itself_in_the_order_of_a_real_one() {
    let attached = attach(true, true, Duration::from_millis(1500)).await;
    let uuid = "00000000-0000-0000-0000-000000000007";
    assert_eq!(
        attached.asked,
        [
            "SELECT UNIX_TIMESTAMP()",
            "SELECT @@global.server_id",
            "SET @master_heartbeat_period = 1500000000, @source_heartbeat_period = 1500000000",
            "SET @master_binlog_checksum = 'CRC32', @source_binlog_checksum = 'CRC32'",
            "SELECT @@global.binlog_checksum",
            "SELECT @@global.gtid_mode",
            "SELECT @@global.server_uuid",
            &format!("SET @slave_uuid = '{uuid}', @replica_uuid = '{uuid}'"),
            "SET @twinlog_link = 'eu-us'",
            "SELECT @@global.rpl_semi_sync_source_enabled",
            "SET @rpl_semi_sync_slave = 1, @rpl_semi_sync_replica = 1",
            "register",
            "SELECT @@session.max_allowed_packet",
            "ping",
        ]
    );
    let info = attached.info;
    assert_eq!((info.server_id, info.gtid_mode.as_str(), info.checksum), (961, "ON", Checksum::Crc32));
    assert_eq!(info.server_uuid, uuid::Uuid::from_u128(0x961));
    assert!(info.clock_skew_seconds < -1_000_000_000, "the source says it is 1970");
    assert!(info.semi_sync);
}

#[tokio::test]
async fn a_dump_without_registration_is_refused_before_anything_is_sent() {
    let (connection, _session) = logged_in().await;
    assert!(matches!(connection.dump_gtid(&[], DumpFlags::NONE).await, Err(Error::Invalid { .. })));
}

#[tokio::test]
async fn a_source_that_numbers_anew_after_an_acknowledged_event_is_followed() {
    let (mut connection, mut raw) = raw_server(common::CAPABILITIES).await;
    let options = replica_options(false, Duration::ZERO);
    let server = async {
        answer_raw_replica(&mut raw).await;
        for sequence in [1, 2, 1, 1, 200] {
            let mut packet = vec![0];
            packet.extend(event(33));
            raw.send(sequence, &packet).await;
        }
        raw
    };
    let replica = async {
        connection.register_replica(&options).await.unwrap();
        let mut stream = connection.dump_gtid(&[], DumpFlags::NONE).await.unwrap();
        for _ in 0..5 {
            assert_eq!(stream.next().await.unwrap().event.len(), 33);
        }
    };
    let ((), _raw) = soon(async { tokio::join!(replica, server) }).await;
}
