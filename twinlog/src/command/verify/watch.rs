//! How far a comparison is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use applier::verify::{Event, Watch};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::command::status::count;

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
const STYLE: &str = "{prefix} [{bar:30}] {human_pos} of about {human_len} rows, {per_sec}, {eta} left  {msg}";

/// Shows it on standard error.
pub(super) struct Bar {
    bar: ProgressBar,
    /// Lines instead.
    lines: Option<Mutex<Lines>>,
}

struct Lines {
    table: String,
    done: u64,
    expected: u64,
    last: Instant,
}

impl Bar {
    /// `quiet`: lines would mean nothing to the program that reads the outcome; a person at a terminal sees the bar.
    pub(super) fn new(quiet: bool) -> Self {
        let on = std::io::stderr().is_terminal();
        let target = if on { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        // The template is a constant of this file.
        bar.set_style(ProgressStyle::with_template(STYLE).unwrap_or_else(|_| ProgressStyle::default_bar()));
        let lines = Lines { table: String::new(), done: 0, expected: 0, last: Instant::now() };
        Self { bar, lines: (!on && !quiet).then(|| Mutex::new(lines)) }
    }

    /// Takes it off the terminal.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn line(&self, change: impl FnOnce(&mut Lines)) {
        let Some(lines) = &self.lines else { return };
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut lines);
        if lines.last.elapsed() >= LINE_EVERY {
            lines.last = Instant::now();
            let (done, expected) = (count(Some(lines.done)), count(Some(lines.expected)));
            eprintln!("{}: {done} of about {expected} rows", lines.table);
        }
    }
}

impl Watch for Bar {
    fn see(&self, event: &Event<'_>) {
        match event {
            Event::Begins { table, regions: (left, right), rows } => {
                self.bar.reset();
                self.bar.set_length(*rows);
                self.bar.set_prefix(format!("{table} {left} {right}"));
                self.line(|lines| {
                    lines.table = (*table).to_owned();
                    lines.done = 0;
                    lines.expected = *rows;
                });
            }
            Event::Rows(rows) => {
                self.bar.set_message("");
                self.bar.inc(*rows);
                // The guess was too low.
                if self.bar.length().is_some_and(|length| length < self.bar.position()) {
                    self.bar.set_length(self.bar.position());
                }
                self.line(|lines| lines.done += rows);
            }
            Event::Doing(what) => {
                self.bar.set_message((*what).to_owned());
                self.line(|_| ());
            }
            Event::Differs(_) | Event::Ends(_) => {}
        }
    }
}
