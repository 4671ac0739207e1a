//! The status as a table for people.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use applier::verify::{UnequalTable, VerifyStatus};

use super::merge::{LinkReport, SyncReport};
use crate::admin::unix_time;
use crate::command::verify::LastVerified;

const LINKS: [&str; 9] =
    ["LINK", "STATE", "FOR", "LAG", "SECONDS", "APPLIED", "ROWS", "ECHO DROPPED", "RELAY"];
const RELAYS: [&str; 7] = ["RELAY", "STATE", "LISTENS ON", "RECEIVED", "LOG", "SEGMENTS", "ATTACHED"];

/// The tables of links and relays, and below them what is wrong.
pub(super) fn render(report: &SyncReport) -> String {
    let mut text = lines(&LINKS, &report.links.iter().map(link_row).collect::<Vec<_>>());
    if !report.relays.is_empty() {
        text.push('\n');
        text += &lines(&RELAYS, &report.relays.iter().map(relay_row).collect::<Vec<_>>());
    }
    if let Some(verified) = &report.verified {
        text += &compared(verified);
    }
    for link in &report.links {
        if let Some(verify) = &link.verify {
            text += &verifying(&link.link, verify);
        }
    }
    for link in &report.links {
        text += &copied(link);
        text += &why(link);
    }
    for relay in &report.relays {
        if let Some(error) = &relay.last_error {
            // Writing to a string does not fail.
            let _ = write!(text, "\nrelay {}: {error}\n", relay.region);
        }
    }
    text
}

/// Why a link is in its state, and what is in its way.
fn why(link: &LinkReport) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    if let (Some(reason), None) = (&link.reason, &link.last_error) {
        let _ = write!(text, "\nlink {}: {}: {reason}\n", link.link, link.state);
    }
    if let Some(error) = &link.last_error {
        let _ = write!(text, "\nlink {}: {error}\n", link.link);
    }
    if let Some(error) = &link.error {
        let next = match (error.transient, error.next_try_at) {
            (true, Some(at)) => format!("the next try is in {}", ago(-elapsed(at))),
            (true, None) => "it is tried again".into(),
            (false, _) => "it does not pass by itself: the link waits for a person".into(),
        };
        let _ = writeln!(text, "  for {}; {next}", ago(elapsed(error.since)));
    }
    text
}

/// How far a link's initial copy is, while there is one.
fn copied(link: &LinkReport) -> String {
    let Some(load) = link.load.as_ref().filter(|load| load.tables.iter().any(|t| t.state != "done")) else {
        return String::new();
    };
    let row = |t: &applier::TableLoad| {
        let counts = [count(Some(t.rows_done)), count(Some(t.rows_estimated)), bytes(t.bytes_done)];
        let copying = t.state == "copying";
        let rate = if copying { format!("{:.0}", t.rows_per_second) } else { unknown() };
        let left = t.seconds_left.filter(|_| copying).map_or_else(unknown, ago);
        let moves = vec![bytes(t.bytes_estimated), rate, left];
        [vec![t.table.clone(), t.state.clone()], counts.to_vec(), moves].concat()
    };
    let rows: Vec<Vec<String>> = load.tables.iter().map(row).collect();
    let left = load.seconds_left.map_or_else(String::new, |left| format!(", about {} left", ago(left)));
    format!(
        "\ncopy of {}: {} of about {} rows, {} of about {}, {:.0} rows/s, {}/s{left}\n{}",
        link.link,
        count(Some(load.rows_done)),
        count(Some(load.rows_estimated)),
        bytes(load.bytes_done),
        bytes(load.bytes_estimated),
        load.rows_per_second,
        bytes(whole(load.bytes_per_second)),
        lines(&["TABLE", "STATE", "ROWS", "OF ROWS", "BYTES", "OF BYTES", "ROWS/S", "LEFT"], &rows)
    )
}

/// Seconds since then.
fn elapsed(since: f64) -> f64 {
    unix_time() - since
}

/// `2m 3s`: a time in whole seconds, two units of it.
pub(crate) fn ago(seconds: f64) -> String {
    let seconds = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default().as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// What a link's own comparisons found, and how far the one is that runs.
fn verifying(link: &str, verify: &VerifyStatus) -> String {
    let at = |time: f64| {
        let time = UNIX_EPOCH + Duration::try_from_secs_f64(time).unwrap_or_default();
        humantime::format_rfc3339_seconds(time).to_string()
    };
    let mut text = format!("\nlink {link}, verify: ");
    text += &match (&verify.last, verify.running, verify.next_at) {
        (_, true, _) => {
            let (done, guessed) = (count(Some(verify.rows_done)), count(Some(verify.rows_estimated)));
            let table = verify.table.as_deref().unwrap_or("beginning");
            let doing = verify.doing.as_ref().map(|what| format!(", {what}")).unwrap_or_default();
            format!("running, {table}: {done} of about {guessed} rows{doing}\n")
        }
        (_, _, Some(next)) => format!("next at {}\n", at(next)),
        _ => "waiting\n".into(),
    };
    // Writing to a string does not fail.
    if let Some(last) = &verify.last {
        let rows = count(Some(last.rows));
        let _ = writeln!(
            text,
            "  last at {}: {}, {rows} rows in {} tables",
            at(last.ended_at),
            last.result,
            last.tables
        );
        for table in &last.unequal {
            let UnequalTable { table, result, differences, unsettled, .. } = table;
            let _ = writeln!(text, "  {table}: {result}, {differences} rows differ, {unsettled} unsettled");
        }
    }
    if let Some(error) = &verify.last_error {
        let _ = writeln!(text, "  {error}");
    }
    text
}

/// When the regions were last compared on this host, and what was found.
fn compared(last: &LastVerified) -> String {
    let ago = last.age().map(|age| format!(", {} ago", humantime::format_duration(age))).unwrap_or_default();
    let (rows, tables) = (count(Some(last.rows)), last.tables.len());
    let mut text =
        format!("\nverified at {}{ago}: {}, {rows} rows in {tables} tables\n", last.at, last.result);
    for table in last.tables.iter().filter(|t| t.result != "equal") {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {}: {}, {} rows named", table.table, table.result, table.differences);
    }
    text
}

fn link_row(link: &LinkReport) -> Vec<String> {
    vec![
        link.link.clone(),
        link.state.clone(),
        link.since.filter(|since| *since > 0.0).map_or_else(unknown, |since| ago(elapsed(since))),
        count(link.lag_transactions),
        link.lag_seconds.map_or_else(unknown, |s| format!("{s:.1}")),
        count(link.transactions_applied),
        count(link.rows_applied),
        count(link.echo_dropped),
        link.relay_state.clone().unwrap_or_else(|| "none".into()),
    ]
}

fn relay_row(relay: &relay::Status) -> Vec<String> {
    vec![
        relay.region.clone(),
        relay.state.clone(),
        if relay.listen.is_empty() { unknown() } else { relay.listen.clone() },
        count(Some(relay.transactions_received)),
        bytes(relay.log_bytes),
        count(Some(relay.segments)),
        relay.downstreams.len().to_string(),
    ]
}

/// Columns as wide as their widest cell; numbers to the right.
pub(crate) fn lines(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    let head: Vec<String> = head.iter().map(ToString::to_string).collect();
    for row in [&head].into_iter().chain(rows) {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let number = rows
                .iter()
                .any(|r| r[column].starts_with(|c: char| c.is_ascii_digit()) && !r[column].contains(':'));
            let _ = if number { write!(line, "{cell:>width$}  ") } else { write!(line, "{cell:<width$}  ") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// `1,234,567`, or a dash.
pub(crate) fn count(number: Option<u64>) -> String {
    let Some(number) = number else { return unknown() };
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size, with two digits at least.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut rest = number;
    // One more step only when at least ten of the next unit are there: two digits tell enough.
    while rest >= 10 << 10 && unit + 1 < UNITS.len() {
        rest >>= 10;
        unit += 1;
    }
    format!("{rest} {}", UNITS[unit])
}

/// A rate, without its fraction.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is neither huge nor negative"
)]
pub(crate) fn whole(rate: f64) -> u64 {
    rate.round() as u64
}

fn unknown() -> String {
    "-".into()
}

#[cfg(test)]
mod tests {
    use applier::{LoadStatus, StatusError, TableLoad};

    use super::{ago, bytes, copied, count, render, why};
    use crate::admin::unix_time;
    use crate::command::status::{LinkReport, SyncReport};
    use crate::command::verify::LastVerified;

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(count(Some(1_234_567)), "1,234,567");
        assert_eq!(count(Some(12)), "12");
        assert_eq!(count(None), "-");
        assert_eq!(
            (bytes(900).as_str(), bytes(3 << 20).as_str(), bytes(64 << 20).as_str()),
            ("900 B", "3072 KiB", "64 MiB")
        );
    }

    #[test]
    fn a_copy_is_told_in_all_and_by_table_with_rates_and_the_time_left() {
        let table = |name: &str, state: &str, left| TableLoad {
            table: name.into(),
            state: state.into(),
            rows_done: 2_500,
            rows_estimated: 10_000,
            bytes_done: 64 << 20,
            bytes_estimated: 256 << 20,
            rows_per_second: 125.4,
            seconds_left: left,
            ..TableLoad::default()
        };
        let load = LoadStatus {
            tables: vec![table("shop.a", "copying", Some(60.0)), table("shop.b", "waiting", None)],
            rows_done: 5_000,
            rows_estimated: 20_000,
            bytes_done: 128 << 20,
            bytes_estimated: 512 << 20,
            rows_per_second: 250.0,
            bytes_per_second: 3.0 * 1_048_576.0,
            seconds_left: Some(120.0),
            ..LoadStatus::default()
        };
        let link = LinkReport { link: "eu-us".into(), load: Some(load), ..LinkReport::default() };
        let text = copied(&link);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let whole = "copy of eu-us: 5,000 of about 20,000 rows, 128 MiB of about 512 MiB, 250 rows/s, 3072 KiB/s, about 2m 0s left";
        assert_eq!(text.lines().nth(1), Some(whole), "{text}");
        let moves = ["shop.a", "copying", "2,500", "10,000", "64", "MiB", "256", "MiB", "125", "1m", "0s"];
        assert_eq!(lines[3], moves, "{text}");
        assert_eq!(lines[4][8..], ["-", "-"], "{text}");
    }

    #[test]
    fn times_have_two_units() {
        assert_eq!([0.4, 59.0, 62.0, 7_260.0, 90_000.0].map(ago), ["0s", "59s", "1m 2s", "2h 1m", "1d 1h"]);
    }

    #[test]
    fn a_link_tells_why_since_when_and_what_comes_next() {
        let paused = LinkReport {
            link: "eu-us".into(),
            state: "paused".into(),
            reason: Some("by root: maintenance".into()),
            ..LinkReport::default()
        };
        assert_eq!(why(&paused), "\nlink eu-us: paused: by root: maintenance\n");
        let error = StatusError { transient: true, since: unix_time() - 90.0, ..StatusError::default() };
        let retried = LinkReport {
            link: "eu-us".into(),
            last_error: Some("connection refused".into()),
            error: Some(StatusError { next_try_at: Some(unix_time() + 10.5), ..error.clone() }),
            ..LinkReport::default()
        };
        assert_eq!(why(&retried), "\nlink eu-us: connection refused\n  for 1m 30s; the next try is in 10s\n");
        let stopped = LinkReport { error: Some(StatusError { transient: false, ..error }), ..retried };
        assert!(
            why(&stopped).ends_with("for 1m 30s; it does not pass by itself: the link waits for a person\n")
        );
    }

    #[test]
    fn the_table_lines_up_and_errors_stand_below() {
        let link = |name: &str, rows| LinkReport {
            link: name.into(),
            state: "running".into(),
            rows_applied: rows,
            last_error: rows.is_none().then(|| "1062 on shop.t".into()),
            ..LinkReport::default()
        };
        let report = SyncReport {
            sync: "shop".into(),
            links: vec![link("eu-us", Some(1000)), link("us-eu", None)],
            relays: Vec::new(),
            verified: Some(LastVerified {
                at: "2026-01-01T00:00:00Z".into(),
                result: "equal".into(),
                seconds: 2.0,
                rows: 12_000,
                tables: Vec::new(),
            }),
        };
        let text = render(&report);
        assert!(text.contains("\nverified at 2026-01-01T00:00:00Z, "), "{text}");
        assert!(text.contains(" ago: equal, 12,000 rows in 0 tables\n"), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "LINK   STATE    FOR  LAG  SECONDS  APPLIED   ROWS  ECHO DROPPED  RELAY");
        assert_eq!(lines[1], "eu-us  running  -    -    -        -        1,000  -             none");
        assert_eq!(lines.last(), Some(&"link us-eu: 1062 on shop.t"));
    }
}
