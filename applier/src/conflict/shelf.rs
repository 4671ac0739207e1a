//! The conflict window of a link between two of its rounds.
//!
//! A round that a lost connection ends is followed by another at once. The window of the one serves the other: to read
//! again what the target wrote since the link fell behind would take longer the further it is behind, and a link whose
//! connection is lost often would not get on at all.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::follow::TargetLog;
use super::seen::Seen;
use crate::Config;
use crate::origin::Owners;

/// Where the reader of the target's log waits for the next round. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Shelf(Arc<Mutex<Option<Kept>>>);

struct Kept {
    log: TargetLog,
    read_for: ReadFor,
}

/// What a window is made for: it serves a round for which all of this is the same.
#[derive(Clone)]
pub(crate) struct ReadFor {
    pub(crate) config: Arc<Config>,
    pub(crate) target: Uuid,
    pub(crate) owners: Owners,
    /// Orders that were given to the link: a reset, a skip.
    pub(crate) orders: u64,
}

impl ReadFor {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
            && (self.target, &self.owners, self.orders) == (other.target, &other.owners, other.orders)
    }
}

impl Shelf {
    /// Keeps a reader that was told to stop.
    pub(crate) fn put(&self, log: TargetLog, read_for: ReadFor) {
        *self.lock() = Some(Kept { log, read_for });
    }

    /// A reader for a round whose source's region has seen this: if there is one, and it has let go of no more than what
    /// the round will never ask for.
    pub(crate) fn take(&self, read_for: &ReadFor, seen: &Seen) -> Option<TargetLog> {
        let kept = self.lock().take().filter(|kept| kept.read_for.is(read_for))?;
        seen.has_all(&kept.log.window().pruned()).then_some(kept.log)
    }

    /// A link that waits holds neither the window's memory nor a connection.
    pub(crate) fn clear(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shelf").field(&self.lock().is_some()).finish()
    }
}
