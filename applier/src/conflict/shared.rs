//! The conflict window between the reader of the target's log and the one who applies.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use binlog::GtidSet;
use tokio::sync::watch;

use super::key::Key;
use super::seen::Seen;
use super::window::{Done, Limits, Size, Window, Writer};
use crate::Error;
use crate::ddl::Alteration;

/// Cheap to clone. The lock is held for a look-up, and now and then while keys are sorted: a few milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct SharedWindow(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    window: Mutex<Window>,
    /// What the checkpoint says the window is done with.
    kept: watch::Sender<GtidSet>,
    /// What it was last pruned by.
    pruned: Mutex<Arc<Seen>>,
    /// What the target has applied of the other regions, as far as is known.
    applied: Mutex<Arc<Seen>>,
    /// Told when more of the log was read.
    moved: watch::Sender<()>,
}

impl SharedWindow {
    /// A window that begins behind these transactions of the target; what memory does not hold goes into `folder`.
    pub(crate) fn behind(followed: GtidSet, clock: u64, folder: PathBuf) -> Self {
        Self(Arc::new(Inner {
            window: Mutex::new(Window::behind(followed, clock, Limits::default(), folder)),
            kept: watch::Sender::new(GtidSet::new()),
            pruned: Mutex::default(),
            applied: Mutex::default(),
            moved: watch::Sender::new(()),
        }))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Window) -> T) -> T {
        change(&mut self.0.window.lock().expect("nothing panics while it is held"))
    }

    /// What of the target's log was read.
    pub(crate) fn followed(&self) -> GtidSet {
        self.with(|window| window.followed().clone())
    }

    pub(crate) fn follow(&self, gtids: &GtidSet, clock: u64) {
        self.with(|window| window.follow(gtids, clock));
        self.0.moved.send_replace(());
    }

    pub(crate) fn write(&self, writer: &Writer, keys: &[Key]) {
        self.with(|window| window.write(writer, keys));
    }

    pub(crate) fn alter(&self, writer: Writer, alteration: Alteration) {
        self.with(|window| window.alter(writer, alteration));
    }

    /// See [`Window::alterations`].
    pub(crate) fn alterations(&self, seen: &Seen) -> Vec<Arc<Alteration>> {
        self.with(|window| window.alterations(seen))
    }

    /// See [`Window::begin_block`].
    pub(crate) fn begin_block(&self) {
        self.with(Window::begin_block);
    }

    /// How many keys it holds, and how many bytes they take.
    pub(crate) fn size(&self) -> Size {
        self.with(|window| window.size())
    }

    /// Could keys of these indexes be in it?
    pub(crate) fn has_any_of(&self, buckets: impl Iterator<Item = u64>) -> bool {
        self.with(|window| !window.is_empty() && buckets.into_iter().any(|bucket| window.has_any_of(bucket)))
    }

    /// See [`Window::unseen`].
    pub(crate) fn unseen(&self, key: &Key, seen: &Seen) -> Result<Vec<Writer>, Error> {
        self.with(|window| window.unseen(key, seen)).map_err(|source| Error::WindowFile { source })
    }

    /// What a status says while this is not all read.
    pub(crate) fn waits(&self, region: &str, gtids: &GtidSet) -> String {
        let lacks = gtids.minus(&self.followed());
        format!("waiting for relay {region}: the conflict window lacks {lacks}")
    }

    /// Waits until all of this is read; `false` when it takes longer.
    pub(crate) async fn reaches(&self, gtids: &GtidSet, within: Duration) -> bool {
        let mut moved = self.0.moved.subscribe();
        let reached = async {
            while !self.with(|window| window.covers(gtids)) {
                if moved.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(within, reached).await.is_ok()
    }

    /// The target has applied this of the other regions.
    pub(crate) fn applied(&self, more: &Arc<Seen>) {
        let mut applied = self.0.applied.lock().unwrap_or_else(PoisonError::into_inner);
        if more.has_all(&applied) {
            applied.clone_from(more);
        } else {
            Arc::make_mut(&mut applied).union_with(more);
        }
        drop(applied);
        self.0.moved.send_replace(());
    }

    /// Has the target applied all of this that is of these regions?
    pub(crate) fn has_applied(&self, seen: &Seen, of: &[String]) -> bool {
        self.0.applied.lock().unwrap_or_else(PoisonError::into_inner).has_all_of(seen, of)
    }

    /// Waits until it has; `false` when it takes longer.
    pub(crate) async fn applies(&self, seen: &Seen, of: &[String], within: Duration) -> bool {
        let mut moved = self.0.moved.subscribe();
        let applied = async {
            while !self.has_applied(seen, of) {
                if moved.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(within, applied).await.is_ok()
    }

    /// Every transaction still to come has seen this.
    pub(crate) fn prune(&self, seen: &Arc<Seen>) {
        self.with(|window| window.prune(seen));
        *self.0.pruned.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(seen);
    }

    /// What it has let go of was seen with this.
    pub(crate) fn pruned(&self) -> Arc<Seen> {
        Arc::clone(&self.0.pruned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a reader that begins anew may leave out, once the checkpoint says so.
    pub(crate) fn done(&self) -> Done {
        self.with(|window| window.done().clone())
    }

    /// The checkpoint says so.
    pub(crate) fn keep(&self, done: &Done) {
        self.0.kept.send_replace(done.gtids.clone());
    }

    /// Tells what the checkpoint says.
    pub(crate) fn kept(&self) -> watch::Receiver<GtidSet> {
        self.0.kept.subscribe()
    }
}
