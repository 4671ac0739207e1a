//! What the source is sending at the moment: which file, how far, and whether the log has it already.

use std::sync::Arc;

use binlog::event::{ChecksumAlgorithm, EventError, FLAG_IN_USE, Heartbeat};
use binlog::transaction::SequenceError;
use binlog::{Event, EventKind, FormatDescription, Part, TransactionTracker};
use uuid::Uuid;

use crate::compare::Compare;
use crate::error::Error;
use crate::head::stored_format;
use crate::scan::source_end;
use crate::writer::Appended;

/// The source's file that the events to come are from.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The server's uuid.
    pub server_uuid: Uuid,
    /// The file's name.
    pub file: String,
    /// Where the source said that it begins to send. With GTIDs that is the file's beginning, whatever it then
    /// leaves out.
    pub position: u64,
    /// How its events are to be read.
    pub format: FormatDescription,
}

/// A transaction that the log already has is sent again: what then?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnKnown {
    /// It is an error.
    #[default]
    Refuse,
    /// It is passed over.
    Skip,
    /// It is passed over if it is the same, byte by byte, where the log still has it and it came from the
    /// same file of the same server; else it is an error. For the first transaction after a reconnect.
    Compare,
}

/// The stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) server_uuid: Uuid,
    pub(crate) file: Arc<str>,
    /// The format description, as a segment holds it.
    pub(crate) format: Event,
    /// Bytes by which an event is shorter in the source's file than here.
    overhead: u64,
    /// The end of the last event, in the source's file.
    pub(crate) position: u64,
    pub(crate) tracker: TransactionTracker,
    /// The events of a transaction that the log has.
    pub(crate) known: Option<Known>,
}

/// How a known transaction is passed over.
#[derive(Debug)]
pub(crate) enum Known {
    Skip,
    Compare(Box<Compare>),
}

impl Stream {
    pub(crate) fn new(from: &SourceFile) -> Self {
        let overhead = match from.format.checksum() {
            ChecksumAlgorithm::None => binlog::event::CHECKSUM_LENGTH as u64,
            ChecksumAlgorithm::Crc32 => 0,
        };
        Self {
            server_uuid: from.server_uuid,
            file: from.file.as_str().into(),
            format: stored_format(&from.format),
            overhead,
            position: from.position,
            tracker: TransactionTracker::default(),
            known: None,
        }
    }

    /// Is this event none of the log's business: made by the sender, or standing in every segment's head?
    pub(crate) fn is_passing(&self, event: &Event) -> bool {
        match event.kind() {
            EventKind::Heartbeat | EventKind::HeartbeatV2 | EventKind::FormatDescription => true,
            _ => event.is_artificial() && self.tracker.is_between() && !event.kind().is_gtid(),
        }
    }

    /// A source that leaves out what the log has tells how far it is: beyond 4 GiB only so can it be known.
    pub(crate) fn note_heartbeat(&mut self, event: &Event) {
        if event.kind() == EventKind::HeartbeatV2
            && let Ok(heartbeat) = Heartbeat::parse(event)
            && *heartbeat.file == *self.file
            && self.tracker.is_between()
        {
            self.position = self.position.max(heartbeat.position);
        }
    }

    /// Where the event ends in the source's file.
    pub(crate) fn end_of(&self, event: &Event) -> u64 {
        source_end(self.position, event)
    }

    /// Where it begins there.
    pub(crate) fn begin_of(&self, event: &Event) -> u64 {
        let size = u64::from(event.size()).saturating_sub(self.overhead);
        self.end_of(event).saturating_sub(size)
    }

    /// Goes on behind an event that is not stored.
    pub(crate) fn passed(&mut self, event: &Event, tracker: TransactionTracker) -> Appended {
        self.position = self.end_of(event);
        self.tracker = tracker;
        Appended::Passed
    }

    /// What the event is, and what the tracker is after it: taken over only when the event was stored.
    pub(crate) fn look(&self, event: &Event) -> Result<(Part, TransactionTracker), Error> {
        if event.flags() & FLAG_IN_USE != 0 {
            let what = "it has the flag of a file in use";
            return Err(self.out_of_order(event, EventError::Body { kind: event.kind(), what }));
        }
        let mut tracker = self.tracker;
        match tracker.observe(event) {
            Ok(part) => Ok((part, tracker)),
            Err(source) => Err(self.out_of_order(event, source)),
        }
    }

    pub(crate) fn out_of_order(&self, event: &Event, source: impl Into<SequenceError>) -> Error {
        Error::Sequence { file: self.file.to_string(), position: self.end_of(event), source: source.into() }
    }

    pub(crate) fn malformed(&self, event: &Event, source: EventError) -> Error {
        self.out_of_order(event, source)
    }

    pub(crate) fn anonymous(&self, event: &Event) -> Error {
        Error::Anonymous { file: self.file.to_string(), position: self.end_of(event) }
    }
}
