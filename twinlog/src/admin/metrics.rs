//! `/metrics`: the state in Prometheus's text format.
//!
//! Names begin with `twinlog_`, carry their unit, and end in `_total` where they only grow. Labels are the names of the
//! file (sync, region, link) and words of fixed sets: the number of series does not grow with what is replicated.
//! Numbers that only count since the start of the process begin anew with it, as counters may.

use std::fmt::Write;

use applier::State;
use binlog::GtidSet;

use super::{ProcessStatus, Report};

/// What a relay can be; one of them is 1.
const RELAY_STATES: [&str; 8] =
    ["connecting", "waiting for links", "running", "waiting", "diverged", "full", "failed", "other"];

/// Whether a number only grows.
#[derive(Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
}

/// Text under way.
struct Page {
    text: String,
    /// `sync="…",link="…"`
    labels: String,
}

/// The whole page.
pub(super) fn render(report: &Report) -> String {
    let (_, name) = report.status.identity();
    let of = if matches!(report.status, ProcessStatus::Relay(_)) { "region" } else { "link" };
    let labels = format!("sync=\"{}\",{of}=\"{}\"", escaped(&report.sync), escaped(name));
    let mut page = Page { text: String::new(), labels };
    match &report.status {
        ProcessStatus::Relay(status) => relay(&mut page, status),
        ProcessStatus::Applier(status) => applier(&mut page, status),
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
        "From the commit at the source of the last transaction applied until now, while more is waiting; else 0.",
        status.lag_seconds,
    );
    page.gauge(
        "twinlog_link_applied_transactions",
        "GTIDs of the source that the checkpoint holds, and those passed over since.",
        count(&status.gtid_applied),
    );
    for (name, help, value) in [
        ("transactions_applied", "Source transactions applied.", status.transactions_applied),
        ("rows_applied", "Row changes applied.", status.rows_applied),
        ("groups_committed", "Target transactions committed.", status.groups_committed),
        ("ddl_applied", "DDL statements applied.", status.ddl_applied),
        ("echo_dropped", "Transactions left out because they began in the target.", status.echo_dropped),
        ("filtered", "Transactions left out because nothing in them is in step.", status.filtered),
    ] {
        page.counter(&format!("twinlog_link_{name}_total"), help, value);
    }
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
    page.gauge("twinlog_relay_log_segments", "Segments of the relay log.", number(status.segments));
    let attached = number(u64::try_from(status.downstreams.len()).unwrap_or(u64::MAX));
    page.gauge("twinlog_relay_downstreams", "Downstreams that are attached.", attached);
    let semi_sync = "1 while commits at the source can wait for this relay.";
    page.gauge("twinlog_relay_semi_sync", semi_sync, f64::from(u8::from(status.semi_sync)));
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
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        let open = number(u64::try_from(open.count()).unwrap_or(u64::MAX));
        page.gauge("process_open_fds", "Open file descriptors.", open);
    }
}

impl Page {
    fn head(&mut self, name: &str, help: &str, kind: Kind) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, more: &str, value: f64) {
        let comma = if more.is_empty() { "" } else { "," };
        let _ = writeln!(self.text, "{name}{{{}{comma}{more}}} {value}", self.labels);
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, help, Kind::Gauge);
        self.sample(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, Kind::Counter);
        self.sample(name, "", number(value));
    }

    fn states(&mut self, name: &str, help: &str, known: &[&str], now: &str) {
        self.head(name, help, Kind::Gauge);
        let now = if known.contains(&now) { now } else { "other" };
        for state in known {
            self.sample(name, &format!("state=\"{state}\""), f64::from(u8::from(*state == now)));
        }
    }
}

/// How many GTIDs a set holds.
fn count(set: &str) -> f64 {
    number(set.parse::<GtidSet>().map_or(0, |set| set.count()))
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
fn number(value: u64) -> f64 {
    value as f64
}

/// A text inside a label's quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use applier::State;

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
            assert!(["gauge", "counter"].contains(&kind), "{kind}");
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

    #[test]
    fn a_links_numbers_are_there_under_its_name() {
        let status = applier::Status {
            link: "eu-us".into(),
            state: State::Running,
            gtid_applied: format!("{UUID}:1-7"),
            lag_seconds: 1.5,
            rows_applied: 3,
            ..applier::Status::default()
        };
        let report = Report { sync: "sh\"op".into(), pid: 1, status: ProcessStatus::Applier(status) };
        let samples = parse(&render(&report));
        let of = |name: &str| samples[&format!("{name}{{sync=\"sh\\\"op\",link=\"eu-us\"}}")];
        assert_eq!(of("twinlog_link_lag_seconds"), 1.5);
        assert_eq!(of("twinlog_link_rows_applied_total"), 3.0);
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
        let samples = parse(&render(&report));
        let of = |name: &str| samples[&format!("{name}{{sync=\"shop\",region=\"eu\"}}")];
        assert_eq!(
            (of("twinlog_relay_durable_transactions"), of("twinlog_relay_log_bytes")),
            (10.0, 1_099_511_627_776.0)
        );
        assert_eq!(samples["twinlog_relay_state{sync=\"shop\",region=\"eu\",state=\"other\"}"], 1.0);
    }
}
