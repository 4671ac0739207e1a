//! A group: whole, adjacent source transactions that commit in the target as one.
//!
//! **Promise 3** (whole transactions, in order) rests here: a member is never split across groups, and members
//! keep the stream's order. What the target runs is `BEGIN`, the checkpoint, one `BINLOG` statement with all
//! row events, `COMMIT`. The row events are encoded as *one* base64 text from one byte buffer: padding in the
//! middle would end it silently, and a table map whose row events are missing is no error.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use binlog::row::{RowsEvent, STATEMENT_END};
use binlog::{Event, EventKind, Gtid, GtidSet};
use tokio::sync::OwnedSemaphorePermit;

use crate::GroupLimits;
use crate::catalog::TargetTable;
use crate::conflict::seen::Seen;
use crate::mark::Mark;

/// One source transaction, ready to be applied.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) gtid: Gtid,
    /// Table maps and row events of tables in step, in order.
    pub(crate) events: Vec<Event>,
    /// The tables they change, each as it was checked.
    pub(crate) tables: Vec<Arc<TargetTable>>,
    /// Its own GTID and those passed over before it.
    pub(crate) covers: GtidSet,
    /// How far the link is with it.
    pub(crate) mark: Mark,
    /// What its region had seen of the others, and its hybrid time.
    pub(crate) seen: Arc<Seen>,
    pub(crate) time: u64,
    pub(crate) committed_at: u64,
    /// Its share of the memory for transactions in flight.
    pub(crate) _budget: Option<OwnedSemaphorePermit>,
}

impl Member {
    /// Bytes of its events.
    pub(crate) fn bytes(&self) -> usize {
        self.events.iter().map(|e| e.bytes().len()).sum()
    }

    /// The table of that name, as it was checked.
    pub(crate) fn table(&self, database: &str, table: &str) -> Option<&Arc<TargetTable>> {
        self.tables.iter().find(|t| t.database == database && t.table == table)
    }

    /// Bytes of its largest event.
    pub(crate) fn largest_event(&self) -> usize {
        self.events.iter().map(|e| e.bytes().len()).max().unwrap_or(0)
    }
}

/// Members that commit together.
#[derive(Debug, Default)]
pub(crate) struct Group {
    members: Vec<Member>,
    bytes: usize,
}

impl Group {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// May another transaction join?
    pub(crate) fn has_room(&self, limits: &GroupLimits) -> bool {
        self.members.len() < limits.max_transactions && self.bytes < limits.max_bytes
    }

    pub(crate) fn push(&mut self, member: Member) {
        self.bytes += member.bytes();
        self.members.push(member);
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(crate) fn into_members(self) -> Vec<Member> {
        self.members
    }

    /// The source GTIDs that are done when the group is committed.
    pub(crate) fn covers(&self) -> GtidSet {
        let mut covers = GtidSet::new();
        self.members.iter().for_each(|m| covers.union_with(&m.covers));
        covers
    }

    /// How far the link is with it.
    pub(crate) fn mark(&self) -> Mark {
        self.members.last().map(|m| m.mark.clone()).unwrap_or_default()
    }

    /// Every table it changes, each once.
    pub(crate) fn tables(&self) -> Vec<Arc<TargetTable>> {
        let mut tables: Vec<Arc<TargetTable>> = Vec::new();
        for table in self.members.iter().flat_map(|m| &m.tables) {
            if !tables.iter().any(|t| Arc::ptr_eq(t, table)) {
                tables.push(table.clone());
            }
        }
        tables
    }

    /// The `BINLOG` statements: one, unless the row events are more than `max_event_bytes`.
    pub(crate) fn statements(&self, max_event_bytes: usize) -> impl Iterator<Item = Vec<u8>> {
        binlog_statements(self.members.iter().flat_map(|m| &m.events), max_event_bytes)
    }
}

impl FromIterator<Member> for Group {
    fn from_iter<I: IntoIterator<Item = Member>>(members: I) -> Self {
        let mut group = Self::default();
        members.into_iter().for_each(|member| group.push(member));
        group
    }
}

/// `BINLOG` statements with these events, each of about `max_event_bytes`, made as they are asked for.
pub(crate) fn binlog_statements<'a>(
    events: impl Iterator<Item = &'a Event>,
    max_event_bytes: usize,
) -> impl Iterator<Item = Vec<u8>> {
    chunks(events, max_event_bytes).map(|chunk| binlog_statement(&chunk))
}

/// A `BINLOG` statement with these whole events.
pub(crate) fn binlog_statement(events: &[u8]) -> Vec<u8> {
    const HEAD: &[u8] = b"BINLOG '";
    let length = base64::encoded_len(events.len(), true).unwrap_or(usize::MAX - HEAD.len() - 1);
    let mut out = vec![0; HEAD.len() + length + 1];
    out[..HEAD.len()].copy_from_slice(HEAD);
    let written =
        STANDARD.encode_slice(events, &mut out[HEAD.len()..]).expect("the space was measured above");
    out[HEAD.len() + written] = b'\'';
    out
}

/// Cuts events into buffers of about `max` bytes, one at a time: a large transaction is not copied whole. A cut
/// within a statement ends it there, and begins the next buffer with its table maps again.
fn chunks<'a>(events: impl Iterator<Item = &'a Event>, max: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut events = events.peekable();
    let mut maps: Vec<&Event> = Vec::new();
    let mut last: Option<&Event> = None;
    std::iter::from_fn(move || {
        let mut open = Vec::new();
        maps.iter().for_each(|map| open.extend_from_slice(map.bytes()));
        let mut is_new = true;
        while let Some(event) = events.peek() {
            let is_map = event.kind() == EventKind::TableMap;
            let full = !is_new && open.len() + event.bytes().len() > max;
            if let Some(previous) = last.filter(|_| full) {
                let between = ends_statement(previous);
                // Not between a table map and its first row event: that would leave a statement empty.
                if between || previous.kind() != EventKind::TableMap && !is_map {
                    if !between {
                        open.truncate(open.len() - previous.bytes().len());
                        open.extend_from_slice(RowsEvent::ending_statement(previous).bytes());
                    }
                    return Some(open);
                }
            }
            open.extend_from_slice(event.bytes());
            if is_map {
                maps.push(event);
            } else if ends_statement(event) {
                maps.clear();
            }
            is_new = false;
            last = events.next();
        }
        (!is_new).then_some(open)
    })
}

fn ends_statement(event: &Event) -> bool {
    event.kind().is_rows() && RowsEvent::flags_of(event).unwrap_or(0) & STATEMENT_END != 0
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use binlog::event::Header;
    use binlog::row::{RowsEvent, STATEMENT_END, TableMap};
    use binlog::{Event, EventKind};
    use bytes::Bytes;
    use proptest::collection::vec;
    use proptest::prelude::proptest;
    use proptest::{prop_assert, prop_assert_eq};

    use super::{binlog_statement, chunks};

    fn event(kind: EventKind, id: u8, ends: bool, filler: usize) -> Event {
        let mut body = vec![id, 0, 0, 0, 0, 0, u8::from(ends), 0];
        body.resize(8 + filler, id);
        Event::build(&Header { timestamp: 0, kind, server_id: 1, log_pos: 0, flags: 0 }, &body)
    }

    /// Statements: how many tables, then the sizes of their row events.
    fn build(statements: &[(u8, Vec<usize>)]) -> Vec<Event> {
        let mut events = Vec::new();
        for (tables, rows) in statements {
            (0..=*tables).for_each(|id| events.push(event(EventKind::TableMap, id, false, 20)));
            for (i, size) in rows.iter().enumerate() {
                let id = u8::try_from(i % (usize::from(*tables) + 1)).unwrap();
                events.push(event(EventKind::WriteRows, id, i + 1 == rows.len(), *size));
            }
        }
        events
    }

    fn split(buffer: &[u8]) -> Vec<Event> {
        let (mut rest, mut out) = (Bytes::copy_from_slice(buffer), Vec::new());
        while !rest.is_empty() {
            let size = u32::from_le_bytes([rest[9], rest[10], rest[11], rest[12]]) as usize;
            out.push(Event::new(rest.split_to(size)).unwrap());
        }
        out
    }

    #[test]
    fn a_statement_is_one_base64_text_of_all_its_bytes() {
        for length in 0..50 {
            let bytes: Vec<u8> = (0..length).collect();
            let statement = String::from_utf8(binlog_statement(&bytes)).unwrap();
            let text = statement.strip_prefix("BINLOG '").unwrap().strip_suffix('\'').unwrap();
            assert_eq!(STANDARD.decode(text).unwrap(), bytes);
            assert!(!text.trim_end_matches('=').contains('='), "padding only at the end");
        }
    }

    proptest! {
        #[test]
        fn cut_or_whole_the_same_row_events_stand_behind_their_table_maps(
            statements in vec((0u8..3, vec(0usize..300, 1..6)), 1..8), max in 100usize..2000
        ) {
            let events = build(&statements);
            let mut rows_out = Vec::new();
            for chunk in chunks(events.iter(), max) {
                let chunk = split(&chunk);
                let mut known = Vec::new();
                for e in &chunk {
                    let id = TableMap::id_of(e).unwrap();
                    if e.kind() == EventKind::TableMap {
                        known.push(id);
                    } else {
                        prop_assert!(known.contains(&id), "a row event without its table map");
                        rows_out.push((id, e.body()[8..].to_vec()));
                        if RowsEvent::flags_of(e).unwrap() & STATEMENT_END != 0 {
                            known.clear();
                        }
                    }
                }
                let last = chunk.last().unwrap();
                prop_assert!(RowsEvent::flags_of(last).unwrap() & STATEMENT_END != 0, "a chunk ends a statement");
            }
            let rows_in: Vec<_> = events
                .iter()
                .filter(|e| e.kind() != EventKind::TableMap)
                .map(|e| (TableMap::id_of(e).unwrap(), e.body()[8..].to_vec()))
                .collect();
            prop_assert_eq!(rows_in, rows_out);
        }
    }
}
