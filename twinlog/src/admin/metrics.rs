//! `/metrics`: the state in Prometheus's text format.
//!
//! Names begin with `twinlog_`, carry their unit, and end in `_total` where they only grow. Labels are the names of the
//! file (sync, region, link) and words of fixed sets: the number of series does not grow with what is replicated.
//! Numbers that only count since the start of the process begin anew with it, as counters may.

use std::collections::BTreeMap;

use applier::{LoadStatus, Measures, RowCounts, State};
use binlog::GtidSet;

use super::exposition::{Kind, Page, escaped, number};
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
mod tests {
    use std::collections::BTreeMap;

    use applier::{LoadStatus, Measures, State};

    use super::{ProcessStatus, Report, render};

    /// Reads the format as strictly as `promtool check metrics` does: each sample under its own HELP and TYPE, once;
    /// counters, and only they, end in `_total`; units are seconds and bytes.
    fn parse(text: &str) -> BTreeMap<String, f64> {
        let (mut samples, mut heads) = (BTreeMap::new(), BTreeMap::new());
        let mut lines = text.lines().peekable();
        while let Some(help) = lines.next() {
            let help = help.strip_prefix("# HELP ").unwrap_or_else(|| panic!("no HELP: {help}"));
            let (name, words) = help.split_once(' ').expect("a help text");
            assert!(!words.is_empty() && !words.contains('\\'), "{help}");
            let kind = lines.next().and_then(|l| l.strip_prefix(&format!("# TYPE {name} "))).expect("a TYPE");
            assert!(["gauge", "counter", "histogram"].contains(&kind), "{kind}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            assert!(
                !["millis", "_ms", "_kb", "mega", "_gauge", "_counter"].iter().any(|bad| name.contains(bad))
            );
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
            assert!(heads.insert(name.to_owned(), kind).is_none(), "{name} twice");
            let before = samples.len();
            while let Some(line) = lines.next_if(|l| !l.starts_with('#')) {
                let (series, value) = line.rsplit_once(' ').expect("a value");
                let labels = series.strip_prefix(name).expect("a sample of the metric above it");
                let part = ["_bucket", "_sum", "_count"].iter().find_map(|part| labels.strip_prefix(part));
                assert_eq!(part.is_some(), kind == "histogram", "{line}");
                let labels = part.unwrap_or(labels);
                assert!(labels.starts_with('{') && labels.ends_with('}'), "{line}");
                let value: f64 = value.parse().unwrap_or_else(|e| panic!("{line}: {e}"));
                assert!(value.is_finite(), "{line}");
                assert!(samples.insert(series.to_owned(), value).is_none(), "{line} twice");
            }
            assert!(samples.len() > before, "{name} has no sample");
        }
        assert!(text.ends_with('\n'));
        samples
    }

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn measures() -> Measures {
        let mut measures = Measures::default();
        measures.conflicts.insert(("changed".into(), "newest".into()), 2);
        measures.latency.note_seconds(0.75, 3);
        measures
    }

    #[test]
    fn a_links_numbers_are_there_under_its_name() {
        let status = applier::Status {
            link: "eu-us".into(),
            state: State::Running,
            gtid_applied: format!("{UUID}:1-7"),
            lag_seconds: 1.5,
            lag_transactions: Some(4),
            load: Some(LoadStatus { rows_done: 5, rows_estimated: 9, ..LoadStatus::default() }),
            measures: Box::new(measures()),
            ..applier::Status::default()
        };
        let report = Report { sync: "sh\"op".into(), pid: 1, status: ProcessStatus::Applier(status) };
        let samples = parse(&render(&report, None));
        let of = |name: &str| samples[&format!("{name}{{sync=\"sh\\\"op\",link=\"eu-us\"}}")];
        assert_eq!(of("twinlog_link_lag_seconds"), 1.5);
        assert_eq!(of("twinlog_link_lag_transactions"), 4.0);
        let more = |name: &str, labels: &str| {
            samples[&format!("{name}{{sync=\"sh\\\"op\",link=\"eu-us\",{labels}}}")]
        };
        assert_eq!(more("twinlog_link_conflicts_total", "kind=\"changed\",policy=\"newest\""), 2.0);
        assert_eq!(more("twinlog_link_load_rows", "of=\"done\""), 5.0);
        assert_eq!(more("twinlog_link_latency_seconds_bucket", "le=\"0.5\""), 0.0);
        assert_eq!(more("twinlog_link_latency_seconds_bucket", "le=\"1\""), 3.0);
        assert_eq!(of("twinlog_link_latency_seconds_count"), 3.0);
        assert_eq!(of("twinlog_link_applied_transactions"), 7.0);
        assert!(of("process_resident_memory_bytes") > 1e6);
        let states: Vec<_> = samples.iter().filter(|(s, _)| s.starts_with("twinlog_link_state{")).collect();
        assert_eq!(states.iter().map(|(_, v)| **v).sum::<f64>(), 1.0, "{states:?}");
        assert!(states.iter().any(|(s, v)| s.contains("state=\"running\"") && **v == 1.0));
    }

    #[test]
    fn a_relays_numbers_are_there_and_an_unknown_state_is_still_one() {
        let status = relay::Status {
            region: "eu".into(),
            state: "something new".into(),
            gtid_durable: format!("{UUID}:1-10"),
            log_bytes: 1 << 40,
            ..relay::Status::default()
        };
        let report = Report { sync: "shop".into(), pid: 1, status: ProcessStatus::Relay(status) };
        let samples = parse(&render(&report, None));
        let of = |name: &str| samples[&format!("{name}{{sync=\"shop\",region=\"eu\"}}")];
        assert_eq!(
            (of("twinlog_relay_durable_transactions"), of("twinlog_relay_log_bytes")),
            (10.0, 1_099_511_627_776.0)
        );
        assert_eq!(samples["twinlog_relay_state{sync=\"shop\",region=\"eu\",state=\"other\"}"], 1.0);
    }
}
