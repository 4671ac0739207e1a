//! Variables of one server: a table of what each must be, and why.

mod more;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::facts::Facts;
use super::report::{About, Finding, Outcome};
use super::server::Place;

/// Whom an item concerns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// Every server.
    All,
    /// Those that are read.
    Sources,
}

/// How an item is mended.
#[derive(Clone, Copy)]
enum Mend {
    /// A statement.
    Sql(&'static str),
    /// An option, read at the server's start.
    Option(&'static str),
}

/// A variable with one right value.
struct Setting {
    item: &'static str,
    /// Names it has had, newest first.
    names: &'static [&'static str],
    of: Of,
    wanted: &'static str,
    /// What another value is.
    otherwise: Outcome,
    /// A server that has no such variable behaves as wanted.
    absent_is_right: bool,
    why: &'static str,
    mend: Mend,
}

/// The variables that must have one value.
const SETTINGS: [Setting; 10] = [
    Setting {
        item: "log_bin",
        names: &["log_bin"],
        of: Of::All,
        wanted: "ON",
        otherwise: Outcome::Fail,
        absent_is_right: false,
        why: "without a binary log there is nothing to read, and what is applied here can't be told from local changes",
        mend: Mend::Option("log_bin = binlog"),
    },
    Setting {
        item: "binlog_format",
        names: &["binlog_format"],
        of: Of::All,
        wanted: "ROW",
        otherwise: Outcome::Fail,
        // It is to go: ROW is all that will be left.
        absent_is_right: true,
        why: "changes logged as statements can't be applied exactly, and stop the link",
        mend: Mend::Sql("SET PERSIST binlog_format = ROW"),
    },
    Setting {
        item: "binlog_row_image",
        names: &["binlog_row_image"],
        of: Of::Sources,
        wanted: "FULL",
        otherwise: Outcome::Fail,
        absent_is_right: true,
        why: "a row without all its columns can't be looked up, compared or repaired",
        mend: Mend::Sql("SET PERSIST binlog_row_image = FULL"),
    },
    Setting {
        item: "binlog_row_metadata",
        names: &["binlog_row_metadata"],
        of: Of::Sources,
        wanted: "FULL",
        otherwise: Outcome::Fail,
        absent_is_right: false,
        why: "rows are applied by position: without column names a table that differs would take values into the \
              wrong columns, so the link stops",
        mend: Mend::Sql("SET PERSIST binlog_row_metadata = FULL"),
    },
    Setting {
        item: "binlog_row_value_options",
        names: &["binlog_row_value_options"],
        of: Of::Sources,
        wanted: "",
        otherwise: Outcome::Warn,
        absent_is_right: true,
        why: "a partial update of a JSON value fits only the value it was made from: where both regions change one, \
              it can't be resolved from the row alone",
        mend: Mend::Sql("SET PERSIST binlog_row_value_options = ''"),
    },
    Setting {
        item: "log_replica_updates",
        names: &["log_replica_updates", "log_slave_updates"],
        of: Of::All,
        wanted: "ON",
        otherwise: Outcome::Fail,
        absent_is_right: true,
        why: "what this server gets by MySQL's own replication would be missing in its log, and in the other regions",
        mend: Mend::Option("log_replica_updates = ON"),
    },
    Setting {
        item: "binlog_checksum",
        names: &["binlog_checksum"],
        of: Of::Sources,
        wanted: "CRC32",
        otherwise: Outcome::Warn,
        absent_is_right: true,
        why: "damage between the server's memory and the relay can't be seen",
        mend: Mend::Sql("SET PERSIST binlog_checksum = CRC32"),
    },
    Setting {
        item: "sync_binlog",
        names: &["sync_binlog"],
        of: Of::Sources,
        wanted: "1",
        otherwise: Outcome::Warn,
        absent_is_right: false,
        why: "after a crash this server may lack transactions that other regions have: its relay then stops as diverged",
        mend: Mend::Sql("SET PERSIST sync_binlog = 1"),
    },
    Setting {
        item: "innodb_flush_log_at_trx_commit",
        names: &["innodb_flush_log_at_trx_commit"],
        of: Of::Sources,
        wanted: "1",
        otherwise: Outcome::Warn,
        absent_is_right: false,
        why: "after a crash this server may lack transactions that other regions have: its relay then stops as diverged",
        mend: Mend::Sql("SET PERSIST innodb_flush_log_at_trx_commit = 1"),
    },
    Setting {
        item: "enforce_gtid_consistency",
        names: &["enforce_gtid_consistency"],
        of: Of::All,
        wanted: "ON",
        otherwise: Outcome::Fail,
        absent_is_right: false,
        why: "statements that no GTID can stand for would be taken",
        mend: Mend::Sql("SET PERSIST enforce_gtid_consistency = ON"),
    },
];

/// All items of one server's settings. `retain`: what its relay promises to keep.
pub(crate) fn judge(about: &About, place: &Place, facts: &Facts, retain: Option<Duration>) -> Vec<Finding> {
    let concerned = |setting: &&Setting| setting.of == Of::All || place.is_source();
    let mut findings = vec![more::version(about, facts)];
    findings.extend(SETTINGS.iter().filter(concerned).map(|setting| setting.judge(about, facts)));
    findings.push(more::gtid_mode(about, facts));
    findings.push(more::filters(about, facts));
    if place.is_source() {
        findings.push(more::retention(about, facts, retain));
        findings.push(more::compression(about, facts));
    }
    if place.is_target() {
        findings.push(more::read_only(about, place, facts));
    }
    findings.push(more::connections(about, facts));
    findings
}

impl Setting {
    fn judge(&self, about: &About, facts: &Facts) -> Finding {
        let found = facts.variables.first(self.names);
        let wanted = if self.wanted.is_empty() { "empty" } else { self.wanted };
        let finding = match found {
            Some((_, value)) if value.eq_ignore_ascii_case(self.wanted) => {
                return about.pass(self.item, shown(value));
            }
            None if self.absent_is_right => {
                return about.pass(self.item, format!("{wanted}: this server has no other"));
            }
            Some((_, value)) => about.found(self.item, self.otherwise, shown(value)),
            None => about.found(self.item, self.otherwise, "this server has no such variable"),
        };
        let finding = finding.wanted(wanted).why(self.why);
        match self.mend {
            Mend::Sql(statement) => finding.sql(statement),
            Mend::Option(option) => finding.option(option),
        }
    }
}

fn shown(value: &str) -> String {
    if value.is_empty() { "empty".into() } else { value.into() }
}
