//! What the page is shown each second: the file's regions and links, what every process says of itself, and rates.

use std::collections::BTreeMap;

use binlog::GtidSet;
use serde_json::{Map, Value, json};
use twinlog::config::{File, Initial, Link, Operation, Region, conflict_rules};

use super::draft;
use super::rates::{Counted, Moments};
use super::verify::Known;
use crate::command::{Answers, merge, relay_of};

/// A GTID set longer than this is cut for the page: a person reads no further.
const LONGEST_SET: usize = 4000;

/// The snapshot as JSON.
pub(super) fn take(
    file: &File,
    (answers, verify): (&Answers, &Known),
    moments: &BTreeMap<String, Moments>,
    at: f64,
) -> Vec<u8> {
    let report = merge(file, answers);
    let links: Vec<Value> = report
        .links
        .iter()
        .filter_map(|told| {
            let link = file.links.get(&told.link)?;
            let told = serde_json::to_value(told).ok()?;
            Some(link_of(file, link, told, answers, moments.get(&link.name)))
        })
        .collect();
    let regions: Vec<Value> =
        file.regions.values().map(|r| region_of(r, answers, moments.get(&relay_key(&r.name)))).collect();
    let shown = json!({
        "at": at,
        "sync": file.sync.name,
        "version": env!("CARGO_PKG_VERSION"),
        "file": file.path.display().to_string(),
        "tables": draft::patterns(file),
        "regions": regions,
        "links": links,
        "verify": verify.shown(report.verified.as_ref()),
    });
    shown.to_string().into_bytes()
}

/// What a link has counted, and how far it is behind.
pub(crate) fn counted(file: &File, link: &Link, answers: &Answers, at: f64) -> (Counted, Option<f64>) {
    let mut counted = Counted { at, ..Counted::default() };
    let mut lag = None;
    if let Some(status) = answers.applier(&link.name) {
        counted.transactions = Some(status.transactions_applied);
        counted.rows = Some(status.rows_applied);
        counted.echo = Some(status.echo_dropped);
        counted.conflicts = Some(status.conflicts);
        lag = Some(status.lag_seconds);
    }
    let key = format!("{}/{}/{}", file.sync.name, link.from, link.to);
    counted.bytes = answers
        .relay(&link.from)
        .and_then(|relay| relay.downstreams.iter().find(|d| d.name == key))
        .map(|downstream| downstream.bytes_sent);
    (counted, lag)
}

fn link_of(file: &File, link: &Link, told: Value, answers: &Answers, moments: Option<&Moments>) -> Value {
    let mut all = match told {
        Value::Object(all) => all,
        _ => Map::new(),
    };
    // All that the applier says of itself, where the report has no word for it.
    if let Some(Value::Object(own)) = answers.applier(&link.name).and_then(|s| serde_json::to_value(s).ok()) {
        for (key, value) in own {
            all.entry(key).or_insert(value);
        }
    }
    let text = |all: &Map<String, Value>, key: &str| all.get(key).and_then(Value::as_str).map(str::to_owned);
    let missing =
        text(&all, "gtid_durable").zip(text(&all, "gtid_applied")).and_then(|(durable, applied)| {
            let (durable, applied): (GtidSet, GtidSet) = (durable.parse().ok()?, applied.parse().ok()?);
            Some(durable.minus(&applied).to_string())
        });
    all.insert("gtid_missing".into(), missing.into());
    for key in ["gtid_received", "gtid_durable", "gtid_applied", "gtid_missing"] {
        if let Some(Value::String(set)) = all.get_mut(key) {
            cut(set);
        }
    }
    for key in ["since", "reason", "error", "last_error", "load", "conflicts"] {
        all.entry(key).or_insert(Value::Null);
    }
    let rate = |of: fn(&Counted) -> Option<u64>| json!(moments.and_then(|m| m.rate(of)));
    all.insert("name".into(), link.name.clone().into());
    all.insert("rows_per_second".into(), rate(|c| c.rows));
    all.insert("transactions_per_second".into(), rate(|c| c.transactions));
    all.insert("policy".into(), policy(file, link));
    let state = text(&all, "state").unwrap_or_default();
    all.insert("actions".into(), json!(actions(&state)));
    all.into()
}

/// What a person can do with a link in this state.
fn actions(state: &str) -> &'static [&'static str] {
    match state {
        "unreachable" => &[],
        "paused" => &["resume", "stop", "reset"],
        "stopped" => &["start", "reset", "delete"],
        "failed" => &["start", "stop", "reset"],
        "scheduled" => &["start", "stop"],
        _ => &["pause", "stop"],
    }
}

fn policy(file: &File, link: &Link) -> Value {
    let rules = conflict_rules(file, link);
    let words = |rules: &applier::TableRules| (json!(rules.policy), json!(rules.detect));
    let (on_conflict, detect) = words(&rules.rules);
    let differing = rules.tables.iter().map(|(table, own)| {
        let (policy, detect) = words(own);
        let text = |word: &Value| word.as_str().unwrap_or_default().to_owned();
        (table.clone(), format!("{}, {}", text(&policy), text(&detect)))
    });
    let initial = match link.initial {
        Initial::StructureAndData => "structure+data",
        Initial::Structure => "structure",
        Initial::Data => "data",
        Initial::None => "none",
    };
    let operation = |operation: &Operation| match operation {
        Operation::Insert => "insert",
        Operation::Update => "update",
        Operation::Delete => "delete",
    };
    json!({
        "on_conflict": on_conflict,
        "detect": detect,
        "initial": initial,
        "operations": link.operations.iter().map(operation).collect::<Vec<_>>(),
        "ddl": link.ddl,
        "rename": link.rename,
        "tables": differing.collect::<BTreeMap<String, String>>(),
    })
}

/// What a relay's rates are kept under: no link is named so.
pub(super) fn relay_key(region: &str) -> String {
    format!("relay {region}")
}

/// What a relay has counted.
pub(super) fn counted_by_relay(region: &str, answers: &Answers, at: f64) -> Counted {
    let relay = answers.relay(region);
    Counted { at, bytes: relay.map(|r| r.bytes_received), ..Counted::default() }
}

fn region_of(region: &Region, answers: &Answers, moments: Option<&Moments>) -> Value {
    let relay = region.relay.as_ref().map(|_| {
        let mut told = serde_json::to_value(relay_of(&region.name, answers)).unwrap_or_default();
        if let Value::Object(told) = &mut told {
            told.insert("bytes_per_second".into(), json!(moments.and_then(|m| m.rate(|c| c.bytes))));
            for key in ["gtid_received", "gtid_durable", "gtid_purged"] {
                if let Some(Value::String(set)) = told.get_mut(key) {
                    cut(set);
                }
            }
        }
        told
    });
    json!({ "name": region.name, "mysql": region.mysql.addresses, "relay": relay })
}

fn cut(set: &mut String) {
    if set.len() > LONGEST_SET {
        // A set is ASCII.
        set.truncate(LONGEST_SET);
        set.push('…');
    }
}
