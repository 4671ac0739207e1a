//! Variables of one server: a table of what each must be, and why.

use std::time::Duration;

use super::facts::Facts;
use super::report::{About, Finding, Outcome};
use super::server::Place;

/// An outage of the relay's host that ends sooner than this is nobody's fault: logs must outlive it.
const SHORTEST_RETENTION: Duration = Duration::from_secs(3600);
/// Connections that should be free: those of relay, applier, conflict window, check and status, and some to spare.
const SPARE_CONNECTIONS: u64 = 10;
/// The oldest server that is understood.
const OLDEST: wire::ServerVersion = wire::ServerVersion::new(8, 0, 0);

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
    let mut findings = vec![version(about, facts)];
    findings.extend(SETTINGS.iter().filter(concerned).map(|setting| setting.judge(about, facts)));
    findings.push(gtid_mode(about, facts));
    findings.push(filters(about, facts));
    if place.is_source() {
        findings.push(retention(about, facts, retain));
        findings.push(compression(about, facts));
    }
    if place.is_target() {
        findings.push(read_only(about, place, facts));
    }
    findings.push(connections(about, facts));
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

fn version(about: &About, facts: &Facts) -> Finding {
    const ITEM: &str = "version";
    let comment = facts.variables.get("version_comment").unwrap_or_default();
    let mariadb = facts.version_text.contains("MariaDB") || comment.contains("mariadb");
    let wanted = "MySQL 8.0 or later";
    if facts.version < OLDEST || mariadb {
        let why = "what this server writes into its log is not understood";
        return about
            .fail(ITEM, &facts.version_text)
            .wanted(wanted)
            .why(why)
            .advice("upgrade it to MySQL 8.4");
    }
    let trip = facts.trip.as_secs_f64() * 1000.0;
    about.pass(ITEM, format!("{}, {trip:.1} ms away", facts.version_text)).wanted(wanted)
}

/// The modes are gone through one by one; each may be set while the server runs.
fn gtid_mode(about: &About, facts: &Facts) -> Finding {
    const ITEM: &str = "gtid_mode";
    const STEPS: [&str; 4] = ["OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"];
    let mode = facts.variables.get(ITEM).unwrap_or("OFF");
    if mode == "ON" {
        return about.pass(ITEM, mode).wanted("ON");
    }
    let at = STEPS.iter().position(|step| *step == mode).unwrap_or(0);
    let mut finding = about.fail(ITEM, mode).wanted("ON").why("transactions are told apart by their GTIDs");
    for step in &STEPS[at + 1..] {
        if *step == "ON" {
            let wait = "before the last step: wait until SHOW STATUS LIKE 'Ongoing_anonymous_transaction_count' is 0, \
                        and until replicas have all that was written before";
            finding = finding.advice(wait);
        }
        finding = finding.sql(format!("SET PERSIST gtid_mode = {step}"));
    }
    finding
}

fn filters(about: &About, facts: &Facts) -> Finding {
    const ITEM: &str = "binlog_filters";
    let Some(status) = &facts.log_status else {
        return about.skipped(ITEM, "no account may see them: GRANT REPLICATION CLIENT");
    };
    let set = [("binlog_do_db", &status.do_db), ("binlog_ignore_db", &status.ignore_db)];
    let set: Vec<String> = set
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    if set.is_empty() {
        return about.pass(ITEM, "none").wanted("none");
    }
    let finding = about.fail(ITEM, set.join(", ")).wanted("none");
    finding.why("changes that the filter leaves out of the log never reach the other regions").option(
        "no line binlog_do_db or binlog_ignore_db (choose tables by [sync] tables in the configuration instead)",
    )
}

fn retention(about: &About, facts: &Facts, retain: Option<Duration>) -> Finding {
    const ITEM: &str = "binlog_expire_logs_seconds";
    let seconds = facts.variables.number(ITEM);
    let purges = facts.variables.get("binlog_expire_logs_auto_purge").is_none_or(|on| on == "ON");
    let kept = match seconds {
        Some(seconds) if seconds > 0 && purges => Duration::from_secs(seconds),
        _ => return about.pass(ITEM, "kept until purged by hand"),
    };
    let budget = retain.unwrap_or_default().max(SHORTEST_RETENTION);
    let found = format!("{} ({})", kept.as_secs(), humantime::format_duration(kept));
    let wanted = format!("{} or more", budget.as_secs());
    if kept >= budget {
        return about.pass(ITEM, found).wanted(wanted);
    }
    let finding = if kept < SHORTEST_RETENTION { about.fail(ITEM, found) } else { about.warn(ITEM, found) };
    finding
        .wanted(wanted)
        .why(
            "the server's own logs are what a relay that was away, or lost its disk, goes on from; beyond them the \
             tables must be copied anew. relay.retain says how long an outage may last",
        )
        .sql(format!("SET PERSIST binlog_expire_logs_seconds = {}", budget.as_secs()))
}

fn compression(about: &About, facts: &Facts) -> Finding {
    let on = facts.variables.get("binlog_transaction_compression").unwrap_or("OFF");
    about.pass("binlog_transaction_compression", format!("{on}: either will do"))
}

fn read_only(about: &About, place: &Place, facts: &Facts) -> Finding {
    const ITEM: &str = "read_only";
    let set = ["super_read_only", ITEM].into_iter().find(|name| facts.variables.is_on(name));
    let Some(name) = set else { return about.pass(ITEM, "OFF").wanted("OFF") };
    if !place.first {
        return about
            .pass(ITEM, format!("{name} = ON, as a standby has it"))
            .wanted("OFF once it is written into");
    }
    let finding = about.fail(ITEM, format!("{name} = ON")).wanted("OFF");
    let finding =
        finding.why("the applier can't write here; with a list of addresses it takes the first that answers");
    finding.sql("SET PERSIST super_read_only = OFF").sql("SET PERSIST read_only = OFF")
}

fn connections(about: &About, facts: &Facts) -> Finding {
    const ITEM: &str = "connections";
    let (Some(most), Some(now)) = (facts.variables.number("max_connections"), facts.threads_connected) else {
        return about.skipped(ITEM, "the server does not say how many there may be");
    };
    let found = format!("{now} of {most}");
    let wanted = format!("{SPARE_CONNECTIONS} free");
    if now + SPARE_CONNECTIONS <= most {
        return about.pass(ITEM, found).wanted(wanted);
    }
    let finding =
        about.warn(ITEM, found).wanted(wanted).why("relays and appliers are turned away when none is free");
    finding.sql(format!("SET PERSIST max_connections = {}", most + 5 * SPARE_CONNECTIONS))
}

#[cfg(test)]
mod tests;
