//! What a relay answers when it is asked as a server: variables, logs, positions.
//!
//! Truthful about the log it serves; `server_uuid` is the relay's own. What only a link asks has names of its
//! own (`@@twinlog_…`), which no server has: so a relay is told from a server.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use storage::RelayLog;
use uuid::Uuid;
use wire::{Column, Row};

use crate::statement::{Expression, Selected};
use crate::status::Progress;

/// What the answers are made of.
pub(crate) struct Facts {
    pub(crate) log: RelayLog,
    pub(crate) sync: String,
    pub(crate) region: String,
    pub(crate) server_id: u32,
    pub(crate) version: String,
    pub(crate) listen_port: u16,
    pub(crate) progress: Progress,
}

/// What is known of the client that asks.
pub(crate) struct Asker<'a> {
    pub(crate) variables: &'a HashMap<String, String>,
    pub(crate) user: &'a str,
    pub(crate) host: String,
    pub(crate) connection_id: u32,
}

/// A variable that is not one: the error MySQL gives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownVariable(pub(crate) String);

/// Rows with their headings.
pub(crate) type Table = (Vec<Column>, Vec<Row>);

impl Facts {
    /// Answers a SELECT with one row.
    pub(crate) fn select(&self, list: &[Selected], asker: &Asker<'_>) -> Result<Table, UnknownVariable> {
        let columns = list.iter().map(|(heading, _)| Column::text(heading)).collect();
        let mut row = Row::new();
        for (_, expression) in list {
            row.push(self.value(expression, asker)?.and_then(Column::value));
        }
        Ok((columns, vec![row]))
    }

    fn value(&self, what: &Expression, asker: &Asker<'_>) -> Result<Option<String>, UnknownVariable> {
        Ok(match what {
            Expression::Literal(text) => Some(text.clone()),
            Expression::User(name) => asker.variables.get(name).map(|value| self.resolve(value)),
            Expression::System(name) => {
                Some(self.variable(name, asker).ok_or_else(|| UnknownVariable(name.clone()))?)
            }
            Expression::Call(name) => match name.as_str() {
                "UNIX_TIMESTAMP" => Some(seconds().to_string()),
                "VERSION" => Some(self.version.clone()),
                "CONNECTION_ID" => Some(asker.connection_id.to_string()),
                "USER" | "CURRENT_USER" | "SESSION_USER" => Some(format!("{}@{}", asker.user, asker.host)),
                "DATABASE" | "SCHEMA" => None,
                _ => return Err(UnknownVariable(format!("{name}()"))),
            },
        })
    }

    /// `SET @x = @@global.y` keeps the name; its value is looked up when it is asked for.
    pub(crate) fn resolve(&self, value: &str) -> String {
        let lower = value.to_ascii_lowercase();
        let name = lower.strip_prefix("@@").map(|n| n.strip_prefix("global.").unwrap_or(n).to_owned());
        name.and_then(|name| self.server_variable(&name)).unwrap_or_else(|| value.to_owned())
    }

    fn variable(&self, name: &str, asker: &Asker<'_>) -> Option<String> {
        if name == "twinlog_link_acknowledged" {
            let link = asker.variables.get("twinlog_link")?;
            let known = self.log.downstreams().into_iter().find(|d| d.name == *link);
            let acknowledged = known.is_some_and(|d| d.needs.is_some());
            return Some(u8::from(acknowledged).to_string());
        }
        self.server_variable(name)
    }

    fn server_variable(&self, name: &str) -> Option<String> {
        let text = |value: &str| Some(value.to_owned());
        match name {
            "server_id" => Some(self.server_id.to_string()),
            "server_uuid" => Some(self.log.server_uuid().to_string()),
            "gtid_executed" => Some(self.log.gtids_durable().to_string()),
            "gtid_purged" => Some(self.log.gtids_purged().to_string()),
            "version" => Some(self.version.clone()),
            "version_comment" => text("twinlog relay"),
            "port" => Some(self.listen_port.to_string()),
            "gtid_mode" | "enforce_gtid_consistency" => text("ON"),
            "log_bin" | "log_replica_updates" | "log_slave_updates" => text("1"),
            "rpl_semi_sync_source_enabled" | "rpl_semi_sync_master_enabled" => text("1"),
            "binlog_format" => text("ROW"),
            // A source without full images is refused.
            "binlog_row_image" => text("FULL"),
            "binlog_row_metadata" => Some(self.row_metadata()),
            "binlog_checksum" => text("CRC32"),
            "max_allowed_packet" | "replica_max_allowed_packet" => text("1073741824"),
            "wait_timeout" | "interactive_timeout" | "net_read_timeout" | "net_write_timeout" => {
                text("28800")
            }
            "sql_mode" | "init_connect" | "socket" => text(""),
            "time_zone" => text("+00:00"),
            "system_time_zone" => text("UTC"),
            "autocommit" => text("1"),
            "lower_case_table_names" | "read_only" | "super_read_only" | "offline_mode" => text("0"),
            "character_set_server" | "character_set_client" | "character_set_connection" => text("utf8mb4"),
            "character_set_results" | "character_set_database" => text("utf8mb4"),
            "collation_server" | "collation_connection" | "collation_database" => text("utf8mb4_0900_ai_ci"),
            "transaction_isolation" | "tx_isolation" => text("READ-COMMITTED"),
            "twinlog_sync" => Some(self.sync.clone()),
            "twinlog_region" => Some(self.region.clone()),
            "twinlog_source_uuids" => Some(self.source_uuids()),
            _ => None,
        }
    }

    /// The region's GTID uuids, as far as is known here: servers that were read, and those the log is from.
    fn source_uuids(&self) -> String {
        let mut uuids = self.progress.source_uuids();
        uuids.extend(self.log.segments().iter().map(|segment| segment.server_uuid));
        uuids.iter().map(Uuid::to_string).collect::<Vec<_>>().join(",")
    }

    /// The source's setting; while it has not been seen, what a client can rely on.
    fn row_metadata(&self) -> String {
        let says = self.progress.source_says().row_metadata;
        if says.is_empty() { "MINIMAL".into() } else { says }
    }

    /// Answers `SHOW VARIABLES LIKE pattern`; patterns match a whole name, with `%` and `_`.
    pub(crate) fn show_variables(&self, pattern: &str) -> Table {
        let names = [
            "binlog_checksum",
            "binlog_format",
            "binlog_row_image",
            "binlog_row_metadata",
            "character_set_server",
            "collation_server",
            "enforce_gtid_consistency",
            "gtid_executed",
            "gtid_mode",
            "gtid_purged",
            "log_bin",
            "lower_case_table_names",
            "max_allowed_packet",
            "port",
            "server_id",
            "server_uuid",
            "sql_mode",
            "system_time_zone",
            "time_zone",
            "transaction_isolation",
            "version",
            "version_comment",
            "wait_timeout",
        ];
        let row = |name: &&str| {
            let value = self.server_variable(name)?;
            let shown = if *name == "log_bin" { "ON".into() } else { value };
            Some(vec![Column::value(*name), Column::value(shown)])
        };
        let rows = names.iter().filter(|name| like(pattern, name)).filter_map(row).collect();
        (vec![Column::text("Variable_name"), Column::text("Value")], rows)
    }

    /// Answers `SHOW BINARY LOGS`: the source's files, as far as they are here. Files of another server, which was the
    /// source before, are not among them: their names mean nothing to this one.
    pub(crate) fn show_logs(&self) -> Table {
        let mut files: Vec<(String, u64)> = Vec::new();
        let segments = self.log.segments();
        let server = segments.last().map(|newest| newest.server_uuid);
        for segment in segments.into_iter().filter(|segment| Some(segment.server_uuid) == server) {
            match files.last_mut().filter(|(file, _)| *file == *segment.file) {
                Some((_, end)) => *end = segment.source_end,
                None => files.push((segment.file.to_string(), segment.source_end)),
            }
        }
        let row = |(file, end): (String, u64)| {
            vec![Column::value(file), Column::value(end.to_string()), Column::value("No")]
        };
        let columns = vec![Column::text("Log_name"), Column::integer("File_size"), Column::text("Encrypted")];
        (columns, files.into_iter().map(row).collect())
    }

    /// Answers `SHOW BINARY LOG STATUS`: the durable end.
    pub(crate) fn show_log_status(&self) -> Table {
        let end = self.log.durable_end();
        let columns = vec![
            Column::text("File"),
            Column::integer("Position"),
            Column::text("Binlog_Do_DB"),
            Column::text("Binlog_Ignore_DB"),
            Column::text("Executed_Gtid_Set"),
        ];
        let row = end.source.map(|source| {
            vec![
                Column::value(source.file.to_string()),
                Column::value(source.position.to_string()),
                Column::value(""),
                Column::value(""),
                Column::value(end.gtids.to_string()),
            ]
        });
        (columns, row.into_iter().collect())
    }
}

/// SQL's LIKE, without an escape character.
fn like(pattern: &str, name: &str) -> bool {
    match pattern.chars().next() {
        None => name.is_empty(),
        Some('%') => (0..=name.len()).any(|at| like(&pattern[1..], &name[at..])),
        Some(first) => {
            let rest = &pattern[first.len_utf8()..];
            name.chars()
                .next()
                .is_some_and(|c| (c == first || first == '_') && like(rest, &name[c.len_utf8()..]))
        }
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn like_matches_whole_names() {
        assert!(like("server_%", "server_uuid"));
        assert!(like("%", "anything"));
        assert!(like("gtid_mod_", "gtid_mode"));
        assert!(!like("server", "server_id"));
        assert!(!like("%x", "server_id"));
    }
}
