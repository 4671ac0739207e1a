//! A transaction's table maps and row events: in memory, or, of a large one, in a file.
//!
//! A large transaction is cut into batches as it arrives. A cut within a statement ends it there and begins the next
//! batch with its table maps again, so that each batch can be filtered, checked and applied by itself; together they
//! change the same rows in the same order. The file has no name: it is gone with the process. What was read from it is
//! verified by each event's CRC32.

use std::borrow::Cow;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use binlog::row::{RowsEvent, STATEMENT_END};
use binlog::{Event, EventKind};
use bytes::Bytes;

use crate::Error;

/// A transaction with more bytes of row events than this goes to a file, in batches of about as many.
const BATCH: usize = 8 << 20;

/// The events of a transaction.
#[derive(Clone, Debug)]
pub(crate) enum Rows {
    Memory(Vec<Event>),
    File(Arc<Spilled>),
}

/// Events in a file.
#[derive(Debug)]
pub(crate) struct Spilled {
    file: File,
    dir: PathBuf,
    batches: Vec<Place>,
    /// The first events, in memory too.
    head: Vec<Event>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    length: usize,
    largest: usize,
}

impl Rows {
    /// The first events: all that is needed to tell a transaction's origin.
    pub(crate) fn head(&self) -> &[Event] {
        match self {
            Self::Memory(events) => events,
            Self::File(spilled) => &spilled.head,
        }
    }

    /// Are there none?
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Memory(events) if events.is_empty())
    }

    /// All events, batch by batch; those of a file are read as they are asked for.
    pub(crate) fn batches(&self) -> Box<dyn Iterator<Item = Result<Cow<'_, [Event]>, Error>> + Send + '_> {
        match self {
            Self::Memory(events) => Box::new(std::iter::once(Ok(Cow::from(events)))),
            Self::File(spilled) => Box::new(spilled.batches().map(|batch| batch.map(Cow::from))),
        }
    }

    /// The same rows with each batch changed. A file is written anew only when a batch is another.
    pub(crate) fn rewrite(
        &self,
        change: impl Fn(&[Event]) -> Result<Vec<Event>, Error>,
    ) -> Result<Self, Error> {
        let spilled = match self {
            Self::Memory(events) => return change(events).map(Self::Memory),
            Self::File(spilled) => spilled,
        };
        let mut rewriting = Rewriting::of(spilled);
        for batch in spilled.batches() {
            let before = batch?;
            let after = change(&before)?;
            rewriting.take(&before, after)?;
        }
        rewriting.finish()
    }
}

/// A file's batches, changed one after the other. It is written anew only from the first that is another on.
pub(crate) struct Rewriting<'a> {
    from: &'a Arc<Spilled>,
    same: usize,
    changed: Option<RowsBuilder>,
}

impl<'a> Rewriting<'a> {
    pub(crate) fn of(from: &'a Arc<Spilled>) -> Self {
        Self { from, same: 0, changed: None }
    }

    /// The next batch, as it was and as it is now.
    pub(crate) fn take(&mut self, before: &[Event], after: Vec<Event>) -> Result<(), Error> {
        if self.changed.is_none() {
            if before == after {
                self.same += 1;
                return Ok(());
            }
            let mut builder = RowsBuilder::new(Some(&self.from.dir));
            for batch in self.from.batches().take(self.same) {
                batch?.into_iter().try_for_each(|event| builder.push(event))?;
            }
            self.changed = Some(builder);
        }
        match &mut self.changed {
            Some(builder) => after.into_iter().try_for_each(|event| builder.push(event)),
            None => Ok(()),
        }
    }

    pub(crate) fn finish(self) -> Result<Rows, Error> {
        match self.changed {
            Some(builder) => builder.finish(),
            None => Ok(Rows::File(self.from.clone())),
        }
    }
}

impl Spilled {
    /// Its batches, in order. Each is read as it is asked for.
    pub(crate) fn batches(&self) -> impl DoubleEndedIterator<Item = Result<Vec<Event>, Error>> {
        self.batches.iter().map(|place| self.read(*place))
    }

    /// Bytes of all events.
    pub(crate) fn bytes(&self) -> usize {
        self.batches.iter().map(|place| place.length).sum()
    }

    /// Bytes of the largest event.
    pub(crate) fn largest_event(&self) -> usize {
        self.batches.iter().map(|place| place.largest).max().unwrap_or(0)
    }

    fn read(&self, place: Place) -> Result<Vec<Event>, Error> {
        let mut buffer = vec![0; place.length];
        self.file.read_exact_at(&mut buffer, place.offset).map_err(failed(&self.dir))?;
        let (mut rest, mut events) = (Bytes::from(buffer), Vec::new());
        while !rest.is_empty() {
            let size = rest.get(9..13).map_or(0, |s| u32::from_le_bytes([s[0], s[1], s[2], s[3]]) as usize);
            let cut = size.clamp(1, rest.len());
            let event = Event::new(rest.split_to(cut));
            events.push(event.map_err(|source| Error::Event { gtid: "in the spill file".into(), source })?);
        }
        Ok(events)
    }
}

/// Takes a transaction's events as they come.
#[derive(Debug)]
pub(crate) struct RowsBuilder {
    /// Where a file may be made; `None`: nowhere, everything stays in memory.
    dir: Option<PathBuf>,
    batch: Vec<Event>,
    bytes: usize,
    /// Table maps of the statement that is open.
    maps: Vec<Event>,
    spilled: Option<Spilled>,
    written: u64,
}

impl RowsBuilder {
    pub(crate) fn new(dir: Option<&Path>) -> Self {
        Self {
            dir: dir.map(Path::to_owned),
            batch: Vec::new(),
            bytes: 0,
            maps: Vec::new(),
            spilled: None,
            written: 0,
        }
    }

    /// Is there nothing in it?
    pub(crate) fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.spilled.is_none()
    }

    /// Takes the next event.
    pub(crate) fn push(&mut self, event: Event) -> Result<(), Error> {
        let (is_map, size) = (event.kind() == EventKind::TableMap, event.bytes().len());
        if self.dir.is_some() && self.bytes + size > BATCH && self.may_cut(is_map) {
            self.write_batch()?;
        }
        if is_map {
            self.maps.push(event.clone());
        } else if ends_statement(&event) {
            self.maps.clear();
        }
        self.bytes += size;
        self.batch.push(event);
        Ok(())
    }

    /// All of it.
    pub(crate) fn finish(mut self) -> Result<Rows, Error> {
        if self.spilled.is_none() {
            return Ok(Rows::Memory(self.batch));
        }
        if !self.batch.is_empty() {
            self.write_batch()?;
        }
        Ok(match self.spilled {
            Some(spilled) => Rows::File(Arc::new(spilled)),
            None => Rows::Memory(Vec::new()),
        })
    }

    /// Not between a table map and its first row event: that would leave a statement empty.
    fn may_cut(&self, next_is_map: bool) -> bool {
        let Some(last) = self.batch.last() else { return false };
        ends_statement(last) || last.kind() != EventKind::TableMap && !next_is_map
    }

    fn write_batch(&mut self) -> Result<(), Error> {
        let Some(dir) = self.dir.clone() else { return Ok(()) };
        if let Some(last) = self.batch.last_mut().filter(|last| !ends_statement(last)) {
            *last = RowsEvent::ending_statement(last);
        }
        if self.spilled.is_none() {
            std::fs::create_dir_all(&dir).map_err(failed(&dir))?;
            let file = tempfile::tempfile_in(&dir).map_err(failed(&dir))?;
            let head = head_of(&self.batch);
            self.spilled = Some(Spilled { file, dir: dir.clone(), batches: Vec::new(), head });
        }
        let Some(spilled) = &mut self.spilled else { return Ok(()) };
        let mut place = Place { offset: self.written, length: 0, largest: 0 };
        for event in self.batch.drain(..) {
            spilled.file.write_all(event.bytes()).map_err(failed(&dir))?;
            place.length += event.bytes().len();
            place.largest = place.largest.max(event.bytes().len());
        }
        self.written += place.length as u64;
        spilled.batches.push(place);
        self.batch = self.maps.clone();
        self.bytes = self.batch.iter().map(|event| event.bytes().len()).sum();
        Ok(())
    }
}

/// The events that a checkpoint row can stand in, copied out of the buffer they were read into.
fn head_of(batch: &[Event]) -> Vec<Event> {
    /// A stamp is a table map and the row events behind it.
    const EVENTS: usize = 4;
    /// And small.
    const LARGEST: usize = 1 << 20;
    let head = batch.iter().take(EVENTS).take_while(|event| event.bytes().len() <= LARGEST);
    head.filter_map(|event| Event::framed(Bytes::copy_from_slice(event.bytes())).ok()).collect()
}

fn ends_statement(event: &Event) -> bool {
    event.kind().is_rows() && RowsEvent::flags_of(event).unwrap_or(0) & STATEMENT_END != 0
}

fn failed(dir: &Path) -> impl Fn(std::io::Error) -> Error {
    let dir = dir.to_owned();
    move |source| Error::Spill { dir: dir.clone(), source }
}

#[cfg(test)]
mod tests {
    use binlog::event::Header;
    use binlog::row::{RowsEvent, STATEMENT_END, TableMap};
    use binlog::{Event, EventKind};
    use proptest::collection::vec;
    use proptest::prelude::proptest;
    use proptest::{prop_assert, prop_assert_eq};

    use super::{BATCH, Rows, RowsBuilder};

    fn event(kind: EventKind, id: u8, ends: bool, filler: usize) -> Event {
        let mut body = vec![id, 0, 0, 0, 0, 0, u8::from(ends), 0];
        body.resize(8 + filler, id);
        Event::build(&Header { timestamp: 0, kind, server_id: 1, log_pos: 0, flags: 0 }, &body)
    }

    /// Statements: how many tables, then the sizes of their row events, in half MiB.
    fn events_of(statements: &[(u8, Vec<usize>)]) -> Vec<Event> {
        let mut events = Vec::new();
        for (tables, rows) in statements {
            (0..=*tables).for_each(|id| events.push(event(EventKind::TableMap, id, false, 20)));
            for (i, size) in rows.iter().enumerate() {
                let id = u8::try_from(i % (usize::from(*tables) + 1)).unwrap();
                events.push(event(EventKind::WriteRows, id, i + 1 == rows.len(), size << 19));
            }
        }
        events
    }

    fn build(events: &[Event]) -> Rows {
        let dir = std::env::temp_dir();
        let mut builder = RowsBuilder::new(Some(&dir));
        events.iter().for_each(|event| builder.push(event.clone()).unwrap());
        builder.finish().unwrap()
    }

    fn changes(events: &[Event]) -> Vec<(Option<u64>, Vec<u8>)> {
        let rows = events.iter().filter(|e| e.kind() != EventKind::TableMap);
        rows.map(|e| (TableMap::id_of(e), e.body()[8..].to_vec())).collect()
    }

    #[test]
    fn a_small_transaction_stays_in_memory_as_it_is() {
        let events = events_of(&[(1, vec![1, 2]), (0, vec![3])]);
        assert!(matches!(build(&events), Rows::Memory(same) if same == events));
        let mut builder = RowsBuilder::new(None);
        let large = events_of(&[(0, vec![20, 20])]);
        large.iter().for_each(|event| builder.push(event.clone()).unwrap());
        assert!(matches!(builder.finish().unwrap(), Rows::Memory(same) if same == large));
    }

    #[test]
    fn a_rewritten_file_has_what_is_left() {
        let rows = build(&events_of(&[(0, vec![10, 10]), (1, vec![10, 10])]));
        let Rows::File(before) = &rows else { panic!("in memory") };
        let same = rows.rewrite(|batch| Ok(batch.to_vec())).unwrap();
        assert!(matches!(&same, Rows::File(after) if std::sync::Arc::ptr_eq(before, after)));
        let of_one =
            |batch: &[Event]| Ok(batch.iter().filter(|e| TableMap::id_of(e) == Some(1)).cloned().collect());
        let fewer = rows.rewrite(of_one).unwrap();
        let mut left = Vec::new();
        fewer.batches().for_each(|batch| left.extend(changes(&batch.unwrap())));
        assert_eq!(left.len(), 1);
        assert!(rows.rewrite(|_| Ok(Vec::new())).unwrap().is_empty());
    }

    proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(24))]
        #[test]
        fn cut_into_batches_the_same_rows_stand_behind_their_table_maps(
            statements in vec((0u8..3, vec(0usize..12, 1..6)), 1..6)
        ) {
            let events = events_of(&statements);
            let (mut rows_out, mut largest) = (Vec::new(), 0);
            build(&events).batches().for_each(|batch| {
                let batch = batch.unwrap();
                let mut known = Vec::new();
                for event in batch.iter() {
                    if event.kind() == EventKind::TableMap {
                        known.push(TableMap::id_of(event));
                    } else {
                        assert!(known.contains(&TableMap::id_of(event)), "a row event without its table map");
                        if RowsEvent::flags_of(event).unwrap() & STATEMENT_END != 0 {
                            known.clear();
                        }
                    }
                }
                assert!(known.is_empty(), "a batch ends a statement");
                largest = largest.max(batch.iter().map(|e| e.bytes().len()).sum::<usize>());
                rows_out.extend(changes(&batch));
            });
            prop_assert!(largest <= BATCH + (6 << 20), "one event beyond a batch at most: {}", largest);
            prop_assert_eq!(rows_out, changes(&events));
        }
    }
}
