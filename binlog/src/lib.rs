//! What the bytes of a MySQL binary log mean: GTIDs and GTID sets, events, row images, stamps.
//! No I/O and no runtime in here.

pub mod event;
pub mod gtid;
pub mod payload;
pub mod row;
pub mod stamp;
pub mod transaction;

pub use event::{Event, EventError, EventKind, FormatDescription};
pub use gtid::{Gtid, GtidSet, Sequence, Tag};
pub use transaction::{Part, TransactionTracker};
