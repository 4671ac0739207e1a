//! The initial copy of data, while applications write at the source and in the target.
//!
//! ```text
//! walk ──ranges of keys──▶ hands: read at the source ─ wait for the place in the stream ─ write into the target
//!                              │ before      │ after                ▲
//!                              ▼             ▼                      │
//! stream ──transactions──▶ weave (in the planner) ─────────────▶ applier
//! ```
//! A **chunk** is a range of a table's key, read in one statement, which sees one state of the table. What that state
//! holds lies between two marks: what the source had executed before the read, and what it had executed or owned
//! after it (a commit shows its rows before its GTID is executed, but it owns it by then). The chunk's **place** is
//! where the stream has passed the second mark: there it stands for the range as it is at that place, once each key that
//! the stream touched between the marks has its row from the stream instead. Before its place, changes to its keys
//! are passed over, for the chunk brings them; behind it they are applied strictly.
//!
//! Rows are written as row events, like those of the stream: exact for every type, and no trigger fires. Rows, the stamp
//! and a row of `<meta schema>.load` that tells the range commit in one transaction (**promises 2 and 4**), and the
//! checkpoint has passed the chunk's place before. So whatever is killed, the copy goes on with what is not in that table.
//!
//! | file | holds |
//! |---|---|
//! | `table.rs` | the source's tables: columns, key, estimates |
//! | `value.rs`, `json.rs` | a value's text as it stands in a row image |
//! | `order.rs` | keys in the order of their index, as bytes |
//! | `ranges.rs` | which part of a table is copied; pure |
//! | `touched.rs` | what the stream said of a chunk's keys between its marks |
//! | `weave.rs`, `statements.rs` | a transaction of the stream, and a statement, held against what is copied |
//! | `chunks.rs` | chunks from their read to their place and on, and the end of the copy |
//! | `in_flight.rs` | chunks on their way into the target |
//! | `indexes.rs` | indexes that are made when the rows of their table are there |
//! | `walk.rs`, `throttle.rs` | the ranges, no faster than the servers bear |
//! | `decide.rs` | the rules where the target writes as well; pure |
//! | `doubt.rs`, `passed.rs` | keys in doubt, and keys that may come to be |
//! | `careful.rs`, `two_way.rs` | chunks that meet rows, and settling |
//! | `read.rs` | a chunk, and its marks |
//! | `hand.rs`, `write.rs`, `recompute.rs`, `stamp.rs` | one who reads and writes chunks, several side by side |
//! | `load.rs` | the table `load`: how far the copy is |

mod careful;
mod chunks;
mod config;
mod decide;
mod doubt;
mod hand;
mod in_flight;
mod indexes;
mod json;
mod load;
mod order;
mod passed;
mod ranges;
mod read;
mod recompute;
mod run;
mod stamp;
mod statements;
mod table;
mod throttle;
mod touched;
mod two_way;
mod value;
mod walk;
mod weave;
mod write;

#[cfg(test)]
mod model_tests;

pub(crate) use chunks::Told;
pub use config::{Existing, Initial, Load};
pub(crate) use decide::passes_over;
pub(crate) use doubt::{Doubts, Known, Named};
pub(crate) use in_flight::InFlight;
pub(crate) use load::{COLUMNS as LOAD_COLUMNS, KeyRange, Load as LoadTable, TABLE as LOAD_TABLE};
pub(crate) use ranges::ChunkId;
pub(crate) use run::{Copy, Found, Place, Placed, Places, find, sort_key};
pub(crate) use table::{SourceTable, names, names_now};
pub(crate) use two_way::{TwoWay, WayBack, doubt_number};
pub(crate) use weave::Weaver;
