//! What was written last, still in memory: for readers that have caught up, who need not read the disk for it.
//!
//! The writer keeps the events it stores until the next [`LogWriter::take_fresh`], in the form in which a
//! [`crate::LogReader`] would give them, and hands out whole transactions. Memory is bounded: what is more than
//! [`LIMIT`] between two calls is not kept, and has to be read from the disk.

use std::sync::Arc;

use crate::head::SegmentHead;
use crate::position::LogPosition;
use crate::reader::{Item, LogEvent, SegmentBegin};
use crate::writer::LogWriter;

/// Most bytes of events that are kept: one flush of a fast source.
const LIMIT: usize = 8 << 20;

/// A run of items, all of what lies between two places of the log.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// Where it begins: a reader that has come up to here can go on with it.
    pub begin: LogPosition,
    /// Where it ends.
    pub end: LogPosition,
    /// What lies between, whole transactions only.
    pub items: Vec<Item>,
    /// Bytes of the events.
    pub bytes: usize,
}

/// The writer's account of it.
#[derive(Debug)]
pub(crate) struct Keeper {
    begin: LogPosition,
    items: Vec<Item>,
    bytes: usize,
    /// Something was not kept: nothing is, up to a place where a reader can begin.
    lost: bool,
    /// Somebody will take it.
    wanted: bool,
}

impl Keeper {
    /// Begins at the durable end of a log that was opened.
    pub(crate) fn new(begin: LogPosition) -> Self {
        Self { begin, items: Vec::new(), bytes: 0, lost: false, wanted: true }
    }

    /// An event was stored, of so many bytes.
    pub(crate) fn event(&mut self, size: usize, event: impl FnOnce() -> LogEvent) {
        if !self.wanted || self.lost || self.bytes + size > LIMIT {
            self.lose();
            return;
        }
        self.bytes += size;
        self.items.push(Item::Event(event()));
    }

    /// A segment was begun behind `before`, whose last event ended at `source` in the source's file.
    pub(crate) fn segment(&mut self, head: &Arc<SegmentHead>, before: Option<(&SegmentHead, u64)>) {
        if self.lost {
            return;
        }
        let continues = before.is_some_and(|(before, source)| {
            before.is_same_file(head.server_uuid, &head.file, &head.format) && source <= head.position
        });
        self.items.push(Item::Begins(SegmentBegin {
            head: head.clone(),
            position: head.position,
            continues,
        }));
    }

    /// The events behind `end` were dropped.
    pub(crate) fn cut(&mut self, end: LogPosition) {
        while let Some(Item::Event(event)) = self.items.last()
            && event.at >= end
        {
            self.bytes -= event.event.bytes().len();
            self.items.pop();
        }
    }

    fn lose(&mut self) {
        if !self.lost {
            self.lost = true;
            self.items = Vec::new();
            self.bytes = 0;
        }
    }

    /// Takes all up to `end`, where the last of several whole transactions ends. `is_all` says that nothing was
    /// stored behind that.
    fn take(&mut self, end: LogPosition, is_all: bool) -> Option<Fresh> {
        if self.lost {
            self.lost = !is_all;
            self.begin = end;
            return None;
        }
        let begin = std::mem::replace(&mut self.begin, end);
        let unfinished = self.items.iter().rposition(|item| match item {
            Item::Event(event) => event.at < end,
            Item::Begins(begin) => begin.head.segment <= end.segment,
        });
        let rest = self.items.split_off(unfinished.map_or(0, |last| last + 1));
        let items = std::mem::replace(&mut self.items, rest);
        let left = size(&self.items);
        let bytes = std::mem::replace(&mut self.bytes, left) - left;
        (begin < end).then_some(Fresh { begin, end, items, bytes })
    }
}

fn size(items: &[Item]) -> usize {
    let of = |item: &Item| match item {
        Item::Event(event) => event.event.bytes().len(),
        Item::Begins(_) => 0,
    };
    items.iter().map(of).sum()
}

impl LogWriter {
    /// Whether anybody reads the newest events: while nobody does they are not kept, which costs about as much as
    /// storing them.
    pub fn keep_fresh(&mut self, wanted: bool) {
        self.fresh.wanted = wanted;
    }

    /// What was made ready for the disk since the last call, where it was kept: to be called after
    /// [`LogWriter::sync`] or [`LogWriter::prepare_sync`], and not to be shown to anyone before that is durable.
    /// `None` when there is nothing, or too much; readers find it on the disk.
    pub fn take_fresh(&mut self) -> Option<Fresh> {
        let end = self.whole_end();
        let stored = self.active.as_ref().map_or(LogPosition::default(), |active| LogPosition {
            segment: active.head().segment,
            offset: self.follower.offset,
        });
        self.fresh.take(end, stored == end)
    }
}

#[cfg(test)]
mod tests {
    use super::{Keeper, LIMIT};
    use crate::position::LogPosition;
    use crate::reader::LogEvent;

    fn at(offset: u64) -> LogPosition {
        LogPosition { segment: 1, offset }
    }

    fn put(keeper: &mut Keeper, offset: u64, size: usize) {
        let event = binlog::event::artificial_rotate(1, &"x".repeat(size), 4);
        let size = event.bytes().len();
        keeper.event(size, || LogEvent { event, at: at(offset), source_end: 0, is_whole: false });
    }

    #[test]
    fn only_what_is_durable_is_given_and_the_rest_comes_later() {
        let mut keeper = Keeper::new(at(4));
        assert!(keeper.take(at(4), true).is_none());
        put(&mut keeper, 4, 10);
        put(&mut keeper, 50, 10);
        put(&mut keeper, 100, 10);
        let fresh = keeper.take(at(100), false).unwrap();
        assert_eq!((fresh.begin, fresh.end, fresh.items.len()), (at(4), at(100), 2));
        keeper.cut(at(100));
        put(&mut keeper, 100, 10);
        let fresh = keeper.take(at(150), true).unwrap();
        assert_eq!((fresh.begin, fresh.end, fresh.items.len()), (at(100), at(150), 1));
    }

    #[test]
    fn what_is_too_much_is_not_kept_up_to_the_end_of_its_transaction() {
        let mut keeper = Keeper::new(at(4));
        put(&mut keeper, 4, 10);
        put(&mut keeper, 50, LIMIT);
        assert!(keeper.take(at(4), false).is_none());
        put(&mut keeper, 60, 10);
        assert!(keeper.take(at(100), true).is_none());
        put(&mut keeper, 100, 10);
        assert_eq!(keeper.take(at(150), true).unwrap().begin, at(100));
    }

    #[test]
    fn what_nobody_wants_is_not_kept_and_what_is_wanted_again_is_from_a_place_between_flushes_on() {
        let mut keeper = Keeper::new(at(4));
        keeper.wanted = false;
        put(&mut keeper, 4, 10);
        assert!(keeper.items.is_empty());
        assert!(keeper.take(at(50), true).is_none());
        keeper.wanted = true;
        put(&mut keeper, 50, 10);
        let fresh = keeper.take(at(100), true).unwrap();
        assert_eq!((fresh.begin, fresh.end, fresh.items.len()), (at(50), at(100), 1));
    }
}
