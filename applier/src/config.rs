//! What an applier is told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use uuid::Uuid;
use wire::ConnectOptions;

use crate::{Detect, Load, Objects, Policy, verify};

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
    /// Pack what comes from there by zstd, where it offers that.
    pub compress: bool,
    /// What it attaches to: the relay of `from`, or a MySQL server.
    pub source: ConnectOptions,
    /// The source MySQL server itself, for questions that only it can answer; addresses in order of preference.
    pub source_servers: Vec<ConnectOptions>,
    /// The target's addresses, in order of preference.
    pub targets: Vec<ConnectOptions>,
    /// The applier's own `server_id` as a replica.
    pub server_id: u32,
    /// What is in step.
    pub objects: Objects,
    /// DDL on those tables is applied too.
    pub ddl: bool,
    /// The link the other way carries DDL: statements of `to` reach `from` later, and rows of `from` that have not
    /// seen them are in flight.
    pub ddl_back: bool,
    /// Every region of the sync, with the GTID uuids the file gives it beyond its server's own.
    pub regions: BTreeMap<String, Vec<Uuid>>,
    /// Further regions that have a link into `to`: what this one's source has seen of them comes there by that.
    pub others: Vec<String>,
    /// How large a group may grow.
    pub group: GroupLimits,
    /// Groups side by side; 1: one after the other.
    pub workers: usize,
    /// Where the rows of large transactions are kept until they are committed: files without names.
    pub spill_dir: PathBuf,
    /// What to do when an incoming change meets a row that changed unseen.
    pub conflicts: Conflicts,
    /// Not before this time.
    pub start_at: Option<SystemTime>,
    /// What is copied first, and how.
    pub load: Load,
    /// The link that goes the other way.
    pub way_back: Option<WayBack>,
    /// The relay of `to`, for the conflict window; needed where `detect` is `row`.
    pub target_relay: Option<ConnectOptions>,
    /// When its regions are compared beside it.
    pub verify: Option<verify::Schedule>,
    /// Where it puts what memory does not hold.
    pub state_dir: PathBuf,
}

/// The link of a pair that goes the other way, as far as an initial copy needs it.
#[derive(Clone, Debug)]
pub struct WayBack {
    /// The servers of `from`, with the account that writes there.
    pub servers: Vec<ConnectOptions>,
    /// It copies rows too.
    pub copies: bool,
    /// It makes what tables are missing.
    pub makes_tables: bool,
}

/// The rules for conflicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflicts {
    /// For tables not named below.
    pub rules: TableRules,
    /// By `database.table`, in the names of `to`.
    pub tables: BTreeMap<String, TableRules>,
}

impl Conflicts {
    /// The rules of a table.
    pub fn of(&self, database: &str, table: &str) -> TableRules {
        if self.tables.is_empty() {
            return self.rules;
        }
        self.tables.get(&format!("{database}.{table}")).copied().unwrap_or(self.rules)
    }

    /// Does any table need the conflict window?
    pub fn any_by_row(&self) -> bool {
        self.rules.detect == Detect::Row || self.tables.values().any(|rules| rules.detect == Detect::Row)
    }
}

/// What to do about conflicts, and how they are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableRules {
    /// Who wins.
    pub policy: Policy,
    /// How a conflict is found.
    pub detect: Detect,
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
