//! What a client asks for when it asks for events: the dump command, and the user variables it has set before.

use std::collections::HashMap;
use std::time::Duration;

use binlog::GtidSet;
use wire::Command;

use crate::echo::EchoOf;
use crate::outgoing::Checksums;

/// Dump flag: end at the end of the log.
const NON_BLOCK: u16 = 1;
/// Dump flag: heartbeats of version 2.
const HEARTBEAT_V2: u16 = 2;

/// What a downstream asked for.
#[derive(Debug)]
pub(crate) struct Request {
    /// Where it begins.
    pub(crate) from: From,
    /// The link that asks, if it is one.
    pub(crate) link: Option<String>,
    /// The replica uuid it gave; empty when none.
    pub(crate) uuid: String,
    /// How often it wants a sign of life; zero for never.
    pub(crate) heartbeat: Duration,
    /// Heartbeats of version 2.
    pub(crate) heartbeat_v2: bool,
    /// End at the end of the log.
    pub(crate) non_block: bool,
    /// It answers events by semi-sync replies, and wants the two bytes of that before each.
    pub(crate) semi_sync: bool,
    /// How it wants checksums.
    pub(crate) checksums: Checksums,
    /// It reads what is packed over the ends of frames.
    pub(crate) pack_on: bool,
    /// Whose echo it has no use for.
    pub(crate) without_echo: Option<EchoOf>,
}

/// Where a dump begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// With the first transaction that it lacks; behind a place, where one is named too.
    Gtids(GtidSet, Option<Place>),
    /// At a place.
    Place(Place),
}

/// A place in the source's files; an empty name is the oldest file there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) position: u64,
}

impl Request {
    /// Reads a dump command. `resolve` gives the value of a user variable, by its lower-case name.
    ///
    /// # Errors
    ///
    /// The text to tell the client.
    pub(crate) fn read(
        command: &Command,
        variables: &HashMap<String, String>,
        resolve: impl Fn(&str) -> String,
    ) -> Result<Self, String> {
        let (from, flags, server_id) = match command {
            Command::BinlogDump { flags, server_id, file, position } => {
                (From::Place(place(file, (*position).into())?), *flags, *server_id)
            }
            Command::BinlogDumpGtid { flags, server_id, file, position, gtid_set } => {
                let has = GtidSet::from_wire(gtid_set).map_err(|e| format!("malformed GTID set: {e}"))?;
                let place = Some(place(file, *position)?).filter(|place| !place.file.is_empty());
                (From::Gtids(has, place), *flags, *server_id)
            }
            _ => return Err("not a dump command".into()),
        };
        let either = |names: [&str; 2]| {
            names.iter().find(|name| variables.contains_key(**name)).map(|name| resolve(name))
        };
        let heartbeat = either(["source_heartbeat_period", "master_heartbeat_period"]);
        let checksum = either(["source_binlog_checksum", "master_binlog_checksum"]);
        Ok(Self {
            from,
            link: variables.get("twinlog_link").cloned(),
            uuid: either(["replica_uuid", "slave_uuid"]).unwrap_or_default(),
            heartbeat: Duration::from_nanos(heartbeat.and_then(|ns| ns.parse().ok()).unwrap_or(0)),
            heartbeat_v2: flags & HEARTBEAT_V2 != 0,
            // Server id 0 is how `mysqlbinlog` says that it does not wait.
            non_block: flags & NON_BLOCK != 0 || server_id == 0,
            semi_sync: either(["rpl_semi_sync_replica", "rpl_semi_sync_slave"]).is_some_and(|v| v == "1"),
            checksums: match checksum {
                None => Checksums::TakenOff,
                Some(name) if name.eq_ignore_ascii_case("CRC32") => Checksums::Sent,
                Some(_) => Checksums::SentFromFormat,
            },
            pack_on: variables.get("twinlog_pack_on").is_some_and(|v| v == "1"),
            without_echo: variables.get("twinlog_without_echo").and_then(|text| EchoOf::parse(text)),
        })
    }

    /// The transactions that it has said it has.
    pub(crate) fn has(&self) -> GtidSet {
        match &self.from {
            From::Gtids(has, _) => has.clone(),
            From::Place(_) => GtidSet::new(),
        }
    }
}

impl std::fmt::Display for From {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gtids(has, None) => write!(f, "after {has}"),
            Self::Gtids(has, Some(place)) => write!(f, "after {has} from {}:{}", place.file, place.position),
            Self::Place(place) => write!(f, "from {}:{}", place.file, place.position),
        }
    }
}

/// Some clients fill the name up with NULs.
fn place(file: &[u8], position: u64) -> Result<Place, String> {
    let end = file.iter().position(|byte| *byte == 0).unwrap_or(file.len());
    let file = std::str::from_utf8(&file[..end]).map_err(|_| "the log file's name is no text".to_owned())?;
    if position < 4 {
        return Err("Client requested source to start replication from position < 4".into());
    }
    Ok(Place { file: file.to_owned(), position })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bytes::Bytes;
    use wire::Command;

    use super::{From, Place, Request};
    use crate::outgoing::Checksums;

    fn dump(file: &'static [u8], position: u32, flags: u16, server_id: u32) -> Command {
        Command::BinlogDump { flags, server_id, file: Bytes::from_static(file), position }
    }

    fn read(command: &Command, variables: &[(&str, &str)]) -> Result<Request, String> {
        let variables: HashMap<_, _> =
            variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Request::read(command, &variables, |name| variables[name].clone())
    }

    #[test]
    fn a_dump_by_position_is_read_with_its_flags() {
        let request = read(&dump(b"binlog.000002", 157, 3, 9), &[]).unwrap();
        assert_eq!(request.from, From::Place(Place { file: "binlog.000002".into(), position: 157 }));
        assert!(request.non_block && request.heartbeat_v2);
        assert_eq!(request.checksums, Checksums::TakenOff);
        assert!(!read(&dump(b"", 4, 0, 9), &[]).unwrap().non_block);
        assert!(read(&dump(b"", 4, 0, 0), &[]).unwrap().non_block, "mysqlbinlog has server id 0");
        assert!(read(&dump(b"", 3, 0, 9), &[]).unwrap_err().contains("position < 4"));
        assert!(read(&dump(b"\xff\xfe", 4, 0, 9), &[]).is_err());
    }

    #[test]
    fn a_name_of_nuls_in_a_dump_by_gtids_is_none() {
        let command = |file: &'static [u8]| Command::BinlogDumpGtid {
            flags: 4,
            server_id: 7,
            file: Bytes::from_static(file),
            position: 4,
            gtid_set: Bytes::from_static(&[0; 8]),
        };
        let request = read(&command(b"\0\0\0"), &[]).unwrap();
        assert_eq!(request.from, From::Gtids(binlog::GtidSet::new(), None));
        assert!(matches!(read(&command(b"f.1"), &[]).unwrap().from, From::Gtids(_, Some(_))));
    }

    #[test]
    fn variables_are_heard_by_their_old_and_new_names() {
        for (prefix, suffix) in [("master", "slave"), ("source", "replica")] {
            let checksum = format!("{prefix}_binlog_checksum");
            let period = format!("{prefix}_heartbeat_period");
            let semi_sync = format!("rpl_semi_sync_{suffix}");
            let variables = [(&*checksum, "crc32"), (&*period, "1500000000"), (&*semi_sync, "1")];
            let request = read(&dump(b"f", 4, 0, 1), &variables).unwrap();
            assert_eq!(request.checksums, Checksums::Sent);
            assert_eq!(request.heartbeat.as_millis(), 1500);
            assert!(request.semi_sync);
        }
        let request = read(&dump(b"f", 4, 0, 1), &[("master_binlog_checksum", "NONE")]).unwrap();
        assert_eq!(request.checksums, Checksums::SentFromFormat);
    }
}
