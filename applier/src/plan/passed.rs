//! Transactions that were left out, and when that must be written down (**promise 7**).

use std::time::Duration;

use binlog::GtidSet;
use tokio::time::Instant;

use crate::mark::Mark;

/// Drops are written down when the first of them is this old.
const PERSIST_AFTER: Duration = Duration::from_secs(10);
/// Or when they are this many bytes of the stream.
const PERSIST_BYTES: usize = 64 << 20;

/// Transactions left out since the last that was not.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub(super) covers: GtidSet,
    pub(super) mark: Mark,
    pub(super) bytes: usize,
    /// When the first that carried rows came.
    pub(super) rows_since: Option<Instant>,
    /// One of them is a mark: somebody waits for the checkpoint to pass it.
    pub(super) awaited: bool,
}

impl Passed {
    /// When these drops must be written down; `None` while nothing in them carried rows.
    pub(super) fn due(&self) -> Option<Instant> {
        let since = self.rows_since?;
        let now = self.awaited || self.bytes >= PERSIST_BYTES;
        Some(if now { since } else { since + PERSIST_AFTER })
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::{PERSIST_AFTER, Passed};

    #[test]
    fn drops_are_written_down_at_once_when_a_mark_is_among_them() {
        let now = Instant::now();
        let mut passed = Passed::default();
        assert_eq!(passed.due(), None, "what carried no rows causes no write");
        passed.rows_since = Some(now);
        assert_eq!(passed.due(), Some(now + PERSIST_AFTER));
        passed.awaited = true;
        assert_eq!(passed.due(), Some(now));
    }
}
