//! What the console knows, shared by the one who watches and those who are shown it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;
use twinlog::config::File;

use super::Files;
use super::conflicts::Conflicts;
use super::history::{History, Point};

/// The newest snapshot and the last hour; who follows it sees every change or only the newest, never an old one.
pub(super) struct Hub {
    files: Files,
    /// The conflicts, read now and then.
    pub(super) conflicts: Conflicts,
    state: watch::Sender<Bytes>,
    history: Mutex<History>,
}

impl Hub {
    pub(super) fn new(files: Files) -> Self {
        Self {
            files,
            conflicts: Conflicts::default(),
            state: watch::Sender::new(Bytes::new()),
            history: Mutex::default(),
        }
    }

    /// The configuration now.
    pub(super) fn file(&self) -> Arc<File> {
        (self.files)()
    }

    /// Shows a new snapshot: JSON.
    pub(super) fn show(&self, snapshot: Vec<u8>) {
        self.state.send_replace(snapshot.into());
    }

    /// Adds the points of one moment.
    pub(super) fn note(&self, points: Vec<Point>) {
        self.history().add(points);
    }

    /// The newest snapshot; empty before the first.
    pub(super) fn now(&self) -> Bytes {
        self.state.borrow().clone()
    }

    /// Follows the snapshots.
    pub(super) fn follow(&self) -> watch::Receiver<Bytes> {
        self.state.subscribe()
    }

    /// The points from this batch on as JSON, and the number to ask with next; `None` when there are none.
    pub(super) fn points(&self, batch: u64) -> (Option<String>, u64) {
        let history = self.history();
        let (points, next) = history.since(batch);
        // Numbers and names have a form in JSON.
        let text = (!points.is_empty()).then(|| serde_json::to_string(&points).unwrap_or_default());
        (text, next)
    }

    fn history(&self) -> MutexGuard<'_, History> {
        // Batches are added whole, so it is good even if a holder panicked.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
