//! Metrics of made-up states, read back as strictly as Prometheus does.

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
        assert!(!["millis", "_ms", "_kb", "mega", "_gauge", "_counter"].iter().any(|bad| name.contains(bad)));
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
    let more =
        |name: &str, labels: &str| samples[&format!("{name}{{sync=\"sh\\\"op\",link=\"eu-us\",{labels}}}")];
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
