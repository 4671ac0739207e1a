//! A replica of ours attached to a source of ours.

use std::time::Duration;

use wire::{
    AckReceiver, Column, Command, DumpFlags, EventSender, EventStream, ReplicaOptions, Session, SourceInfo,
};

use super::{Raw, logged_in, soon};

pub(crate) fn replica_options(semi_sync: bool, heartbeat: Duration) -> ReplicaOptions {
    ReplicaOptions {
        server_id: 7,
        uuid: uuid::Uuid::from_u128(7),
        report_host: "relay".into(),
        report_port: 3407,
        heartbeat_period: heartbeat,
        semi_sync,
        user_variables: vec![("twinlog_link".into(), "eu-us".into())],
    }
}

/// What a source must answer; gives the dump's set and everything that was asked.
pub(crate) async fn answer_replica(
    session: &mut Session,
    has_semi_sync: bool,
) -> (bytes::Bytes, Vec<String>) {
    let mut asked = Vec::new();
    loop {
        match session.next_command().await.unwrap() {
            Command::Query(sql) => {
                let sql = String::from_utf8(sql.to_vec()).unwrap();
                let value = match sql.as_str() {
                    "SELECT UNIX_TIMESTAMP()" => "0",
                    "SELECT @@global.server_id" => "961",
                    "SELECT @@global.binlog_checksum" => "CRC32",
                    "SELECT @@global.gtid_mode" => "ON",
                    "SELECT @@global.server_uuid" => "00000000-0000-0000-0000-000000000961",
                    "SELECT @@session.max_allowed_packet" => "67108864",
                    "SELECT @@global.rpl_semi_sync_source_enabled" if has_semi_sync => "1",
                    sql if sql.starts_with("SELECT") => "",
                    _ => "SET",
                };
                match value {
                    "SET" => session.send_ok().await.unwrap(),
                    "" => session.send_error(1193, "HY000", "Unknown system variable").await.unwrap(),
                    value => {
                        session.send_rows(&[Column::text("v")], &[vec![Column::value(value)]]).await.unwrap();
                    }
                }
                asked.push(sql);
            }
            Command::Ping => {
                session.send_ok().await.unwrap();
                asked.push("ping".into());
            }
            Command::RegisterReplica { server_id: 7, host, port: 3407, .. } if host == "relay" => {
                session.send_ok().await.unwrap();
                asked.push("register".into());
            }
            Command::BinlogDumpGtid { flags: 2, server_id: 7, gtid_set, position: 4, .. } => {
                return (gtid_set, asked);
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) struct Attached {
    pub(crate) stream: EventStream,
    pub(crate) sender: EventSender,
    pub(crate) acks: AckReceiver,
    pub(crate) info: SourceInfo,
    pub(crate) asked: Vec<String>,
}

pub(crate) async fn attach(asks: bool, has: bool, heartbeat: Duration) -> Attached {
    let (mut connection, mut session) = logged_in().await;
    let options = replica_options(asks, heartbeat);
    let replica = async {
        let info = connection.register_replica(&options).await.unwrap();
        (connection.dump_gtid(&[9; 48], DumpFlags::HEARTBEAT_V2).await.unwrap(), info)
    };
    let ((stream, info), (set, asked)) =
        soon(async { tokio::join!(replica, answer_replica(&mut session, has)) }).await;
    assert_eq!(set, [9; 48][..]);
    let (sender, acks) = session.into_dump(asks && has);
    Attached { stream, sender, acks, info, asked }
}

/// What a source of bare packets, which has semi-sync, answers until it is asked for events. It accepts packets of
/// 100,000 bytes; gives the size of the largest.
pub(crate) async fn answer_raw_replica(raw: &mut Raw) -> usize {
    let mut largest = 0;
    loop {
        let (_, command) = raw.receive().await;
        largest = largest.max(command.len());
        match command[0] {
            0x1e => return largest,
            3 if command.starts_with(b"\x03SELECT") => {
                let value: &[u8] = match &command[8..] {
                    b"@@global.binlog_checksum" => b"\x05CRC32",
                    b"@@global.gtid_mode" => b"\x02ON",
                    b"@@global.server_uuid" => b"\x2400000000-0000-0000-0000-000000000961",
                    b"@@session.max_allowed_packet" => b"\x06100000",
                    _ => b"\x011",
                };
                let column = b"\x03def\0\0\0\x01a\0\x0c\x3f\0\x01\0\0\0\xfd\x81\0\0\0\0";
                let end = [0xfe, 0, 0, 2, 0, 0, 0];
                for (sequence, packet) in (1..).zip([&[1][..], column, value, &end]) {
                    raw.send(sequence, packet).await;
                }
            }
            _ => raw.send(1, super::OK).await,
        }
    }
}
