//! The two ends of a finished segment, without reading what is between them.
//!
//! The first transaction stands behind the head. The last one is searched from the file's end backwards: a GTID event
//! is known by its type, its size and its CRC32, and by a chain of events that leads from it to exactly the file's
//! end, which bytes that only look like one (a binary log inside a BLOB) don't have.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use binlog::event::{CHECKSUM_LENGTH, GtidEvent, HEADER_LENGTH};
use binlog::{Event, EventKind};
use bytes::Bytes;

use crate::error::Error;
use crate::events::EventReader;
use crate::follower::Extent;
use crate::head::SegmentHead;
use crate::position::widen;
use crate::scan::CHUNK;

/// Read at first when searching from the end: many small transactions fit.
const WINDOW: u64 = 64 << 10;
/// Beyond this the segment is read from its beginning.
const LARGEST_WINDOW: u64 = 64 << 20;
/// More than any GTID event has.
const LARGEST_GTID_EVENT: usize = 512;
/// A GTID event is read with its neighbours.
const SMALL_CHUNK: usize = 4096;

/// When the first and the last transaction of a segment that ends at `end` were committed, and where its last event
/// ends in the source's file.
pub(crate) fn commit_times(file: File, path: &Path, head: &SegmentHead, end: u64) -> Result<Extent, Error> {
    let last = search(&file, path, head.end(), end)?;
    let mut events = EventReader::new(file, path.to_path_buf(), head.segment, head.end());
    let mut extent = Extent { source_end: head.position, ..Extent::default() };
    // What a source leaves out of its file is rarely more than 2 GiB in one segment.
    let near = head.position + end.saturating_sub(head.end());
    let mut at = head.end();
    while let Some(event) = events.expect(end, if last.is_some() { SMALL_CHUNK } else { CHUNK })? {
        if event.kind().is_gtid() {
            let begin = GtidEvent::parse(&event).map_err(|e| Error::corrupt(head.segment, at, e))?;
            extent.last_commit = begin.immediate_commit_timestamp;
            if extent.first_commit == 0 {
                extent.first_commit = extent.last_commit;
            }
            if let Some(last) = &last {
                extent.last_commit = last.commit;
                extent.source_end = widen(near, last.log_pos);
                return Ok(extent);
            }
        }
        if event.log_pos() != 0 {
            extent.source_end = widen(near, event.log_pos());
        }
        at = events.position();
    }
    Ok(extent)
}

/// The last transaction.
struct Last {
    commit: u64,
    /// Of the last event that has one.
    log_pos: u32,
}

/// Searches it; `None` when it is not found near the end.
fn search(file: &File, path: &Path, begin: u64, end: u64) -> Result<Option<Last>, Error> {
    let mut window = WINDOW;
    loop {
        let from = end.saturating_sub(window).max(begin);
        let length = usize::try_from(end.saturating_sub(from)).unwrap_or(0);
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, from).map_err(|e| Error::io("read", path, e))?;
        let bytes = Bytes::from(bytes);
        let found = (0..bytes.len()).rev().find_map(|at| last_at(&bytes, at));
        if found.is_some() || from == begin || window >= LARGEST_WINDOW {
            return Ok(found);
        }
        window *= 8;
    }
}

/// The transaction that begins at `at`, if one does and what follows ends where the bytes end.
fn last_at(bytes: &Bytes, at: usize) -> Option<Last> {
    let kind = EventKind::from_code(*bytes.get(at + 4)?);
    let size = size_at(bytes, at)?;
    if !kind.is_gtid() || size > LARGEST_GTID_EVENT {
        return None;
    }
    let event = Event::new(bytes.slice(at..at + size)).ok()?;
    let commit = GtidEvent::parse(&event).ok()?.immediate_commit_timestamp;
    let (mut next, mut log_pos) = (at + size, event.log_pos());
    while next < bytes.len() {
        let size = size_at(bytes, next)?;
        let said = u32::from_le_bytes(bytes.get(next + 13..next + 17)?.try_into().ok()?);
        log_pos = if said == 0 { log_pos } else { said };
        next += size;
    }
    Some(Last { commit, log_pos })
}

/// What the event there says it has, when that much is there.
fn size_at(bytes: &Bytes, at: usize) -> Option<usize> {
    let size = u32::from_le_bytes(bytes.get(at + 9..at + 13)?.try_into().ok()?);
    let size = usize::try_from(size).ok()?;
    (size >= HEADER_LENGTH + CHECKSUM_LENGTH && size <= bytes.len() - at).then_some(size)
}
