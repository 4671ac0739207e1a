//! What an applier is told.

use std::collections::BTreeMap;

use uuid::Uuid;
use wire::ConnectOptions;

use crate::TablePatterns;

/// Everything one applier needs to know. Made by the command line from the configuration file.
#[derive(Clone, Debug)]
pub struct Config {
    /// The sync's name.
    pub sync: String,
    /// The link's name in the file.
    pub link: String,
    /// The region it reads.
    pub from: String,
    /// The region it writes into.
    pub to: String,
    /// Checkpoint and metadata live in this schema of the target.
    pub meta_schema: String,
    /// What it attaches to: the relay of `from`, or a MySQL server.
    pub source: ConnectOptions,
    /// The source MySQL server itself, for questions that only it can answer; addresses in order of preference.
    pub source_servers: Vec<ConnectOptions>,
    /// The target's addresses, in order of preference.
    pub targets: Vec<ConnectOptions>,
    /// The applier's own `server_id` as a replica.
    pub server_id: u32,
    /// Tables in step, in the names of `from`.
    pub tables: TablePatterns,
    /// DDL on those tables is applied too.
    pub ddl: bool,
    /// Every region of the sync, with the GTID uuids the file gives it beyond its server's own.
    pub regions: BTreeMap<String, Vec<Uuid>>,
    /// How large a group may grow.
    pub group: GroupLimits,
}

/// How large a group may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLimits {
    /// Source transactions in one target transaction.
    pub max_transactions: usize,
    /// Bytes of row events in one target transaction; one larger source transaction is a group of its own.
    pub max_bytes: usize,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self { max_transactions: 256, max_bytes: 4 << 20 }
    }
}
