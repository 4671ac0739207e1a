//! A comparison started from the page: one at a time, in this process, told as it goes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use applier::verify::{Event, Watch};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use twinlog::config::File;

use super::actions::Refusal;
use crate::admin::unix_time as now;
use crate::command::{LastVerified, compare};

/// The comparison under way, and how the last one ended if that was badly.
#[derive(Default)]
pub(super) struct Verifying(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    running: Option<Running>,
    failed: Option<String>,
    task: JoinSet<()>,
}

/// How far it is.
struct Running {
    stop: CancellationToken,
    table: String,
    regions: Vec<String>,
    table_since: f64,
    rows: u64,
    expected: u64,
    doing: Option<String>,
    tables_done: u64,
    differences: u64,
}

impl Verifying {
    /// Begins one.
    ///
    /// # Errors
    ///
    /// One is under way already.
    pub(super) fn start(&self, file: &Arc<File>) -> Result<(), Refusal> {
        let mut inner = self.inner();
        if inner.running.is_some() {
            return Err(Refusal::bad("a comparison is under way already"));
        }
        let stop = CancellationToken::new();
        inner.failed = None;
        inner.running = Some(Running {
            stop: stop.clone(),
            table: String::new(),
            regions: Vec::new(),
            table_since: now(),
            rows: 0,
            expected: 0,
            doing: None,
            tables_done: 0,
            differences: 0,
        });
        let (file, shared) = (file.clone(), self.0.clone());
        let watch = Arc::new(Watcher(shared.clone()));
        inner.task.spawn(async move {
            let done = Box::pin(compare(&file, watch, stop)).await;
            let mut inner = lock(&shared);
            inner.running = None;
            inner.failed = done.err().map(|failure| failure.line());
        });
        Ok(())
    }

    /// Tells it to stop.
    pub(super) fn cancel(&self) {
        if let Some(running) = &self.inner().running {
            running.stop.cancel();
        }
    }

    /// Stops it and waits until it has.
    pub(super) async fn end(&self) {
        self.cancel();
        let mut task = std::mem::take(&mut self.inner().task);
        while task.join_next().await.is_some() {}
    }

    /// For the page.
    pub(super) fn shown(&self, last: Option<&LastVerified>) -> Value {
        let inner = self.inner();
        let running = inner.running.as_ref().map(|r| {
            json!({
                "table": r.table, "regions": r.regions, "table_since": r.table_since, "rows": r.rows,
                "expected": r.expected, "doing": r.doing, "tables_done": r.tables_done, "differences": r.differences,
            })
        });
        json!({ "running": running, "failed": inner.failed, "last": last })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.0)
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    // Numbers for people: good even if a holder panicked.
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Watcher(Arc<Mutex<Inner>>);

impl Watch for Watcher {
    fn see(&self, event: &Event<'_>) {
        let mut inner = lock(&self.0);
        let Some(running) = inner.running.as_mut() else { return };
        match event {
            Event::Begins { table, regions: (left, right), rows } => {
                running.table = (*table).to_owned();
                running.regions = vec![(*left).to_owned(), (*right).to_owned()];
                running.table_since = now();
                (running.rows, running.expected, running.doing) = (0, *rows, None);
            }
            Event::Rows(rows) => {
                running.rows += rows;
                running.expected = running.expected.max(running.rows);
                running.doing = None;
            }
            Event::Doing(what) => running.doing = Some((*what).to_owned()),
            Event::Differs(_) => running.differences += 1,
            Event::Ends(_) => running.tables_done += 1,
        }
    }
}
