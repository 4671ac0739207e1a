//! The relay log on disk: what a relay has pulled from its source, durable, for its downstreams to read.
//!
//! ```text
//!            LogWriter                                  RelayLog ──▶ LogReader, one per downstream
//!  source ──▶ append ──▶ segment-00000007.binlog ◀────── next_batch, up to the durable end
//!             sync   ──▶ durable end moves   ──────────▶ durable(): followers wake up
//!                        segment-00000006.binlog
//!                        …                    ◀───────── purge: what is old and acknowledged
//!                        index/ (sled)
//! ```
//! **Segments hold the bytes.** Each is a valid binary log file: magic, the source's format description,
//! previous GTIDs, then the source's events unaltered; at most one source file of one server in each.
//! **The index answers questions**: where a GTID set begins, what is finished, what was acknowledged. It is
//! rebuilt from the segments when it is lost.
//!
//! What it promises:
//! - *Only what is durable counts*: readers see nothing that is not flushed ([`LogWriter::sync`]).
//! - *No silent gap*: every event's CRC32 is verified when it is read, here and at open; what was flushed and
//!   is damaged is refused with its place, never cut off ([`Error::Corrupt`]).
//! - *Nothing is purged that a link still needs* ([`RelayLog::purge`]).
//!
//! It knows nothing of the network, and nothing here is async: what blocks is called from a thread that may.

mod active;
mod catalogue;
mod check;
mod codec;
mod compare;
mod downstream;
mod error;
mod events;
mod files;
mod follower;
mod fresh;
mod head;
mod identity;
mod index;
mod index_open;
mod log;
mod mark;
mod options;
mod position;
mod purge;
mod reader;
mod recovery;
mod repair;
mod roll;
mod scan;
mod seek;
mod stream;
mod sync;
mod torn;
mod view;
mod view_ends;
mod writer;

pub use check::{SegmentCheck, check};
pub use downstream::{Acknowledged, DownstreamInfo};
pub use error::{Damage, Error, FileDamage, SeekError};
pub use fresh::Fresh;
pub use head::SegmentHead;
pub use log::{RelayLog, SegmentInfo};
pub use options::Options;
pub use position::{DurableEnd, LogPosition, SourcePosition};
pub use purge::{PurgeLimit, Purged};
pub use reader::{Batch, Item, LogEvent, LogReader, SegmentBegin};
pub use repair::{Repaired, repair};
pub use stream::{OnKnown, SourceFile};
pub use sync::SyncPoint;
pub use view::{LogIdentity, LogView, ViewReader};
pub use writer::{Appended, LogWriter};
