//! Reading a whole segment: what it holds, and where and why it stops making sense.

use std::fs::File;
use std::sync::Arc;

use binlog::{Event, Part, TransactionTracker};

use crate::error::{Damage, Error};
use crate::events::{EventReader, Read};
use crate::files::Folder;
use crate::follower::Follower;
use crate::head::SegmentHead;
use crate::position::widen;

/// Bytes read at a time.
pub(crate) const CHUNK: usize = 1 << 20;

/// A segment as it was found.
#[derive(Debug)]
pub(crate) struct Scan {
    /// Bytes of the file.
    pub(crate) length: u64,
    /// Where it stopped.
    pub(crate) at: u64,
    /// Why.
    pub(crate) stop: Stop,
}

/// Why a scan stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The file ends behind a whole transaction.
    Clean,
    /// The file ends inside a transaction.
    Unfinished,
    /// The file ends inside an event.
    Cut(Damage),
    /// Something is wrong.
    Bad(Damage),
}

impl Scan {
    /// A scan of a segment that nothing may be wrong with.
    pub(crate) fn must_be_clean(self, segment: u64) -> Result<(), Error> {
        match self.stop {
            Stop::Clean => Ok(()),
            Stop::Unfinished => Err(Error::corrupt(segment, self.at, Damage::Unfinished)),
            Stop::Cut(what) | Stop::Bad(what) => Err(Error::corrupt(segment, self.at, what)),
        }
    }
}

/// Scans the segment of `head` into `follower`, which has received what lies before it.
pub(crate) fn scan(folder: &Folder, head: &Arc<SegmentHead>, follower: &mut Follower) -> Result<Scan, Error> {
    let path = folder.segment(head.segment);
    let file = File::open(&path).map_err(|e| Error::io("open", &path, e))?;
    let length = file.metadata().map_err(|e| Error::io("read", &path, e))?.len();
    follower.enter(head);
    let mut tracker = TransactionTracker::default();
    let mut events = EventReader::new(file, path, head.segment, head.end());
    loop {
        let at = events.position();
        let stop = match events.next(length, CHUNK)? {
            Read::Event(event) => match take(&mut tracker, follower, &event) {
                Ok(()) => continue,
                Err(damage) => Stop::Bad(damage),
            },
            Read::End if tracker.is_between() => Stop::Clean,
            Read::End => Stop::Unfinished,
            Read::Cut { size, has } => Stop::Cut(Damage::Cut { size, has }),
            Read::Bad(what) => Stop::Bad(what),
        };
        return Ok(Scan { length, at, stop });
    }
}

fn take(tracker: &mut TransactionTracker, follower: &mut Follower, event: &Event) -> Result<(), Damage> {
    let part = tracker.observe(event)?;
    if let Part::Begins(begin) = &part {
        let gtid = begin.gtid.as_ref().ok_or(Damage::Anonymous)?;
        if follower.received.contains(gtid) {
            return Err(Damage::Twice(gtid.clone()));
        }
    }
    follower.take(part, event.size(), source_end(follower.source, event));
    Ok(())
}

/// Where an event ends in the source's file, when the one before it ended at `before`.
pub(crate) fn source_end(before: u64, event: &Event) -> u64 {
    // An event inside a transaction that tells no position is where it stands.
    if event.log_pos() == 0 { before + u64::from(event.size()) } else { widen(before, event.log_pos()) }
}
