//! The event that begins a transaction: its GTID, its place among the others, its times.
//!
//! ```text
//! untagged (33, 34)                        tagged (42): the server's serialization library
//! 0   flags            u8                  version u8 = 2, size, last non-ignorable field, then fields
//! 1   uuid             16                  0 flags  1 uuid (16 integers)  2 gno  3 tag
//! 17  gno              u64                 4 last_committed  5 sequence_number
//! 25  typecode         u8 = 2              6 immediate commit time  7 original commit time
//! 26  last_committed   u64                 8 transaction length
//! 34  sequence_number  u64                 9 immediate, 10 original server version
//! 42  immediate commit time, u56; its top bit: an original commit time, u56, follows
//!     transaction length, length-encoded
//!     server version, u32; its top bit: an original server version, u32, follows
//! ```
//! `libs/mysql/binlog/event/control_events.cpp`, `Gtid_event`.

use bytes::Buf;
use uuid::Uuid;

use super::{Event, EventError, EventKind};
use crate::gtid::{Gtid, Sequence, Tag};

/// What begins a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GtidEvent {
    /// The transaction's GTID; `None` in an anonymous one.
    pub gtid: Option<Gtid>,
    /// It waits for all up to this sequence number of the same file; 0 for none.
    pub last_committed: u64,
    /// Its own number in its file.
    pub sequence_number: u64,
    /// When the server that was read committed it, microseconds since 1970; 0 when not told.
    pub immediate_commit_timestamp: u64,
    /// When the server that first committed it did, microseconds since 1970; 0 when not told.
    pub original_commit_timestamp: u64,
    /// Bytes of the whole transaction in the source's file, this event included; 0 when not told.
    pub transaction_length: u64,
}

impl GtidEvent {
    /// Reads any of the three kinds.
    pub fn parse(event: &Event) -> Result<Self, EventError> {
        let parsed = match event.kind() {
            EventKind::GtidTagged => parse_tagged(event.body()),
            EventKind::Gtid | EventKind::AnonymousGtid => {
                parse_untagged(event.body(), event.kind() == EventKind::AnonymousGtid)
            }
            _ => None,
        };
        parsed.ok_or_else(|| event.malformed("not a GTID event"))
    }
}

fn parse_untagged(mut body: &[u8], anonymous: bool) -> Option<GtidEvent> {
    let _flags = body.try_get_u8().ok()?;
    let uuid = read_uuid(&mut body)?;
    let gno = body.try_get_u64_le().ok()?;
    let gtid = (!anonymous).then(|| Gtid { sequence: uuid.into(), gno });
    if gtid.as_ref().is_some_and(|g| g.gno == 0 || g.gno >= i64::MAX as u64) {
        return None;
    }
    let mut out = GtidEvent {
        gtid,
        last_committed: 0,
        sequence_number: 0,
        immediate_commit_timestamp: 0,
        original_commit_timestamp: 0,
        transaction_length: 0,
    };
    if body.try_get_u8() != Ok(2) {
        return Some(out);
    }
    out.last_committed = body.try_get_u64_le().ok()?;
    out.sequence_number = body.try_get_u64_le().ok()?;
    if body.remaining() >= 7 {
        let time = body.get_uint_le(7);
        out.immediate_commit_timestamp = time & !(1 << 55);
        out.original_commit_timestamp = out.immediate_commit_timestamp;
        if time >> 55 == 1 {
            out.original_commit_timestamp = body.try_get_uint_le(7).ok()?;
        }
    }
    if body.has_remaining() {
        out.transaction_length = read_length_encoded(&mut body)?;
    }
    Some(out)
}

fn parse_tagged(mut body: &[u8]) -> Option<GtidEvent> {
    if body.try_get_u8() != Ok(2) {
        return None;
    }
    let _size = read_varlen(&mut body)?;
    let _last_non_ignorable = read_varlen(&mut body)?;
    let (mut uuid, mut tag, mut gno) = (Uuid::nil(), Tag::default(), 0);
    let (mut last_committed, mut sequence_number, mut length) = (0, 0, 0);
    let (mut immediate, mut original) = (0, None);
    while body.has_remaining() {
        match read_varlen(&mut body)? {
            1 => {
                let mut bytes = [0; 16];
                for byte in &mut bytes {
                    *byte = u8::try_from(read_varlen(&mut body)?).ok()?;
                }
                uuid = Uuid::from_bytes(bytes);
            }
            2 => gno = read_signed(&mut body)?,
            3 => {
                let n = usize::try_from(read_varlen(&mut body)?).ok()?;
                let (text, rest) = body.split_at_checked(n)?;
                tag = Tag::new(std::str::from_utf8(text).ok()?)?;
                body = rest;
            }
            4 => last_committed = read_signed(&mut body)?,
            5 => sequence_number = read_signed(&mut body)?,
            6 => immediate = read_varlen(&mut body)?,
            7 => original = Some(read_varlen(&mut body)?),
            8 => length = read_varlen(&mut body)?,
            // Flags, server versions, a commit group's ticket: one integer each.
            0 | 9 | 10 | 11 => _ = read_varlen(&mut body)?,
            // A field of a later version: what comes before it is all this needs.
            _ => break,
        }
    }
    (gno > 0 && !uuid.is_nil()).then_some(GtidEvent {
        gtid: Some(Gtid { sequence: Sequence { uuid, tag }, gno }),
        last_committed,
        sequence_number,
        immediate_commit_timestamp: immediate,
        original_commit_timestamp: original.unwrap_or(immediate),
        transaction_length: length,
    })
}

fn read_uuid(body: &mut &[u8]) -> Option<Uuid> {
    let (head, rest) = body.split_at_checked(16)?;
    *body = rest;
    Uuid::from_slice(head).ok()
}

/// The protocol's length-encoded integer.
pub(crate) fn read_length_encoded(body: &mut &[u8]) -> Option<u64> {
    match body.try_get_u8().ok()? {
        n @ 0..=250 => Some(n.into()),
        252 => body.try_get_u16_le().ok().map(u64::from),
        253 => body.try_get_uint_le(3).ok(),
        254 => body.try_get_u64_le().ok(),
        _ => None,
    }
}

/// The serialization library's integer: as many trailing ones in the first byte as bytes follow it.
fn read_varlen(body: &mut &[u8]) -> Option<u64> {
    let more = body.first()?.trailing_ones() as usize;
    if more == 8 {
        body.advance(1);
        return body.try_get_u64_le().ok();
    }
    let value = body.try_get_uint_le(more + 1).ok()?;
    Some(value >> (more + 1))
}

/// A signed one (sign in the lowest bit) that must not be negative.
fn read_signed(body: &mut &[u8]) -> Option<u64> {
    let value = read_varlen(body)?;
    (value & 1 == 0).then_some(value >> 1)
}
