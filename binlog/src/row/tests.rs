//! Row images against a file that a 9.7.4 server wrote: a table of every type, rows at the ends of each.

use std::collections::HashMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{any, proptest};

use super::{ColumnType, RowChange, RowsEvent, RowsWriter, STATEMENT_END, TableMap, Value, put_image};
use crate::event::{Event, EventKind, Header, MAGIC, u32_at};

const FILE: &[u8] = include_bytes!("../../golden/every-type.binlog");

fn events() -> Vec<Event> {
    let mut rest = Bytes::from_static(FILE.strip_prefix(&MAGIC).unwrap());
    let mut events = Vec::new();
    while !rest.is_empty() {
        events.push(Event::new(rest.split_to(u32_at(&rest, 9) as usize)).unwrap());
    }
    events
}

/// Row events with their table maps.
fn row_events() -> Vec<(TableMap, Event)> {
    let (mut map, mut out) = (None, Vec::new());
    for event in events() {
        if event.kind() == EventKind::TableMap {
            map = Some(TableMap::parse(&event).unwrap());
        } else if event.kind().is_rows() {
            out.push((map.clone().unwrap(), event));
        }
    }
    out
}

fn show(map: &TableMap, image: &super::Image<'_>) -> HashMap<String, String> {
    let named = map.columns.iter().zip(image.values());
    named.filter_map(|(c, v)| Some((c.name.clone(), v.as_ref()?.to_string()))).collect()
}

#[test]
fn a_table_map_tells_names_signs_character_sets_members_and_the_key() {
    let (map, _) = &row_events()[0];
    assert_eq!((map.database.as_str(), map.table.as_str()), ("t", "alltypes"));
    let column = |name: &str| map.columns.iter().find(|c| c.name == name).unwrap();
    let key: Vec<&str> = map.primary_key.iter().map(|i| map.columns[*i].name.as_str()).collect();
    assert_eq!(key, ["i4", "i8"]);
    let unsigned: Vec<&str> = map.columns.iter().filter(|c| c.unsigned).map(|c| c.name.as_str()).collect();
    assert_eq!(unsigned, ["i1u", "i3u", "i8u", "y", "du", "dc3"]);
    assert_eq!(column("e").members, [b"a".to_vec(), b"b".to_vec(), b"\xfc".to_vec()]);
    assert_eq!(column("s").members, [b"x", b"y", b"z"]);
    assert_eq!(column("e2").members, [b"q", b"r"]);
    assert_eq!((column("vc").collation, column("e").collation), (Some(8), Some(8)), "latin1_swedish_ci");
    assert_eq!((column("bin").collation, column("c").collation), (Some(63), Some(255)));
    assert_eq!(column("p").geometry, Some(1));
    assert_eq!(column("v").dimensions, Some(4));
    assert!(!column("inv").visible && column("gs").visible);
    assert_eq!(column("cl").kind, ColumnType::Char { max_bytes: 800 });
    assert_eq!(column("b33").kind, ColumnType::Bit { bits: 33 });
}

#[test]
fn values_at_the_ends_of_every_type_are_read_exactly() {
    let (map, event) = &row_events()[0];
    let rows = RowsEvent::parse(event, map).unwrap();
    assert!(rows.is_full());
    assert_eq!(rows.count(), Ok(2));
    let rows: Vec<RowChange<'_>> = rows.changes().collect::<Result<_, _>>().unwrap();
    let row = show(map, rows[0].after.as_ref().unwrap());
    let expected = [
        ("i1", "-128"),
        ("i1u", "255"),
        ("i2", "-32768"),
        ("i3", "-8388608"),
        ("i3u", "16777215"),
        ("i4", "-2147483648"),
        ("i8", "-9223372036854775808"),
        ("i8u", "18446744073709551615"),
        ("y", "2155"),
        ("f", "1.5"),
        ("du", "3"),
        ("dc", "'-1234567890123.0000001'"),
        ("dc2", "'99999999999999999999999999999999999.000000000000000000000000000001'"),
        ("dc3", "'7'"),
        ("b33", "0x01FFFFFFFF"),
        ("dt", "'2026-11-20'"),
        ("tm", "'-838:59:59'"),
        ("tm1", "'-00:00:00.1'"),
        ("tm6", "'-838:59:58.000001'"),
        ("dtm", "'9999-12-31 23:59:59'"),
        ("dtm4", "'0001-01-01 00:00:00.1234'"),
        ("ts", "FROM_UNIXTIME(2147483647)"),
        ("ts6", "FROM_UNIXTIME(1.000001)"),
        ("c", "'äb'"),
        ("cl", "'ß'"),
        ("vc", "0xE9"),
        ("bin", "'ab'"),
        ("tb", "0x00FF"),
        ("tt", "'text ü'"),
        ("mb", "'mb'"),
        ("e", "3"),
        ("s", "5"),
        ("e2", "2"),
        ("v", "0x0000803F000000400000404000008040"),
        ("inv", "7"),
        ("gs", "-2147483647"),
        ("gv", "-2147483646"),
    ];
    for (name, value) in expected {
        assert_eq!(row[name], value, "{name}");
    }
    let d = map.columns.iter().position(|c| c.name == "d").unwrap();
    assert_eq!(rows[0].after.as_ref().unwrap().get(d), Some(&Value::Double(-2.25e-300)));
    let zero = show(map, rows[1].after.as_ref().unwrap());
    for (name, value) in
        [("y", "1900"), ("dt", "'0000-00-00'"), ("dtm4", "'0000-00-00 00:00:00.0000'"), ("e", "0")]
    {
        // A number 0 stored into YEAR is the year 0000; the server's own tool prints it as 1900.
        let value = if name == "y" { "0" } else { value };
        assert_eq!(zero[name], value, "{name}");
    }
}

#[test]
fn a_vector_before_a_text_leaves_the_text_its_character_set() {
    let (map, _) = &row_events()[0];
    let of = |name: &str| map.columns.iter().find(|c| c.name == name).unwrap().clone();
    // As a server tells it: the character sets of v, then of cl and tt.
    let columns = vec![of("v"), of("cl"), of("tt")];
    let map = TableMap { columns, primary_key: Vec::new(), ..map.clone() };
    let event = map.to_event(1);
    let told = event.body().windows(4).any(|bytes| bytes[..3] == [3, 7, 63]);
    assert!(told, "{:?}", event.body());
    assert_eq!(TableMap::parse(&event).unwrap().columns, map.columns);
}

#[test]
fn columns_called_otherwise_leave_the_rest_of_a_table_map_as_it_is() {
    let (map, _) = &row_events()[0];
    let event = map.to_event(1);
    let called = |name: &str| match name {
        "i1" => Some("a column with a longer name".to_owned()),
        "vc" => Some(String::new()),
        _ => None,
    };
    let other = TableMap::parse(&TableMap::with_columns_called(&event, called).unwrap()).unwrap();
    let mut expected = TableMap::parse(&event).unwrap();
    for column in &mut expected.columns {
        column.name = called(&column.name).unwrap_or_else(|| column.name.clone());
    }
    assert_eq!(other, expected);
    assert_ne!(other.columns, map.columns);
}

#[test]
fn updates_have_both_images_deletes_the_first_and_partial_updates_a_diff() {
    let all = row_events();
    let kinds: Vec<EventKind> = all.iter().map(|(_, e)| e.kind()).collect();
    use EventKind::{DeleteRows, PartialUpdateRows, UpdateRows, WriteRows};
    assert_eq!(kinds, [WriteRows, WriteRows, UpdateRows, DeleteRows, PartialUpdateRows]);
    let changes: Vec<Vec<RowChange<'_>>> = all
        .iter()
        .map(|(map, event)| {
            RowsEvent::parse(event, map).unwrap().changes().collect::<Result<_, _>>().unwrap()
        })
        .collect();
    let update = &changes[2][1];
    let map = &all[2].0;
    let (before, after) =
        (show(map, update.before.as_ref().unwrap()), show(map, update.after.as_ref().unwrap()));
    assert_eq!((before["vc"].as_str(), after["vc"].as_str()), ("NULL", "'neu'"));
    assert!(changes[3][0].after.is_none() && changes[3][0].before.is_some());
    let json = map.columns.iter().position(|c| c.name == "j").unwrap();
    let partial = &changes[4][0];
    assert!(matches!(partial.before.as_ref().unwrap().get(json), Some(Value::Json(_))));
    assert!(matches!(partial.after.as_ref().unwrap().get(json), Some(Value::JsonDiff(_))));
}

#[test]
fn an_event_split_by_rows_holds_the_same_changes_one_at_a_time() {
    for (map, event) in &row_events() {
        let whole = RowsEvent::parse(event, map).unwrap();
        let parts = whole.split().unwrap();
        assert_eq!(parts.len(), whole.count().unwrap());
        for (part, change) in parts.iter().zip(whole.changes()) {
            let part = RowsEvent::parse(part, map).unwrap();
            assert_eq!(part.flags & STATEMENT_END, STATEMENT_END);
            assert_eq!(part.changes().next().unwrap(), change);
        }
        let ended = RowsEvent::ending_statement(event);
        assert_eq!(RowsEvent::flags_of(&ended), Some(whole.flags | STATEMENT_END));
    }
}

#[test]
fn an_event_cut_at_any_byte_is_refused_not_misread() {
    let (map, event) = &row_events()[2];
    for cut in 1..event.body().len() - 40 {
        let cut = Event::build(&event.header(), &event.body()[..event.body().len() - cut]);
        let rows = RowsEvent::parse(&cut, map);
        assert!(rows.is_err() || rows.unwrap().count() != Ok(2));
    }
}

#[test]
fn what_is_written_of_a_table_is_what_was_read_of_it() {
    for (map, event) in &row_events() {
        let written = map.to_event(7);
        let mut again = TableMap::parse(&written).unwrap();
        // These are not written.
        again.primary_key.clone_from(&map.primary_key);
        again.columns.iter_mut().zip(&map.columns).for_each(|(a, b)| {
            a.geometry = b.geometry;
        });
        assert_eq!(&again, map);
        let mut writer = RowsWriter::new(map, 7, 0);
        let mut images = 0;
        for change in RowsEvent::parse(event, map).unwrap().changes() {
            let change = change.unwrap();
            let Some(values) = change.after.as_ref().or(change.before.as_ref()) else { continue };
            let values: Option<Vec<Value<'_>>> = values.values().iter().cloned().collect();
            let Some(values) = values.filter(|v| !v.iter().any(|v| matches!(v, Value::JsonDiff(_)))) else {
                continue;
            };
            let mut image = Vec::new();
            put_image(&map.columns, &values, &mut image).unwrap();
            writer.push(&image);
            images += 1;
        }
        let events = writer.finish();
        assert_eq!(events.is_empty(), images == 0);
        let Some(rows) = events.get(1) else { continue };
        assert_eq!(RowsEvent::flags_of(rows), Some(STATEMENT_END));
        if event.kind() == EventKind::WriteRows {
            // Behind the head the bytes are the server's own.
            let head = 6 + 2 + 2 + 1 + map.columns.len().div_ceil(8);
            assert_eq!(rows.body()[head..], event.body()[head..]);
        }
    }
}

#[test]
fn many_rows_are_cut_into_events_of_which_the_last_ends_the_statement() {
    let (map, event) = &row_events()[0];
    let rows = RowsEvent::parse(event, map).unwrap();
    let one = rows.raw_images().unwrap()[1].unwrap().to_vec();
    let mut writer = RowsWriter::new(map, 7, super::NO_FOREIGN_KEY_CHECKS);
    (0..3000).for_each(|_| writer.push(&one));
    let events = writer.finish();
    let parsed: Vec<RowsEvent<'_>> = events[1..].iter().map(|e| RowsEvent::parse(e, map).unwrap()).collect();
    assert!(parsed.len() > 1);
    assert_eq!(parsed.iter().map(|rows| rows.count().unwrap()).sum::<usize>(), 3000);
    let ends: Vec<bool> = parsed.iter().map(|rows| rows.flags & STATEMENT_END != 0).collect();
    assert!(ends.iter().rev().skip(1).all(|end| !end) && *ends.last().unwrap(), "{ends:?}");
}

proptest! {
    #[test]
    fn numbers_and_times_come_back_as_they_were_written(
        digits in 0u8..7, raw in any::<u32>(), micros in 0u32..1_000_000, hours in 0u32..838, negative in any::<bool>(),
        precision in 1u8..66, scale in 0u8..31, decimal in any::<i64>()
    ) {
        let scale = scale.min(precision);
        let fraction = |micros: u32| {
            let text = format!("{micros:06}");
            if digits == 0 { String::new() } else { format!(".{}", &text[..usize::from(digits)]) }
        };
        let kept = micros / 10u32.pow(6 - u32::from(digits)) * 10u32.pow(6 - u32::from(digits));
        let (month, day) = (1 + raw % 12, 1 + raw % 28);
        let (minute, second) = (raw % 60, raw / 60 % 60);
        let date = format!("{:04}-{month:02}-{day:02}", raw % 10_000);
        let sign = if negative && (hours + minute + second + kept) > 0 { "-" } else { "" };
        let time = format!("{sign}{hours:02}:{minute:02}:{second:02}{}", fraction(micros));
        let datetime = format!("{date} {:02}:{minute:02}:{second:02}{}", raw % 24, fraction(micros));
        let whole = usize::from(precision - scale);
        let plain = decimal.unsigned_abs().to_string();
        let plain = plain[..plain.len().min(whole.max(1))].trim_start_matches('0');
        let plain = if whole == 0 || plain.is_empty() { "0" } else { plain };
        let mut number = format!("{}{plain}", if decimal < 0 && plain != "0" { "-" } else { "" });
        if scale > 0 {
            number += &format!(".{:0<1$}", &plain[..plain.len().min(scale.into())], usize::from(scale));
        }
        let all = [
            (ColumnType::Date, Value::Text(date)),
            (ColumnType::Time { fraction: digits }, Value::Text(time)),
            (ColumnType::DateTime { fraction: digits }, Value::Text(datetime)),
            (ColumnType::Timestamp { fraction: digits }, Value::Timestamp(raw, kept)),
            (ColumnType::Decimal { precision, scale }, Value::Text(number)),
        ];
        let columns: Vec<super::Column> = all.iter().map(|(kind, _)| super::Column::new(*kind, false)).collect();
        let values: Vec<Value<'_>> = all.iter().map(|(_, value)| value.clone()).collect();
        let map = TableMap {
            table_id: 1, database: "d".into(), table: "t".into(), columns, primary_key: Vec::new(), has_names: false,
        };
        let mut image = Vec::new();
        put_image(&map.columns, &values, &mut image).unwrap();
        let mut writer = RowsWriter::new(&map, 1, 0);
        writer.push(&image);
        let events = writer.finish();
        let rows = RowsEvent::parse(&events[1], &map).unwrap();
        let change = rows.changes().next().unwrap().unwrap();
        let read: Vec<Value<'_>> = change.after.unwrap().values().iter().flatten().cloned().collect();
        proptest::prop_assert_eq!(read, values);
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read_but_never_panic(kind in 19u8..43, mut body in vec(any::<u8>(), 0..200)) {
        let all = row_events();
        let map = &all[0].0;
        let header = Header { timestamp: 0, kind: EventKind::from_code(kind), server_id: 1, log_pos: 9, flags: 0 };
        let _ = TableMap::parse(&Event::build(&header, &body));
        // A well-formed head, so that the images are reached.
        body.splice(0..0, all[0].1.body()[..18].iter().copied());
        let event = Event::build(&header, &body);
        if let Ok(rows) = RowsEvent::parse(&event, map) {
            let _ = rows.count();
            let _ = rows.changes().count();
        }
        let mut table = events().iter().find(|e| e.kind() == EventKind::TableMap).unwrap().body()[..30].to_vec();
        table.extend_from_slice(&body);
        let header = Header { kind: EventKind::TableMap, ..header };
        let _ = TableMap::parse(&Event::build(&header, &table));
    }
}
