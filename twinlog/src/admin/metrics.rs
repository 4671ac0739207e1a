//! `/metrics`: the state in Prometheus's text format.
//!
//! Names begin with `twinlog_`, carry their unit, and end in `_total` where they only grow. Labels are the names of the
//! file (sync, region, link) and words of fixed sets: the number of series does not grow with what is replicated.
//! Numbers that only count since the start of the process begin anew with it, as counters may.

use std::collections::BTreeMap;

use applier::{LoadStatus, Measures, RowCounts, State};
use binlog::GtidSet;
use tokio::task::JoinSet;
use twinlog::config::File;

use super::client::Peer;
use super::exposition::{Kind, Page, escaped, merged, number};
use super::{ProcessStatus, Report};
use crate::command::LastVerified;

/// What a relay can be; one of them is 1.
const RELAY_STATES: [&str; 8] =
    ["connecting", "waiting for links", "running", "waiting", "diverged", "full", "failed", "other"];

/// The whole page.
pub(super) fn render(report: &Report, verified: Option<&LastVerified>) -> String {
    let (_, name) = report.status.identity();
    let of = if matches!(report.status, ProcessStatus::Relay(_)) { "region" } else { "link" };
    let labels = format!("sync=\"{}\",{of}=\"{}\"", escaped(&report.sync), escaped(name));
    let mut page = Page { text: String::new(), labels };
    match &report.status {
        ProcessStatus::Relay(status) => relay(&mut page, status),
        ProcessStatus::Applier(status) => applier(&mut page, status),
    }
    if let Some(verified) = verified {
        compared(&mut page, verified);
    }
    process(&mut page);
    page.text
}

/// Those of all processes of a file as `up` tells them: who answers, and what each says.
pub(super) async fn of_all(file: &File) -> String {
    let mut asked = JoinSet::new();
    for peer in Peer::all(file) {
        asked.spawn(async move { (peer.label(), peer.text("/metrics").await.ok()) });
    }
    let mut told = asked.join_all().await;
    told.sort();
    let mut up = Page { text: String::new(), labels: format!("sync=\"{}\"", escaped(&file.sync.name)) };
    let answers = told.iter().map(|((of, name), page)| {
        (format!("{of}=\"{}\"", escaped(name)), f64::from(u8::from(page.is_some())))
    });
    up.each(
        "twinlog_process_up",
        "1 while the process answers twinlog up, 0 while it does not.",
        Kind::Gauge,
        answers,
    );
    process(&mut up);
    let mut pages = vec![up.text];
    pages.extend(told.into_iter().filter_map(|(_, page)| page));
    merged(&pages)
}

fn applier(page: &mut Page, status: &applier::Status) {
    page.states(
        "twinlog_link_state",
        "State of the link; the one it is in is 1.",
        &State::ALL.map(State::as_str),
        status.state.as_str(),
    );
    page.gauge(
        "twinlog_link_state_since_timestamp_seconds",
        "When the link came into its state.",
        status.since,
    );
    page.gauge(
        "twinlog_link_lag_seconds",
        "From the commit at the source of the oldest change that is not applied until now; 0 when none is.",
        status.lag_seconds,
    );
    if let Some(behind) = status.lag_transactions {
        let help = "Transactions that the source has executed and the link has not applied; absent while nobody knows.";
        page.gauge("twinlog_link_lag_transactions", help, number(behind));
    }
    let help = "When the link last applied or passed over something; 0 since the process began.";
    page.gauge("twinlog_link_last_progress_timestamp_seconds", help, status.last_progress);
    page.gauge(
        "twinlog_link_applied_transactions",
        "GTIDs of the source that the checkpoint holds, and those passed over since.",
        count(&status.gtid_applied),
    );
    for (name, help, value) in [
        ("transactions_applied", "Source transactions applied.", status.transactions_applied),
        ("groups_committed", "Target transactions committed.", status.groups_committed),
        ("ddl_applied", "DDL statements applied.", status.ddl_applied),
        ("echo_dropped", "Transactions left out because they began in the target.", status.echo_dropped),
        ("filtered", "Transactions left out because nothing in them is in step.", status.filtered),
    ] {
        page.counter(&format!("twinlog_link_{name}_total"), help, value);
    }
    measured(page, &status.measures);
    if let Some(load) = &status.load {
        loading(page, load);
    }
}

fn measured(page: &mut Page, measures: &Measures) {
    let rows = measures.rows.iter().flat_map(|(table, counts)| {
        let of = RowCounts::OPERATIONS.iter().zip(counts).filter(|(_, rows)| **rows > 0);
        of.map(move |(op, rows)| (format!("table=\"{}\",op=\"{op}\"", escaped(table)), number(*rows)))
    });
    let help =
        "Row changes applied, by the target's table and operation; the tables beyond 200 together as other.";
    page.each("twinlog_link_rows_applied_total", help, Kind::Counter, rows);
    let conflicts = measures
        .conflicts
        .iter()
        .map(|((kind, policy), n)| (format!("kind=\"{kind}\",policy=\"{policy}\""), number(*n)));
    page.each("twinlog_link_conflicts_total", "Conflicts decided.", Kind::Counter, conflicts);
    let help = "COMMIT of a group in the target, until its OK.";
    page.histogram("twinlog_link_commit_duration_seconds", help, &measures.commit);
    let help =
        "From a transaction's commit at its source until its commit in the target, by the servers' clocks.";
    page.histogram("twinlog_link_latency_seconds", help, &measures.latency);
}

fn loading(page: &mut Page, load: &LoadStatus) {
    let both = |done: u64, estimated: u64| {
        [("of=\"done\"".to_owned(), number(done)), ("of=\"estimated\"".to_owned(), number(estimated))]
    };
    let rows = both(load.rows_done, load.rows_estimated);
    page.each("twinlog_link_load_rows", "Rows of the initial copy.", Kind::Gauge, rows);
    let bytes = both(load.bytes_done, load.bytes_estimated);
    page.each("twinlog_link_load_bytes", "Bytes of the initial copy.", Kind::Gauge, bytes);
    let tables = |state: &str| number(load.tables.iter().filter(|t| t.state == state).count() as u64);
    let tables = ["waiting", "copying", "done"].map(|s| (format!("state=\"{s}\""), tables(s)));
    page.each("twinlog_link_load_tables", "Tables of the initial copy, by state.", Kind::Gauge, tables);
    let help = "Keys that both regions wrote while they were copied, and that are to be settled.";
    page.gauge("twinlog_link_load_in_doubt_keys", help, number(load.in_doubt));
}

/// The last comparison on this host.
fn compared(page: &mut Page, last: &LastVerified) {
    if let Some(at) = last.ended_at() {
        page.gauge(
            "twinlog_verify_last_timestamp_seconds",
            "When the regions were last compared on this host.",
            at,
        );
    }
    let different = last.tables.iter().filter(|t| t.result != "equal").count();
    let help = "Tables that the last comparison on this host did not find equal.";
    page.gauge("twinlog_verify_different_tables", help, number(different as u64));
    page.gauge("twinlog_verify_rows", "Rows that the last comparison on this host read.", number(last.rows));
}

fn relay(page: &mut Page, status: &relay::Status) {
    page.states(
        "twinlog_relay_state",
        "State of the relay; the one it is in is 1.",
        &RELAY_STATES,
        &status.state,
    );
    page.gauge(
        "twinlog_relay_state_since_timestamp_seconds",
        "When the relay came into its state.",
        status.since,
    );
    page.counter(
        "twinlog_relay_received_bytes_total",
        "Bytes received from the source.",
        status.bytes_received,
    );
    page.counter(
        "twinlog_relay_transactions_received_total",
        "Transactions received from the source.",
        status.transactions_received,
    );
    let heard = "When the source was last heard; an idle one is heard by its heartbeats.";
    page.gauge("twinlog_relay_last_heard_timestamp_seconds", heard, status.last_heard);
    let durable = "GTIDs of the source that are on disk, or were and are purged.";
    page.gauge("twinlog_relay_durable_transactions", durable, count(&status.gtid_durable));
    let purged = "GTIDs of the source that are no longer in the log.";
    page.gauge("twinlog_relay_purged_transactions", purged, count(&status.gtid_purged));
    page.gauge("twinlog_relay_log_bytes", "Size of the relay log on disk.", number(status.log_bytes));
    let limit = "Size of the relay log at which pulling stops.";
    page.gauge("twinlog_relay_log_max_bytes", limit, number(status.log_max_bytes));
    page.gauge("twinlog_relay_log_segments", "Segments of the relay log.", number(status.segments));
    let oldest = "When the oldest transaction still in the log was committed at its source; 0 for none.";
    page.gauge("twinlog_relay_oldest_segment_timestamp_seconds", oldest, status.oldest_segment_at);
    let segment = "The segment that is written.";
    page.gauge("twinlog_relay_durable_segment", segment, number(status.durable_segment));
    let offset = "Bytes of that segment that are on disk.";
    page.gauge("twinlog_relay_durable_offset_bytes", offset, number(status.durable_offset));
    let flush = "Flushes of the relay log to the disk.";
    page.histogram("twinlog_relay_flush_duration_seconds", flush, &status.flush);
    page.each(
        "twinlog_relay_served_bytes_total",
        "Bytes sent to what is attached, by link; replicas and others together as other.",
        Kind::Counter,
        served(status),
    );
    let attached = number(u64::try_from(status.downstreams.len()).unwrap_or(u64::MAX));
    page.gauge("twinlog_relay_downstreams", "Downstreams that are attached.", attached);
    let semi_sync = "1 while commits at the source can wait for this relay.";
    page.gauge("twinlog_relay_semi_sync", semi_sync, f64::from(u8::from(status.semi_sync)));
}

/// Names of links are few; of others there may be any number.
fn served(status: &relay::Status) -> Vec<(String, f64)> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for downstream in &status.downstreams {
        let is_link = downstream.name != downstream.address;
        *sums.entry(if is_link { &downstream.name } else { "other" }).or_default() += downstream.bytes_sent;
    }
    sums.into_iter().map(|(name, bytes)| (format!("link=\"{}\"", escaped(name)), number(bytes))).collect()
}

/// What every process has, by the names that Prometheus's own libraries give it. Linux tells; elsewhere it is left out.
fn process(page: &mut Page) {
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    page.head("twinlog_build_info", "The version that runs; always 1.", Kind::Gauge);
    page.sample("twinlog_build_info", &version, 1.0);
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    // Behind the name, which may hold blanks: utime and stime in hundredths of a second, resident pages.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let field = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok()).map(number);
    if let (Some(user), Some(system)) = (field(11), field(12)) {
        page.head("process_cpu_seconds_total", "User and system time used.", Kind::Counter);
        page.sample("process_cpu_seconds_total", "", (user + system) / 100.0);
    }
    let page_size = number(u64::try_from(rustix::param::page_size()).unwrap_or(4096));
    if let Some(pages) = field(21) {
        page.gauge("process_resident_memory_bytes", "Resident memory.", pages * page_size);
    }
    // Jiffies since the machine began; that moment is in /proc/stat.
    let booted = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let booted = booted.lines().find_map(|l| l.strip_prefix("btime ")).and_then(|t| t.parse::<u64>().ok());
    if let (Some(booted), Some(jiffies)) = (booted, field(19)) {
        let began = number(booted) + jiffies / 100.0;
        page.gauge("process_start_time_seconds", "When the process began.", began);
    }
    if let Some(bytes) = field(20) {
        page.gauge("process_virtual_memory_bytes", "Virtual memory.", bytes);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        let open = number(u64::try_from(open.count()).unwrap_or(u64::MAX));
        page.gauge("process_open_fds", "Open file descriptors.", open);
    }
}

/// How many GTIDs a set holds.
fn count(set: &str) -> f64 {
    number(set.parse::<GtidSet>().map_or(0, |set| set.count()))
}

#[cfg(test)]
mod tests;
