//! Opening a log: from whatever a crash left to a log that is whole.
//!
//! 1. Lock the folder, know whose log it is, learn how far it had been flushed.
//! 2. Read the heads of all segments; a last one that was being made is removed.
//! 3. Scan the last segment whole, cut off its torn tail, flush it.
//! 4. Open the index, or begin a new one; scan the finished segments it does not know.
//!
//! Every step can be done again: a crash in the middle of an open is just another crash.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};

use binlog::event::GtidEvent;
use binlog::{Gtid, GtidSet};
use tokio::sync::watch;

use crate::active::Active;
use crate::catalogue::{Catalogue, Segment};
use crate::downstream::Downstreams;
use crate::error::{Damage, Error};
use crate::events::EventReader;
use crate::files::{Folder, Listing};
use crate::follower::{Extent, Follower};
use crate::head::SegmentHead;
use crate::identity::Identity;
use crate::index::Index;
use crate::index_open;
use crate::log::{RelayLog, Shared};
use crate::mark::DurableMark;
use crate::options::Options;
use crate::position::{DurableEnd, LogPosition, SourcePosition};
use crate::scan::{CHUNK, scan};
use crate::torn::{Verdict, judge, may_remove};
use crate::writer::LogWriter;

/// See [`RelayLog::open`].
pub(crate) fn open(dir: &Path, options: Options) -> Result<(RelayLog, LogWriter), Error> {
    let folder = Folder::create(dir)?;
    let lock = lock(&folder)?;
    let listing = folder.list()?;
    let identity = Identity::open(&folder, &options, !listing.segments.is_empty())?;
    let (mark, marked) = DurableMark::open(&folder)?;
    let mut heads = read_heads(&folder, &listing, &mark, marked)?;
    let newest = heads.pop();
    let mut follower = Follower::new(identity.start.clone().unwrap_or_default());
    let active = match &newest {
        None => None,
        Some(head) => Some(open_newest(&folder, head.clone(), &mut follower, marked)?),
    };
    let index = index_open::open(&folder)?;
    let mut catalogue = finished_segments(&folder, &index, heads, newest.as_ref())?;
    if let Some(head) = newest {
        let segment = head.segment;
        index.forget_from(LogPosition { segment, offset: follower.whole.end });
        let known = index.last_place(segment, |_| true).map_or(0, |place| place.offset);
        follower.places.retain(|place| place.offset > known);
        index.put_places(segment, &std::mem::take(&mut follower.places));
        if follower.last_gtid.is_none() {
            follower.last_gtid = last_gtid(&folder, &index, &catalogue)?;
        }
        catalogue.push(Segment { head, extent: follower.whole });
    }
    index.forget_before(catalogue.oldest().map_or(u64::MAX, |oldest| oldest.head.segment));
    let durable = durable_end(&catalogue, &follower);
    mark.set(durable.position)?;
    mark.sync()?;
    let newest_segment = durable.position.segment;
    let bytes = catalogue.iter().map(|segment| segment.extent.end).sum();
    let log = RelayLog {
        shared: Arc::new(Shared {
            folder,
            max_size: AtomicU64::new(options.max_size),
            options,
            identity: Mutex::new(identity),
            downstreams: Mutex::new(Downstreams::remembered(index.downstreams(), newest_segment)),
            index,
            catalogue: RwLock::new(catalogue),
            durable: watch::Sender::new(durable),
            bytes: AtomicU64::new(bytes),
            purging: Mutex::new(()),
            _lock: lock,
        }),
    };
    let writer = LogWriter::new(log.clone(), mark, active, follower);
    Ok((log, writer))
}

/// Locks the folder, for as long as the file is open.
pub(crate) fn lock(folder: &Folder) -> Result<File, Error> {
    let path = folder.lock();
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|e| Error::io("open", &path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path: folder.path().into() }),
        Err(TryLockError::Error(e)) => Err(Error::io("lock", &path, e)),
    }
}

/// The heads of all segments, oldest first, with the leftovers of unfinished work removed.
fn read_heads(
    folder: &Folder,
    listing: &Listing,
    mark: &DurableMark,
    marked: Option<LogPosition>,
) -> Result<Vec<Arc<SegmentHead>>, Error> {
    let marked_segment = marked.map_or(0, |mark| mark.segment);
    let (first, last) = match (listing.segments.first(), listing.segments.last()) {
        (Some(first), Some(last)) => (*first, *last),
        _ => (marked_segment.max(1), 0),
    };
    // A purge, or the making of a segment, that was not finished.
    for stray in listing.origins.iter().filter(|number| !(first..=last).contains(*number)) {
        folder.remove(&folder.origin(*stray))?;
    }
    let mut heads = Vec::with_capacity(listing.segments.len());
    for number in first..=last.max(marked_segment) {
        if !listing.segments.contains(&number) {
            return Err(Error::MissingSegment { path: folder.segment(number) });
        }
        match SegmentHead::read(folder, number) {
            Ok(head) => heads.push(Arc::new(head)),
            Err(e) if number == last && is_removable(folder, &e, number, marked, !heads.is_empty()) => {
                tracing::warn!(segment = number, error = %e, "removing a relay log segment that was never finished being made");
                remove_newest(folder, number, mark)?;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(heads)
}

/// Can what is wrong with the newest segment's head be the trace of a crash?
fn is_removable(
    folder: &Folder,
    error: &Error,
    segment: u64,
    mark: Option<LogPosition>,
    has_earlier: bool,
) -> bool {
    // Where it is from is flushed before it is made, but the names in the folder only afterwards.
    let in_head = matches!(error, Error::Corrupt { .. } | Error::MissingSegment { .. } | Error::File { .. });
    let length = folder.segment(segment).metadata().map(|meta| meta.len());
    in_head && length.is_ok_and(|length| may_remove(segment, length, mark, has_earlier))
}

/// Removes the newest segment. The mark goes back first, or it would speak of a segment that is not there.
fn remove_newest(folder: &Folder, segment: u64, mark: &DurableMark) -> Result<(), Error> {
    let earlier = folder.segment(segment - 1);
    let offset = match earlier.metadata() {
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    mark.set(LogPosition { segment: if offset == 0 { 0 } else { segment - 1 }, offset })?;
    mark.sync()?;
    folder.remove(&folder.segment(segment))?;
    folder.remove(&folder.origin(segment))?;
    folder.sync()
}

/// What all segments but the newest hold: as the index remembers it, or read anew.
fn finished_segments(
    folder: &Folder,
    index: &Index,
    heads: Vec<Arc<SegmentHead>>,
    newest: Option<&Arc<SegmentHead>>,
) -> Result<Catalogue, Error> {
    let mut catalogue = Catalogue::default();
    let next = heads.iter().skip(1).chain(newest).map(|head| head.previous.clone()).collect::<Vec<_>>();
    let lacking = heads.iter().filter(|head| index.segment(head.segment).is_none()).count();
    if lacking > 0 {
        tracing::warn!(lacking, segments = heads.len(), "rebuilding the relay log's index from its segments");
    }
    for (head, next) in heads.into_iter().zip(next) {
        let segment = head.segment;
        let path = folder.segment(segment);
        let length = path.metadata().map_err(|e| Error::io("read", &path, e))?.len();
        let extent = match index.segment(segment) {
            Some(extent) if extent.end == length => extent,
            Some(extent) => {
                let what = Damage::Length { has: length, had: extent.end };
                return Err(Error::corrupt(segment, length.min(extent.end), what));
            }
            None => rescan(folder, index, &head, &next)?,
        };
        catalogue.push(Segment { head, extent });
    }
    Ok(catalogue)
}

/// Reads a finished segment that the index does not know.
fn rescan(folder: &Folder, index: &Index, head: &Arc<SegmentHead>, next: &GtidSet) -> Result<Extent, Error> {
    tracing::debug!(segment = head.segment, "reading a segment that the relay log's index lacks");
    let mut follower = Follower::new((*head.previous).clone());
    scan(folder, head, &mut follower)?.must_be_clean(head.segment)?;
    if follower.received != *next {
        return Err(Error::corrupt(head.segment + 1, 0, Damage::Previous));
    }
    index.put_places(head.segment, &follower.places);
    index.put_segment(head.segment, &follower.whole);
    Ok(follower.whole)
}

/// Reads the newest segment and cuts off what was not finished.
fn open_newest(
    folder: &Folder,
    head: Arc<SegmentHead>,
    follower: &mut Follower,
    mark: Option<LogPosition>,
) -> Result<Active, Error> {
    let segment = head.segment;
    follower.received = (*head.previous).clone();
    let found = scan(folder, &head, follower)?;
    let (length, at) = (found.length, found.at);
    let path = folder.segment(segment);
    let file = OpenOptions::new().read(true).write(true).open(&path);
    let file = file.map_err(|e| Error::io("open", &path, e))?;
    match judge(found, segment, mark) {
        Verdict::Refuse(what) => return Err(Error::corrupt(segment, at, what)),
        Verdict::Sound => {}
        Verdict::Trim { lost_durable } => {
            let (end, cut) = (follower.whole.end, length - follower.whole.end);
            if lost_durable {
                tracing::warn!(
                    segment,
                    end,
                    cut,
                    "relay log is shorter than it was; the source is asked for the rest"
                );
            } else {
                tracing::info!(segment, end, cut, "cutting off what was not finished in the relay log");
            }
            file.set_len(end).map_err(|e| Error::io("truncate", &path, e))?;
        }
    }
    follower.back_to_whole();
    // What a killed process wrote and did not flush is whole here, and about to be called durable.
    file.sync_all().map_err(|source| Error::SyncFailed { path: path.clone(), source })?;
    Ok(Active::new(head, file, path, follower.whole.end))
}

/// The last transaction of the finished segments.
fn last_gtid(folder: &Folder, index: &Index, catalogue: &Catalogue) -> Result<Option<Gtid>, Error> {
    for segment in catalogue.iter().rev() {
        let number = segment.head.segment;
        let begin = index.last_place(number, |_| true).map_or(segment.head.end(), |place| place.offset);
        let path = folder.segment(number);
        let file = File::open(&path).map_err(|e| Error::io("open", &path, e))?;
        let mut events = EventReader::new(file, path, number, begin);
        let mut last = None;
        let mut at = events.position();
        while let Some(event) = events.expect(segment.extent.end, CHUNK)? {
            if event.kind().is_gtid() {
                last = GtidEvent::parse(&event).map_err(|e| Error::corrupt(number, at, e))?.gtid;
            }
            at = events.position();
        }
        if last.is_some() {
            return Ok(last);
        }
    }
    Ok(None)
}

fn durable_end(catalogue: &Catalogue, follower: &Follower) -> DurableEnd {
    let newest = catalogue.newest();
    let last_commit =
        catalogue.iter().rev().map(|segment| segment.extent.last_commit).find(|time| *time != 0);
    DurableEnd {
        position: newest.map_or(LogPosition::default(), |newest| LogPosition {
            segment: newest.head.segment,
            offset: newest.extent.end,
        }),
        gtids: Arc::new(follower.received.clone()),
        source: newest.map(|newest| SourcePosition {
            server_uuid: newest.head.server_uuid,
            file: newest.head.file.clone(),
            position: newest.extent.source_end,
        }),
        commit_timestamp: last_commit.unwrap_or(0),
        last_gtid: follower.last_gtid.clone(),
    }
}
