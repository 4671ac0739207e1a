//! The newest durable events, in memory, for all downstreams that have caught up.
//!
//! ```text
//! writer ──flush──▶ Tail: [piece][piece][piece] ◀── each downstream takes the piece that begins where it is
//! ```
//! One who is further back reads the disk, and comes here when it has caught up. So however many downstreams follow
//! live, an event is neither read nor verified for each of them.
//!
//! **Promise 1**: a piece is put here before the flush that makes it durable, and given to nobody before it is.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use binlog::event::GtidEvent;
use binlog::{Gtid, GtidSet};
use storage::{Fresh, Item, LogPosition, SegmentHead};
use tokio::sync::watch;

/// Bytes of events that are kept: a second or two of a busy source, so that one who stumbles need not go to the disk.
const KEEP: usize = 16 << 20;
/// Pieces that are kept, however small: they are looked through by their begin.
const PIECES: usize = 4096;

/// The tail. Cheap to clone; locks are held for a few instructions only.
#[derive(Clone, Debug)]
pub(crate) struct Tail(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    end: watch::Sender<LogPosition>,
}

#[derive(Debug, Default)]
struct Ring {
    pieces: VecDeque<Arc<Piece>>,
    bytes: usize,
}

/// What one flush makes durable.
#[derive(Debug)]
pub(crate) struct Piece {
    fresh: Fresh,
    /// Where its transactions begin, looked up by the first who asks.
    transactions: OnceLock<Vec<(usize, Gtid)>>,
}

impl Tail {
    /// An empty tail of a log that is durable up to `end`.
    pub(crate) fn new(end: LogPosition) -> Self {
        Self(Arc::new(Shared { ring: Mutex::default(), end: watch::Sender::new(end) }))
    }

    /// Adds what is on its way to the disk. It is given to nobody before [`Self::grow`] says that it is there.
    pub(crate) fn add(&self, fresh: Option<Fresh>) {
        if let Some(fresh) = fresh {
            self.ring().push(Arc::new(Piece { fresh, transactions: OnceLock::new() }));
        }
    }

    /// The log is durable up to `end`: tells all followers. What was not kept they find on the disk.
    pub(crate) fn grow(&self, end: LogPosition) {
        // Two threads flush, and the later end may be told first.
        self.0.end.send_if_modified(|known| {
            let grows = *known < end;
            *known = end.max(*known);
            grows
        });
    }

    /// Does anybody follow?
    pub(crate) fn is_followed(&self) -> bool {
        self.0.end.receiver_count() > 0
    }

    /// The durable end.
    pub(crate) fn end(&self) -> LogPosition {
        *self.0.end.borrow()
    }

    /// Follows the durable end.
    pub(crate) fn follow(&self) -> watch::Receiver<LogPosition> {
        self.0.end.subscribe()
    }

    /// The piece that begins here, if it is kept and durable.
    pub(crate) fn at(&self, begin: LogPosition) -> Option<Arc<Piece>> {
        let end = self.end();
        let ring = self.ring();
        let found = ring.pieces.binary_search_by_key(&begin, |piece| piece.fresh.begin).ok()?;
        ring.pieces.get(found).filter(|piece| piece.end() <= end).cloned()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Whole values under it, whatever panicked.
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn push(&mut self, piece: Arc<Piece>) {
        self.bytes += piece.fresh.bytes;
        self.pieces.push_back(piece);
        while self.bytes > KEEP || self.pieces.len() > PIECES {
            let Some(oldest) = self.pieces.pop_front() else { break };
            self.bytes -= oldest.fresh.bytes;
        }
    }
}

impl Piece {
    /// Where the next one begins.
    pub(crate) fn end(&self) -> LogPosition {
        self.fresh.end
    }

    /// Its items without the transactions in `has`, where there are such.
    pub(crate) fn without(&self, has: &GtidSet) -> Cow<'_, [Item]> {
        let items = &self.fresh.items;
        if has.is_empty() {
            return Cow::Borrowed(items);
        }
        let transactions = self.transactions.get_or_init(|| transactions(items));
        if !transactions.iter().any(|(_, gtid)| has.contains(gtid)) {
            return Cow::Borrowed(items);
        }
        let mut begins = transactions.iter().peekable();
        let mut left_out = false;
        let wanted = items.iter().enumerate().filter(|(at, item)| {
            if let Some((_, gtid)) = begins.next_if(|(begin, _)| begin == at) {
                left_out = has.contains(gtid);
            }
            let inside = !left_out;
            // What stands between transactions, and the begin of a segment, is for everybody.
            left_out &= !matches!(item, Item::Event(event) if event.is_whole);
            inside || matches!(item, Item::Begins(_))
        });
        Cow::Owned(wanted.map(|(_, item)| item.clone()).collect())
    }

    /// The place in the source's file where it ends, and the segment that begins last in it.
    pub(crate) fn source_end(&self) -> Option<u64> {
        self.fresh.items.iter().next_back().map(|item| match item {
            Item::Event(event) => event.source_end,
            Item::Begins(begin) => begin.position,
        })
    }

    /// The last segment that begins in it.
    pub(crate) fn head(&self) -> Option<&Arc<SegmentHead>> {
        self.fresh.items.iter().rev().find_map(|item| match item {
            Item::Begins(begin) => Some(&begin.head),
            Item::Event(_) => None,
        })
    }

    /// Bytes of its events.
    pub(crate) fn bytes(&self) -> usize {
        self.fresh.bytes
    }
}

fn transactions(items: &[Item]) -> Vec<(usize, Gtid)> {
    let gtid = |(at, item): (usize, &Item)| match item {
        // It was read when it was stored.
        Item::Event(event) if event.event.kind().is_gtid() => {
            Some((at, GtidEvent::parse(&event.event).ok()?.gtid?))
        }
        _ => None,
    };
    items.iter().enumerate().filter_map(gtid).collect()
}
