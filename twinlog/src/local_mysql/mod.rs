//! A MySQL for the demo and the tests: found on the machine or fetched, and as many servers of it as one asks for.
//!
//! ```text
//! locate_or_fetch() ──▶ Installation ──▶ Server::start(…) ──▶ a mysqld on loopback, alone in a folder of its own
//!   TWINLOG_MYSQLD         mysqld()          template copied, free port, GTIDs on
//!   PATH                   client("mysql")
//!   the cache
//!   the Debian archive
//! ```
//!
//! Everything here blocks: from async code call it through `spawn_blocking`, or where blocking does no harm.
//! A server never outlives the process that started it, even when that one is killed with SIGKILL (where
//! `setpriv` of util-linux is there). Root has no password and may log in from 127.0.0.1.

mod apt;
mod apt_sources;
mod cache;
mod command;
mod error;
mod installation;
mod server;
mod spawn;
mod template;
mod workdir;

pub use apt::debian_packages;
pub use error::Error;
pub use installation::{Installation, locate_or_fetch, locate_or_fetch_package, locate_or_fetch_with};
pub use server::{Server, ServerOptions, free_port};

/// The result of this module's functions.
pub type Result<T> = std::result::Result<T, Error>;
