//! The status as a table for people.

use std::fmt::Write;

use super::merge::{LinkReport, SyncReport};
use crate::command::verify::LastVerified;

const LINKS: [&str; 8] = ["LINK", "STATE", "LAG", "SECONDS", "APPLIED", "ROWS", "ECHO DROPPED", "RELAY"];
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
    let links = report.links.iter().map(|l| ("link", &l.link, &l.last_error));
    let relays = report.relays.iter().map(|r| ("relay", &r.region, &r.last_error));
    for (kind, name, error) in links.chain(relays) {
        if let Some(error) = error {
            // Writing to a string does not fail.
            let _ = write!(text, "\n{kind} {name}: {error}\n");
        }
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

fn unknown() -> String {
    "-".into()
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, render};
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
        assert_eq!(lines[0], "LINK   STATE    LAG  SECONDS  APPLIED   ROWS  ECHO DROPPED  RELAY");
        assert_eq!(lines[1], "eu-us  running  -    -        -        1,000  -             none");
        assert_eq!(lines.last(), Some(&"link us-eu: 1062 on shop.t"));
    }
}
