//! What is asked of the log often, in sled: finished segments, places to begin reading at, acknowledgements.
//!
//! ```text
//! segments     number:u64 BE                  -> SegmentRecord
//! places       segment:u64 BE offset:u64 BE   -> PlaceRecord
//! downstreams  name                           -> AcknowledgedRecord
//! ```
//! Nothing durable depends on it. Every entry speaks of bytes that were flushed before it was made, so an
//! entry can be missing but not wrong. What is missing is read from the segments at open, except for
//! acknowledgements: a downstream without one holds the log until it attaches again. Hence no entry needs a
//! flush of its own; sled's, every 200 ms, is enough.
//!
//! A failure while the log runs (a full disk) is logged once and ends the use of the index until the next
//! open: reading then begins at the beginning of a segment, and purging goes by what is in memory.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use binlog::GtidSet;
use sled::{Batch, Db, IVec, Tree};

use crate::codec::{AcknowledgedRecord, PlaceRecord, SegmentRecord, decode, encode};
use crate::follower::{Extent, Place};
use crate::position::LogPosition;

/// The index, open.
#[derive(Debug)]
pub(crate) struct Index {
    db: Db,
    segments: Tree,
    places: Tree,
    downstreams: Tree,
    failed: AtomicBool,
}

impl Index {
    /// Takes an open database.
    pub(crate) fn new(db: Db) -> sled::Result<Self> {
        let (segments, places) = (db.open_tree("segments")?, db.open_tree("places")?);
        let downstreams = db.open_tree("downstreams")?;
        Ok(Self { db, segments, places, downstreams, failed: AtomicBool::new(false) })
    }

    /// What is remembered of a finished segment.
    pub(crate) fn segment(&self, number: u64) -> Option<Extent> {
        let bytes = self.attempt(|| self.segments.get(number.to_be_bytes()))??;
        let record: SegmentRecord = decode(&bytes)?;
        Some(Extent {
            end: record.end,
            source_end: record.source_end,
            first_commit: record.first_commit,
            last_commit: record.last_commit,
        })
    }

    /// Remembers a finished segment.
    pub(crate) fn put_segment(&self, number: u64, extent: &Extent) {
        let record = SegmentRecord {
            end: extent.end,
            source_end: extent.source_end,
            first_commit: extent.first_commit,
            last_commit: extent.last_commit,
        };
        let Some(bytes) = encode(&record) else { return };
        self.attempt(|| self.segments.insert(number.to_be_bytes(), bytes));
    }

    /// Remembers places of a segment, all of which are on disk.
    pub(crate) fn put_places(&self, segment: u64, places: &[Place]) {
        if places.is_empty() {
            return;
        }
        let mut batch = Batch::default();
        for place in places {
            let record = PlaceRecord { source_position: place.source_position, added: place.added.to_wire() };
            if let Some(bytes) = encode(&record) {
                batch.insert(&place_key(segment, place.offset), bytes);
            }
        }
        self.attempt(|| self.places.apply_batch(batch));
    }

    /// The last place of a segment that fits; `None` when none does.
    pub(crate) fn last_place(&self, segment: u64, fits: impl Fn(&Place) -> bool) -> Option<Place> {
        let range = self.places.range(place_key(segment, 0)..=place_key(segment, u64::MAX));
        let mut newest_first = range.rev().map_while(|entry| self.attempt(|| entry));
        newest_first.find_map(|(key, value)| read_place(&key, &value).filter(&fits))
    }

    /// Forgets what is said of places from `end` on, in any segment: those bytes are not there.
    pub(crate) fn forget_from(&self, end: LogPosition) {
        self.remove_keys(&self.places, self.places.range(place_key(end.segment, end.offset + 1)..));
        self.remove_keys(&self.segments, self.segments.range(end.segment.to_be_bytes()..));
    }

    /// Forgets all segments before this one.
    pub(crate) fn forget_before(&self, segment: u64) {
        self.remove_keys(&self.places, self.places.range(..place_key(segment, 0)));
        self.remove_keys(&self.segments, self.segments.range(..segment.to_be_bytes()));
    }

    /// Key by key, in order, in small batches: how sled's file stays small.
    fn remove_keys(&self, tree: &Tree, entries: sled::Iter) {
        let mut keys = entries.keys().map_while(|key| self.attempt(|| key)).peekable();
        while keys.peek().is_some() {
            let mut batch = Batch::default();
            keys.by_ref().take(256).for_each(|key| batch.remove(key));
            if self.attempt(|| tree.apply_batch(batch)).is_none() {
                return;
            }
        }
    }

    /// What downstreams have acknowledged.
    pub(crate) fn downstreams(&self) -> Vec<(String, AcknowledgedRecord)> {
        let entries = self.downstreams.iter().map_while(|entry| self.attempt(|| entry));
        let read = entries
            .filter_map(|(name, value)| Some((String::from_utf8(name.to_vec()).ok()?, decode(&value)?)));
        read.collect()
    }

    /// Remembers what downstreams have acknowledged.
    pub(crate) fn put_downstreams<'a>(&self, entries: impl Iterator<Item = (&'a str, AcknowledgedRecord)>) {
        let mut batch = Batch::default();
        for (name, record) in entries {
            if let Some(bytes) = encode(&record) {
                batch.insert(name.as_bytes(), bytes);
            }
        }
        self.attempt(|| self.downstreams.apply_batch(batch));
    }

    /// Forgets a downstream.
    pub(crate) fn remove_downstream(&self, name: &str) {
        self.attempt(|| self.downstreams.remove(name.as_bytes()));
    }

    /// Hands everything to the operating system.
    pub(crate) fn flush(&self) {
        self.attempt(|| self.db.flush());
    }

    /// Bytes of the index's folder.
    pub(crate) fn size_on_disk(&self) -> u64 {
        self.attempt(|| self.db.size_on_disk()).unwrap_or(0)
    }

    /// As after a failure.
    #[cfg(test)]
    pub(crate) fn fail_from_now_on(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    fn attempt<T>(&self, action: impl FnOnce() -> sled::Result<T>) -> Option<T> {
        if self.failed.load(Ordering::Relaxed) {
            return None;
        }
        // Some damage makes it panic instead of failing.
        let outcome = catch_unwind(AssertUnwindSafe(action));
        let error: Box<dyn std::error::Error> = match outcome {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(e)) => e.into(),
            Err(_) => "sled panicked".into(),
        };
        self.failed.store(true, Ordering::Relaxed);
        tracing::warn!(error, "relay log's index failed; going on without it until the log is opened again");
        None
    }
}

fn place_key(segment: u64, offset: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&segment.to_be_bytes());
    key[8..].copy_from_slice(&offset.to_be_bytes());
    key
}

fn read_place(key: &IVec, value: &IVec) -> Option<Place> {
    let offset = u64::from_be_bytes(key.get(8..)?.try_into().ok()?);
    let record: PlaceRecord = decode(value)?;
    let added = GtidSet::from_wire(&record.added).ok()?;
    Some(Place { offset, source_position: record.source_position, added })
}
