//! Finding where a reader begins.

use std::fs::File;
use std::sync::Arc;

use binlog::event::{CHECKSUM_LENGTH, MAGIC};
use binlog::{GtidSet, TransactionTracker};

use crate::catalogue::{Catalogue, Segment};
use crate::error::{Error, SeekError};
use crate::events::EventReader;
use crate::follower::Place;
use crate::head::SegmentHead;
use crate::log::RelayLog;
use crate::reader::{LogReader, Open};
use crate::scan::{CHUNK, source_end};

impl RelayLog {
    /// A reader of everything that is not in `after`, in the order of the log.
    ///
    /// Refused when some of that is no longer in the log, and when `after` has transactions that
    /// the log has not, of sequences it knows: it may be behind its source, then waiting helps (see
    /// [`Self::beyond`]); else the two have diverged.
    pub fn reader(&self, after: &GtidSet) -> Result<LogReader, SeekError> {
        let beyond = self.beyond(after);
        if beyond.is_empty() { self.reader_even_if_ahead(after) } else { Err(SeekError::Ahead { beyond }) }
    }

    /// Like [`Self::reader`], for one that may have more than the log: a replica of several sources.
    pub fn reader_even_if_ahead(&self, after: &GtidSet) -> Result<LogReader, SeekError> {
        let open = match self.first_segment(after) {
            Ok(open) => open,
            Err(Error::PurgedUnread { missing }) => return Err(SeekError::Purged { missing }),
            Err(e) => return Err(e.into()),
        };
        Ok(LogReader::new(self.clone(), after.clone(), open, TransactionTracker::default()))
    }

    /// The transactions in `set` that the log does not have, though it has others of the same sequence.
    /// Does not block.
    pub fn beyond(&self, set: &GtidSet) -> GtidSet {
        let durable = self.gtids_durable();
        let missing = set.minus(&durable);
        let mut beyond = GtidSet::new();
        for (sequence, runs) in missing.sequences() {
            if durable.sequences().any(|(known, _)| known == sequence) {
                runs.runs().iter().for_each(|run| beyond.insert_run(sequence.clone(), run.0, run.1));
            }
        }
        beyond
    }

    /// A reader that begins at a position in a source's file, as clients ask that know no GTIDs; 4 is the
    /// file's beginning. The place may lie inside a transaction, as it may at a server, but it must be where an
    /// event of the log begins: what the log left out there can't be told from what the client lacks. Names
    /// mean the newest server's files: positions are valid within one server uuid.
    pub fn reader_at(&self, file: &str, position: u64) -> Result<LogReader, SeekError> {
        let unknown = || SeekError::UnknownPosition { file: file.to_owned(), position };
        let (mut open, limit, position) = {
            let catalogue = self.shared.catalogue();
            let (segment, position) = find_position(&catalogue, file, position).ok_or_else(unknown)?;
            let (head, limit) = (segment.head.clone(), segment.extent.end);
            let place = self.shared.index.last_place(head.segment, |place| place.source_position <= position);
            (self.open_at(head, place, false)?, limit, position)
        };
        match advance(&mut open, limit, position)? {
            Some(tracker) => Ok(LogReader::new(self.clone(), GtidSet::new(), Some(open), tracker)),
            None => Err(SeekError::NotAnEvent { file: file.to_owned(), position }),
        }
    }

    /// The segment and place where what is not in `after` begins; `None` while the log is empty.
    pub(crate) fn first_segment(&self, after: &GtidSet) -> Result<Option<Open>, Error> {
        let catalogue = self.shared.catalogue();
        let Some(first) = catalogue.first_needed(after) else {
            drop(catalogue);
            let missing = self.gtids_purged().minus(after);
            return if missing.is_empty() { Ok(None) } else { Err(Error::PurgedUnread { missing }) };
        };
        let head = first.head.clone();
        let missing = head.previous.minus(after);
        if !missing.is_empty() {
            return Err(Error::PurgedUnread { missing });
        }
        let place = self.shared.index.last_place(head.segment, |place| after.contains_all(&place.added));
        // Opened while the catalogue is held: purging takes a segment out of it before it removes the file.
        self.open_at(head, place, false).map(Some)
    }

    /// Opens a segment at a place, or at its first event.
    pub(crate) fn open_at(
        &self,
        head: Arc<SegmentHead>,
        place: Option<Place>,
        continues: bool,
    ) -> Result<Open, Error> {
        let path = self.shared.folder.segment(head.segment);
        let file = File::open(&path).map_err(|e| Error::io("open", &path, e))?;
        let (offset, source) = match place {
            Some(place) => (place.offset, place.source_position),
            None => (head.end(), head.position),
        };
        let events = EventReader::new(file, path, head.segment, offset);
        Ok(Open { head, events, source, untold: Some(continues) })
    }
}

/// The newest segment that holds this position of the newest server's file, and the position, with 4 made
/// that of the file's first event.
fn find_position<'a>(catalogue: &'a Catalogue, file: &str, position: u64) -> Option<(&'a Segment, u64)> {
    let server_uuid = catalogue.newest()?.head.server_uuid;
    catalogue.of_file(server_uuid, file).rev().find_map(|segment| {
        let is_begin = position == MAGIC.len() as u64 && segment.head.begins_file;
        let position = if is_begin { segment.head.position } else { position };
        let holds = (segment.head.position..=segment.extent.source_end).contains(&position);
        holds.then_some((segment, position))
    })
}

/// Goes on to where an event begins at this place of the source's file, and tells what the tracker is there;
/// `None` when no event begins there.
fn advance(open: &mut Open, limit: u64, position: u64) -> Result<Option<TransactionTracker>, Error> {
    let mut tracker = TransactionTracker::default();
    while let Some(event) = open.events.peek(limit, CHUNK)? {
        let end = source_end(open.source, &event);
        let least = end.saturating_sub(event.size().into());
        // An event that the source had without checksum was shorter there.
        let begin = [least, least + CHECKSUM_LENGTH as u64];
        // Behind a gap either can be meant; else it begins where the one before ended.
        let is_here =
            if begin.contains(&open.source) { open.source == position } else { begin.contains(&position) };
        if is_here {
            open.source = position;
            return Ok(Some(tracker));
        }
        if least >= position {
            return Ok(None);
        }
        let at = open.events.position();
        tracker.observe(&event).map_err(|e| Error::corrupt(open.head.segment, at, e))?;
        open.events.expect(limit, CHUNK)?;
        open.source = end;
    }
    Ok((open.source == position).then_some(tracker))
}
