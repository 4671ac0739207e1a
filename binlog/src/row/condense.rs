//! Row events of many statements as few: what a group sends to the target.
//!
//! For every statement a server opens and locks its tables, ends the statement, and logs its table maps; for every row
//! event it sets up its search. Neither is needed between rows that change in one transaction:
//!
//! ```text
//! [map t][rows end] [map t][rows end] [map u][rows end]     as the source logged it
//! [map t][map u]    [rows      rows           rows end]     as the target gets it
//! ```
//! Every row change is there, in its order, its bytes untouched. Only what stands around them goes: table maps that were
//! sent already, ends of statements, and heads of row events that change rows of one table in one way behind each other.
//! Two things begin a statement anew: a table map that differs from the one known of its table (it was altered), and row
//! events with other flags (foreign keys not checked, say), which hold for a whole statement.
//!
//! Updates and deletes are joined only where a key finds their rows: elsewhere the server looks for all rows of an event
//! in one pass over the table, and would not find one that an earlier row of the same event has changed.

use std::collections::HashMap;

use super::rows_event::STATEMENT_END_BYTE;
use super::{RowsEvent, STATEMENT_END, TableMap};
use crate::event::{CHECKSUM_LENGTH, Event, EventError, EventKind, HEADER_LENGTH, read_length_encoded};

/// A row event grows to so many bytes by what is joined to it: the server holds a whole event in memory.
const JOINED: usize = 256 << 10;
/// Where the flags of table maps and row events are, in their bodies: behind the table id.
const FLAGS: usize = 6;
/// Where an event's size is, in its header.
const SIZE: usize = 9;

/// Puts row events together; an iterator of buffers, each of whole statements.
pub struct Condenser<'a, I, F> {
    events: I,
    is_keyed: F,
    max: usize,
    /// Table maps since the source's last end of a statement: what a statement that begins anew needs.
    active: Vec<&'a Event>,
    statement: Statement<'a>,
    /// What did not fit the buffer that was given last.
    waiting: Option<&'a Event>,
}

impl<'a, I, F> Condenser<'a, I, F>
where
    I: Iterator<Item = &'a Event>,
    F: Fn(&Event) -> bool,
{
    /// `events` are table maps and row events of whole statements. `is_keyed` says of a table map whether a primary key,
    /// or a unique one without NULLs, finds the rows of its table. A buffer is about `max` bytes, or one event.
    pub fn new(events: I, is_keyed: F, max: usize) -> Self {
        Self { events, is_keyed, max, active: Vec::new(), statement: Statement::default(), waiting: None }
    }

    fn fill(&mut self) -> Result<Vec<u8>, EventError> {
        let mut buffer = Vec::new();
        while let Some(event) = self.waiting.take().or_else(|| self.events.next()) {
            if event.kind() == EventKind::TableMap {
                if !self.statement.learn(event, &self.is_keyed) {
                    self.begin_anew(&mut buffer);
                    if !self.statement.learn(event, &self.is_keyed) {
                        return Err(event.malformed("another map of the same table in one statement"));
                    }
                }
                self.active.push(event);
                continue;
            }
            let is_empty = buffer.is_empty() && self.statement.rows.is_empty();
            if !is_empty && buffer.len() + self.statement.bytes() + event.bytes().len() > self.max {
                self.waiting = Some(event);
                self.begin_anew(&mut buffer);
                return Ok(buffer);
            }
            let flags = RowsEvent::flags_of(event).unwrap_or(0);
            let lasting = flags & !STATEMENT_END;
            if self.statement.flags.is_some_and(|known| known != lasting) {
                self.begin_anew(&mut buffer);
            }
            self.statement.flags = Some(lasting);
            self.statement.push(event)?;
            if flags & STATEMENT_END != 0 {
                self.active.clear();
            }
        }
        self.statement.end(&mut buffer);
        Ok(buffer)
    }

    /// Ends the target's statement; the next begins with the maps that are still needed.
    fn begin_anew(&mut self, buffer: &mut Vec<u8>) {
        self.statement.end(buffer);
        for map in &self.active {
            // They were in one statement before.
            self.statement.learn(map, &self.is_keyed);
        }
    }
}

impl<'a, I, F> Iterator for Condenser<'a, I, F>
where
    I: Iterator<Item = &'a Event>,
    F: Fn(&Event) -> bool,
{
    /// An error is a row event without its table map, which a server would pass over without a word.
    type Item = Result<Vec<u8>, EventError>;

    fn next(&mut self) -> Option<Self::Item> {
        let filled = self.fill();
        Some(filled).filter(|filled| filled.as_ref().map_or(true, |buffer| !buffer.is_empty()))
    }
}

/// A statement of the target that grows.
#[derive(Default)]
struct Statement<'a> {
    maps: Vec<Known<'a>>,
    map_bytes: usize,
    /// By the source's table id, which of the maps it means.
    by_id: HashMap<u64, usize>,
    /// Flags of its row events but [`STATEMENT_END`].
    flags: Option<u16>,
    rows: Vec<u8>,
    /// The last row event in `rows`, not sealed yet.
    open: Option<Open<'a>>,
}

struct Known<'a> {
    event: &'a Event,
    is_keyed: bool,
}

/// A row event that others may be joined to.
struct Open<'a> {
    begin: usize,
    kind: EventKind,
    map: usize,
    /// What stands between its flags and its rows.
    head: &'a [u8],
}

impl<'a> Statement<'a> {
    fn bytes(&self) -> usize {
        self.map_bytes + self.rows.len()
    }

    /// Takes a table map in; `false` where another of the same table or number is in it.
    fn learn(&mut self, event: &'a Event, is_keyed: impl Fn(&Event) -> bool) -> bool {
        let id = TableMap::id_of(event).unwrap_or(u64::MAX);
        let is_same = |known: &Known<'_>| known.event.body().get(FLAGS..) == event.body().get(FLAGS..);
        if let Some(at) = self.by_id.get(&id) {
            return is_same(&self.maps[*at]);
        }
        let names = TableMap::names_of(event).ok();
        match self.maps.iter().position(|known| TableMap::names_of(known.event).ok() == names) {
            Some(at) if is_same(&self.maps[at]) => {
                self.by_id.insert(id, at);
            }
            Some(_) => return false,
            None => {
                self.by_id.insert(id, self.maps.len());
                self.map_bytes += event.bytes().len();
                self.maps.push(Known { event, is_keyed: is_keyed(event) });
            }
        }
        true
    }

    /// Adds a row event, joined to the one before where that changes rows in the same way.
    fn push(&mut self, event: &'a Event) -> Result<(), EventError> {
        let known = TableMap::id_of(event).and_then(|id| self.by_id.get(&id));
        let map = *known.ok_or_else(|| event.malformed("its table map is missing"))?;
        let parts = head_and_rows(event, self.maps[map].is_keyed);
        if let (Some(open), Some((head, rows))) = (&self.open, parts)
            && (open.kind, open.map, open.head) == (event.kind(), map, head)
            && self.rows.len() - open.begin + rows.len() < JOINED
        {
            self.rows.extend_from_slice(rows);
            return Ok(());
        }
        self.seal(false);
        let begin = self.rows.len();
        // Its checksum is added when it is sealed.
        self.rows.extend_from_slice(&event.bytes()[..event.bytes().len() - CHECKSUM_LENGTH]);
        let id = begin + HEADER_LENGTH;
        self.rows[id..id + FLAGS].copy_from_slice(&self.maps[map].event.body()[..FLAGS]);
        let head = parts.map_or(&[][..], |(head, _)| head);
        self.open = Some(Open { begin, kind: event.kind(), map, head });
        Ok(())
    }

    /// Writes size, flags and checksum of the last row event.
    fn seal(&mut self, ends: bool) {
        let Some(open) = self.open.take() else { return };
        let event = &mut self.rows[open.begin..];
        let size = u32::try_from(event.len() + CHECKSUM_LENGTH)
            .expect("one event of the source, or several that are far smaller");
        event[SIZE..SIZE + 4].copy_from_slice(&size.to_le_bytes());
        let flags = &mut event[HEADER_LENGTH + FLAGS];
        *flags = if ends { *flags | STATEMENT_END_BYTE } else { *flags & !STATEMENT_END_BYTE };
        let checksum = crc32fast::hash(event);
        self.rows.extend_from_slice(&checksum.to_le_bytes());
    }

    /// Hands the statement over, its last row event marked as the end, and leaves an empty one.
    fn end(&mut self, buffer: &mut Vec<u8>) {
        self.seal(true);
        if !self.rows.is_empty() {
            buffer.reserve(self.bytes());
            self.maps.iter().for_each(|known| buffer.extend_from_slice(known.event.bytes()));
            buffer.extend_from_slice(&self.rows);
        }
        *self = Self::default();
    }
}

/// What stands between a row event's flags and its rows (extra data, how many columns, which of them are in the images),
/// and its rows; `None` if nothing may be joined to it.
fn head_and_rows(event: &Event, is_keyed: bool) -> Option<(&[u8], &[u8])> {
    let images = match event.kind() {
        EventKind::WriteRows => 1,
        EventKind::DeleteRows if is_keyed => 1,
        EventKind::UpdateRows if is_keyed => 2,
        _ => return None,
    };
    let body = event.body().get(FLAGS + 2..)?;
    let extra = usize::from(u16::from_le_bytes(*body.first_chunk()?));
    let mut rest = body.get(extra..)?;
    let columns = usize::try_from(read_length_encoded(&mut rest)?).ok()?;
    let bits = rest.get(..columns.div_ceil(8))?;
    // A key may be on a column that is not in the image.
    let is_full = (0..columns).all(|i| bits[i / 8] >> (i % 8) & 1 == 1);
    let head = body.len() - rest.len() + images * bits.len();
    (extra >= 2 && head < body.len() && is_full).then(|| body.split_at(head))
}

#[cfg(test)]
#[path = "condense_tests.rs"]
mod tests;
