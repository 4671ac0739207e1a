//! Reading the log: whole durable transactions in order, from any GTID set or source position on.
//!
//! A reader never sees a byte beyond the durable end, verifies every event's CRC32 again, and leaves out
//! transactions that its begin set holds. It has the segment it reads open, so purging does not take that away
//! from under it (it only frees the space when the reader moves on); a reader too slow for what is purged
//! behind that gets [`Error::PurgedUnread`]. Only downstreams that are registered hold the log.
//!
//! ```no_run
//! # async fn follow(log: storage::RelayLog, has: binlog::GtidSet) -> Result<(), Box<dyn std::error::Error>> {
//! let mut durable = log.durable();
//! let mut reader = log.reader(&has)?;
//! loop {
//!     let batch = reader.next_batch(1 << 20)?; // blocks on the disk: spawn_blocking or block_in_place
//!     if batch.is_end() {
//!         let end = reader.end();
//!         durable.wait_for(|durable| durable.position > end).await?;
//!     }
//!     // … send the items
//! }
//! # }
//! ```

use std::sync::Arc;

use binlog::{Event, GtidSet, Part, TransactionTracker};

use crate::error::Error;
use crate::events::EventReader;
use crate::follower::Place;
use crate::head::SegmentHead;
use crate::log::{Limit, RelayLog};
use crate::position::{LogPosition, SourcePosition};
use crate::scan::source_end;

/// Reads the log. Its methods block on the disk.
#[derive(Debug)]
pub struct LogReader {
    log: RelayLog,
    /// What it began with and what it has given since.
    has: GtidSet,
    open: Option<Open>,
    tracker: TransactionTracker,
    /// Inside a transaction that is left out.
    skipping: bool,
}

/// The segment being read.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) head: Arc<SegmentHead>,
    pub(crate) events: EventReader,
    /// The place in the source's file.
    pub(crate) source: u64,
    /// Its begin is still to be told, with this value of [`SegmentBegin::continues`].
    pub(crate) untold: Option<bool>,
}

/// A piece of the log.
#[derive(Debug, Default)]
pub struct Batch {
    /// In order.
    pub items: Vec<Item>,
    /// Bytes of the events.
    pub bytes: usize,
    /// Bytes that were read and left out, because the reader has them.
    pub left_out: usize,
}

impl Batch {
    /// Has the reader caught up with the durable end? There may be a batch without items that is not the end: when
    /// much was left out.
    pub fn is_end(&self) -> bool {
        self.items.is_empty() && self.left_out == 0
    }
}

/// Most bytes that are left out in one batch: reading them should not keep a caller for more than a moment.
const LEFT_OUT: usize = 32 << 20;

/// One thing read.
#[derive(Clone, Debug)]
pub enum Item {
    /// What follows is from another segment (or the first one of this reader).
    Begins(SegmentBegin),
    /// An event.
    Event(LogEvent),
}

/// A segment begins.
#[derive(Clone, Debug)]
pub struct SegmentBegin {
    /// What the segment says of itself: server, file, format description, previous GTIDs.
    pub head: Arc<SegmentHead>,
    /// Where the reading begins in the source's file: no event that follows ends at or before it.
    pub position: u64,
    /// It goes on in the source file that was read just before: positions and the numbers in GTID events go
    /// on too, and nothing needs to be told to a client.
    pub continues: bool,
}

/// An event, and where it is from.
#[derive(Clone, Debug)]
pub struct LogEvent {
    /// The event as the source sent it, verified.
    pub event: Event,
    /// Where it begins in the log.
    pub at: LogPosition,
    /// Where it ends in the source's file: what a client acknowledges.
    pub source_end: u64,
    /// A transaction is whole with it (or it stands between transactions).
    pub is_whole: bool,
}

impl LogReader {
    /// A reader that begins at an open place, or, without one, at the beginning of a log that is empty yet.
    pub(crate) fn new(log: RelayLog, has: GtidSet, open: Option<Open>, tracker: TransactionTracker) -> Self {
        Self { log, has, open, tracker, skipping: false }
    }

    /// Leaves out these transactions too.
    #[must_use]
    pub fn leaving_out(mut self, has: &GtidSet) -> Self {
        self.has.union_with(has);
        self
    }

    /// Reads on, up to about `max_bytes` of events: at least one if there is one, and one that is larger
    /// than that alone. A transaction may need several batches.
    pub fn next_batch(&mut self, max_bytes: usize) -> Result<Batch, Error> {
        let mut batch = Batch::default();
        if self.open.is_none() {
            self.open = self.log.first_segment(&self.has)?;
        }
        while let Some(open) = &mut self.open {
            if let Some(continues) = open.untold.take() {
                let (head, position) = (open.head.clone(), open.source);
                batch.items.push(Item::Begins(SegmentBegin { head, position, continues }));
            }
            let limit = match self.log.shared.limit(open.head.segment) {
                Some(limit) => limit,
                // It was purged meanwhile, so it is finished: it ends where the file does.
                None => Limit { end: open.events.length()?, is_newest: false },
            };
            if !self.read(&mut batch, limit.end, max_bytes)? || limit.is_newest {
                break;
            }
            self.open = Some(self.next_segment()?);
        }
        Ok(batch)
    }

    /// Goes on from a place between two transactions further on: what lies before it was read otherwise. `source` is
    /// the same place in the source's file.
    pub fn advance_to(&mut self, to: LogPosition, source: u64) -> Result<(), Error> {
        if self.end() >= to {
            return Ok(());
        }
        let catalogue = self.log.shared.catalogue();
        let head = match catalogue.get(to.segment) {
            Some(segment) => segment.head.clone(),
            None => {
                let purged = catalogue.oldest().map(|oldest| oldest.head.previous.minus(&self.has));
                return Err(Error::PurgedUnread { missing: purged.unwrap_or_default() });
            }
        };
        let place = Place { offset: to.offset, source_position: source, added: GtidSet::new() };
        let open = self.log.open_at(head, Some(place), true)?;
        self.open = Some(Open { untold: None, ..open });
        self.tracker = TransactionTracker::default();
        self.skipping = false;
        Ok(())
    }

    /// The place up to which the log was read.
    pub fn end(&self) -> LogPosition {
        let place = |open: &Open| LogPosition { segment: open.head.segment, offset: open.events.position() };
        self.open.as_ref().map(place).unwrap_or_default()
    }

    /// The same place in the source's file; `None` while the log is empty.
    pub fn source_position(&self) -> Option<SourcePosition> {
        let open = self.open.as_ref()?;
        Some(SourcePosition {
            server_uuid: open.head.server_uuid,
            file: open.head.file.clone(),
            position: open.source,
        })
    }

    /// The segment being read; `None` while the log is empty.
    pub fn head(&self) -> Option<&Arc<SegmentHead>> {
        self.open.as_ref().map(|open| &open.head)
    }

    /// The transactions it began with, and those it has given whole since.
    pub fn has(&self) -> &GtidSet {
        &self.has
    }

    /// Reads the open segment; says whether it was read to `limit`, and not only until the batch was full.
    fn read(&mut self, batch: &mut Batch, limit: u64, max_bytes: usize) -> Result<bool, Error> {
        let Some(open) = &mut self.open else { return Ok(true) };
        while batch.bytes < max_bytes && batch.left_out < LEFT_OUT {
            let at = LogPosition { segment: open.head.segment, offset: open.events.position() };
            let Some(event) = open.events.expect(limit, max_bytes)? else { return Ok(true) };
            open.source = source_end(open.source, &event);
            let part = self.tracker.observe(&event);
            let part = part.map_err(|e| Error::corrupt(at.segment, at.offset, e))?;
            let mut skip = self.skipping;
            match part {
                Part::Begins(begin) => {
                    let gtid = begin.gtid.as_ref();
                    self.skipping = gtid.is_some_and(|gtid| self.has.contains(gtid));
                    skip = self.skipping;
                    if let Some(gtid) = gtid {
                        self.has.insert(gtid);
                    }
                }
                Part::Ends => self.skipping = false,
                Part::Inside | Part::Between => {}
            }
            if skip {
                batch.left_out += event.bytes().len();
            } else {
                batch.bytes += event.bytes().len();
                let (source_end, is_whole) = (open.source, self.tracker.is_between());
                batch.items.push(Item::Event(LogEvent { event, at, source_end, is_whole }));
            }
        }
        Ok(open.events.position() >= limit)
    }

    fn next_segment(&self) -> Result<Open, Error> {
        let before = self.open.as_ref().map(|open| &open.head);
        let number = before.map_or(1, |head| head.segment + 1);
        let catalogue = self.log.shared.catalogue();
        let Some(next) = catalogue.get(number) else {
            let purged = catalogue.oldest().map(|oldest| oldest.head.previous.minus(&self.has));
            return Err(Error::PurgedUnread { missing: purged.unwrap_or_default() });
        };
        let head = next.head.clone();
        let continues = before.is_some_and(|b| b.is_same_file(head.server_uuid, &head.file, &head.format));
        // A file of the same name that goes back is another file.
        let continues = continues && self.open.as_ref().is_some_and(|open| open.source <= head.position);
        self.log.open_at(head, None, continues)
    }
}
