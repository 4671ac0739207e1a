//! Transactions that were left out, and when that must be written down (**promise 7**).

use std::time::Duration;

use binlog::GtidSet;
use tokio::time::Instant;

use crate::position::SourcePosition;

/// Drops are written down when the first of them is this old.
const PERSIST_AFTER: Duration = Duration::from_secs(10);
/// Or when they are this many bytes of the stream.
const PERSIST_BYTES: usize = 64 << 20;

/// Transactions left out since the last that was not.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub(super) covers: GtidSet,
    pub(super) end: SourcePosition,
    pub(super) bytes: usize,
    /// When the first that carried rows came.
    pub(super) rows_since: Option<Instant>,
}

impl Passed {
    /// When these drops must be written down; `None` while nothing in them carried rows.
    pub(super) fn due(&self) -> Option<Instant> {
        let since = self.rows_since?;
        Some(if self.bytes >= PERSIST_BYTES { since } else { since + PERSIST_AFTER })
    }
}
