//! What `status --watch` draws: a calm picture of the whole sync, cut to the screen. Pure: from a report to lines.

use std::collections::BTreeMap;

use super::merge::{LinkReport, SyncReport};
use super::table::{ago, bytes, count, whole};
use crate::admin::unix_time;

/// Eighths of a block, for bars that move smoothly.
const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// Heights of a small chart.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Samples of the small chart of each link.
pub(super) const SAMPLES: usize = 24;

const BAR: usize = 24;

/// What a screen is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) columns: usize,
    pub(super) rows: usize,
    pub(super) colour: bool,
}

/// Rows a second of each link, oldest first; absent where nobody could tell.
pub(super) type Speeds = BTreeMap<String, Vec<Option<f64>>>;

/// A piece of a line, and its colour.
type Piece = (String, &'static str);

const PLAIN: &str = "";
const BOLD: &str = "1";
const FAINT: &str = "2";

/// The lines, as many and as wide as the screen has room for.
pub(super) fn view(report: &SyncReport, speeds: &Speeds, look: Look) -> Vec<String> {
    let mut lines = vec![heading(report, look.columns), Vec::new()];
    lines.extend(links(report, speeds));
    for link in &report.links {
        lines.extend(copy(link));
    }
    if !report.relays.is_empty() {
        lines.push(Vec::new());
        lines.extend(relays(report));
    }
    for link in &report.links {
        lines.extend(trouble("link", &link.link, link.last_error.as_deref(), link.reason.as_deref()));
    }
    for relay in &report.relays {
        lines.extend(trouble("relay", &relay.region, relay.last_error.as_deref(), None));
    }
    if let Some(last) = &report.verified {
        let since = last.age().map(|age| format!(", {} ago", ago(age.as_secs_f64()))).unwrap_or_default();
        lines.push(Vec::new());
        let colour = if last.result == "equal" { "32" } else { "31" };
        lines.push(vec![("compared: ".into(), FAINT), (last.result.clone(), colour), (since, FAINT)]);
    }
    if lines.len() > look.rows {
        let hidden = lines.len() - look.rows + 1;
        lines.truncate(look.rows.saturating_sub(1));
        lines.push(vec![(format!("… {hidden} more lines: make the window higher"), FAINT)]);
    }
    lines.iter().map(|line| fit(line, look)).collect()
}

fn heading(report: &SyncReport, columns: usize) -> Vec<Piece> {
    let (verdict, colour) = verdict(report);
    let used = 10 + report.sync.len() + verdict.chars().count();
    let gap = " ".repeat(columns.saturating_sub(used + 8).max(2));
    vec![
        ("twinlog".into(), BOLD),
        (format!(" {}  ", report.sync), FAINT),
        (verdict, colour),
        (format!("{gap}q quits"), FAINT),
    ]
}

/// The whole in one sentence.
fn verdict(report: &SyncReport) -> (String, &'static str) {
    let named = |links: &[&LinkReport]| links.iter().map(|l| l.link.as_str()).collect::<Vec<_>>().join(", ");
    let of = |colour: &str| report.links.iter().filter(|l| colour_of(&l.state) == colour).collect::<Vec<_>>();
    let relays: Vec<&str> =
        report.relays.iter().filter(|r| colour_of(&r.state) == "31").map(|r| r.region.as_str()).collect();
    let (bad, odd) = (of("31"), of("33"));
    if !bad.is_empty() {
        return (format!("{} does not flow", named(&bad)), "31");
    }
    if !relays.is_empty() {
        return (format!("relay {} is lost or has stopped", relays.join(", ")), "31");
    }
    if !odd.is_empty() {
        return (format!("{} on the way", named(&odd)), "33");
    }
    ("all regions are in step".into(), "32")
}

/// Green for what runs, red for what needs a person, yellow for all between.
fn colour_of(state: &str) -> &'static str {
    match state {
        "running" => "32",
        "failed" | "unreachable" | "diverged" | "full" => "31",
        "paused" | "stopped" | "scheduled" => "36",
        _ => "33",
    }
}

fn links(report: &SyncReport, speeds: &Speeds) -> Vec<Vec<Piece>> {
    let head = format!(
        "{:<14}{:<15}{:>8}{:>11}{:>9}{:>11}  {:<SAMPLES$}{:>14}{:>12}",
        "LINK", "STATE", "FOR", "BEHIND", "TRX", "ROWS/S", "", "APPLIED", "ECHO"
    );
    let mut lines = vec![vec![(head, FAINT)]];
    for link in &report.links {
        let none = Vec::new();
        let samples = speeds.get(&link.link).unwrap_or(&none);
        let now = samples.last().copied().flatten();
        let since = link.since.filter(|since| *since > 0.0);
        lines.push(vec![
            (format!("{:<14}", link.link), BOLD),
            (format!("● {:<13}", link.state), colour_of(&link.state)),
            (format!("{:>8}", since.map_or("-".into(), |since| ago(unix_time() - since))), PLAIN),
            (format!("{:>11}", link.lag_seconds.map_or("-".into(), |lag| format!("{lag:.1} s"))), PLAIN),
            (format!("{:>9}", count(link.lag_transactions)), PLAIN),
            (format!("{:>11}", now.map_or("-".into(), |rate| count(Some(whole(rate))))), PLAIN),
            (format!("  {:<SAMPLES$}", chart(samples)), "34"),
            (format!("{:>14}{:>12}", count(link.transactions_applied), count(link.echo_dropped)), PLAIN),
        ]);
    }
    lines
}

fn relays(report: &SyncReport) -> Vec<Vec<Piece>> {
    let head = format!(
        "{:<14}{:<15}{:>22}  {:<BAR$}{:>10}{:>10}",
        "RELAY", "STATE", "LOG", "", "SEGMENTS", "ATTACHED"
    );
    let mut lines = vec![vec![(head, FAINT)]];
    for relay in &report.relays {
        let size = match relay.log_max_bytes {
            0 => bytes(relay.log_bytes),
            limit => format!("{} of {}", bytes(relay.log_bytes), bytes(limit)),
        };
        let bar = if relay.log_max_bytes > 0 {
            bar(share(relay.log_bytes, relay.log_max_bytes))
        } else {
            String::new()
        };
        lines.push(vec![
            (format!("{:<14}", relay.region), BOLD),
            (format!("● {:<13}", relay.state), colour_of(&relay.state)),
            (format!("{size:>22}"), PLAIN),
            (format!("  {bar:<BAR$}"), "34"),
            (format!("{:>10}{:>10}", count(Some(relay.segments)), relay.downstreams.len()), PLAIN),
        ]);
    }
    lines
}

/// How far an initial copy is: the whole, and what is under way. What matters most stands first: a narrow screen cuts
/// the rest.
fn copy(link: &LinkReport) -> Vec<Vec<Piece>> {
    let Some(load) = &link.load else { return Vec::new() };
    let line = |name: String, rows: (u64, u64), size: (u64, u64), speed: (f64, f64), left: Option<f64>| {
        let part = share(rows.0, rows.1);
        let left = left.map_or(String::new(), |left| format!(", about {} left", ago(left)));
        let speed = format!("{} rows/s, {}/s", count(Some(whole(speed.0))), bytes(whole(speed.1)));
        let rows = format!("{} of about {} rows", count(Some(rows.0)), count(Some(rows.1)));
        let size = format!("{} of {}", bytes(size.0), bytes(size.1));
        let text = format!("  {:>3.0} %{left}, {speed}, {rows}, {size}", part * 100.0);
        vec![(format!("  {name:<27}"), PLAIN), (format!("{:<BAR$}", bar(part)), "34"), (text, PLAIN)]
    };
    let done = load.tables.iter().filter(|table| table.state == "done").count();
    let all = line(
        format!("copy, {done} of {} tables", load.tables.len()),
        (load.rows_done, load.rows_estimated),
        (load.bytes_done, load.bytes_estimated),
        (load.rows_per_second, load.bytes_per_second),
        load.seconds_left,
    );
    let of_table = |table: &applier::TableLoad| {
        line(
            table.table.clone(),
            (table.rows_done, table.rows_estimated),
            (table.bytes_done, table.bytes_estimated),
            (table.rows_per_second, table.bytes_per_second),
            table.seconds_left,
        )
    };
    let copying = load.tables.iter().filter(|table| table.state == "copying");
    [Vec::new(), all].into_iter().chain(copying.map(of_table)).collect()
}

fn trouble(kind: &str, name: &str, error: Option<&str>, reason: Option<&str>) -> Vec<Vec<Piece>> {
    let Some(text) = error.or(reason) else { return Vec::new() };
    let colour = if error.is_some() { "31" } else { PLAIN };
    let (message, remedy) = match text.strip_suffix(')').and_then(|text| text.split_once(" (remedy: ")) {
        Some((message, remedy)) => (message, Some(remedy)),
        None => (text, None),
    };
    let mut lines = vec![Vec::new(), vec![(format!("{kind} {name}: "), BOLD), (message.to_owned(), colour)]];
    if let Some(remedy) = remedy {
        lines.push(vec![("  what to do: ".into(), FAINT), (remedy.to_owned(), PLAIN)]);
    }
    lines
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
pub(crate) fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { (part as f64 / all as f64).clamp(0.0, 1.0) }
}

/// A bar that is so full, in eighths of a character.
pub(crate) fn bar(share: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is between 0 and 1")]
    let eighths = (share * (BAR * 8) as f64).round() as usize;
    let mut text = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        text.push(EIGHTHS[eighths % 8]);
    }
    let missing = BAR.saturating_sub(text.chars().count());
    text + &"·".repeat(missing)
}

/// The last samples, each as high as its share of the highest.
fn chart(samples: &[Option<f64>]) -> String {
    let most = samples.iter().flatten().copied().fold(1.0, f64::max);
    let height = |value: &Option<f64>| match value {
        None => ' ',
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 7")]
        Some(value) => HEIGHTS[((value / most) * 7.0).round() as usize % 8],
    };
    samples.iter().rev().take(SAMPLES).rev().map(height).collect()
}

/// Cut to the screen's width; colours only where they are taken. Other people's text moves no cursor.
fn fit(line: &[Piece], look: Look) -> String {
    let (mut room, mut text) = (look.columns, String::new());
    for (piece, colour) in line {
        let shown: String = piece.chars().map(|c| if c.is_control() { ' ' } else { c }).take(room).collect();
        room -= shown.chars().count();
        if look.colour && !colour.is_empty() {
            text += &format!("\x1b[{colour}m{shown}\x1b[0m");
        } else {
            text += &shown;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use applier::{LoadStatus, TableLoad};

    use super::{BAR, Look, Speeds, bar, chart, view};
    use crate::command::status::{LinkReport, SyncReport};

    fn report() -> SyncReport {
        let table = TableLoad {
            table: "shop.orders".into(),
            state: "copying".into(),
            rows_done: 25,
            rows_estimated: 50,
            bytes_done: 12 << 20,
            bytes_estimated: 24 << 20,
            rows_per_second: 1_234.4,
            seconds_left: Some(61.0),
            ..TableLoad::default()
        };
        let load = LoadStatus {
            tables: vec![table],
            rows_done: 25,
            rows_estimated: 100,
            rows_per_second: 2_000.0,
            bytes_per_second: 3.0 * 1_048_576.0,
            seconds_left: Some(90.0),
            ..LoadStatus::default()
        };
        let link = |name: &str, state: &str| LinkReport {
            link: name.into(),
            state: state.into(),
            lag_seconds: Some(0.25),
            ..LinkReport::default()
        };
        let copying = LinkReport { load: Some(load), ..link("eu-us", "copying") };
        let failed = LinkReport {
            last_error: Some("1062 on shop.t\x1b[2J (remedy: look at it)".into()),
            ..link("us-eu", "failed")
        };
        SyncReport {
            sync: "shop".into(),
            links: vec![copying, failed],
            relays: vec![relay::Status {
                region: "eu".into(),
                state: "running".into(),
                log_bytes: 5 << 30,
                log_max_bytes: 20 << 30,
                ..relay::Status::default()
            }],
            verified: None,
        }
    }

    const WIDE: Look = Look { columns: 160, rows: 40, colour: false };

    #[test]
    fn the_screen_tells_what_does_not_flow_how_far_copies_are_and_what_to_do() {
        let lines = view(&report(), &Speeds::new(), WIDE);
        let text = lines.join("\n");
        for part in [
            "us-eu does not flow",
            "q quits",
            "● copying",
            "0.2 s",
            "copy, 0 of 1 tables",
            "25 %",
            "about 1m 30s left",
            "shop.orders",
            "50 %",
            "2,000 rows/s, 3072 KiB/s",
            "about 1m 1s left, 1,234 rows/s, 0 B/s, 25 of about 50 rows, 12 MiB of 24 MiB",
            "5120 MiB of 20 GiB",
            "1062 on shop.t",
            "what to do: look at it",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains('\x1b'), "neither colours nor what others wrote moves the cursor");
        assert!(view(&report(), &Speeds::new(), Look { colour: true, ..WIDE }).join("").contains("\x1b[31m"));
    }

    #[test]
    fn nothing_is_wider_or_higher_than_the_screen() {
        for (columns, rows) in [(30, 5), (80, 24), (200, 3)] {
            let lines = view(&report(), &Speeds::new(), Look { columns, rows, colour: false });
            assert!(lines.len() <= rows, "{columns}x{rows}");
            assert!(lines.iter().all(|line| line.chars().count() <= columns), "{columns}x{rows}");
        }
    }

    #[test]
    fn bars_and_charts_keep_their_width() {
        for share in [0.0, 0.01, 0.5, 0.999, 1.0] {
            assert_eq!(bar(share).chars().count(), BAR, "{share}");
        }
        assert!(bar(1.0).chars().all(|c| c == '█'));
        assert_eq!(chart(&[Some(0.0), None, Some(5.0), Some(10.0)]), "▁ ▅█");
    }
}
