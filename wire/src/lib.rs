//! MySQL's protocol over a socket: be a replica, be a source, run a group.
//!
//! - A [`Connection`] is a client's: it logs in, asks, and runs groups of statements whose answers it counts
//!   ([`Connection::run_group`]).
//! - After [`Connection::register_replica`] it becomes an [`EventStream`] by [`Connection::dump_gtid`]:
//!   raw events, and an [`AckSender`] to acknowledge them.
//! - [`accept`] is the other side: it logs a client in to a [`Session`], whose commands are read one by
//!   one and answered, until one of them asks for a dump: then [`Session::into_dump`].
//!
//! Nothing here knows what an event says: bytes go through untouched, and checksums are for whoever
//! stores or reads them. Every byte of a peer is taken as hostile: parsers don't panic, and memory is
//! asked for only after a length was checked against a limit.
//!
//! What is cancellation safe says so. As a rule: reading is, writing is not, and a connection that was left
//! in the middle of something refuses to go on instead of getting out of step.

mod answer;
mod auth;
mod client;
mod compressed;
mod constants;
mod cursor;
mod encode;
mod error;
mod handshake;
mod options;
mod packet;
mod replica;
mod result_set;
mod socket;
mod source;
mod stream;
mod tls;
mod transient;
mod version;

pub use answer::{Answer, OkInfo};
pub use auth::verifier::{Users, Verifier};
pub use client::{Connection, GroupError, Rows};
pub use error::{Error, ServerError};
pub use options::{ConnectOptions, ListenerTls, Secret, TlsMode, TlsOptions};
pub use replica::{AckSender, Checksum, DumpFlags, EventStream, Incoming, ReplicaOptions, SourceInfo};
pub use result_set::{Column, ColumnType, ResultSet, Row, RowRef};
pub use socket::prepare_socket;
pub use source::{Ack, AckReceiver, Command, EventSender, LoginOptions, Peer, Session, accept, turn_away};
pub use stream::Stream;
pub use tls::{accept_tls, connect_tls};
pub use version::ServerVersion;
