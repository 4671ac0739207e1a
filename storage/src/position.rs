//! Places: in the log, and in the source's files.

use std::fmt;
use std::sync::Arc;

use binlog::{Gtid, GtidSet};
use uuid::Uuid;

/// A place in the log: a segment's number, and bytes from the beginning of its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// The segment, from 1; 0 is the empty log.
    pub segment: u64,
    /// Bytes from the beginning of its file.
    pub offset: u64,
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment, self.offset)
    }
}

/// A place in a file of a source. It means something only together with the server: names repeat on other
/// servers, and on the same one after its logs were reset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePosition {
    /// The server's uuid.
    pub server_uuid: Uuid,
    /// The file's name.
    pub file: Arc<str>,
    /// Bytes from its beginning.
    pub position: u64,
}

impl fmt::Display for SourcePosition {
    /// As the server shows it in statements and logs: `file:position`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.position)
    }
}

/// How far the log is on disk: always the end of a whole transaction.
#[derive(Clone, Debug, Default)]
pub struct DurableEnd {
    /// The end, in the log.
    pub position: LogPosition,
    /// All transactions on disk, and those that were purged or lie before the log's start.
    pub gtids: Arc<GtidSet>,
    /// The end, in the source's file; `None` while the log has no segment.
    pub source: Option<SourcePosition>,
    /// When the last transaction was committed at the server that was read, microseconds since 1970; 0 when
    /// there is none, or it does not tell.
    pub commit_timestamp: u64,
    /// The last transaction; `None` while the log holds none, also when all were purged.
    pub last_gtid: Option<Gtid>,
}

/// The 64-bit position for an event header's `log_pos`, which is modulo 2^32: the one nearest to where the
/// reading was. (The next event ends at most 1 GiB further on, and what a source leaves out is rarely more.)
pub(crate) fn widen(near: u64, log_pos: u32) -> u64 {
    const WRAP: u64 = 1 << 32;
    let same = near & !(WRAP - 1) | u64::from(log_pos);
    let candidates = [same.checked_sub(WRAP), Some(same), same.checked_add(WRAP)];
    candidates.into_iter().flatten().min_by_key(|position| position.abs_diff(near)).unwrap_or(same)
}

#[cfg(test)]
mod tests {
    use super::widen;

    #[test]
    fn positions_go_on_counting_beyond_four_gib() {
        let gib = 1u64 << 30;
        assert_eq!(widen(4, 200), 200);
        assert_eq!(widen(4, 3 << 30), 3 * gib, "nothing lies before a file's beginning");
        assert_eq!(widen(4 * gib - 10, 90), 4 * gib + 90);
        assert_eq!(widen(4 * gib + 90, 190), 4 * gib + 190);
        assert_eq!(widen(9 * gib, 1 << 30), 9 * gib);
        assert_eq!(widen(9 * gib, (1 << 30) - 50), 9 * gib - 50, "a little back is a little back");
    }
}
