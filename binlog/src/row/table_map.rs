//! The table map: which table the row events behind it change, and what its columns are.
//!
//! ```text
//! 0  table id          6 bytes
//! 6  flags             u16
//! 8  database          length u8, text, NUL
//!    table             length u8, text, NUL
//!    columns           length-encoded count, a type byte each
//!    metadata          length-encoded length, 0 to 2 bytes a column
//!    nullable          a bit for each column
//!    more              { type u8, length-encoded length, value }*
//! ```
//! `libs/mysql/binlog/event/rows_event.h`, class `Table_map_event`.

use bytes::Buf;

use super::column::{Column, ColumnType};
use super::encode::put_bytes;
use crate::event::{Event, EventError, EventKind, read_length_encoded};

/// The kind of the field that has the columns' names.
const COLUMN_NAMES: u8 = 4;

/// A table map, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableMap {
    /// The number that row events name it by.
    pub table_id: u64,
    /// The database's name.
    pub database: String,
    /// The table's name.
    pub table: String,
    /// Its columns, by position.
    pub columns: Vec<Column>,
    /// Positions of the primary key's columns; empty without full metadata, or without such a key.
    pub primary_key: Vec<usize>,
    /// Does it carry column names (`binlog_row_metadata=FULL`)?
    pub has_names: bool,
}

impl TableMap {
    /// The number of a table map or row event, without reading the rest.
    pub fn id_of(event: &Event) -> Option<u64> {
        event.body().get(..6).map(|mut id| id.get_uint_le(6))
    }

    /// Database and table of a table map event, without reading its columns.
    pub fn names_of(event: &Event) -> Result<(&str, &str), EventError> {
        let bad = || event.malformed("names");
        let mut body = event.body().get(8..).ok_or_else(bad)?;
        let database = name(&mut body).ok_or_else(bad)?;
        Ok((database, name(&mut body).ok_or_else(bad)?))
    }

    /// The same table map under another name.
    ///
    /// # Errors
    ///
    /// [`EventError`] when the event is malformed or a name is longer than 255 bytes.
    pub fn renamed(event: &Event, database: &str, table: &str) -> Result<Event, EventError> {
        let (old_database, old_table) = Self::names_of(event)?;
        let old = event.body();
        let mut body = old[..8].to_vec();
        for name in [database, table] {
            body.push(u8::try_from(name.len()).map_err(|_| event.malformed("a name that is too long"))?);
            body.extend_from_slice(name.as_bytes());
            body.push(0);
        }
        body.extend_from_slice(&old[8 + 2 + old_database.len() + 2 + old_table.len()..]);
        Ok(Event::build(&event.header(), &body))
    }

    /// The same table map with other names of its columns, where `called` gives one.
    ///
    /// # Errors
    ///
    /// [`EventError`] when the event is malformed.
    pub fn with_columns_called(
        event: &Event,
        called: impl Fn(&str) -> Option<String>,
    ) -> Result<Event, EventError> {
        let bad = || event.malformed("its column metadata");
        let (database, table) = Self::names_of(event)?;
        let old = event.body();
        let mut rest = &old[8 + 2 + database.len() + 2 + table.len()..];
        read_columns(&mut rest).ok_or_else(bad)?;
        let mut body = old[..old.len() - rest.len()].to_vec();
        while rest.has_remaining() {
            let kind = rest.get_u8();
            let mut value = text(&mut rest).ok_or_else(bad)?;
            let mut names = Vec::new();
            while kind == COLUMN_NAMES && value.has_remaining() {
                let name = text(&mut value).ok_or_else(bad)?;
                let new = std::str::from_utf8(name).ok().and_then(&called);
                put_bytes(&mut names, new.as_deref().map_or(name, str::as_bytes));
            }
            body.push(kind);
            put_bytes(&mut body, if kind == COLUMN_NAMES { &names } else { value });
        }
        Ok(Event::build(&event.header(), &body))
    }

    /// Reads a table map event.
    pub fn parse(event: &Event) -> Result<Self, EventError> {
        if event.kind() != EventKind::TableMap {
            return Err(event.malformed("a table map was expected"));
        }
        let table_id = Self::id_of(event).ok_or_else(|| event.malformed("its table id"))?;
        let (database, table) = Self::names_of(event)?;
        let mut body = &event.body()[8 + 2 + database.len() + 2 + table.len()..];
        let columns = read_columns(&mut body).ok_or_else(|| event.malformed("its columns"))?;
        let mut map = Self {
            table_id,
            database: database.into(),
            table: table.into(),
            columns,
            primary_key: Vec::new(),
            has_names: false,
        };
        while body.has_remaining() {
            map.read_field(&mut body).ok_or_else(|| event.malformed("its column metadata"))?;
        }
        // It is among the character columns, and has no character set.
        map.of_kind(|kind| matches!(kind, ColumnType::Vector { .. }))
            .for_each(|column| column.collation = None);
        Ok(map)
    }

    /// One field of the optional metadata; fields of later versions are passed over.
    fn read_field(&mut self, body: &mut &[u8]) -> Option<()> {
        let kind = body.try_get_u8().ok()?;
        let length = usize::try_from(read_length_encoded(body)?).ok()?;
        let (mut value, rest) = body.split_at_checked(length)?;
        *body = rest;
        match kind {
            1 => self.read_signs(value)?,
            2 => self.read_default_charset(value, ColumnType::is_character)?,
            3 => self.read_charsets(value, ColumnType::is_character)?,
            COLUMN_NAMES => self.read_names(value)?,
            5 => self.read_members(value, |kind| matches!(kind, ColumnType::Set { .. }))?,
            6 => self.read_members(value, |kind| matches!(kind, ColumnType::Enum { .. }))?,
            7 => {
                for column in self.of_kind(|kind| matches!(kind, ColumnType::Geometry { .. })) {
                    column.geometry = Some(integer(&mut value)?);
                }
            }
            8 => {
                while value.has_remaining() {
                    self.primary_key.push(integer(&mut value)?);
                }
            }
            9 => {
                while value.has_remaining() {
                    self.primary_key.push(integer(&mut value)?);
                    let _prefix: u32 = integer(&mut value)?;
                }
            }
            10 => self.read_default_charset(value, ColumnType::has_members)?,
            11 => self.read_charsets(value, ColumnType::has_members)?,
            12 => {
                for (i, column) in self.columns.iter_mut().enumerate() {
                    column.visible = bit_from_the_left(value, i)?;
                }
            }
            13 => {
                for column in self.of_kind(|kind| matches!(kind, ColumnType::Vector { .. })) {
                    column.dimensions = Some(integer(&mut value)?);
                }
            }
            _ => {}
        }
        self.primary_key.iter().all(|i| *i < self.columns.len()).then_some(())
    }

    fn of_kind(&mut self, wanted: fn(ColumnType) -> bool) -> impl Iterator<Item = &mut Column> {
        self.columns.iter_mut().filter(move |column| wanted(column.kind))
    }

    fn read_signs(&mut self, value: &[u8]) -> Option<()> {
        for (i, column) in self.of_kind(ColumnType::is_numeric).enumerate() {
            column.unsigned = bit_from_the_left(value, i)?;
        }
        Some(())
    }

    /// A default, then pairs of (which of these columns, its own).
    fn read_default_charset(&mut self, mut value: &[u8], wanted: fn(ColumnType) -> bool) -> Option<()> {
        let default = integer(&mut value)?;
        let mut columns: Vec<&mut Column> = self.of_kind(wanted).collect();
        columns.iter_mut().for_each(|column| column.collation = Some(default));
        while value.has_remaining() {
            let which: usize = integer(&mut value)?;
            columns.get_mut(which)?.collation = Some(integer(&mut value)?);
        }
        Some(())
    }

    fn read_charsets(&mut self, mut value: &[u8], wanted: fn(ColumnType) -> bool) -> Option<()> {
        for column in self.of_kind(wanted) {
            column.collation = Some(integer(&mut value)?);
        }
        Some(())
    }

    fn read_names(&mut self, mut value: &[u8]) -> Option<()> {
        for column in &mut self.columns {
            column.name = String::from_utf8(text(&mut value)?.to_vec()).ok()?;
        }
        self.has_names = true;
        Some(())
    }

    fn read_members(&mut self, mut value: &[u8], wanted: fn(ColumnType) -> bool) -> Option<()> {
        for column in self.of_kind(wanted) {
            let count: usize = integer(&mut value)?;
            if count > value.len() {
                return None;
            }
            column.members =
                (0..count).map(|_| text(&mut value).map(<[u8]>::to_vec)).collect::<Option<_>>()?;
        }
        Some(())
    }
}

fn read_columns(body: &mut &[u8]) -> Option<Vec<Column>> {
    let count: usize = integer(body)?;
    let (codes, rest) = body.split_at_checked(count)?;
    *body = rest;
    let mut metadata = text(body)?;
    let (nullable, rest) = body.split_at_checked(count.div_ceil(8))?;
    *body = rest;
    let column = |(i, code): (usize, &u8)| {
        let nullable = nullable[i / 8] >> (i % 8) & 1 == 1;
        Some(Column::new(ColumnType::read(*code, &mut metadata)?, nullable))
    };
    codes.iter().enumerate().map(column).collect()
}

/// A name: its length in a byte, its text, a NUL.
fn name<'a>(body: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::from(body.try_get_u8().ok()?);
    let (text, rest) = body.split_at_checked(length)?;
    *body = rest.strip_prefix(&[0])?;
    std::str::from_utf8(text).ok()
}

/// A length-encoded integer in the type that is wanted.
fn integer<T: TryFrom<u64>>(body: &mut &[u8]) -> Option<T> {
    T::try_from(read_length_encoded(body)?).ok()
}

/// A length-encoded text.
fn text<'a>(body: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = integer(body)?;
    let (head, rest) = body.split_at_checked(length)?;
    *body = rest;
    Some(head)
}

/// Bit `i` of a field whose first bit is the highest of its first byte.
fn bit_from_the_left(value: &[u8], i: usize) -> Option<bool> {
    Some(value.get(i / 8)? >> (7 - i % 8) & 1 == 1)
}
