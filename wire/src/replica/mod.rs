//! Being a replica: what a MySQL replica says to its source, in its order, and the stream of events.
//!
//! ```text
//! SELECT UNIX_TIMESTAMP()                              clock skew
//! SELECT @@global.server_id
//! SET @master_heartbeat_period = ns, @source_heartbeat_period = ns
//! SET @master_binlog_checksum = 'CRC32', @source_binlog_checksum = 'CRC32'
//! SELECT @@global.binlog_checksum
//! SELECT @@global.gtid_mode
//! SELECT @@global.server_uuid
//! SET @slave_uuid = '…', @replica_uuid = '…'
//! SET @…                                               the caller's own variables
//! SELECT @@global.rpl_semi_sync_source_enabled         only for semi-sync; then, if there is one:
//! SET @rpl_semi_sync_slave = 1, @rpl_semi_sync_replica = 1
//! COM_REGISTER_SLAVE
//! COM_BINLOG_DUMP_GTID
//! ```
//!
//! Each variable is set under its old and its new name: which one a source reads depends on its version.

mod ack;
mod dump;
mod register;
mod stream;

pub use ack::AckSender;
pub(crate) use ack::MAX_FILE_NAME;
pub use dump::DumpFlags;
pub(crate) use register::Registered;
pub use register::{Checksum, ReplicaOptions, SourceInfo};
pub use stream::{EventStream, Incoming};
