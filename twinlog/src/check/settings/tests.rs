//! Values that a running server can't be brought to easily; the others are tried on real ones.

use std::time::Duration;

use super::judge;
use crate::check::facts::{Facts, LogStatus, Variables};
use crate::check::report::{About, Finding, FixKind, Outcome};
use crate::check::server::Place;

fn place(first: bool) -> Place {
    let options = wire::ConnectOptions {
        address: "h:1".into(),
        user: "u".into(),
        password: wire::Secret::default(),
        tls: wire::TlsOptions::default(),
        connect_timeout: Duration::from_secs(1),
    };
    Place { region: "eu".into(), reader: Some(options.clone()), writer: Some(options), first }
}

fn right() -> Vec<(&'static str, &'static str)> {
    vec![
        ("log_bin", "ON"),
        ("binlog_format", "ROW"),
        ("binlog_row_image", "FULL"),
        ("binlog_row_metadata", "FULL"),
        ("binlog_row_value_options", ""),
        ("log_slave_updates", "ON"),
        ("binlog_checksum", "CRC32"),
        ("sync_binlog", "1"),
        ("innodb_flush_log_at_trx_commit", "1"),
        ("enforce_gtid_consistency", "ON"),
        ("gtid_mode", "ON"),
        ("binlog_expire_logs_seconds", "2592000"),
        ("max_connections", "100"),
    ]
}

fn facts(changed: &[(&'static str, &'static str)]) -> Facts {
    let pairs = right().into_iter().chain(changed.iter().copied());
    let variables: Variables = pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    Facts {
        version: wire::ServerVersion::new(8, 0, 20),
        version_text: "8.0.20".into(),
        variables,
        log_status: Some(LogStatus::default()),
        threads_connected: Some(5),
        ..Facts::default()
    }
}

fn judged(facts: &Facts, first: bool) -> Vec<Finding> {
    judge(&About::server("eu", "h:1"), &place(first), facts, Some(Duration::from_secs(72 * 3600)))
}

fn one(facts: &Facts, item: &str) -> Finding {
    judged(facts, true).into_iter().find(|f| f.item == item).unwrap_or_else(|| panic!("no {item}"))
}

#[test]
fn a_server_with_everything_right_passes_under_old_names_too() {
    for finding in judged(&facts(&[]), true) {
        assert_eq!(finding.status, Outcome::Pass, "{finding:?}");
    }
}

#[test]
fn every_setting_that_is_wrong_carries_why_and_what_mends_it() {
    let wrong = right()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !matches!(*name, "max_connections" | "binlog_expire_logs_seconds"));
    for name in wrong {
        let bad = facts(&[(name, "WRONG")]);
        let item = if name == "log_slave_updates" { "log_replica_updates" } else { name };
        let finding = one(&bad, item);
        assert!(matches!(finding.status, Outcome::Fail | Outcome::Warn), "{finding:?}");
        assert!(finding.why.is_some() && finding.wanted.is_some() && !finding.fix.is_empty(), "{finding:?}");
        let others = judged(&bad, true).into_iter().filter(|f| f.item != item);
        assert!(others.into_iter().all(|f| f.status == Outcome::Pass), "{name} spoils others");
    }
}

#[test]
fn gtids_are_switched_on_step_by_step_from_wherever_they_are() {
    let steps = |mode| {
        let fix = one(&facts(&[("gtid_mode", mode)]), "gtid_mode").fix;
        fix.into_iter().filter(|f| f.kind == FixKind::Sql).map(|f| f.text).collect::<Vec<_>>()
    };
    assert_eq!(steps("ON_PERMISSIVE"), ["SET PERSIST gtid_mode = ON"]);
    assert_eq!(
        steps("OFF"),
        ["OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"].map(|m| format!("SET PERSIST gtid_mode = {m}"))
    );
}

#[test]
fn logs_must_outlive_the_outage_that_the_relay_promises_to_bridge() {
    let status =
        |seconds| one(&facts(&[("binlog_expire_logs_seconds", seconds)]), "binlog_expire_logs_seconds");
    assert_eq!(status("0").status, Outcome::Pass, "kept for ever");
    assert_eq!(status("259200").status, Outcome::Pass);
    assert_eq!(status("259199").status, Outcome::Warn);
    assert_eq!(status("60").status, Outcome::Fail);
    assert_eq!(status("60").fix[0].text, "SET PERSIST binlog_expire_logs_seconds = 259200");
    let by_hand = facts(&[("binlog_expire_logs_seconds", "60"), ("binlog_expire_logs_auto_purge", "OFF")]);
    assert_eq!(one(&by_hand, "binlog_expire_logs_seconds").status, Outcome::Pass);
}

#[test]
fn filters_fail_and_filters_nobody_may_see_are_not_taken_for_none() {
    let filtered = LogStatus { do_db: "shop".into(), ignore_db: String::new() };
    let with = |log_status| one(&Facts { log_status, ..facts(&[]) }, "binlog_filters").status;
    assert_eq!(with(Some(filtered)), Outcome::Fail);
    assert_eq!(with(None), Outcome::Skipped);
}

#[test]
fn only_the_server_that_is_written_into_first_must_be_writable() {
    let read_only = facts(&[("read_only", "ON")]);
    let of = |first| judged(&read_only, first).into_iter().find(|f| f.item == "read_only").map(|f| f.status);
    assert_eq!((of(true), of(false)), (Some(Outcome::Fail), Some(Outcome::Pass)));
}

#[test]
fn servers_too_old_or_of_another_make_fail() {
    let old = Facts { version: wire::ServerVersion::new(5, 7, 44), ..facts(&[]) };
    assert_eq!(one(&old, "version").status, Outcome::Fail);
    let other = Facts {
        version: wire::ServerVersion::new(10, 6, 12),
        version_text: "10.6.12-MariaDB".into(),
        ..facts(&[])
    };
    assert_eq!(one(&other, "version").status, Outcome::Fail);
}

#[test]
fn few_free_connections_are_worth_a_word() {
    let crowded = Facts { threads_connected: Some(95), ..facts(&[]) };
    assert_eq!(one(&crowded, "connections").status, Outcome::Warn);
}
