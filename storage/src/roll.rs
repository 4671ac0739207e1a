//! Where one segment ends and the next begins.
//!
//! A segment holds events of one file of one server, described by one format description. It ends with the
//! transaction that reaches the size limit, and where the source goes on to another file, or goes back in one
//! of that name.

use std::sync::Arc;

use binlog::{Event, EventKind, TransactionTracker};

use crate::active::Active;
use crate::catalogue::Segment;
use crate::error::Error;
use crate::head::{SegmentHead, previous_event};
use crate::position::LogPosition;
use crate::scan::source_end;
use crate::stream::Stream;
use crate::writer::{Appended, LogWriter};

impl LogWriter {
    /// Do the stream's events belong in the segment that is being written, if they are new?
    pub(crate) fn goes_on_in_segment(&self, stream: &Stream) -> bool {
        let active = self.active.as_ref();
        active.is_some_and(|a| a.head().is_same_file(stream.server_uuid, &stream.file, &stream.format))
    }

    /// Has the log this event that stands between transactions? A source that sends a file again sends them
    /// again too.
    pub(crate) fn has_seen(&self, event: &Event) -> Result<bool, Error> {
        let stream = self.stream.as_ref().ok_or(Error::NoSourceFile)?;
        let end = stream.end_of(event);
        if self.goes_on_in_segment(stream) {
            return Ok(end <= self.follower.source || event.kind() == EventKind::PreviousGtids);
        }
        let catalogue = self.log.shared.catalogue();
        let earlier = catalogue.of_file(stream.server_uuid, &stream.file).next_back();
        Ok(earlier.is_some_and(|segment| end <= segment.extent.source_end))
    }

    /// A file's own previous GTIDs begin its segment; they stand in its head.
    pub(crate) fn begin_file(
        &mut self,
        event: &Event,
        tracker: TransactionTracker,
    ) -> Result<Appended, Error> {
        let stream = self.stream.as_ref().ok_or(Error::NoSourceFile)?;
        let position = stream.end_of(event);
        self.roll(position, Some(event))?;
        self.pass(event, tracker);
        Ok(Appended::Whole)
    }

    /// Sees to it that the segment being written is the right one for this new event.
    pub(crate) fn continue_or_roll(&mut self, event: &Event) -> Result<(), Error> {
        let stream = self.stream.as_ref().ok_or(Error::NoSourceFile)?;
        let begin = stream.begin_of(event);
        let limit = self.log.shared.options.segment_size;
        let has_room = self.active.as_ref().is_some_and(|active| active.end() < limit);
        // A new transaction at a place that was passed before: another file of that name (a relay whose own
        // source moved to another server). Segments never mix files.
        let goes_on = self.goes_on_in_segment(stream) && begin >= self.follower.source;
        // The source left out so much that the events alone would not tell where they are: the head does.
        let goes_on = goes_on && stream.end_of(event) == source_end(self.follower.source, event);
        let begins = event.kind().is_gtid();
        if goes_on && (has_room || !begins) { Ok(()) } else { self.roll(begin, None) }
    }

    /// Ends the segment and begins the next, whose first event begins at `position` in the source's file.
    fn roll(&mut self, position: u64, source_previous: Option<&Event>) -> Result<(), Error> {
        self.sync()?;
        let stream = self.stream.as_ref().ok_or(Error::NoSourceFile)?;
        let received = &self.follower.received;
        let previous = previous_event(received, &stream.format, source_previous);
        let head = Arc::new(SegmentHead {
            segment: self.active.as_ref().map_or(0, |active| active.head().segment) + 1,
            server_uuid: stream.server_uuid,
            file: stream.file.clone(),
            position,
            begins_file: source_previous.is_some(),
            format: stream.format.clone(),
            previous_event: previous.map_err(|e| stream.malformed(&stream.format, e))?,
            previous: Arc::new(received.clone()),
        });
        let shared = self.log.shared.clone();
        let file = self.flusher.checked(head.create(&shared.folder))?;
        let place = LogPosition { segment: head.segment, offset: head.end() };
        let mark = self.flusher.mark();
        self.flusher.checked(mark.set(place).and_then(|()| mark.sync()))?;
        drop(mark);
        if let Some(finished) = &self.active {
            shared.index.put_segment(finished.head().segment, &self.follower.whole);
        }
        shared.remember_downstreams();
        let before = self.active.as_ref().map(|active| (&**active.head(), self.follower.source));
        self.fresh.segment(&head, before);
        self.follower.enter(&head);
        shared.catalogue_mut().push(Segment { head: head.clone(), extent: self.follower.whole });
        let path = shared.folder.segment(head.segment);
        let end = head.end();
        self.active = Some(Active::new(head, file, path, end));
        self.counted = 0;
        self.count();
        Ok(())
    }
}
