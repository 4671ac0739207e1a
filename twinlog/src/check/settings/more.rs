//! Settings for which more than one value may be right, or whose right value depends on others.

use std::time::Duration;

use crate::check::facts::Facts;
use crate::check::report::{About, Finding};
use crate::check::server::Place;

/// An outage of the relay's host that ends sooner than this is nobody's fault: logs must outlive it.
const SHORTEST_RETENTION: Duration = Duration::from_secs(3600);
/// Connections that should be free: those of relay, applier, conflict window, check and status, and some to spare.
const SPARE_CONNECTIONS: u64 = 10;
/// The oldest server that is understood.
const OLDEST: wire::ServerVersion = wire::ServerVersion::new(8, 0, 0);

pub(super) fn version(about: &About, facts: &Facts) -> Finding {
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
pub(super) fn gtid_mode(about: &About, facts: &Facts) -> Finding {
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

pub(super) fn filters(about: &About, facts: &Facts) -> Finding {
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

pub(super) fn retention(about: &About, facts: &Facts, retain: Option<Duration>) -> Finding {
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

pub(super) fn compression(about: &About, facts: &Facts) -> Finding {
    let on = facts.variables.get("binlog_transaction_compression").unwrap_or("OFF");
    about.pass("binlog_transaction_compression", format!("{on}: either will do"))
}

pub(super) fn read_only(about: &About, place: &Place, facts: &Facts) -> Finding {
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

pub(super) fn connections(about: &About, facts: &Facts) -> Finding {
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
