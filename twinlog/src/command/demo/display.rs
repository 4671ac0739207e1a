//! What flows, once a second: redrawn in place on a terminal, a line each time elsewhere.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use crate::command::status::{SyncReport, count};

/// The picture on the screen.
pub(super) struct Display {
    seconds: u64,
    terminal: bool,
    /// Lines of the last picture, which the next one replaces.
    drawn: usize,
}

impl Display {
    /// For a demo that writes so many seconds.
    pub(super) fn new(seconds: u64) -> Self {
        Self { seconds, terminal: std::io::stdout().is_terminal(), drawn: 0 }
    }

    /// Shows what has been written and what has arrived.
    pub(super) fn show(
        &mut self,
        phase: &str,
        after: Duration,
        written: &[(&str, u64, u64)],
        report: &SyncReport,
    ) {
        let text = if self.terminal {
            let picture = picture(phase, after, self.seconds, written, report);
            let back = if self.drawn > 0 { format!("\x1b[{}A\x1b[J", self.drawn) } else { String::new() };
            self.drawn = picture.lines().count();
            back + &picture
        } else {
            line(phase, after, written, report)
        };
        let mut out = std::io::stdout().lock();
        // Nobody may be watching any more; the demo goes on to its end.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

fn picture(
    phase: &str,
    after: Duration,
    seconds: u64,
    written: &[(&str, u64, u64)],
    report: &SyncReport,
) -> String {
    let mut text = format!("\n{phase}, {} s (writers write for {seconds} s)\n\n", after.as_secs());
    // Writing to a string does not fail.
    let _ = writeln!(text, "{:<10}{:>16}{:>14}", "WRITTEN IN", "TRANSACTIONS", "ROWS");
    for (region, transactions, rows) in written {
        let _ = writeln!(text, "{region:<10}{:>16}{:>14}", count(Some(*transactions)), count(Some(*rows)));
    }
    let _ = writeln!(
        text,
        "\n{:<10}{:>16}{:>14}{:>10}{:>10}{:>14}  STATE",
        "LINK", "APPLIED", "ROWS", "LAG", "SECONDS", "ECHO DROPPED"
    );
    for link in &report.links {
        let _ = writeln!(
            text,
            "{:<10}{:>16}{:>14}{:>10}{:>10}{:>14}  {}",
            link.link,
            count(link.transactions_applied),
            count(link.rows_applied),
            count(link.lag_transactions),
            link.lag_seconds.map_or_else(|| "-".into(), |s| format!("{s:.1}")),
            count(link.echo_dropped),
            link.state
        );
    }
    text
}

fn line(phase: &str, after: Duration, written: &[(&str, u64, u64)], report: &SyncReport) -> String {
    let mut text = format!("{phase} {:>3} s", after.as_secs());
    for (region, transactions, rows) in written {
        let _ = write!(text, " | {region} wrote {transactions} transactions, {rows} rows");
    }
    for link in &report.links {
        let _ = write!(
            text,
            " | {} {}: {} applied, {} rows, lag {}, echo dropped {}",
            link.link,
            link.state,
            count(link.transactions_applied),
            count(link.rows_applied),
            count(link.lag_transactions),
            count(link.echo_dropped)
        );
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{line, picture};
    use crate::command::status::{LinkReport, SyncReport};

    #[test]
    fn both_forms_show_what_was_written_and_what_arrived() {
        let link = LinkReport {
            link: "eu-us".into(),
            state: "running".into(),
            rows_applied: Some(1234),
            lag_transactions: Some(3),
            ..LinkReport::default()
        };
        let report =
            SyncReport { sync: "demo".into(), links: vec![link], relays: Vec::new(), verified: None };
        let written = [("eu", 50, 60)];
        for text in [
            picture("writing", Duration::from_secs(7), 30, &written, &report),
            line("writing", Duration::from_secs(7), &written, &report),
        ] {
            for part in ["writing", "7 s", "eu", "50", "60", "eu-us", "running", "1,234", "3"] {
                assert!(text.contains(part), "{part} in {text}");
            }
        }
    }
}
