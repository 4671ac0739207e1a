//! Looking at a log without opening it: beside the relay that writes it, or in a folder that is to stay as it is.
//!
//! Nothing is locked, written or cut off. What is seen is what was durable when the view was made, by the mark that
//! the writer keeps ([`crate::mark`]); a segment that is purged meanwhile is missed with its GTIDs, never passed over.
//! Of finished segments only the head and the last transaction are read, the newest is read whole: making a view
//! takes as long as opening the log.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use binlog::{GtidSet, TransactionTracker};
use serde::Deserialize;

use crate::downstream::{DownstreamInfo, Downstreams};
use crate::error::{Error, FileDamage};
use crate::events::{EventReader, Read};
use crate::files::{Folder, read_small};
use crate::follower::{Extent, Follower};
use crate::head::SegmentHead;
use crate::index_open;
use crate::log::SegmentInfo;
use crate::mark::DurableMark;
use crate::position::LogPosition;
use crate::reader::{Item, LogEvent, SegmentBegin};
use crate::scan::{CHUNK, source_end};
use crate::view_ends::commit_times;

/// The mark is written while it is read, now and then: it is read again, this often at most.
const MARK_ATTEMPTS: usize = 5;

/// Whose log a folder holds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LogIdentity {
    /// The sync's name.
    pub sync: String,
    /// The region's name.
    pub region: String,
    /// The relay's own server uuid.
    pub server_uuid: String,
    /// The set that a log without segments starts after.
    start: Option<String>,
}

impl LogIdentity {
    /// Reads whose log is in `dir`; `None` when there is none.
    pub fn read(dir: &Path) -> Result<Option<Self>, Error> {
        let path = Folder::existing(dir).identity();
        let Some(bytes) = read_small(&path)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::file(&path, e))
    }
}

/// A log, seen from outside.
#[derive(Debug)]
pub struct LogView {
    folder: Folder,
    heads: Vec<Arc<SegmentHead>>,
    segments: Vec<SegmentInfo>,
    durable: LogPosition,
    purged: GtidSet,
    gtids: GtidSet,
}

impl LogView {
    /// Looks at the log in `dir`, as far as it is durable now.
    pub fn new(dir: &Path) -> Result<Self, Error> {
        let folder = Folder::existing(dir);
        let missing = || Error::file(&folder.identity(), FileDamage::Missing);
        let identity = LogIdentity::read(dir)?.ok_or_else(missing)?;
        // Before the segments are listed: it must not speak of one that is made after that.
        let mark = read_mark(&folder)?;
        let heads = read_heads(&folder, mark)?;
        let start = identity.start.as_deref().unwrap_or_default().parse();
        let start: GtidSet = start.map_err(|e| Error::file(&folder.identity(), FileDamage::GtidSet(e)))?;
        let Some(newest) = heads.last() else {
            let (purged, gtids) = (start.clone(), start);
            let durable = LogPosition::default();
            return Ok(Self { folder, heads, segments: Vec::new(), durable, purged, gtids });
        };
        let (extent, gtids) = read_newest(&folder, newest, mark)?;
        let durable = LogPosition { segment: newest.segment, offset: extent.end };
        let purged = heads.first().map_or(start, |oldest| (*oldest.previous).clone());
        let mut segments = Vec::with_capacity(heads.len());
        for (head, next) in heads.iter().zip(heads.iter().skip(1)) {
            let gtids = next.previous.minus(&head.previous);
            let extent = read_finished(&folder, head, &gtids)?;
            segments.push(info(head, &extent, gtids));
        }
        segments.push(info(newest, &extent, gtids.minus(&newest.previous)));
        Ok(Self { folder, heads, segments, durable, purged, gtids })
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> &[SegmentInfo] {
        &self.segments
    }

    /// Where the durable part ends.
    pub fn durable(&self) -> LogPosition {
        self.durable
    }

    /// All transactions on disk, and those that are purged or lie before the log's start.
    pub fn gtids_durable(&self) -> &GtidSet {
        &self.gtids
    }

    /// The transactions that are no longer in the log, or never were.
    pub fn gtids_purged(&self) -> &GtidSet {
        &self.purged
    }

    /// When a segment was last written: what its age counts from when it is to be purged.
    pub fn written(&self, segment: u64) -> Result<SystemTime, Error> {
        let path = self.folder.segment(segment);
        let written = path.metadata().and_then(|meta| meta.modified());
        written.map_err(|e| Error::io("read the age of", &path, e))
    }

    /// What downstreams have acknowledged, as the index tells. It is read from a copy in the empty folder `scratch`:
    /// opening an index changes it. An index that is lost, or that a relay is just writing, may tell nothing.
    pub fn downstreams(&self, scratch: &Path) -> Result<Vec<DownstreamInfo>, Error> {
        let copy = Folder::existing(scratch);
        copy_folder(&self.folder.index(), &copy.index())?;
        let index = index_open::open(&copy)?;
        Ok(Downstreams::remembered(index.downstreams(), self.durable.segment).info())
    }

    /// Reads the segments that are wanted, in order, up to the durable end.
    pub fn read(&self, mut wanted: impl FnMut(&SegmentInfo) -> bool) -> ViewReader {
        let both = self.heads.iter().cloned().zip(self.segments.iter().cloned());
        let segments = both.filter(|(_, info)| wanted(info)).collect();
        ViewReader {
            folder: self.folder.clone(),
            segments,
            open: None,
            tracker: TransactionTracker::default(),
        }
    }
}

/// Reads what a [`LogView`] shows. Blocks on the disk.
#[derive(Debug)]
pub struct ViewReader {
    folder: Folder,
    segments: VecDeque<(Arc<SegmentHead>, SegmentInfo)>,
    open: Option<OpenSegment>,
    tracker: TransactionTracker,
}

#[derive(Debug)]
struct OpenSegment {
    events: EventReader,
    end: u64,
    source: u64,
}

impl ViewReader {
    /// The next thing; `None` at the end. Every event's CRC32 is verified.
    pub fn next_item(&mut self) -> Result<Option<Item>, Error> {
        if let Some(open) = &mut self.open {
            let at = LogPosition { segment: open.events.segment(), offset: open.events.position() };
            if let Some(event) = open.events.expect(open.end, CHUNK)? {
                let part = self.tracker.observe(&event);
                part.map_err(|e| Error::corrupt(at.segment, at.offset, e))?;
                open.source = source_end(open.source, &event);
                let (source_end, is_whole) = (open.source, self.tracker.is_between());
                return Ok(Some(Item::Event(LogEvent { event, at, source_end, is_whole })));
            }
        }
        let Some((head, info)) = self.segments.pop_front() else {
            self.open = None;
            return Ok(None);
        };
        let path = self.folder.segment(head.segment);
        let file = File::open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::PurgedUnread { missing: info.gtids.clone() },
            _ => Error::io("open", &path, e),
        })?;
        self.tracker.reset();
        let events = EventReader::new(file, path, head.segment, head.end());
        self.open = Some(OpenSegment { events, end: info.bytes, source: head.position });
        let position = head.position;
        Ok(Some(Item::Begins(SegmentBegin { head, position, continues: false })))
    }
}

fn read_mark(folder: &Folder) -> Result<Option<LogPosition>, Error> {
    for _ in 0..MARK_ATTEMPTS {
        if let Some(mark) = DurableMark::read(folder)? {
            return Ok(Some(mark));
        }
    }
    Ok(None)
}

/// The heads of all segments up to the mark. One that is purged while they are read is not there.
fn read_heads(folder: &Folder, mark: Option<LogPosition>) -> Result<Vec<Arc<SegmentHead>>, Error> {
    let listing = folder.list()?;
    let newest = listing.segments.last().copied().unwrap_or(0);
    let last = mark.map_or(newest, |mark| mark.segment);
    let mut heads: Vec<Arc<SegmentHead>> = Vec::new();
    let first = listing.segments.first().copied().unwrap_or(last.max(1));
    for number in first..=last {
        match SegmentHead::read(folder, number) {
            Ok(head) => heads.push(Arc::new(head)),
            Err(_) if !folder.segment(number).exists() => {
                let is_purged = heads.is_empty() && listing.segments.contains(&number) && number < last;
                if !is_purged {
                    return Err(Error::MissingSegment { path: folder.segment(number) });
                }
            }
            Err(e) => return Err(e),
        }
    }
    Ok(heads)
}

/// Reads the newest segment up to the mark; without one, and where the file is shorter, as far as it is whole.
fn read_newest(
    folder: &Folder,
    head: &Arc<SegmentHead>,
    mark: Option<LogPosition>,
) -> Result<(Extent, GtidSet), Error> {
    let path = folder.segment(head.segment);
    let file = File::open(&path).map_err(|e| Error::io("open", &path, e))?;
    let length = file.metadata().map_err(|e| Error::io("read", &path, e))?.len();
    let durable = mark.map(|mark| mark.offset).filter(|durable| *durable <= length);
    let limit = durable.unwrap_or(length);
    let mut follower = Follower::new((*head.previous).clone());
    follower.enter(head);
    let (mut events, mut tracker) =
        (EventReader::new(file, path, head.segment, head.end()), TransactionTracker::default());
    loop {
        let at = events.position();
        let event = if durable.is_some() {
            events.expect(limit, CHUNK)?
        } else if let Read::Event(event) = events.next(limit, CHUNK)? {
            Some(event)
        } else {
            None
        };
        let Some(event) = event else { return Ok((follower.whole, follower.received)) };
        let part = tracker.observe(&event).map_err(|e| Error::corrupt(head.segment, at, e))?;
        let end = source_end(follower.source, &event);
        follower.take(part, event.size(), end);
    }
}

/// How far a finished segment goes, without reading all of it.
fn read_finished(folder: &Folder, head: &SegmentHead, gtids: &GtidSet) -> Result<Extent, Error> {
    let path = folder.segment(head.segment);
    let fail = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => Error::PurgedUnread { missing: gtids.clone() },
        _ => Error::io("read", &path, e),
    };
    let file = File::open(&path).map_err(fail)?;
    let end = file.metadata().map_err(fail)?.len();
    let ends = commit_times(file, &path, head, end)?;
    Ok(Extent { end, ..ends })
}

fn info(head: &SegmentHead, extent: &Extent, gtids: GtidSet) -> SegmentInfo {
    SegmentInfo {
        segment: head.segment,
        server_uuid: head.server_uuid,
        file: head.file.clone(),
        source_begin: head.position,
        source_end: extent.source_end,
        bytes: extent.end,
        first_commit: extent.first_commit,
        last_commit: extent.last_commit,
        previous: head.previous.clone(),
        gtids,
    }
}

/// Copies a folder's files. One that vanishes meanwhile is left out; a folder that is not there is empty.
fn copy_folder(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(|e| Error::io("make", to, e))?;
    let entries = match fs::read_dir(from) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|e| Error::io("list", from, e))?,
    };
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("list", from, e))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &target)?;
            continue;
        }
        match fs::copy(&path, &target) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io("copy", &path, e)),
            _ => {}
        }
    }
    Ok(())
}
