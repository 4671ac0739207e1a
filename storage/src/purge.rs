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

impl RelayLog {
    /// Removes what is older than `retain` and needed by nobody. A crash in the middle leaves a log that begins
    /// a segment later.
    pub fn purge(&self, now: SystemTime, retain: Duration) -> Result<Purged, Error> {
        let shared = &self.shared;
        let _one_at_a_time = shared.purging.lock().unwrap_or_else(PoisonError::into_inner);
        let mut purged = Purged::default();
        while let Some(oldest) = shared.removable(now, retain)? {
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
    fn removable(&self, now: SystemTime, retain: Duration) -> Result<Option<Segment>, Error> {
        let needed = self.downstreams().oldest_needed();
        let oldest = {
            let catalogue = self.catalogue();
            // The newest is being written, and tells what was purged when all others are gone.
            match catalogue.oldest() {
                Some(oldest) if catalogue.len() > 1 => oldest.clone(),
                _ => return Ok(None),
            }
        };
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
        let is_old = now.duration_since(written).is_ok_and(|age| age >= retain);
        Ok(is_old.then_some(oldest))
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
