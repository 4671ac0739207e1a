//! The one writer of the log.
//!
//! ```text
//! source_file()  append() append() …  sync()          append() …  connection lost: discard_unfinished()
//!                 └─ buffer ─▶ file    └─ fdatasync ─▶ mark ─▶ readers see it
//! ```
//! *Only what is durable counts* is kept by [`LogWriter::sync`] and the reader: it flushes what came, then moves the
//! durable end to the end of the last whole transaction, and readers never go beyond it. One `sync` for all that
//! arrived meanwhile is what makes it cheap; [`LogWriter::prepare_sync`] lets appending go on beside it.
//!
//! A segment is made with its first event, not when a file is named: a reconnect that brings nothing new
//! leaves nothing behind.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use binlog::{Event, EventKind, Gtid, GtidSet, Part, TransactionTracker};

use crate::active::Active;
use crate::compare::Compare;
use crate::error::Error;
use crate::follower::Follower;
use crate::fresh::Keeper;
use crate::log::RelayLog;
use crate::mark::DurableMark;
use crate::position::{LogPosition, SourcePosition};
use crate::reader::LogEvent;
use crate::stream::{Known, OnKnown, SourceFile, Stream};
use crate::sync::Flusher;

/// Writes the log. There is one per log. All methods block on the disk; none may be called from an async task.
///
/// Dropping it loses what was not synced, as a crash would; [`Self::close`] is the orderly end.
#[derive(Debug)]
pub struct LogWriter {
    pub(crate) log: RelayLog,
    pub(crate) flusher: Arc<Flusher>,
    pub(crate) active: Option<Active>,
    pub(crate) follower: Follower,
    pub(crate) stream: Option<Stream>,
    pub(crate) fresh: Keeper,
    on_known: OnKnown,
    /// Bytes of the active segment that are in the log's total.
    pub(crate) counted: u64,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is not for the log, or the log has it.
    Passed,
    /// It is stored; its transaction goes on.
    Inside,
    /// It is stored, and a transaction, or an event between transactions, is whole: [`LogWriter::sync`] makes
    /// it durable.
    Whole,
}

impl LogWriter {
    pub(crate) fn new(log: RelayLog, mark: DurableMark, active: Option<Active>, follower: Follower) -> Self {
        let counted = active.as_ref().map_or(0, Active::end);
        let on_known = OnKnown::default();
        let fresh = Keeper::new(log.durable_end().position);
        let flusher = Arc::new(Flusher::new(mark));
        Self { log, flusher, active, follower, stream: None, fresh, on_known, counted }
    }

    /// Says what lies before the beginning of an empty log; it counts as purged. Durable when this returns.
    pub fn set_start(&mut self, start: &GtidSet) -> Result<(), Error> {
        if self.active.is_some() || self.log.shared.catalogue().newest().is_some() {
            return Err(Error::NotEmpty);
        }
        let mut identity = self.log.shared.identity();
        let mut changed = identity.clone();
        changed.start = Some(start.clone());
        changed.store(&self.log.shared.folder)?;
        *identity = changed;
        drop(identity);
        self.follower = Follower::new(start.clone());
        let gtids = Arc::new(start.clone());
        self.log.shared.durable.send_modify(|end| end.gtids = gtids);
        Ok(())
    }

    /// What to do with transactions that the log already has. At first, and after every
    /// [`Self::discard_unfinished`], they are refused.
    pub fn on_known(&mut self, on_known: OnKnown) {
        self.on_known = on_known;
    }

    /// Names the file that the events to come are from: at every rotate, and every time a source begins to send.
    pub fn source_file(&mut self, from: &SourceFile) -> Result<(), Error> {
        if self.follower.is_unfinished() || self.stream.as_ref().is_some_and(|s| !s.tracker.is_between()) {
            return Err(Error::Unfinished);
        }
        let mut stream = Stream::new(from);
        if self.goes_on_in_segment(&stream) {
            // The nearest position to this one is the right one, beyond 4 GiB too.
            stream.position = stream.position.max(self.follower.source);
        }
        self.stream = Some(stream);
        Ok(())
    }

    /// Takes the next event from the source, with its checksum verified.
    ///
    /// After [`Error::NoSpace`] the event was not taken and nothing is lost: append it again when there is
    /// room, or [`Self::discard_unfinished`] and have the source send again.
    pub fn append(&mut self, event: &Event) -> Result<Appended, Error> {
        self.flusher.check()?;
        let stream = self.stream.as_mut().ok_or(Error::NoSourceFile)?;
        if stream.is_passing(event) {
            stream.note_heartbeat(event);
            return Ok(Appended::Passed);
        }
        let (part, tracker) = stream.look(event)?;
        if let Some(known) = &mut stream.known {
            if let Known::Compare(compare) = known {
                compare.next(event)?;
            }
            if part == Part::Ends {
                stream.known = None;
            }
            return Ok(stream.passed(event, tracker));
        }
        match &part {
            Part::Between if self.has_seen(event)? => Ok(self.pass(event, tracker)),
            Part::Between if event.kind() == EventKind::PreviousGtids => self.begin_file(event, tracker),
            Part::Between => {
                self.continue_or_roll(event)?;
                self.store(event, part, tracker)
            }
            Part::Begins(begin) => {
                let gtid = begin.gtid.clone().ok_or_else(|| self.anonymous(event))?;
                if self.follower.received.contains(&gtid) {
                    return self.pass_known(gtid, event, tracker);
                }
                self.continue_or_roll(event)?;
                self.store(event, part, tracker)
            }
            Part::Inside | Part::Ends => self.store(event, part, tracker),
        }
    }

    /// Drops the events of a transaction that the source did not finish: the connection was lost. The source
    /// sends it again after the next [`Self::source_file`].
    pub fn discard_unfinished(&mut self) -> Result<(), Error> {
        self.stream = None;
        self.on_known = OnKnown::default();
        self.follower.back_to_whole();
        let Some(active) = &mut self.active else { return Ok(()) };
        let end = self.follower.whole.end;
        self.fresh.cut(LogPosition { segment: active.head().segment, offset: end });
        let cut = active.cut(end);
        self.count();
        self.flusher.checked(cut)
    }

    /// Everything that is whole, durable or not yet, with what is purged.
    pub fn received(&self) -> &GtidSet {
        &self.follower.received
    }

    /// Where the last event that was taken, stored or passed over, ends in the source's file.
    pub fn source_position(&self) -> Option<SourcePosition> {
        let stream = self.stream.as_ref()?;
        Some(SourcePosition {
            server_uuid: stream.server_uuid,
            file: stream.file.clone(),
            position: stream.position,
        })
    }

    /// Is the log as large as it may be? Then nothing more should be pulled until something is purged.
    pub fn is_full(&self) -> bool {
        let buffered = self.active.as_ref().map_or(0, |active| active.end().saturating_sub(self.counted));
        self.log.size_on_disk() + buffered >= self.log.shared.max_size.load(Ordering::Relaxed)
    }

    /// Ends in good order: what is whole is durable, what is not is dropped, the next open has nothing to mend.
    pub fn close(mut self) -> Result<(), Error> {
        self.discard_unfinished()?;
        self.sync()?;
        self.flusher.mark().sync()?;
        self.log.shared.remember_downstreams();
        self.log.shared.index.flush();
        Ok(())
    }

    /// Brings the log's total of bytes up to date.
    pub(crate) fn count(&mut self) {
        let end = self.active.as_ref().map_or(0, Active::end);
        let bytes = &self.log.shared.bytes;
        bytes.fetch_add(end, Ordering::Relaxed);
        bytes.fetch_sub(std::mem::replace(&mut self.counted, end), Ordering::Relaxed);
    }

    fn store(&mut self, event: &Event, part: Part, tracker: TransactionTracker) -> Result<Appended, Error> {
        let (Some(active), Some(stream)) = (&mut self.active, &mut self.stream) else {
            return Err(Error::NoSourceFile);
        };
        let at = LogPosition { segment: active.head().segment, offset: self.follower.offset };
        active.push(event.bytes())?;
        let end = stream.end_of(event);
        stream.position = end;
        stream.tracker = tracker;
        self.follower.take(part, event.size(), end);
        let is_whole = !self.follower.is_unfinished();
        let kept = || LogEvent { event: event.clone(), at, source_end: end, is_whole };
        self.fresh.event(event.bytes().len(), kept);
        Ok(if is_whole { Appended::Whole } else { Appended::Inside })
    }

    /// A transaction begins that the log has.
    fn pass_known(
        &mut self,
        gtid: Gtid,
        event: &Event,
        tracker: TransactionTracker,
    ) -> Result<Appended, Error> {
        let known = match self.on_known {
            OnKnown::Refuse => return Err(Error::Known(gtid)),
            OnKnown::Skip => Known::Skip,
            OnKnown::Compare => {
                // It may be in the buffer still.
                self.sync()?;
                let source = self.source_position().ok_or(Error::NoSourceFile)?;
                match Compare::begin(&self.log, &gtid, &source, event)? {
                    Some(compare) => Known::Compare(Box::new(compare)),
                    None => Known::Skip,
                }
            }
        };
        if let Some(stream) = &mut self.stream {
            stream.known = Some(known);
        }
        Ok(self.pass(event, tracker))
    }

    pub(crate) fn pass(&mut self, event: &Event, tracker: TransactionTracker) -> Appended {
        self.stream.as_mut().map_or(Appended::Passed, |stream| stream.passed(event, tracker))
    }

    fn anonymous(&self, event: &Event) -> Error {
        self.stream.as_ref().map_or(Error::NoSourceFile, |stream| stream.anonymous(event))
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
