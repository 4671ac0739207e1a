//! Freeing what nobody needs any more: whole segments, oldest first.
//!
//! *Nothing is purged that a link still needs*: a segment goes when it is older than what is to be retained,
//! and every registered downstream has acknowledged all of it. The newest segment stays always.
//!
//! A segment's age is that of its file's last write, that is, how long the relay has had it: commit times are
//! another machine's, and say of a freshly fetched old transaction that it is old.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use binlog::GtidSet;

use crate::catalogue::Segment;
use crate::error::Error;
use crate::log::{RelayLog, Shared};

/// What was freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Segments.
    pub segments: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What may go of what nobody needs: segments to which all of this applies, up to the first to which it does not.
#[derive(Clone, Debug)]
pub struct PurgeLimit {
    /// Last written no later than this.
    pub written_by: SystemTime,
    /// Without transactions beyond these, those that are purged already aside.
    pub up_to: Option<GtidSet>,
    /// With a smaller number than this.
    pub before_segment: Option<u64>,
}

impl PurgeLimit {
    /// What was written by then.
    pub fn written_by(written_by: SystemTime) -> Self {
        Self { written_by, up_to: None, before_segment: None }
    }
}

impl RelayLog {
    /// Removes what is older than `retain` and needed by nobody. A crash in the middle leaves a log that begins
    /// a segment later.
    pub fn purge(&self, now: SystemTime, retain: Duration) -> Result<Purged, Error> {
        // Before 1970 nothing was written.
        let written_by = now.checked_sub(retain).unwrap_or(SystemTime::UNIX_EPOCH);
        self.purge_within(&PurgeLimit::written_by(written_by))
    }

    /// Removes what is within the limit and needed by nobody.
    pub fn purge_within(&self, limit: &PurgeLimit) -> Result<Purged, Error> {
        let shared = &self.shared;
        let _one_at_a_time = shared.purging.lock().unwrap_or_else(PoisonError::into_inner);
        let mut purged = Purged::default();
        while let Some(oldest) = shared.removable(limit)? {
            shared.remove(&oldest)?;
            purged.segments += 1;
            purged.bytes += oldest.extent.end;
        }
        if let Some(oldest) = shared.catalogue().oldest().filter(|_| purged.segments > 0) {
            shared.index.forget_before(oldest.head.segment);
        }
        Ok(purged)
    }
}

impl Shared {
    /// The oldest segment, if it may go.
    fn removable(&self, limit: &PurgeLimit) -> Result<Option<Segment>, Error> {
        let needed = self.downstreams().oldest_needed();
        let (oldest, next) = {
            let catalogue = self.catalogue();
            let mut segments = catalogue.iter();
            // The newest is being written, and tells what was purged when all others are gone.
            match (segments.next(), segments.next()) {
                (Some(oldest), Some(next)) => (oldest.clone(), next.head.previous.clone()),
                _ => return Ok(None),
            }
        };
        if limit.before_segment.is_some_and(|before| oldest.head.segment >= before) {
            return Ok(None);
        }
        let own = next.minus(&oldest.head.previous);
        if limit.up_to.as_ref().is_some_and(|up_to| !up_to.contains_all(&own)) {
            return Ok(None);
        }
        if needed.is_some_and(|needed| needed <= oldest.head.segment) {
            return Ok(None);
        }
        // Readers have not been let into the segment behind it until that one has something durable.
        if self.durable.borrow().position.segment == oldest.head.segment {
            return Ok(None);
        }
        let path = self.folder.segment(oldest.head.segment);
        let written = path.metadata().and_then(|meta| meta.modified());
        let written = written.map_err(|e| Error::io("read the age of", &path, e))?;
        // A file from the future is not old.
        Ok((written <= limit.written_by).then_some(oldest))
    }

    /// Removes the oldest segment. Its end must be durable before the next one goes, or a crash could leave
    /// a gap; the file that tells where it is from goes last, since alone it means nothing.
    fn remove(&self, oldest: &Segment) -> Result<(), Error> {
        let number = oldest.head.segment;
        self.catalogue_mut().pop_oldest();
        if let Err(e) = self.folder.remove(&self.folder.segment(number)) {
            self.catalogue_mut().put_back(oldest.clone());
            return Err(e);
        }
        self.bytes.fetch_sub(oldest.extent.end, Ordering::Relaxed);
        self.folder.sync()?;
        self.folder.remove(&self.folder.origin(number))
    }
}
