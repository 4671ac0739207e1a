//! Picking whole transactions out of a stream of events.

use std::sync::Arc;

use binlog::event::GtidEvent;
use binlog::{Event, Gtid, GtidSet, Part, TransactionTracker};
use storage::{Item, LogPosition, LogView};

use super::place::Place;
use super::progress::Progress;
use super::range::Range;
use crate::failure::Failure;

/// The source file that the events to come are from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// The server's uuid; `None` where a relay does not tell.
    pub(super) server_uuid: Option<String>,
    pub(super) file: Arc<str>,
    /// The format description, as a file holds it.
    pub(super) format: Event,
    /// All transactions before; empty over the wire.
    pub(super) previous: Arc<GtidSet>,
}

/// An event and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) event: Event,
    /// In the log; `None` over the wire.
    pub(super) at: Option<LogPosition>,
    /// Where it ends in the source's file.
    pub(super) source_end: u64,
}

/// Why taking stops before the end.
#[derive(Debug)]
pub(super) enum Halt {
    /// Nobody reads the output any more.
    Closed,
    /// Something went wrong.
    Failed(Failure),
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Takes the transactions that are picked.
pub(super) trait Sink {
    /// Events from here on are from this file.
    fn origin(&mut self, origin: &Origin) -> Result<(), Halt>;
    /// A transaction that is not picked is passed over.
    fn passed(&mut self, _gtid: &Gtid) {}
    /// A transaction that is picked begins with this event.
    fn begin(&mut self, begin: &GtidEvent, seen: &Seen) -> Result<(), Halt>;
    /// One more event of it.
    fn event(&mut self, seen: &Seen) -> Result<(), Halt>;
    /// It is whole.
    fn end(&mut self) -> Result<(), Halt>;
}

/// Follows a stream and gives a sink what is in the range.
pub(super) struct Selection<'a, S> {
    range: &'a Range,
    sink: &'a mut S,
    tracker: TransactionTracker,
    picked: bool,
    /// Transactions still to come whose GTIDs are asked for; `None` when none is.
    left: Option<u64>,
}

impl<'a, S: Sink> Selection<'a, S> {
    /// `named` of the range's GTIDs will come.
    pub(super) fn new(range: &'a Range, sink: &'a mut S, named: Option<u64>) -> Self {
        Self { range, sink, tracker: TransactionTracker::default(), picked: false, left: named }
    }

    /// Has all come that was asked for by GTID?
    pub(super) fn is_done(&self) -> bool {
        self.left == Some(0) && self.tracker.is_between()
    }

    /// Goes on in another file.
    pub(super) fn origin(&mut self, origin: &Origin) -> Result<(), Halt> {
        self.tracker.reset();
        self.sink.origin(origin)
    }

    /// Takes the next event.
    pub(super) fn take(&mut self, seen: &Seen) -> Result<(), Halt> {
        let part = self.tracker.observe(&seen.event);
        match part.map_err(|e| Failure::from_error("cannot tell where transactions begin and end", &e))? {
            Part::Between => Ok(()),
            Part::Begins(begin) => {
                let gtid = begin.gtid.as_ref();
                let is_named = self.range.names(gtid);
                if is_named && let Some(left) = &mut self.left {
                    *left = left.saturating_sub(1);
                }
                self.picked = is_named && self.range.is_timely(commit_time(&begin, &seen.event));
                match gtid {
                    _ if self.picked => self.sink.begin(&begin, seen),
                    Some(gtid) => {
                        self.sink.passed(gtid);
                        Ok(())
                    }
                    None => Ok(()),
                }
            }
            _ if !self.picked => Ok(()),
            Part::Inside => self.sink.event(seen),
            Part::Ends => {
                self.sink.event(seen)?;
                self.sink.end()
            }
        }
    }
}

/// When a transaction was committed, microseconds since 1970: to the second, where a source tells no more.
pub(super) fn commit_time(begin: &GtidEvent, event: &Event) -> u64 {
    match begin.immediate_commit_timestamp {
        0 => u64::from(event.timestamp()) * 1_000_000,
        micros => micros,
    }
}

/// Reads a log's folder into a sink. `go_on` is asked between transactions.
pub(super) fn read_view(
    place: &Place,
    view: &LogView,
    range: &Range,
    sink: &mut impl Sink,
    progress: &mut Progress,
    go_on: impl Fn() -> bool,
) -> Result<(), Halt> {
    let named = range.named_in(view.gtids_durable(), view.gtids_purged());
    let mut reader = view.read(|segment| range.may_be_in(segment));
    let mut selection = Selection::new(range, sink, named);
    let failed = |e: storage::Error| Failure::from_diagnosis(&place.cannot("read"), &e);
    while !selection.is_done()
        && let Some(item) = reader.next_item().map_err(failed)?
    {
        match item {
            Item::Begins(segment) => {
                let head = segment.head;
                selection.origin(&Origin {
                    server_uuid: Some(head.server_uuid.to_string()),
                    file: head.file.clone(),
                    format: head.format.clone(),
                    previous: head.previous.clone(),
                })?;
            }
            Item::Event(read) => {
                let size = u64::from(read.event.size());
                selection.take(&Seen {
                    event: read.event,
                    at: Some(read.at),
                    source_end: read.source_end,
                })?;
                progress.add(size);
                if read.is_whole && !go_on() {
                    return Err(Failure::interrupted().into());
                }
            }
        }
    }
    Ok(())
}
