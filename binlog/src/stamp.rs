//! The stamp: how a transaction in a target's binlog carries the origin it came from.
//!
//! It is the first row change of the transaction: that of the checkpoint row, which commits with the rows
//! themselves. The table is `<meta schema>.checkpoint`:
//!
//! ```text
//! 0 origin  1 link  2 slot    the primary key: in every image, also under binlog_row_image=MINIMAL
//! 3 epoch   4 seq             who holds the link; how often this row was written
//! 5 gtid_set                  source GTIDs applied, up to and with this transaction
//! ```
//! What comes behind these columns is not read here.

use crate::event::{Event, EventError};
use crate::row::{Image, RowChange, RowsEvent, TableMap, Value};

/// The table's name in the meta schema.
pub const CHECKPOINT_TABLE: &str = "checkpoint";
/// The table that changes pass through which change nothing where they arrive: always empty.
pub const TRACE_TABLE: &str = "trace";
/// Each link has rows in slots 0 to 15, written in turn, so that a replica of the target can run neighbouring
/// groups side by side.
pub const SLOTS: u8 = 16;

/// What happened to one checkpoint row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The region its transactions come from.
    pub origin: String,
    /// The link's key.
    pub link: String,
    /// Which of the link's rows.
    pub slot: u8,
    /// Written, or taken away.
    pub change: Change,
}

/// The change of a checkpoint row. Under a minimal row image only what changed is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new row.
    Insert {
        /// Its epoch.
        epoch: u64,
        /// Its count of writes.
        seq: u64,
        /// The applied set, as text.
        gtid_set: Option<String>,
        /// The hybrid clock of the source's log at the end of what is applied, microseconds since 1970.
        clock: Option<u64>,
    },
    /// A row written again.
    Update {
        /// The epoch now, if it is in the image.
        epoch: Option<u64>,
        /// The count now, if it is in the image: absent when only the epoch was raised.
        seq: Option<u64>,
        /// The count before, where the image has it: not under a minimal one.
        seq_before: Option<u64>,
        /// The applied set now, as text, if it is in the image.
        gtid_set: Option<String>,
        /// The hybrid clock of the source's log now, if it is in the image.
        clock: Option<u64>,
    },
    /// A row taken away.
    Delete,
}

/// Reads the changes of checkpoint rows from a row event on the checkpoint table.
pub fn read(event: &Event, map: &TableMap) -> Result<Vec<Stamp>, EventError> {
    let bad = || event.malformed("not a checkpoint row");
    let rows = RowsEvent::parse(event, map)?;
    rows.changes().map(|change| read_one(&change?).ok_or_else(bad)).collect()
}

/// The column of the hybrid clock.
const CLOCK: usize = 9;

fn read_one(change: &RowChange<'_>) -> Option<Stamp> {
    let key = change.before.as_ref().or(change.after.as_ref())?;
    let what = match (&change.before, &change.after) {
        (None, Some(after)) => Change::Insert {
            epoch: number(after, 3)?,
            seq: number(after, 4)?,
            gtid_set: text(after, 5),
            clock: number(after, CLOCK),
        },
        (Some(before), Some(after)) => {
            // A full image repeats what did not change: only a changed count makes it a stamp.
            let seq = number(after, 4).filter(|seq| number(before, 4) != Some(*seq));
            Change::Update {
                epoch: number(after, 3),
                seq,
                seq_before: number(before, 4),
                gtid_set: text(after, 5),
                clock: number(after, CLOCK),
            }
        }
        (_, None) => Change::Delete,
    };
    let slot = u8::try_from(number(key, 2)?).ok()?;
    Some(Stamp { origin: text(key, 0)?, link: text(key, 1)?, slot, change: what })
}

fn number(image: &Image<'_>, column: usize) -> Option<u64> {
    match image.get(column)? {
        Value::Unsigned(n) => Some(*n),
        Value::Signed(n) => u64::try_from(*n).ok(),
        _ => None,
    }
}

fn text(image: &Image<'_>, column: usize) -> Option<String> {
    match image.get(column)? {
        Value::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok(),
        _ => None,
    }
}
