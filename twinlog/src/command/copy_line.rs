//! How far copies are, as a line with a bar at the foot of the terminal, while the log goes by above it.
//!
//! Several processes may write on one terminal (`up` and those it runs): a log line of any of them wipes the line first
//! (`logging.rs`), and the one process that shows it draws it again at its next look. So only a process that a person
//! started does.

use std::io::{Write, stderr};
use std::time::Duration;

use applier::{LoadStatus, State};
use rustix::termios::tcgetwinsize;
use tokio::time::{MissedTickBehavior, interval};

use super::status::{ago, bar, count, share, whole};
use crate::admin::client::Peer;
use crate::admin::{Board, Kind, ProcessStatus, Site};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// To the line's begin, and empty from there.
pub(crate) const WIPE: &str = "\r\x1b[2K";
/// Where a terminal does not tell how wide it is.
const COLUMNS: usize = 80;

/// Whose copies.
pub(super) enum Of {
    /// This process's own.
    Process(Board),
    /// Those of every link of the file.
    File(Site),
}

/// The line, which goes with whoever shows it.
#[derive(Default)]
struct Line {
    is_drawn: bool,
}

impl Line {
    fn draw(&mut self, text: &str) {
        if text.is_empty() && !self.is_drawn {
            return;
        }
        self.is_drawn = !text.is_empty();
        // A terminal that is gone is not missed.
        _ = write!(stderr().lock(), "{WIPE}{text}");
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.draw("");
    }
}

/// Shows copies while there are some, until it is dropped; returns at once where there is no terminal.
pub(super) async fn show(of: Of) {
    if !super::moves(&stderr()) {
        return;
    }
    let (mut ticks, mut shown) = (interval(LOOK), Line::default());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        shown.draw(&line(&of.loads().await, columns()));
    }
}

impl Of {
    async fn loads(&self) -> Vec<(String, LoadStatus)> {
        match self {
            Self::Process(board) => copying(board.report().status).into_iter().collect(),
            Self::File(site) => {
                let mut loads = Vec::new();
                for peer in Peer::all(&site.file()).iter().filter(|peer| peer.kind() == Kind::Applier) {
                    loads.extend(peer.status().await.ok().and_then(copying));
                }
                loads
            }
        }
    }
}

/// The link, and how far it is, if it copies.
fn copying(status: ProcessStatus) -> Option<(String, LoadStatus)> {
    match status {
        ProcessStatus::Applier(status) if status.state == State::Copying => Some((status.link, status.load?)),
        _ => None,
    }
}

/// All of them in one line that fits. What matters most stands first.
fn line(loads: &[(String, LoadStatus)], columns: usize) -> String {
    let one = |(link, load): &(String, LoadStatus)| {
        let part = share(load.bytes_done, load.bytes_estimated);
        let left = load.seconds_left.map_or(String::new(), |left| format!(", about {} left", ago(left)));
        let done = load.tables.iter().filter(|table| table.state == "done").count();
        format!(
            "copy of {link} {} {:.0} %{left}, {} rows/s, {done} of {} tables",
            bar(part),
            part * 100.0,
            count(Some(whole(load.rows_per_second))),
            load.tables.len()
        )
    };
    let all = loads.iter().map(one).collect::<Vec<_>>().join("; ");
    // One column stays free: a full line would go on in the next, which nothing wipes.
    all.chars().map(|c| if c.is_control() { ' ' } else { c }).take(columns.saturating_sub(1)).collect()
}

fn columns() -> usize {
    let told = tcgetwinsize(stderr()).ok().map(|size| usize::from(size.ws_col));
    told.filter(|columns| *columns > 0).unwrap_or(COLUMNS)
}

#[cfg(test)]
mod tests {
    use applier::{LoadStatus, TableLoad};

    use super::line;

    #[test]
    fn every_copy_has_a_bar_and_all_fit_into_the_terminal() {
        let table = |state: &str| TableLoad { state: state.into(), ..TableLoad::default() };
        let load = LoadStatus {
            tables: vec![table("done"), table("copying")],
            bytes_done: 250,
            bytes_estimated: 1000,
            rows_per_second: 1234.0,
            seconds_left: Some(75.0),
            ..LoadStatus::default()
        };
        let one = line(&[("eu-us".into(), load.clone())], 200);
        assert_eq!(
            one,
            "copy of eu-us ██████·················· 25 %, about 1m 15s left, 1,234 rows/s, 1 of 2 tables"
        );
        let two = line(&[("eu-us".into(), load.clone()), ("us-eu".into(), load)], 120);
        assert!(two.contains("; copy of us-eu") && two.chars().count() == 119, "{two}");
        assert_eq!(line(&[], 80), "");
    }
}
