//! Rows, read one by one: by key from both sides, with what tells them apart and what people want to see.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wire::Row;

use super::Error;
use super::column::{Column, Kind, hex, row_hash};
use super::key::{Key, KeyValue, Range};
use super::session::Session;
use super::table::{Side, Table};

/// Rows asked for in one statement.
pub(super) const AT_ONCE: usize = 50;
/// Bytes of a long value that are read to be shown.
const SHOWN: usize = 2048;

/// A row's checksum.
pub(super) type Hash = Bytes;

/// A value of one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// The exact value, or the checksum of a long one; `None`: NULL.
    pub(super) exact: Option<Bytes>,
    shown: Option<Bytes>,
    /// Bytes of the whole value.
    length: u64,
}

/// A row of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) hash: Hash,
    pub(super) key: Option<KeyValue>,
    pub(super) cells: Vec<Cell>,
}

/// A value as people and programs see it: text where it is text, else base64 or hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Shown {
    /// NULL, or there is no such row.
    Nothing,
    /// All of it.
    Text(String),
    /// The beginning of a long one.
    Cut {
        /// Its first characters; bytes of a binary value in hexadecimal digits.
        begins: String,
        /// Bytes of the whole.
        bytes: u64,
        /// SHA-256 of the whole.
        sha256: String,
    },
    /// Bytes that are no text.
    Base64 {
        /// All of them.
        base64: String,
    },
}

impl Cell {
    /// For people and programs.
    pub(super) fn show(&self, column: &Column) -> Shown {
        use base64::Engine;
        let Some(shown) = &self.shown else { return Shown::Nothing };
        let text =
            std::str::from_utf8(shown).ok().filter(|_| !matches!(column.kind, Kind::Bytes | Kind::Packed));
        if column.long && self.length > SHOWN as u64 {
            let begins = text.map_or_else(|| hex(shown), Into::into);
            let sha256 =
                self.exact.as_ref().map(|e| String::from_utf8_lossy(e).into_owned()).unwrap_or_default();
            return Shown::Cut { begins, bytes: self.length, sha256 };
        }
        match text {
            Some(text) => Shown::Text(text.into()),
            None => Shown::Base64 { base64: base64::engine::general_purpose::STANDARD.encode(shown) },
        }
    }

    /// For people and programs, where the text alone would look like the other side's.
    pub(super) fn show_bytes(&self, column: &Column) -> Shown {
        match (&self.exact, column.long) {
            (Some(exact), false) => Shown::Text(format!("0x{}", hex(exact))),
            _ => self.show(column),
        }
    }
}

/// What is selected of a row: its checksum, its key, and three values for each column.
fn select(side: &Side, key: Option<&Key>) -> String {
    let mut parts = vec![row_hash(side.columns.iter())];
    parts.extend(key.map(Key::select));
    for column in &side.columns {
        let exact = column.exact();
        let readable = match column.kind {
            Kind::Text if !column.is_utf8() => format!("CONVERT({exact} USING utf8mb4)"),
            // Members by name; a BIT has none.
            Kind::Members if column.charset.is_some() => {
                format!("CONVERT({} USING utf8mb4)", column.quoted())
            }
            _ => exact.clone(),
        };
        let shown = if column.long { format!("LEFT({readable}, {SHOWN})") } else { readable };
        parts.extend([column.digest(), shown, format!("LENGTH({exact})")]);
    }
    parts.join(", ")
}

fn image(row: &[Option<Bytes>], side: &Side, key: Option<&Key>) -> Option<Image> {
    let (hash, rest) = row.split_first()?;
    let (keys, rest) = rest.split_at_checked(key.map_or(0, |key| key.parts.len()))?;
    let key = key.and_then(|_| keys.iter().cloned().collect::<Option<Vec<_>>>()).map(KeyValue);
    let cell = |three: &[Option<Bytes>]| {
        let length =
            three.get(2)?.as_ref().and_then(|l| std::str::from_utf8(l).ok()?.parse().ok()).unwrap_or(0);
        Some(Cell { exact: three.first()?.clone(), shown: three.get(1)?.clone(), length })
    };
    let cells: Vec<Cell> = rest.chunks(3).map(cell).collect::<Option<_>>()?;
    (cells.len() == side.columns.len()).then_some(Image { hash: hash.clone()?, key, cells })
}

/// The rows of these keys, each in its place; `None` where there is none.
pub(super) async fn by_keys(
    session: &mut Session,
    table: &Table,
    side: &Side,
    keys: &[&KeyValue],
) -> Result<Vec<Option<Image>>, Error> {
    let mut found = vec![None; keys.len()];
    for (chunk, start) in keys.chunks(AT_ONCE).zip((0..).step_by(AT_ONCE)) {
        let sql = by_keys_statement(table, side, chunk, "");
        let rows = session.ask(&reading(table), &sql).await?.rows;
        place(session.region(), table, side, rows, &mut found[start..])?;
    }
    Ok(found)
}

/// As [`by_keys`], inside a transaction of this connection, and each row locked.
pub(super) async fn lock_keys(
    session: &mut Session,
    table: &Table,
    side: &Side,
    keys: &[&KeyValue],
) -> Result<Vec<Option<Image>>, Error> {
    let mut found = vec![None; keys.len()];
    for (chunk, start) in keys.chunks(AT_ONCE).zip((0..).step_by(AT_ONCE)) {
        let sql = by_keys_statement(table, side, chunk, " FOR UPDATE");
        let rows = session.connection().query_rows(sql).await;
        let rows = rows.map_err(Error::wire(session.region(), reading(table)))?.rows;
        place(session.region(), table, side, rows, &mut found[start..])?;
    }
    Ok(found)
}

fn by_keys_statement(table: &Table, side: &Side, keys: &[&KeyValue], lock: &str) -> String {
    let what = select(side, table.key.as_ref());
    keyed_statement(table, side, keys, &what, lock)
}

/// One statement for rows of different keys, each row with the number of its key.
fn keyed_statement(table: &Table, side: &Side, keys: &[&KeyValue], what: &str, lock: &str) -> String {
    let Some(key) = &table.key else { return "SELECT NULL WHERE FALSE".into() };
    let one = |(i, value): (usize, &&KeyValue)| {
        format!("(SELECT {i}, {what} FROM {} WHERE {}{lock})", side.from(), key.is(value))
    };
    keys.iter().enumerate().map(one).collect::<Vec<_>>().join(" UNION ALL ")
}

fn place(
    region: &str,
    table: &Table,
    side: &Side,
    rows: Vec<Row>,
    found: &mut [Option<Image>],
) -> Result<(), Error> {
    for row in rows {
        let read = image(row.get(1..).unwrap_or_default(), side, table.key.as_ref());
        let place = number(&row).and_then(|n| found.get_mut(n));
        let (Some(place), Some(read)) = (place, read) else { return Err(odd(region, table)) };
        *place = Some(read);
    }
    Ok(())
}

/// A whole row, for writing it elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    pub(super) hash: Hash,
    /// The exact values, column by column.
    pub(super) values: Vec<Option<Bytes>>,
}

/// The whole rows of these keys, each in its place.
pub(super) async fn whole_by_keys(
    session: &mut Session,
    table: &Table,
    side: &Side,
    keys: &[&KeyValue],
) -> Result<Vec<Option<Whole>>, Error> {
    let exact: Vec<String> = side.columns.iter().map(Column::exact).collect();
    let what = format!("{}, {}", row_hash(side.columns.iter()), exact.join(", "));
    let mut found = vec![None; keys.len()];
    for (chunk, start) in keys.chunks(AT_ONCE).zip((0..).step_by(AT_ONCE)) {
        let sql = keyed_statement(table, side, chunk, &what, "");
        for mut row in session.ask(&reading(table), &sql).await?.rows {
            let values = row.split_off(2.min(row.len()));
            let hash = row.pop().flatten();
            let place = number(&row).and_then(|n| found[start..].get_mut(n));
            let (Some(place), Some(hash)) = (place, hash) else { return Err(odd(session.region(), table)) };
            *place = Some(Whole { hash, values });
        }
    }
    Ok(found)
}

/// The checksums of the rows of these keys, on the session's own connection: inside its transaction if there is one.
pub(super) async fn hash_by_keys(
    session: &mut Session,
    table: &Table,
    side: &Side,
    keys: &[&KeyValue],
) -> Result<Vec<Option<Hash>>, Error> {
    let sql = keyed_statement(table, side, keys, &row_hash(side.columns.iter()), "");
    let rows = session.connection().query_rows(sql).await;
    let rows = rows.map_err(Error::wire(session.region(), reading(table)))?.rows;
    let mut found = vec![None; keys.len()];
    for mut row in rows {
        let hash = row.pop().flatten();
        let place = number(&row).and_then(|n| found.get_mut(n));
        let (Some(place), Some(hash)) = (place, hash) else { return Err(odd(session.region(), table)) };
        *place = Some(hash);
    }
    Ok(found)
}

/// Which key a row is of.
fn number(row: &[Option<Bytes>]) -> Option<usize> {
    std::str::from_utf8(row.first()?.as_ref()?).ok()?.parse().ok()
}

fn odd(region: &str, table: &Table) -> Error {
    Error::answer(region, &reading(table), "a row that was not asked for, or without a checksum")
}

/// Key and checksum of every row in a range.
pub(super) async fn hashes(
    session: &mut Session,
    table: &Table,
    side: &Side,
    key: &Key,
    range: &Range,
) -> Result<Vec<(KeyValue, Hash)>, Error> {
    let sql = format!(
        "SELECT {}, {} FROM {} WHERE {}",
        row_hash(side.columns.iter()),
        key.select(),
        side.from(),
        key.within(range)
    );
    let doing = reading(table);
    let rows = session.ask(&doing, &sql).await?.rows;
    let read = |mut row: Row| {
        let key: Option<Vec<Bytes>> = row.drain(1..).collect();
        Some((KeyValue(key?), row.pop()??))
    };
    let read: Option<Vec<_>> = rows.into_iter().map(read).collect();
    read.ok_or_else(|| Error::answer(session.region(), &doing, "a row without a key or a checksum"))
}

/// The first row with each of these checksums, of a table without a key: each asked for by a scan.
pub(super) async fn by_hashes(
    session: &mut Session,
    table: &Table,
    side: &Side,
    hashes: &[Hash],
) -> Result<Vec<Image>, Error> {
    let mut found: Vec<Image> = Vec::new();
    for chunk in hashes.chunks(AT_ONCE) {
        let list: Vec<String> = chunk.iter().map(|hash| format!("X'{}'", hex(hash))).collect();
        let hash = row_hash(side.columns.iter());
        let sql = format!(
            "SELECT {} FROM {} WHERE {hash} IN ({})",
            select(side, None),
            side.from(),
            list.join(", ")
        );
        for row in session.ask(&reading(table), &sql).await?.rows {
            let read = image(&row, side, None);
            let read = read.ok_or_else(|| {
                Error::answer(session.region(), &reading(table), "a row without a checksum")
            })?;
            if !found.iter().any(|known| known.hash == read.hash) {
                found.push(read);
            }
        }
    }
    Ok(found)
}

fn reading(table: &Table) -> String {
    format!("reading rows of {}", table.name)
}
