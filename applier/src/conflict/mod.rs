//! Conflicts: found by the window, decided by rule, recorded.
//!
//! | file | holds |
//! |---|---|
//! | `rules.rs` | who wins, and the hybrid clock; pure |
//! | `key.rs` | a row's keys, folded; texts by `weights.rs`, as the server compares them |
//! | `seen.rs` | what a region had applied of the others: seen-sets out of stamps |
//! | `window.rs` | keys written in the target, and by whom: in blocks (`block.rs`), the oldest in files (`spill.rs`) |
//! | `follow.rs` | the target's own log, read into the window, which is `shared.rs` with the one who applies |
//! | `follow_doubts.rs` | the same log, read for keys that are in doubt while a copy runs |
//! | `check.rs` | a group held against the window, under its own locks |
//! | `owned.rs` | how far the window must be: what the target has executed |
//! | `pair.rs` | whether either link of a pair copies rows |
//! | `redo.rs` | a transaction that collides, row by row: `row.rs`, `local_row.rs` |
//! | `trace.rs` | changes that leave nothing in the log by themselves, where three regions write |
//! | `taken.rs` | rows of the target that a foreign key takes along |
//! | `admin.rs`, `flip.rs` | what people do with it |
//! | `record.rs` | the conflict table; rows as JSON by `readable.rs` |

mod admin;
mod block;
mod check;
mod decide;
mod explain;
mod flip;
pub(crate) mod follow;
mod follow_doubts;
pub(crate) mod key;
mod local_row;
mod locked;
pub(crate) mod owned;
pub(crate) mod pair;
pub(crate) mod parts;
pub(crate) mod readable;
pub(crate) mod record;
mod redo;
mod row;
pub(crate) mod rules;
pub(crate) mod seen;
pub(crate) mod shared;
pub(crate) mod shelf;
mod spill;
mod taken;
pub(crate) mod trace;
pub(crate) mod weights;
pub(crate) mod window;
mod zoned;

#[cfg(test)]
mod model_tests;

pub(crate) use local_row::literal;

pub use admin::{ConflictTable, Recorded, Take, Wanted};
pub use flip::Flipped;
pub(crate) use local_row::condition;
pub(crate) use locked::packets;
pub use rules::{Detect, Kind, Policy, Winner};
