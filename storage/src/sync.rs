//! Making durable what was appended, beside further appending.
//!
//! ```text
//! writer's thread   append … prepare_sync() append append … prepare_sync() append …
//!                              └▶ SyncPoint                   └▶ SyncPoint
//! another thread                  complete(): fdatasync, readers see it, mark
//! ```
//! **Promise 1**: the durable end moves in [`SyncPoint::complete_then`], after the flush, and never back: points are
//! completed one at a time, and one that a later one has overtaken does nothing.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use binlog::{Gtid, GtidSet};

use crate::active::Active;
use crate::error::Error;
use crate::follower::{Extent, Place};
use crate::head::SegmentHead;
use crate::log::RelayLog;
use crate::mark::DurableMark;
use crate::position::{DurableEnd, LogPosition, SourcePosition};
use crate::writer::LogWriter;

/// One flush at a time, and none after one that failed.
#[derive(Debug)]
pub(crate) struct Flusher {
    mark: Mutex<DurableMark>,
    poisoned: AtomicBool,
}

impl Flusher {
    pub(crate) fn new(mark: DurableMark) -> Self {
        Self { mark: Mutex::new(mark), poisoned: AtomicBool::new(false) }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.poisoned.load(Ordering::Acquire) { Err(Error::Poisoned) } else { Ok(()) }
    }

    /// After a failed flush nothing is known any more.
    pub(crate) fn checked<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        if matches!(outcome, Err(Error::SyncFailed { .. })) {
            self.poisoned.store(true, Ordering::Release);
        }
        outcome
    }

    /// Waits until no flush is under way, and keeps others from beginning.
    pub(crate) fn mark(&self) -> MutexGuard<'_, DurableMark> {
        // A mark that a panic left behind is still true.
        self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was written to the file and is not flushed yet: whole transactions up to a place.
///
/// Dropped, it is as if it had never been: a later one covers it.
#[derive(Debug)]
#[must_use = "nothing is durable before it is completed"]
pub struct SyncPoint {
    log: RelayLog,
    flusher: Arc<Flusher>,
    file: Arc<File>,
    path: PathBuf,
    head: Arc<SegmentHead>,
    position: LogPosition,
    whole: Extent,
    places: Vec<Place>,
    gtids: Arc<GtidSet>,
    last_gtid: Option<Gtid>,
}

impl SyncPoint {
    /// Flushes, and moves the durable end. Blocks on the disk, and on another one that is being completed.
    ///
    /// After [`Error::SyncFailed`] nothing is known about what is on the disk: the log takes nothing more, and
    /// the process must end.
    pub fn complete(self) -> Result<DurableEnd, Error> {
        self.complete_then(|_| {})
    }

    /// The same; `tell` is called with the durable end as soon as it has moved, before what can wait: who serves the log
    /// need not wait for it.
    ///
    /// # Errors
    ///
    /// Those of [`SyncPoint::complete`]; `tell` is not called then.
    pub fn complete_then(self, tell: impl FnOnce(LogPosition)) -> Result<DurableEnd, Error> {
        let mark = self.flusher.mark();
        self.flusher.check()?;
        let moves = self.log.durable_end().position < self.position;
        if moves {
            let flushed = self.file.sync_data();
            let flushed = flushed.map_err(|source| Error::SyncFailed { path: self.path.clone(), source });
            self.flusher.checked(flushed)?;
            self.publish();
        }
        tell(self.log.durable_end().position);
        // A mark that is behind is still true.
        if moves && let Err(e) = mark.set(self.position) {
            tracing::warn!(error = %e, "can't remember how far the relay log is durable");
        }
        self.log.shared.index.put_places(self.position.segment, &self.places);
        Ok(self.log.durable_end())
    }

    /// Tells readers and the catalogue what is durable now.
    fn publish(&self) {
        let shared = &self.log.shared;
        shared.catalogue_mut().grow_newest(self.whole);
        shared.durable.send_modify(|end| {
            end.position = self.position;
            end.gtids = self.gtids.clone();
            end.source = Some(SourcePosition {
                server_uuid: self.head.server_uuid,
                file: self.head.file.clone(),
                position: self.whole.source_end,
            });
            if self.whole.last_commit != 0 {
                end.commit_timestamp = self.whole.last_commit;
            }
            end.last_gtid.clone_from(&self.last_gtid);
        });
    }
}

impl LogWriter {
    /// Makes all whole transactions durable, and says how far the log is.
    ///
    /// After [`Error::SyncFailed`] nothing is known about what is on the disk: the log takes nothing more, and
    /// the process must end.
    pub fn sync(&mut self) -> Result<DurableEnd, Error> {
        match self.prepare_sync()? {
            Some(point) => point.complete(),
            None => Ok(self.log.durable_end()),
        }
    }

    /// Writes to the file what is to become durable next, for another thread to complete; `None` when everything
    /// whole is durable. Points may be completed in any order, or not at all: each covers all before it.
    pub fn prepare_sync(&mut self) -> Result<Option<SyncPoint>, Error> {
        self.flusher.check()?;
        let position = self.whole_end();
        let Some(active) = self.active.as_mut().filter(|_| self.log.durable_end().position != position)
        else {
            return Ok(None);
        };
        active.flush()?;
        let point = SyncPoint {
            log: self.log.clone(),
            flusher: self.flusher.clone(),
            file: active.file().clone(),
            path: active.path().to_path_buf(),
            head: active.head().clone(),
            position,
            whole: self.follower.whole,
            places: std::mem::take(&mut self.follower.places),
            gtids: Arc::new(self.follower.received.clone()),
            last_gtid: self.follower.last_gtid.clone(),
        };
        self.count();
        Ok(Some(point))
    }

    /// Where the last whole transaction ends, durable or not yet.
    pub(crate) fn whole_end(&self) -> LogPosition {
        let end =
            |active: &Active| LogPosition { segment: active.head().segment, offset: self.follower.whole.end };
        self.active.as_ref().map_or_else(|| self.log.durable_end().position, end)
    }
}
