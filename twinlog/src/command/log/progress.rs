//! How far a long action is, on a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::command::status::bytes;

/// What is done sooner needs no progress.
const SILENT: Duration = Duration::from_millis(700);
/// Between two signs.
const PERIOD: Duration = Duration::from_millis(250);
/// To the line's beginning, and clears it.
const CLEAR: &str = "\r\x1b[K";

/// A line on standard error that is gone when the action is done. Nothing where that is no terminal.
pub(super) struct Progress {
    what: &'static str,
    total: u64,
    done: u64,
    began: Instant,
    shown: Option<Instant>,
    on: bool,
}

impl Progress {
    /// Of an action on this many bytes.
    pub(super) fn new(what: &'static str, total: u64) -> Self {
        let on = io::stderr().is_terminal();
        Self { what, total, done: 0, began: Instant::now(), shown: None, on }
    }

    /// None, because what is printed meanwhile would mix with it.
    pub(super) fn unless(mut self, mixed: bool) -> Self {
        self.on &= !mixed;
        self
    }

    /// So many bytes more are done.
    pub(super) fn add(&mut self, bytes: u64) {
        self.done += bytes;
        self.tick();
    }

    /// Shows that it goes on.
    pub(super) fn tick(&mut self) {
        let due = match self.shown {
            None => self.began.elapsed() >= SILENT,
            Some(shown) => shown.elapsed() >= PERIOD,
        };
        if !self.on || !due {
            return;
        }
        self.shown = Some(Instant::now());
        let of = match self.done {
            0 => bytes(self.total),
            done => format!("{} of {}", bytes(done), bytes(self.total)),
        };
        // A terminal that is gone is no reason to stop.
        let _ = write!(io::stderr(), "{CLEAR}{} {of}, {} s", self.what, self.began.elapsed().as_secs());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "{CLEAR}");
        }
    }
}

/// Runs what tells nothing until it is done, and shows that it goes on. Not cancellation safe: the action goes on.
pub(super) async fn with_ticks<T: Send + 'static>(
    mut progress: Progress,
    action: impl FnOnce() -> T + Send + 'static,
) -> T {
    let mut action = tokio::task::spawn_blocking(action);
    loop {
        tokio::select! {
            biased;
            done = &mut action => {
                return done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            }
            () = tokio::time::sleep(PERIOD) => progress.tick(),
        }
    }
}
