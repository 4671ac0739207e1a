//! The harness: two regions with everything beside them, told as a story.
//!
//! ```text
//! Pair ─┬─ Region eu, us     a real mysqld each, with accounts of exactly the documented privileges
//!       ├─ Proxy per link    between a relay and the applier that reads it: cut, hold, delay
//!       ├─ TwinlogProcess x4 the real binary: relay eu, relay us, applier eu-us, applier us-eu
//!       └─ status, compare   what the processes say, what the tables hold
//! Workload                   seeded writers in both regions that know what they committed
//! ```
//!
//! Everything here panics with a readable text where it can't go on: it is for tests. When a test panics, the end of
//! every process's log is printed. Whatever was started ends when its owner is dropped, and when the test process is
//! killed.

mod accounts;
mod admin;
mod binary;
mod browser;
mod check;
mod checkpoint;
mod compare;
mod config;
mod definitions;
mod generator;
mod known;
mod lone_relay;
mod mesh;
mod pair;
mod pair_clients;
mod ports;
mod process;
mod proxy;
mod proxy_rules;
mod region;
mod runtimes;
mod schema;
mod seed;
mod slots;
mod small_disk;
mod status;
mod stock_replica;
mod tools;
mod verify;
mod wait;
mod workload;
mod writer;

pub use admin::AdminAnswer;
pub use binary::{Finished, twinlog};
pub use browser::Browser;
pub use check::{Check, Item};
pub use compare::{difference, tables_in_step};
pub use config::SyncFile;
pub use definitions::{defined_alike, definitions};
pub use generator::{Done, Generator};
pub use lone_relay::{LINK, LoneRelay, Sources};
pub use mesh::Mesh;
pub use pair::{Pair, PairOptions};
pub use process::{Process, TwinlogProcess, send_signal};
pub use proxy::Proxy;
pub use region::{Region, RegionOptions, installation};
pub use runtimes::{node, npm_package, pip_packages, python};
pub use schema::TABLES;
pub use seed::seed;
pub use slots::{Slot, take_slot};
pub use small_disk::SmallDisk;
pub use status::{LinkStatus, SyncStatus};
pub use stock_replica::{complaints, error_log, replica_state, replicate, replicate_relay, wait_equal};
pub use tools::{debian_command, debian_program};
pub use verify::Verified;
pub use wait::until;
pub use workload::{Committed, Pace, Workload};
