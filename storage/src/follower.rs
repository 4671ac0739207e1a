//! Keeps account of what a run of events amounts to: GTIDs, ends, times, and the places worth remembering.
//! The writer and the scan at open use the same account, so a log that is read back gives what was written.

use std::sync::Arc;

use binlog::{Gtid, GtidSet, Part};

use crate::head::SegmentHead;

/// How far a segment goes, up to a place between two transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Bytes of the segment.
    pub(crate) end: u64,
    /// The same place in the source's file.
    pub(crate) source_end: u64,
    /// Commit time of the segment's first transaction, microseconds since 1970; 0 for none.
    pub(crate) first_commit: u64,
    /// Of its last one.
    pub(crate) last_commit: u64,
}

/// A place between two transactions that reading can begin at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where in the segment.
    pub(crate) offset: u64,
    /// Where in the source's file.
    pub(crate) source_position: u64,
    /// The transactions of this segment that lie before it.
    pub(crate) added: GtidSet,
}

/// A place is remembered after this many bytes …
const PLACE_BYTES: u64 = 1 << 20;
/// … or this many transactions: what a reader that begins in the middle has to pass over at most.
const PLACE_TRANSACTIONS: u32 = 1000;

/// The account.
#[derive(Debug)]
pub(crate) struct Follower {
    /// All whole transactions, those before the log's start included.
    pub(crate) received: GtidSet,
    /// The last whole one.
    pub(crate) last_gtid: Option<Gtid>,
    /// The end of the last event in the segment.
    pub(crate) offset: u64,
    /// The end of the last event in the source's file.
    pub(crate) source: u64,
    /// Up to the last whole transaction.
    pub(crate) whole: Extent,
    /// Places since they were last taken.
    pub(crate) places: Vec<Place>,
    previous: Arc<GtidSet>,
    open: Option<(Gtid, u64)>,
    last_place: u64,
    transactions: u32,
}

impl Follower {
    /// Begins an empty log.
    pub(crate) fn new(received: GtidSet) -> Self {
        Self {
            received,
            last_gtid: None,
            offset: 0,
            source: 0,
            whole: Extent::default(),
            places: Vec::new(),
            previous: Arc::default(),
            open: None,
            last_place: 0,
            transactions: 0,
        }
    }

    /// Goes to the first event of a segment.
    pub(crate) fn enter(&mut self, head: &SegmentHead) {
        let (end, source_end) = (head.end(), head.position);
        self.previous = head.previous.clone();
        self.whole = Extent { end, source_end, first_commit: 0, last_commit: 0 };
        self.back_to_whole();
        self.places.clear();
        self.last_place = end;
        self.transactions = 0;
    }

    /// Forgets the events of an unfinished transaction.
    pub(crate) fn back_to_whole(&mut self) {
        self.offset = self.whole.end;
        self.source = self.whole.source_end;
        self.open = None;
    }

    /// Is a transaction unfinished?
    pub(crate) fn is_unfinished(&self) -> bool {
        self.open.is_some()
    }

    /// Takes an event of `size` bytes that ends at `source_end` in the source's file. A transaction must
    /// have a GTID that is new: the caller has looked.
    pub(crate) fn take(&mut self, part: Part, size: u32, source_end: u64) {
        match part {
            Part::Begins(begin) => {
                self.remember_place();
                self.open = begin.gtid.map(|gtid| (gtid, begin.immediate_commit_timestamp));
                self.advance(size, source_end);
            }
            Part::Inside => self.advance(size, source_end),
            Part::Between => {
                self.advance(size, source_end);
                self.mark_whole();
            }
            Part::Ends => {
                self.advance(size, source_end);
                self.mark_whole();
                self.end_transaction();
            }
        }
    }

    fn advance(&mut self, size: u32, source_end: u64) {
        self.offset += u64::from(size);
        self.source = source_end;
    }

    fn mark_whole(&mut self) {
        self.whole.end = self.offset;
        self.whole.source_end = self.source;
    }

    fn end_transaction(&mut self) {
        let Some((gtid, commit)) = self.open.take() else { return };
        self.received.insert(&gtid);
        self.last_gtid = Some(gtid);
        self.transactions += 1;
        if self.whole.first_commit == 0 {
            self.whole.first_commit = commit;
        }
        self.whole.last_commit = commit;
    }

    fn remember_place(&mut self) {
        if self.offset - self.last_place < PLACE_BYTES && self.transactions < PLACE_TRANSACTIONS {
            return;
        }
        self.places.push(Place {
            offset: self.offset,
            source_position: self.source,
            added: self.received.minus(&self.previous),
        });
        self.last_place = self.offset;
        self.transactions = 0;
    }
}
