//! Whatever is put together, the same rows change in the same order under the same tables.

use std::collections::HashMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::{prop_assert, prop_assert_eq};

use super::{Condenser, RowsEvent, STATEMENT_END, TableMap};
use crate::event::{Event, EventKind, Header};

/// Tables whose rows no key finds.
const WITHOUT_KEY: u8 = 3;

fn event(kind: EventKind, body: &[u8]) -> Event {
    Event::build(&Header { timestamp: 0, kind, server_id: 1, log_pos: 0, flags: 0 }, body)
}

/// A table of one column; an altered one has another type.
fn map(id: u8, table: u8, altered: bool) -> Event {
    let mut body = vec![id, 0, 0, 0, 0, 0, 0, 0, 1, b'd', 0, 1, b'a' + table, 0];
    body.extend_from_slice(&[1, if altered { 9 } else { 3 }, 0, 0]);
    event(EventKind::TableMap, &body)
}

/// Rows of one column, of four bytes or (altered) three.
fn rows(kind: EventKind, id: u8, flags: u8, altered: bool, values: &[u8]) -> Event {
    let images = if kind == EventKind::UpdateRows { 2 } else { 1 };
    let mut body = vec![id, 0, 0, 0, 0, 0, flags, 0, 2, 0, 1];
    body.extend(vec![1; images]);
    for value in values {
        for image in 0..images {
            body.extend_from_slice(&[0, *value, u8::try_from(image).unwrap(), 0]);
            body.extend((!altered).then_some(0));
        }
    }
    event(kind, &body)
}

/// What a source logs: each table's rows of a statement, behind the maps of all its tables.
#[derive(Clone, Debug)]
struct Logged {
    /// Which tables, and what is done to each.
    parts: Vec<(u8, EventKind, Vec<u8>)>,
    altered: bool,
    /// Foreign keys are not checked.
    unchecked: bool,
    /// Table ids go on from here.
    ids: u8,
}

fn statements() -> impl Strategy<Value = Vec<Logged>> {
    let kind = prop_oneof![
        Just(EventKind::WriteRows),
        Just(EventKind::UpdateRows),
        Just(EventKind::UpdateRows),
        Just(EventKind::DeleteRows)
    ];
    let part = (0..5u8, kind, vec(any::<u8>(), 1..4));
    let rarely = || prop_oneof![9 => Just(false), 1 => Just(true)];
    let logged = (vec(part, 1..4), rarely(), rarely(), prop_oneof![Just(10u8), Just(20)]);
    let logged =
        logged.prop_map(|(parts, altered, unchecked, ids)| Logged { parts, altered, unchecked, ids });
    vec(logged, 1..30)
}

fn log(statements: &[Logged]) -> Vec<Event> {
    let mut events = Vec::new();
    for Logged { parts, altered, unchecked, ids } in statements {
        let id = |table: u8| ids + table + if *altered { 100 } else { 0 };
        let mut tables: Vec<u8> = parts.iter().map(|(table, ..)| *table).collect();
        tables.sort_unstable();
        tables.dedup();
        events.extend(tables.iter().map(|table| map(id(*table), *table, *altered)));
        for (i, (table, kind, values)) in parts.iter().enumerate() {
            let flags = u8::from(i + 1 == parts.len()) | if *unchecked { 2 } else { 0 };
            events.push(rows(*kind, id(*table), flags, *altered, values));
        }
    }
    events
}

/// Every row change as a server would see it: table map without its number, kind, lasting flags, images. Tells
/// whether the events end with the end of a statement.
fn changes<'a>(events: impl Iterator<Item = &'a Event>) -> (Vec<String>, bool) {
    let (mut maps, mut out, mut lasting, mut ended) = (HashMap::new(), Vec::new(), None, true);
    for event in events {
        let id = TableMap::id_of(event).unwrap();
        if event.kind() == EventKind::TableMap {
            assert!(lasting.is_none(), "a server opens tables before the first row event");
            maps.insert(id, event.clone());
            ended = false;
            continue;
        }
        let map = TableMap::parse(maps.get(&id).expect("a row event without its table map")).unwrap();
        let flags = RowsEvent::flags_of(event).unwrap();
        // The first row event's flags hold for the statement.
        let lasting_flags = *lasting.get_or_insert(flags & !STATEMENT_END);
        for change in RowsEvent::parse(event, &map).unwrap().changes() {
            let (kind, name, columns) = (event.kind(), &map.table, &map.columns);
            out.push(format!("{name} {columns:?} {kind:?} {lasting_flags} {:?}", change.unwrap()));
        }
        ended = flags & STATEMENT_END != 0;
        if ended {
            maps.clear();
            lasting = None;
        }
    }
    (out, ended)
}

fn split(buffer: &[u8]) -> Vec<Event> {
    let (mut rest, mut out) = (Bytes::copy_from_slice(buffer), Vec::new());
    while !rest.is_empty() {
        let size = u32::from_le_bytes([rest[9], rest[10], rest[11], rest[12]]) as usize;
        out.push(Event::new(rest.split_to(size)).unwrap());
    }
    out
}

fn condense(events: &[Event], max: usize) -> Vec<Vec<Event>> {
    let is_keyed = |map: &Event| TableMap::names_of(map).unwrap().1.as_bytes()[0] != b'a' + WITHOUT_KEY;
    Condenser::new(events.iter(), is_keyed, max).map(|buffer| split(&buffer.unwrap())).collect()
}

proptest! {
    #[test]
    fn the_same_rows_change_in_the_same_order(statements in statements(), max in 60usize..4000) {
        let events = log(&statements);
        let mut out = Vec::new();
        for buffer in condense(&events, max) {
            let (some, ended) = changes(buffer.iter());
            prop_assert!(ended, "a buffer ends a statement");
            out.extend(some);
        }
        prop_assert_eq!(changes(events.iter()).0, out);
    }

    #[test]
    fn rows_that_no_key_finds_change_in_events_of_their_own(statements in statements()) {
        let logged = |e: &&Event| matches!(e.kind(), EventKind::UpdateRows | EventKind::DeleteRows);
        let events = log(&statements);
        let condensed = condense(&events, 1 << 20).concat();
        let count = |events: &[Event]| {
            let (mut without, mut count) = (HashMap::new(), 0);
            for event in events {
                let id = TableMap::id_of(event).unwrap();
                if event.kind() == EventKind::TableMap {
                    without.insert(id, TableMap::names_of(event).unwrap().1.as_bytes()[0] == b'a' + WITHOUT_KEY);
                } else {
                    count += usize::from(without[&id] && logged(&event));
                }
            }
            count
        };
        prop_assert_eq!(count(&events), count(&condensed));
    }
}

#[test]
fn statements_on_one_table_become_one_with_one_map() {
    let update = |value| Logged {
        parts: vec![(0, EventKind::UpdateRows, vec![value])],
        altered: false,
        unchecked: false,
        ids: 10,
    };
    let insert = Logged { parts: vec![(1, EventKind::WriteRows, vec![7])], ..update(0) };
    let events = log(&[update(1), Logged { ids: 20, ..update(2) }, insert, update(3)]);
    let kinds: Vec<EventKind> = condense(&events, 1 << 20).concat().iter().map(Event::kind).collect();
    let (map, update) = (EventKind::TableMap, EventKind::UpdateRows);
    assert_eq!(kinds, [map, map, update, EventKind::WriteRows, update]);
}

#[test]
fn a_row_event_without_its_table_map_is_an_error() {
    let lone = rows(EventKind::WriteRows, 9, 1, false, &[1]);
    let mut condenser = Condenser::new(std::iter::once(&lone), |_| true, 1 << 20);
    assert!(condenser.next().unwrap().is_err());
}
