//! The segments that are there, in memory: few, small, and asked for by every reader.

use std::collections::VecDeque;
use std::sync::Arc;

use binlog::GtidSet;
use uuid::Uuid;

use crate::follower::Extent;
use crate::head::SegmentHead;

/// One segment.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) head: Arc<SegmentHead>,
    /// How far it is on disk; final once another segment follows.
    pub(crate) extent: Extent,
}

/// All segments, numbered without gap.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    segments: VecDeque<Segment>,
}

impl Catalogue {
    /// Puts a segment behind the others.
    pub(crate) fn push(&mut self, segment: Segment) {
        self.segments.push_back(segment);
    }

    /// Takes the oldest segment out.
    pub(crate) fn pop_oldest(&mut self) {
        self.segments.pop_front();
    }

    /// Puts the oldest segment back: it could not be removed.
    pub(crate) fn put_back(&mut self, oldest: Segment) {
        self.segments.push_front(oldest);
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.iter()
    }

    pub(crate) fn oldest(&self) -> Option<&Segment> {
        self.segments.front()
    }

    pub(crate) fn newest(&self) -> Option<&Segment> {
        self.segments.back()
    }

    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Segment> {
        let first = self.oldest()?.head.segment;
        self.segments.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    /// This segment and all behind it; all, when it is older than the oldest.
    pub(crate) fn from(&self, number: u64) -> impl Iterator<Item = &Segment> {
        let first = self.oldest().map_or(0, |oldest| oldest.head.segment);
        let skip = usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX);
        self.segments.range(skip.min(self.segments.len())..)
    }

    /// The newest segment has grown on disk.
    pub(crate) fn grow_newest(&mut self, extent: Extent) {
        if let Some(newest) = self.segments.back_mut() {
            newest.extent = extent;
        }
    }

    /// The segment that holds the first transaction that is not in `after`: the last one with nothing missing
    /// before it. The oldest, when something is missing before that.
    pub(crate) fn first_needed(&self, after: &GtidSet) -> Option<&Segment> {
        // What lies before a segment lies before the next: the answers are a run of "yes", then "no".
        let covered = self.segments.partition_point(|segment| after.contains_all(&segment.head.previous));
        self.segments.get(covered.saturating_sub(1))
    }

    /// Segments from this file of this server, oldest first.
    pub(crate) fn of_file(&self, server_uuid: Uuid, file: &str) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments
            .iter()
            .filter(move |segment| segment.head.server_uuid == server_uuid && *segment.head.file == *file)
    }
}
