//! What a client may ask. The parser takes arbitrary bytes and allocates nothing by a count of the
//! client's: texts and GTID sets are slices of the packet.

use bytes::Bytes;

use crate::constants::command;
use crate::cursor::{Cursor, Malformed};

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// COM_QUERY: a statement's text, in the client's character set.
    Query(Bytes),
    /// COM_PING: answer OK.
    Ping,
    /// COM_QUIT: close.
    Quit,
    /// COM_INIT_DB: choose a default schema.
    InitDb(Bytes),
    /// COM_REGISTER_SLAVE: a replica presents itself. Answer OK.
    RegisterReplica {
        /// Its server id.
        server_id: u32,
        /// `report_host`.
        host: String,
        /// `report_user`.
        user: String,
        /// `report_port`.
        port: u16,
    },
    /// COM_BINLOG_DUMP: events from a position on.
    BinlogDump {
        /// Bit 0: don't wait at the end. Unknown bits are to be ignored.
        flags: u16,
        /// The replica's server id.
        server_id: u32,
        /// The log file; empty for the first.
        file: Bytes,
        /// The position in it.
        position: u32,
    },
    /// COM_BINLOG_DUMP_GTID: events of the transactions that a set does not hold.
    BinlogDumpGtid {
        /// Bit 0: don't wait at the end. Bit 1: heartbeats of version 2. Unknown bits are to be ignored.
        flags: u16,
        /// The replica's server id.
        server_id: u32,
        /// A log file, mostly empty.
        file: Bytes,
        /// The position in it, mostly 4.
        position: u64,
        /// The set, in the form of the wire; not looked at here.
        gtid_set: Bytes,
    },
    /// COM_FIELD_LIST: columns of a table; gone from MySQL 9.
    FieldList,
    /// COM_STATISTICS: a line of text.
    Statistics,
    /// COM_SET_OPTION: several statements in one text, on (0) or off (1). Answer EOF.
    SetOption(u16),
    /// COM_RESET_CONNECTION: forget the session's variables. Answer OK.
    ResetConnection,
    /// COM_STMT_PREPARE: a statement's text.
    StmtPrepare(Bytes),
    /// Another command, by its number. Answer 1047.
    Unknown(u8),
}

impl Command {
    /// Parses a command packet.
    pub(crate) fn parse(packet: &Bytes) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(packet);
        let code = cursor.u8()?;
        let rest = || packet.slice(1..);
        Ok(match code {
            command::QUERY => Self::Query(rest()),
            command::PING => Self::Ping,
            command::QUIT => Self::Quit,
            command::INIT_DB => Self::InitDb(rest()),
            command::REGISTER_REPLICA => parse_register(cursor)?,
            command::BINLOG_DUMP => parse_dump(cursor, packet)?,
            command::BINLOG_DUMP_GTID => parse_dump_gtid(cursor, packet)?,
            command::FIELD_LIST => Self::FieldList,
            command::STATISTICS => Self::Statistics,
            command::SET_OPTION => Self::SetOption(cursor.u16()?),
            command::RESET_CONNECTION => Self::ResetConnection,
            command::STMT_PREPARE => Self::StmtPrepare(rest()),
            other => Self::Unknown(other),
        })
    }
}

fn parse_register(mut cursor: Cursor<'_>) -> Result<Command, Malformed> {
    let server_id = cursor.u32()?;
    let host = short_text(&mut cursor)?;
    let user = short_text(&mut cursor)?;
    // The password by which others might reach the replica: not wanted.
    short_text(&mut cursor)?;
    let port = cursor.u16()?;
    Ok(Command::RegisterReplica { server_id, host, user, port })
}

/// A text with its length in one byte before it.
fn short_text(cursor: &mut Cursor<'_>) -> Result<String, Malformed> {
    let length = cursor.u8()?;
    cursor.take(usize::from(length)).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

fn parse_dump(mut cursor: Cursor<'_>, packet: &Bytes) -> Result<Command, Malformed> {
    let position = cursor.u32()?;
    let flags = cursor.u16()?;
    let server_id = cursor.u32()?;
    let file = packet.slice_ref(cursor.nul_terminated_or_rest());
    Ok(Command::BinlogDump { flags, server_id, file, position })
}

fn parse_dump_gtid(mut cursor: Cursor<'_>, packet: &Bytes) -> Result<Command, Malformed> {
    let flags = cursor.u16()?;
    let server_id = cursor.u32()?;
    let name = cursor.u32()?;
    let file = packet.slice_ref(cursor.take(to_length(name)?)?);
    let position = cursor.u64()?;
    let length = cursor.u32()?;
    let gtid_set = packet.slice_ref(cursor.take(to_length(length)?)?);
    Ok(Command::BinlogDumpGtid { flags, server_id, file, position, gtid_set })
}

fn to_length(length: u32) -> Result<usize, Malformed> {
    usize::try_from(length).map_err(|_| Malformed("a length beyond all memory"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};

    use super::*;

    fn parse(bytes: &[u8]) -> Result<Command, Malformed> {
        Command::parse(&Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn commands_of_real_clients_are_read() {
        assert_eq!(parse(b"\x03SELECT 1"), Ok(Command::Query(Bytes::from_static(b"SELECT 1"))));
        assert_eq!(parse(b"\x0e"), Ok(Command::Ping));
        assert_eq!(parse(b"\x01"), Ok(Command::Quit));
        assert_eq!(
            parse(b"\x12\x04\0\0\0\x01\0\x07\0\0\0binlog.000002"),
            Ok(Command::BinlogDump {
                flags: 1,
                server_id: 7,
                file: Bytes::from_static(b"binlog.000002"),
                position: 4
            })
        );
        assert_eq!(
            parse(b"\x15\x07\0\0\0\x05relay\0\0\x4f\x0d\0\0\0\0\0\0\0\0"),
            Ok(Command::RegisterReplica {
                server_id: 7,
                host: "relay".into(),
                user: String::new(),
                port: 3407
            })
        );
        assert_eq!(
            parse(b"\x1e\x02\0\x07\0\0\0\x03\0\0\0f.1\x04\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0"),
            Ok(Command::BinlogDumpGtid {
                flags: 2,
                server_id: 7,
                file: Bytes::from_static(b"f.1"),
                position: 4,
                gtid_set: Bytes::from_static(&[0; 8])
            })
        );
        assert_eq!(parse(b"\x17abc"), Ok(Command::Unknown(0x17)));
    }

    #[test]
    fn a_set_longer_than_its_packet_is_an_error() {
        assert!(parse(b"\x1e\x02\0\x07\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\xff\xff\xff\xffab").is_err());
        assert!(parse(b"").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn arbitrary_bytes_never_panic(code in any::<u8>(), bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut packet = vec![code];
            packet.extend_from_slice(&bytes);
            let _ = parse(&packet);
            packet[0] = [0x12, 0x15, 0x1b, 0x1e][usize::from(code % 4)];
            let _ = parse(&packet);
            prop_assert!(true);
        }
    }
}
