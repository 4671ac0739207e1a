//! How far a long action is: a bar on a terminal, a line now and then elsewhere.
//!
//! Without colours, so `NO_COLOR` changes nothing.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::command::status::bytes;

/// What is done sooner needs no progress.
const SILENT: Duration = Duration::from_millis(700);
/// Between two looks at it.
const PERIOD: Duration = Duration::from_millis(100);
/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
const STYLE: &str =
    "{msg} [{bar:30}] {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";

/// Shown on standard error, and gone when the action is done.
pub(super) struct Progress {
    what: &'static str,
    total: u64,
    done: u64,
    began: Instant,
    /// The bar, where there is a terminal, once it is worth it.
    bar: Option<ProgressBar>,
    terminal: bool,
    /// The last line, where there is none.
    line: Instant,
    on: bool,
}

impl Progress {
    /// Of an action on this many bytes.
    pub(super) fn new(what: &'static str, total: u64) -> Self {
        let (began, terminal) = (Instant::now(), io::stderr().is_terminal());
        Self { what, total, done: 0, began, bar: None, terminal, line: began, on: true }
    }

    /// None, because what is printed meanwhile would mix with it.
    pub(super) fn unless(mut self, mixed: bool) -> Self {
        self.on &= !mixed;
        self
    }

    /// No lines, because a program reads the outcome; a person at a terminal sees the bar.
    pub(super) fn quiet(mut self, quiet: bool) -> Self {
        self.on &= self.terminal || !quiet;
        self
    }

    /// So many bytes more are done.
    pub(super) fn add(&mut self, bytes: u64) {
        self.at(self.done + bytes);
    }

    /// So many bytes are done.
    pub(super) fn at(&mut self, done: u64) {
        self.done = done;
        if !self.on || self.began.elapsed() < SILENT {
            return;
        }
        if self.terminal {
            let (what, total) = (self.what, self.total);
            self.bar.get_or_insert_with(|| new_bar(what, total)).set_position(done);
        } else if self.line.elapsed() >= LINE_EVERY {
            self.line = Instant::now();
            eprintln!("{}: {} of {}", self.what, bytes(done), bytes(self.total));
        }
    }
}

fn new_bar(what: &'static str, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    // The template is a constant of this file.
    bar.set_style(ProgressStyle::with_template(STYLE).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what);
    bar
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Runs an action that blocks and notes how many bytes are done, and shows it. Not cancellation safe: the action goes
/// on.
pub(super) async fn watched<T: Send + 'static>(
    mut progress: Progress,
    action: impl FnOnce(&AtomicU64) -> T + Send + 'static,
) -> T {
    let done = Arc::new(AtomicU64::new(0));
    let counter = done.clone();
    let mut action = tokio::task::spawn_blocking(move || action(&counter));
    loop {
        tokio::select! {
            biased;
            result = &mut action => {
                return result.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            }
            () = tokio::time::sleep(PERIOD) => progress.at(done.load(Ordering::Relaxed)),
        }
    }
}
