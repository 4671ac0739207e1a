//! The small events: rotate, heartbeat, previous GTIDs, XA prepare.

use bytes::{Buf, BufMut};

use super::gtid::read_length_encoded;
use super::{Event, EventError, EventKind, FLAG_ARTIFICIAL, Header};
use crate::gtid::GtidSet;

/// Where the events that follow come from: the end of a file, or a sender's word at a stream's begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotate {
    /// The position in that file.
    pub position: u64,
    /// The file's name.
    pub file: String,
}

impl Rotate {
    /// `position:u64 name`.
    pub fn parse(event: &Event) -> Result<Self, EventError> {
        let mut body = event.body();
        if event.kind() != EventKind::Rotate || body.len() < 9 {
            return Err(event.malformed("not a rotate event"));
        }
        let position = body.get_u64_le();
        let file = std::str::from_utf8(body).map_err(|_| event.malformed("the file name is no text"))?;
        Ok(Self { position, file: file.into() })
    }
}

/// The rotate event that a sender begins a stream, or a new file, with.
pub fn artificial_rotate(server_id: u32, file: &str, position: u64) -> Event {
    let mut body = Vec::with_capacity(8 + file.len());
    body.put_u64_le(position);
    body.put_slice(file.as_bytes());
    let header =
        Header { timestamp: 0, kind: EventKind::Rotate, server_id, log_pos: 0, flags: FLAG_ARTIFICIAL };
    Event::build(&header, &body)
}

/// A sign of life on a silent stream, with the place the sender has reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The file.
    pub file: String,
    /// The position in it.
    pub position: u64,
}

impl Heartbeat {
    /// Either version: v1 is the name, with the position in the header; v2 is a run of
    /// `type:u8 length value` (1 name, 2 position, 0 end).
    pub fn parse(event: &Event) -> Result<Self, EventError> {
        let fields = match event.kind() {
            EventKind::Heartbeat => {
                let name = std::str::from_utf8(event.body()).ok();
                name.map(|file| Self { file: file.into(), position: event.log_pos().into() })
            }
            EventKind::HeartbeatV2 => Self::parse_v2(event.body()),
            _ => None,
        };
        fields.ok_or_else(|| event.malformed("not a heartbeat"))
    }

    fn parse_v2(mut body: &[u8]) -> Option<Self> {
        let mut heartbeat = Self { file: String::new(), position: 0 };
        while body.has_remaining() {
            let kind = body.get_u8();
            if kind == 0 {
                break;
            }
            let length = usize::try_from(read_length_encoded(&mut body)?).ok()?;
            let (mut value, rest) = body.split_at_checked(length)?;
            body = rest;
            match kind {
                1 => heartbeat.file = std::str::from_utf8(value).ok()?.into(),
                2 => heartbeat.position = read_length_encoded(&mut value)?,
                _ => {}
            }
        }
        Some(heartbeat)
    }
}

/// A heartbeat of version 1, which every client understands. A position beyond 4 GiB is sent modulo 2^32,
/// as servers before version 2 did.
pub fn heartbeat(server_id: u32, file: &str, position: u64) -> Event {
    #[expect(clippy::cast_possible_truncation, reason = "the header's field is modulo 2^32")]
    let log_pos = position as u32;
    let header = Header { timestamp: 0, kind: EventKind::Heartbeat, server_id, log_pos, flags: 0 };
    Event::build(&header, file.as_bytes())
}

/// A heartbeat of version 2, for clients that asked for it: it has room for every position.
pub fn heartbeat_v2(server_id: u32, file: &str, position: u64) -> Event {
    let (mut name, mut place) = (Vec::new(), Vec::new());
    put_length_encoded(&mut name, file.len() as u64);
    name.put_slice(file.as_bytes());
    put_length_encoded(&mut place, position);
    let mut body = vec![1];
    body.put_slice(&name);
    body.put_u8(2);
    put_length_encoded(&mut body, place.len() as u64);
    body.put_slice(&place);
    body.put_u8(0);
    #[expect(clippy::cast_possible_truncation, reason = "the header's field is modulo 2^32")]
    let log_pos = position as u32;
    let header = Header { timestamp: 0, kind: EventKind::HeartbeatV2, server_id, log_pos, flags: 0 };
    Event::build(&header, &body)
}

fn put_length_encoded(out: &mut Vec<u8>, number: u64) {
    let bytes = number.to_le_bytes();
    match number {
        0..251 => out.put_u8(bytes[0]),
        251..0x1_0000 => out.put_slice(&[&[0xfc], &bytes[..2]].concat()),
        0x1_0000..0x100_0000 => out.put_slice(&[&[0xfd], &bytes[..3]].concat()),
        _ => out.put_slice(&[&[0xfe], &bytes[..]].concat()),
    }
}

/// The GTID set that a file's previous-GTIDs event holds: all that was executed before the file began.
pub fn read_previous_gtids(event: &Event) -> Result<GtidSet, EventError> {
    if event.kind() != EventKind::PreviousGtids {
        return Err(event.malformed("not a previous-GTIDs event"));
    }
    Ok(GtidSet::from_wire(event.body())?)
}

/// A previous-GTIDs event.
pub fn previous_gtids(server_id: u32, timestamp: u32, log_pos: u32, set: &GtidSet) -> Event {
    let header = Header { timestamp, kind: EventKind::PreviousGtids, server_id, log_pos, flags: 0x80 };
    Event::build(&header, &set.to_wire())
}

/// The end of a transaction's rows in an XA transaction: `one_phase:u8 format:i32 gtrid:i32 bqual:i32 data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XaPrepare {
    /// `XA COMMIT … ONE PHASE`: committed, not only prepared.
    pub one_phase: bool,
    /// The transaction's identifier, as `XA COMMIT` wants it: `X'…',X'…',n`.
    pub xid: String,
}

impl XaPrepare {
    /// Reads an XA prepare event.
    pub fn parse(event: &Event) -> Result<Self, EventError> {
        let bad = || event.malformed("not an XA prepare event");
        let mut body = event.body();
        if event.kind() != EventKind::XaPrepare || body.len() < 13 {
            return Err(bad());
        }
        let one_phase = body.get_u8() != 0;
        let format = body.get_i32_le();
        let global = usize::try_from(body.get_i32_le()).map_err(|_| bad())?;
        let branch = usize::try_from(body.get_i32_le()).map_err(|_| bad())?;
        let (global, rest) = body.split_at_checked(global).ok_or_else(bad)?;
        let (branch, _) = rest.split_at_checked(branch).ok_or_else(bad)?;
        let xid = format!("X'{}',X'{}',{format}", hex(global), hex(branch));
        Ok(Self { one_phase, xid })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
