//! GTID sets as bytes, in both forms the server has (`Gtid_set::encode`, `sql/rpl_gtid_set.cc`).
//!
//! ```text
//! untagged   n:u64  { uuid:16  runs:u64 { start:u64 end:u64 }* }*
//! tagged     (1<<56 | n<<8 | 1):u64  { uuid:16  tag:string  runs:u64 { start:u64 end:u64 }* }*
//! ```
//! All little-endian, `end` exclusive. A tag is its length as a variable-length integer of the server's
//! serialization library (one byte: `length << 1`), then its text. The tagged form is written only when a
//! tag is in the set, so that servers before 8.3 understand the rest.

use bytes::{Buf, BufMut};
use uuid::Uuid;

use super::{GNO_END, GtidSet, Sequence, Tag};

/// Why bytes are no GTID set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GtidWireError {
    /// They end too soon.
    #[error("GTID set is cut short")]
    Truncated,
    /// There are bytes behind its end.
    #[error("GTID set has {0} bytes behind its end")]
    Trailing(usize),
    /// The format byte is neither 0 nor 1.
    #[error("GTID set has an unknown format: {0}")]
    Format(u8),
    /// A tag is not one.
    #[error("GTID set has a malformed tag")]
    Tag,
    /// A run is empty, backwards, or out of range.
    #[error("GTID set has a malformed run: {0} to {1}")]
    Run(u64, u64),
}

const TAGGED: u64 = 1;
/// The least that one sequence takes, so that a count can be held against the bytes that are there.
const LEAST_SEQUENCE: usize = 16 + 8;

impl GtidSet {
    /// The set as bytes: the untagged form when it has no tag in it.
    pub fn to_wire(&self) -> Vec<u8> {
        let tagged = self.sequences().any(|(sequence, _)| !sequence.tag.is_empty());
        let n = self.sequences().count() as u64;
        let mut out = Vec::with_capacity(8 + self.sequences().count() * 40);
        out.put_u64_le(if tagged { TAGGED << 56 | n << 8 | TAGGED } else { n });
        for (sequence, runs) in self.sequences() {
            out.put_slice(sequence.uuid.as_bytes());
            if tagged {
                out.put_u8(sequence.tag.length() << 1);
                out.put_slice(sequence.tag.as_str().as_bytes());
            }
            out.put_u64_le(runs.runs().len() as u64);
            for &(start, end) in runs.runs() {
                out.put_u64_le(start);
                out.put_u64_le(end);
            }
        }
        out
    }

    /// Reads either form; every byte must be used.
    pub fn from_wire(mut bytes: &[u8]) -> Result<Self, GtidWireError> {
        let header = bytes.try_get_u64_le().map_err(|_| GtidWireError::Truncated)?;
        let (tagged, n) = match header >> 56 {
            0 => (false, header),
            TAGGED => (true, header >> 8 & 0xff_ffff_ffff),
            _ => return Err(GtidWireError::Format(header.to_le_bytes()[7])),
        };
        if n > (bytes.len() / LEAST_SEQUENCE) as u64 {
            return Err(GtidWireError::Truncated);
        }
        let mut set = Self::new();
        for _ in 0..n {
            read_sequence(&mut bytes, tagged, &mut set)?;
        }
        if bytes.is_empty() { Ok(set) } else { Err(GtidWireError::Trailing(bytes.len())) }
    }
}

fn read_sequence(bytes: &mut &[u8], tagged: bool, set: &mut GtidSet) -> Result<(), GtidWireError> {
    let uuid = take(bytes, 16)?;
    let uuid = Uuid::from_slice(uuid).map_err(|_| GtidWireError::Truncated)?;
    let tag = if tagged { read_tag(bytes)? } else { Tag::default() };
    let sequence = Sequence { uuid, tag };
    let runs = bytes.try_get_u64_le().map_err(|_| GtidWireError::Truncated)?;
    if runs > (bytes.len() / 16) as u64 {
        return Err(GtidWireError::Truncated);
    }
    for _ in 0..runs {
        let (start, end) = (bytes.get_u64_le(), bytes.get_u64_le());
        if start == 0 || start >= end || end > GNO_END {
            return Err(GtidWireError::Run(start, end));
        }
        set.insert_run(sequence.clone(), start, end);
    }
    Ok(())
}

fn read_tag(bytes: &mut &[u8]) -> Result<Tag, GtidWireError> {
    let length = take(bytes, 1)?[0];
    // An odd first byte announces more length bytes: longer than any tag.
    if length & 1 == 1 {
        return Err(GtidWireError::Tag);
    }
    let text = std::str::from_utf8(take(bytes, usize::from(length >> 1))?).map_err(|_| GtidWireError::Tag)?;
    Tag::new(text).ok_or(GtidWireError::Tag)
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Result<&'a [u8], GtidWireError> {
    let (head, rest) = bytes.split_at_checked(n).ok_or(GtidWireError::Truncated)?;
    *bytes = rest;
    Ok(head)
}
