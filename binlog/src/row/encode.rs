//! Rows and table maps, written: the inverse of what the rest of this module reads.
//!
//! Who copies a table makes its rows into events, so that the server stores them as it stores a replica's: exactly, and
//! without firing triggers. A table map carries all metadata that `binlog_row_metadata=FULL` gives, primary key
//! and geometry kinds aside, which nobody needs to store a row.

use super::table_map::TableMap;
use super::value::Value;
use super::{Column, ColumnType, STATEMENT_END, decimal, temporal};
use crate::event::{Event, EventKind, Header};

/// Row event flag: foreign keys are not looked at for these rows.
pub const NO_FOREIGN_KEY_CHECKS: u16 = 2;

/// Largest body of a row event made here, about: the server keeps a whole event in memory.
const EVENT_BYTES: usize = 256 << 10;

impl ColumnType {
    /// Its code in a table map, its metadata written behind `metadata`.
    fn write(self, metadata: &mut Vec<u8>) -> u8 {
        let (code, more): (u8, &[u8]) = match self {
            Self::Integer { bytes: 1 } => (1, &[]),
            Self::Integer { bytes: 2 } => (2, &[]),
            Self::Integer { bytes: 3 } => (9, &[]),
            Self::Integer { bytes: 4 } => (3, &[]),
            Self::Integer { .. } => (8, &[]),
            Self::Float => (4, &[4]),
            Self::Double => (5, &[8]),
            Self::Decimal { precision, scale } => (246, &[precision, scale]),
            Self::Bit { bits } => {
                let [bits, bytes] = [bits % 8, bits / 8].map(|n| n.to_le_bytes()[0]);
                (16, &[bits, bytes])
            }
            Self::Year => (13, &[]),
            Self::Date => (10, &[]),
            Self::Timestamp { fraction } => (17, &[fraction]),
            Self::DateTime { fraction } => (18, &[fraction]),
            Self::Time { fraction } => (19, &[fraction]),
            Self::VarChar { max_bytes } => (15, &max_bytes.to_le_bytes()),
            // Two bits of a length beyond 255 stand inverted in the type's own byte.
            Self::Char { max_bytes } => {
                let [low, high] = max_bytes.to_le_bytes();
                (254, &[254 ^ high << 4, low])
            }
            Self::Enum { bytes } => (254, &[247, bytes]),
            Self::Set { bytes } => (254, &[248, bytes]),
            Self::Blob { length_bytes } => (252, &[length_bytes]),
            Self::Geometry { length_bytes } => (255, &[length_bytes]),
            Self::Json { length_bytes } => (245, &[length_bytes]),
            Self::Vector { length_bytes } => (242, &[length_bytes]),
        };
        metadata.extend_from_slice(more);
        code
    }
}

impl TableMap {
    /// The event that says it.
    pub fn to_event(&self, server_id: u32) -> Event {
        let mut body = self.table_id.to_le_bytes()[..6].to_vec();
        // BIT columns are told by their exact length.
        body.extend_from_slice(&[1, 0]);
        for name in [&self.database, &self.table] {
            // No name is longer than 64 characters of 4 bytes at most; the server's own limit is 255 bytes.
            body.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            body.extend_from_slice(name.as_bytes());
            body.push(0);
        }
        put_length(&mut body, self.columns.len());
        let mut metadata = Vec::new();
        body.extend(self.columns.iter().map(|column| column.kind.write(&mut metadata)));
        put_bytes(&mut body, &metadata);
        body.extend(bits_from_the_right(self.columns.iter().map(|column| column.nullable)));
        self.put_fields(&mut body);
        let header = Header { timestamp: 0, kind: EventKind::TableMap, server_id, log_pos: 0, flags: 0 };
        Event::build(&header, &body)
    }

    fn put_fields(&self, body: &mut Vec<u8>) {
        let of = |wanted: fn(ColumnType) -> bool| self.columns.iter().filter(move |c| wanted(c.kind));
        let mut field = |kind: u8, value: Vec<u8>| {
            if !value.is_empty() {
                body.push(kind);
                put_bytes(body, &value);
            }
        };
        field(1, bits_from_the_left(of(ColumnType::is_numeric).map(|c| c.unsigned)));
        field(3, collations(of(ColumnType::is_character)));
        if self.has_names {
            let mut names = Vec::new();
            self.columns.iter().for_each(|c| put_bytes(&mut names, c.name.as_bytes()));
            field(4, names);
        }
        field(5, members(of(|kind| matches!(kind, ColumnType::Set { .. }))));
        field(6, members(of(|kind| matches!(kind, ColumnType::Enum { .. }))));
        field(11, collations(of(ColumnType::has_members)));
        field(12, bits_from_the_left(self.columns.iter().map(|c| c.visible)));
        // Without it a server takes a VECTOR for one of no elements, and refuses it.
        let mut dimensions = Vec::new();
        let of_vectors = of(|kind| matches!(kind, ColumnType::Vector { .. }));
        of_vectors.for_each(|c| {
            put_length(&mut dimensions, c.dimensions.and_then(|n| usize::try_from(n).ok()).unwrap_or(0))
        });
        field(13, dimensions);
    }
}

fn collations<'a>(columns: impl Iterator<Item = &'a Column>) -> Vec<u8> {
    /// `binary`: what is told of a `VECTOR`.
    const BINARY: u32 = 63;
    let mut out = Vec::new();
    for column in columns {
        let is_vector = matches!(column.kind, ColumnType::Vector { .. });
        let id = column.collation.or(is_vector.then_some(BINARY)).unwrap_or(0);
        put_length(&mut out, usize::try_from(id).unwrap_or(0));
    }
    out
}

fn members<'a>(columns: impl Iterator<Item = &'a Column>) -> Vec<u8> {
    let mut out = Vec::new();
    for column in columns {
        put_length(&mut out, column.members.len());
        column.members.iter().for_each(|member| put_bytes(&mut out, member));
    }
    out
}

/// Makes row events that put rows in or take them out, a few hundred KiB each.
#[derive(Debug)]
pub struct RowsWriter<'a> {
    map: &'a TableMap,
    server_id: u32,
    flags: u16,
    kind: EventKind,
    head: Vec<u8>,
    body: Vec<u8>,
    events: Vec<Event>,
}

impl<'a> RowsWriter<'a> {
    /// Of rows that are put into this table; `flags` beside the one that ends the statement.
    pub fn new(map: &'a TableMap, server_id: u32, flags: u16) -> Self {
        Self::of(EventKind::WriteRows, map, server_id, flags)
    }

    /// Of rows that are taken out of it: the images are those that stand there.
    pub fn deleting(map: &'a TableMap, server_id: u32, flags: u16) -> Self {
        Self::of(EventKind::DeleteRows, map, server_id, flags)
    }

    fn of(kind: EventKind, map: &'a TableMap, server_id: u32, flags: u16) -> Self {
        let mut head = map.table_id.to_le_bytes()[..6].to_vec();
        head.extend_from_slice(&flags.to_le_bytes());
        // No extra data: its length counts itself.
        head.extend_from_slice(&[2, 0]);
        put_length(&mut head, map.columns.len());
        head.extend(std::iter::repeat_n(0xff, map.columns.len().div_ceil(8)));
        Self { map, server_id, flags, kind, body: head.clone(), head, events: Vec::new() }
    }

    /// Adds a row by its image: NULL bits, then the values that are not NULL.
    pub fn push(&mut self, image: &[u8]) {
        if self.body.len() > self.head.len() && self.body.len() + image.len() > EVENT_BYTES {
            self.cut(0);
        }
        self.body.extend_from_slice(image);
    }

    fn cut(&mut self, more: u16) {
        let mut body = std::mem::replace(&mut self.body, self.head.clone());
        body[6..8].copy_from_slice(&(self.flags | more).to_le_bytes());
        let header =
            Header { timestamp: 0, kind: self.kind, server_id: self.server_id, log_pos: 0, flags: 0 };
        self.events.push(Event::build(&header, &body));
    }

    /// The table map and the row events, one statement; nothing without rows.
    pub fn finish(mut self) -> Vec<Event> {
        if self.body.len() > self.head.len() {
            self.cut(STATEMENT_END);
        }
        if self.events.is_empty() {
            return Vec::new();
        }
        self.events.insert(0, self.map.to_event(self.server_id));
        self.events
    }
}

/// Appends a row's image. `None` where a value does not fit its column, or their numbers differ.
pub fn put_image(columns: &[Column], values: &[Value<'_>], out: &mut Vec<u8>) -> Option<()> {
    if columns.len() != values.len() {
        return None;
    }
    let nulls = out.len();
    out.extend(std::iter::repeat_n(0, columns.len().div_ceil(8)));
    for (i, (column, value)) in columns.iter().zip(values).enumerate() {
        if *value == Value::Null {
            out[nulls + i / 8] |= 1 << (i % 8);
        } else {
            put_value(column, value, out)?;
        }
    }
    Some(())
}

/// Appends a value that is not NULL as it stands in an image, its length before it where the type has one.
pub fn put_value(column: &Column, value: &Value<'_>, out: &mut Vec<u8>) -> Option<()> {
    match (column.kind, value) {
        (ColumnType::Integer { bytes }, Value::Signed(n)) => put_integer(n.cast_unsigned(), bytes, out),
        (
            ColumnType::Integer { bytes } | ColumnType::Enum { bytes } | ColumnType::Set { bytes },
            Value::Unsigned(n),
        ) => put_integer(*n, bytes, out),
        (ColumnType::Float, Value::Float(n)) => out.extend_from_slice(&n.to_le_bytes()),
        (ColumnType::Double, Value::Double(n)) => out.extend_from_slice(&n.to_le_bytes()),
        (ColumnType::Decimal { precision, scale }, Value::Text(text)) => {
            decimal::put(text, precision, scale, out)?;
        }
        (ColumnType::Year, Value::Unsigned(0)) => out.push(0),
        (ColumnType::Year, Value::Unsigned(year)) => out.push(u8::try_from(year.checked_sub(1900)?).ok()?),
        (ColumnType::Date, Value::Text(text)) => temporal::put_date(text, out)?,
        (ColumnType::Time { fraction }, Value::Text(text)) => temporal::put_time(text, fraction, out)?,
        (ColumnType::DateTime { fraction }, Value::Text(text)) => {
            temporal::put_datetime(text, fraction, out)?
        }
        (ColumnType::Timestamp { fraction }, Value::Timestamp(seconds, micros)) => {
            temporal::put_timestamp(*seconds, *micros, fraction, out);
        }
        (ColumnType::Bit { bits }, Value::Bytes(bytes)) => {
            let width = usize::from(bits.div_ceil(8));
            let pad = width.checked_sub(bytes.len())?;
            out.extend(std::iter::repeat_n(0, pad));
            out.extend_from_slice(bytes);
        }
        (ColumnType::Char { max_bytes }, Value::Bytes(bytes)) => {
            let bytes = without_padding(bytes, column.collation);
            put_sized(bytes, if max_bytes > 255 { 2 } else { 1 }, out)?;
        }
        (ColumnType::VarChar { max_bytes }, Value::Bytes(bytes)) => {
            put_sized(bytes, if max_bytes > 255 { 2 } else { 1 }, out)?;
        }
        (
            ColumnType::Blob { length_bytes }
            | ColumnType::Geometry { length_bytes }
            | ColumnType::Vector { length_bytes },
            Value::Bytes(bytes),
        )
        | (ColumnType::Json { length_bytes }, Value::Json(bytes)) => put_sized(bytes, length_bytes, out)?,
        _ => return None,
    }
    Some(())
}

/// A `BINARY` is stored without the zeros behind it. A `CHAR` is read without the spaces that it is stored without.
fn without_padding(bytes: &[u8], collation: Option<u32>) -> &[u8] {
    const BINARY: u32 = 63;
    if collation != Some(BINARY) {
        return bytes;
    }
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}

fn put_integer(number: u64, bytes: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_le_bytes()[..usize::from(bytes.min(8))]);
}

fn put_sized(bytes: &[u8], length_bytes: u8, out: &mut Vec<u8>) -> Option<()> {
    let length = u64::try_from(bytes.len()).ok()?;
    if length >> (8 * length_bytes) != 0 {
        return None;
    }
    put_integer(length, length_bytes, out);
    out.extend_from_slice(bytes);
    Some(())
}

fn put_length(out: &mut Vec<u8>, number: usize) {
    match (u8::try_from(number), u16::try_from(number)) {
        (Ok(small), _) if small < 251 => out.push(small),
        (_, Ok(number)) => {
            out.push(0xfc);
            out.extend_from_slice(&number.to_le_bytes());
        }
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&(number as u64).to_le_bytes());
        }
    }
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn bits_from_the_right(bits: impl Iterator<Item = bool>) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, bit) in bits.enumerate() {
        if i % 8 == 0 {
            out.push(0);
        }
        out[i / 8] |= u8::from(bit) << (i % 8);
    }
    out
}

fn bits_from_the_left(bits: impl Iterator<Item = bool>) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, bit) in bits.enumerate() {
        if i % 8 == 0 {
            out.push(0);
        }
        out[i / 8] |= u8::from(bit) << (7 - i % 8);
    }
    out
}
