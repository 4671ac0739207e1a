//! What a server says of itself, as it is asked once.

use std::collections::BTreeMap;
use std::time::Duration;

use binlog::GtidSet;
use uuid::Uuid;
use wire::ServerVersion;

use super::clock::Clock;
use super::privileges::Probed;

/// Every variable that an item looks at. A server that does not know one leaves it out.
pub(crate) const VARIABLES: &[&str] = &[
    "auto_increment_increment",
    "auto_increment_offset",
    "binlog_checksum",
    "binlog_expire_logs_auto_purge",
    "binlog_expire_logs_seconds",
    "binlog_format",
    "binlog_row_image",
    "binlog_row_metadata",
    "binlog_row_value_options",
    "binlog_transaction_compression",
    "character_set_server",
    "collation_server",
    "default_collation_for_utf8mb4",
    "enforce_gtid_consistency",
    "event_scheduler",
    "explicit_defaults_for_timestamp",
    "gtid_mode",
    "innodb_flush_log_at_trx_commit",
    "innodb_native_foreign_keys",
    "innodb_page_size",
    "log_bin",
    "log_replica_updates",
    "log_slave_updates",
    "lower_case_table_names",
    "max_allowed_packet",
    "max_connections",
    "read_only",
    "rpl_semi_sync_source_wait_for_replica_count",
    "rpl_semi_sync_master_wait_for_slave_count",
    "server_id",
    "server_uuid",
    "sql_generate_invisible_primary_key",
    "sql_mode",
    "sql_require_primary_key",
    "super_read_only",
    "sync_binlog",
    "system_time_zone",
    "time_zone",
    "version_comment",
];

/// Global variables by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables(BTreeMap<String, String>);

impl Variables {
    /// A variable, if the server has it.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The first of several names that the server knows.
    pub(crate) fn first(&self, names: &[&'static str]) -> Option<(&'static str, &str)> {
        names.iter().find_map(|name| Some((*name, self.get(name)?)))
    }

    /// A variable that is a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// Is it `ON`?
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| matches!(value, "ON" | "1" | "YES"))
    }
}

impl FromIterator<(String, String)> for Variables {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(pairs: T) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect())
    }
}

/// `SHOW BINARY LOG STATUS`.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogStatus {
    pub(crate) do_db: String,
    pub(crate) ignore_db: String,
}

/// One line of `SHOW REPLICAS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replica {
    pub(crate) server_id: u32,
    pub(crate) host: String,
    pub(crate) uuid: String,
}

/// What one server says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) version: ServerVersion,
    pub(crate) version_text: String,
    pub(crate) variables: Variables,
    pub(crate) executed: GtidSet,
    pub(crate) purged: GtidSet,
    /// `None` where nobody who was asked may see it.
    pub(crate) log_status: Option<LogStatus>,
    /// `None` where nobody who was asked may see them.
    pub(crate) replicas: Option<Vec<Replica>>,
    pub(crate) threads_connected: Option<u64>,
    pub(crate) clock: Option<Clock>,
    pub(crate) probed: Vec<Probed>,
    /// The uuid that a server calls its own.
    pub(crate) uuid: Option<Uuid>,
    /// From question to answer, at best.
    pub(crate) trip: Duration,
}

#[cfg(test)]
mod tests {
    use super::{VARIABLES, Variables};

    #[test]
    fn names_are_found_whatever_their_case_and_the_first_known_counts() {
        let pairs = [("Log_Slave_Updates", "ON"), ("server_id", "7"), ("read_only", "OFF")];
        let variables: Variables = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let names = ["log_replica_updates", "log_slave_updates"];
        assert_eq!(variables.first(&names), Some(("log_slave_updates", "ON")));
        assert_eq!(variables.number("server_id"), Some(7));
        assert!(!variables.is_on("read_only") && !variables.is_on("gtid_mode"));
        assert_eq!(variables.first(&["gtid_mode"]), None);
    }

    #[test]
    fn the_list_is_sorted_by_hand_and_holds_nothing_twice() {
        let mut once = VARIABLES.to_vec();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), VARIABLES.len());
    }
}
