//! Chunks on their way into the target, between the one who gives them their places, those who write them, and the one who
//! applies what stands behind them.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::ranges::ChunkId;
use crate::names::Name;

/// Chunks that have their place and are not yet committed. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    shared: Arc<(Mutex<BTreeSet<ChunkId>>, watch::Sender<()>, AtomicBool)>,
    /// What is copied, by its name in the target.
    tables: Arc<HashSet<Name>>,
}

impl InFlight {
    pub(super) fn new(tables: HashSet<Name>) -> Self {
        let shared = Arc::new((Mutex::default(), watch::Sender::new(()), AtomicBool::new(false)));
        Self { shared, tables: Arc::new(tables) }
    }

    /// Is this table of the target copied?
    pub(crate) fn copies(&self, table: &Name) -> bool {
        self.is_copying() && self.tables.contains(table)
    }

    fn with<T>(&self, change: impl FnOnce(&mut BTreeSet<ChunkId>) -> T) -> T {
        change(&mut self.shared.0.lock().expect("nothing panics while it is held"))
    }

    pub(super) fn insert(&self, id: ChunkId) {
        self.with(|ids| ids.insert(id));
    }

    /// The chunk is committed.
    pub(crate) fn done(&self, id: ChunkId) {
        self.with(|ids| ids.remove(&id));
        self.shared.1.send_replace(());
    }

    /// The copy is over.
    pub(crate) fn end(&self) {
        self.shared.2.store(true, Ordering::Relaxed);
    }

    /// Is the copy still going on?
    pub(crate) fn is_copying(&self) -> bool {
        !self.shared.2.load(Ordering::Relaxed)
    }

    /// Is any of these in flight?
    pub(crate) fn has_any(&self, ids: &[ChunkId]) -> bool {
        self.with(|held| ids.iter().any(|id| held.contains(id)))
    }

    /// Waits until none of these is in flight. Cancellation safe.
    pub(crate) async fn passes(&self, ids: &[ChunkId]) {
        let mut moved = self.shared.1.subscribe();
        while self.has_any(ids) {
            if moved.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until nothing is in flight. Cancellation safe.
    pub(crate) async fn empties(&self) {
        let mut moved = self.shared.1.subscribe();
        while self.with(|ids| !ids.is_empty()) {
            if moved.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
