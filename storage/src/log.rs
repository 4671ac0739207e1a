//! The handle that everyone but the writer has: what is in the log, how far it is durable, readers.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use binlog::GtidSet;
use tokio::sync::watch;
use uuid::Uuid;

use crate::catalogue::Catalogue;
use crate::downstream::{Acknowledged, DownstreamInfo, Downstreams};
use crate::error::Error;
use crate::files::Folder;
use crate::identity::Identity;
use crate::index::Index;
use crate::options::Options;
use crate::position::{DurableEnd, LogPosition};
use crate::recovery;
use crate::writer::LogWriter;

/// An open relay log; cheap to clone. The folder stays locked until the last handle, the writer and all
/// readers are gone.
///
/// All methods may block on the disk, for a short time, except those that say otherwise.
#[derive(Clone, Debug)]
pub struct RelayLog {
    pub(crate) shared: Arc<Shared>,
}

/// What all handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) folder: Folder,
    pub(crate) options: Options,
    /// Bytes at which nothing more is appended.
    pub(crate) max_size: AtomicU64,
    pub(crate) identity: Mutex<Identity>,
    pub(crate) index: Index,
    pub(crate) catalogue: RwLock<Catalogue>,
    pub(crate) downstreams: Mutex<Downstreams>,
    pub(crate) durable: watch::Sender<DurableEnd>,
    /// Bytes of all segments' files.
    pub(crate) bytes: AtomicU64,
    /// One purge at a time.
    pub(crate) purging: Mutex<()>,
    /// Held, not read: closing it lets go of the folder.
    pub(crate) _lock: std::fs::File,
}

/// A segment, for people and for `SHOW BINARY LOGS`.
#[derive(Clone, Debug)]
pub struct SegmentInfo {
    /// Its number, from 1.
    pub segment: u64,
    /// The server its events were read from.
    pub server_uuid: Uuid,
    /// That server's file.
    pub file: Arc<str>,
    /// Where its first event begins in that file.
    pub source_begin: u64,
    /// Where its last event ends in that file.
    pub source_end: u64,
    /// Bytes that are durable.
    pub bytes: u64,
    /// Commit time of its first transaction, microseconds since 1970; 0 for none.
    pub first_commit: u64,
    /// Commit time of its last one.
    pub last_commit: u64,
    /// All transactions before it, purged ones included.
    pub previous: Arc<GtidSet>,
    /// Its own transactions.
    pub gtids: GtidSet,
}

impl RelayLog {
    /// Opens the log in `dir`, or makes one there: locks the folder, brings the index in order, cuts off what
    /// was not finished. With an index in order only the last segment is read.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<(Self, LogWriter), Error> {
        recovery::open(dir.as_ref(), options)
    }

    /// The relay's own server uuid, made when the log was.
    pub fn server_uuid(&self) -> Uuid {
        self.shared.identity().server_uuid
    }

    /// Follows the durable end. Does not block.
    pub fn durable(&self) -> watch::Receiver<DurableEnd> {
        self.shared.durable.subscribe()
    }

    /// The durable end now. Does not block.
    pub fn durable_end(&self) -> DurableEnd {
        self.shared.durable.borrow().clone()
    }

    /// All transactions on disk, and those that are purged or lie before the log's start. Does not block.
    pub fn gtids_durable(&self) -> Arc<GtidSet> {
        self.shared.durable.borrow().gtids.clone()
    }

    /// The transactions that are no longer in the log, or never were.
    pub fn gtids_purged(&self) -> Arc<GtidSet> {
        if let Some(oldest) = self.shared.catalogue().oldest() {
            return oldest.head.previous.clone();
        }
        Arc::new(self.shared.identity().start.clone().unwrap_or_default())
    }

    /// Has the log neither segments nor a start? Then nobody has said yet where it begins.
    pub fn is_fresh(&self) -> bool {
        self.shared.catalogue().oldest().is_none() && self.shared.identity().start.is_none()
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        // Read before the segments: it must not be ahead of them.
        let durable = self.gtids_durable();
        let catalogue = self.shared.catalogue();
        let mut after = durable;
        let mut infos = Vec::with_capacity(catalogue.len());
        for segment in catalogue.iter().rev() {
            let (head, extent) = (&segment.head, &segment.extent);
            infos.push(SegmentInfo {
                segment: head.segment,
                server_uuid: head.server_uuid,
                file: head.file.clone(),
                source_begin: head.position,
                source_end: extent.source_end,
                bytes: extent.end,
                first_commit: extent.first_commit,
                last_commit: extent.last_commit,
                previous: head.previous.clone(),
                gtids: after.minus(&head.previous),
            });
            after = head.previous.clone();
        }
        infos.reverse();
        infos
    }

    /// Bytes of all segments' files. Does not block.
    pub fn size_on_disk(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Bytes of the index's folder.
    pub fn index_size_on_disk(&self) -> u64 {
        self.shared.index.size_on_disk()
    }

    /// Another size at which nothing more is appended. Does not block.
    pub fn set_max_size(&self, bytes: u64) {
        self.shared.max_size.store(bytes, Ordering::Relaxed);
    }

    /// This downstream holds the log from now on: nothing that it has not acknowledged is purged. To be said
    /// at every start, of every link.
    pub fn register(&self, downstream: &str) {
        self.shared.downstreams().register(downstream);
    }

    /// This downstream is no more.
    pub fn forget(&self, downstream: &str) {
        self.shared.downstreams().forget(downstream);
        self.shared.index.remove_downstream(downstream);
    }

    /// The downstream asks for what is not in this set (its dump request). That is what it needs from now on,
    /// also when it once acknowledged more: its target may have been set back.
    pub fn attached(&self, downstream: &str, has: &GtidSet) {
        let mut downstreams = self.shared.downstreams();
        if downstreams.attached(downstream, has, &self.shared.catalogue()) {
            self.shared.index.put_downstreams(downstreams.records());
        }
    }

    /// The downstream's checkpoint covers this. Never takes back what was acknowledged before.
    pub fn acknowledge(&self, downstream: &str, what: &Acknowledged) {
        let mut downstreams = self.shared.downstreams();
        if downstreams.acknowledge(downstream, what, &self.shared.catalogue()) {
            self.shared.index.put_downstreams(downstreams.records());
        }
    }

    /// What is known of downstreams.
    pub fn downstreams(&self) -> Vec<DownstreamInfo> {
        self.shared.downstreams().info()
    }
}

impl Shared {
    // A lock that a panic left behind still guards whole values: each holder changes them in one step.
    pub(crate) fn identity(&self) -> MutexGuard<'_, Identity> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn catalogue(&self) -> RwLockReadGuard<'_, Catalogue> {
        self.catalogue.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn catalogue_mut(&self) -> RwLockWriteGuard<'_, Catalogue> {
        self.catalogue.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Taken before the catalogue's lock, never after.
    pub(crate) fn downstreams(&self) -> MutexGuard<'_, Downstreams> {
        self.downstreams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what downstreams have acknowledged to the index.
    pub(crate) fn remember_downstreams(&self) {
        self.index.put_downstreams(self.downstreams().records());
    }

    /// Where readers must stop in this segment; `None` when they are to go on to the next.
    pub(crate) fn limit(&self, segment: u64) -> Option<Limit> {
        let catalogue = self.catalogue();
        let entry = catalogue.get(segment)?;
        let durable = self.durable.borrow().position;
        let end = if durable.segment == segment { durable.offset } else { entry.extent.end };
        Some(Limit { end, is_newest: durable <= LogPosition { segment, offset: u64::MAX } })
    }
}

/// How far a segment may be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) end: u64,
    /// Nothing that is durable comes after this segment.
    pub(crate) is_newest: bool,
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
