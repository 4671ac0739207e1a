//! Row values as JSON, by column name.

use binlog::row::{Column, ColumnType, Image, TableMap, Value};
use mysql_common::binlog::jsonb;
use mysql_common::io::ParseBuf;
use serde_json::Value as Json;

use super::describe::Named;
use super::time;

/// The collation of bytes that are no text.
const BINARY: u32 = 63;

/// The values of an image, in the order of the columns; those it lacks are left out. A column whose name the log does
/// not tell is `@n`, from 1, as `mysqlbinlog` names it.
pub(super) fn row(map: &TableMap, image: &Image<'_>) -> Named {
    let columns = map.columns.iter().zip(image.values()).enumerate();
    let named = columns.filter_map(|(i, (column, read))| {
        let name = if map.has_names { column.name.clone() } else { format!("@{}", i + 1) };
        Some((name, value(column, read.as_ref()?)))
    });
    named.collect()
}

fn value(column: &Column, read: &Value<'_>) -> Json {
    match read {
        Value::Null => Json::Null,
        Value::Signed(n) => (*n).into(),
        Value::Unsigned(n) => members(column, *n).unwrap_or_else(|| (*n).into()),
        // By its text: 0.1 as a float is another number as a double.
        Value::Float(n) => n.to_string().parse::<f64>().unwrap_or_else(|_| f64::from(*n)).into(),
        Value::Double(n) => (*n).into(),
        Value::Text(text) => text.clone().into(),
        Value::Timestamp(0, 0) => "0000-00-00 00:00:00".into(),
        Value::Timestamp(seconds, micros) => {
            time(u64::from(*seconds) * 1_000_000 + u64::from(*micros)).map_or(Json::Null, Json::from)
        }
        Value::Bytes(bytes) => text(column, bytes).unwrap_or_else(|| hex(bytes)),
        Value::Json(bytes) => document(bytes).unwrap_or_else(|| hex(bytes)),
        Value::JsonDiff(bytes) => hex(bytes),
    }
}

/// What an ENUM's or SET's number stands for; `None` when the log does not tell its members.
fn members(column: &Column, number: u64) -> Option<Json> {
    let name = |i: usize| column.members.get(i).map(|name| String::from_utf8_lossy(name).into_owned());
    match column.kind {
        ColumnType::Enum { .. } if !column.members.is_empty() => match usize::try_from(number).ok()? {
            0 => Some("".into()),
            n => name(n - 1).map(Json::from),
        },
        ColumnType::Set { .. } if !column.members.is_empty() => {
            let is_in = |i: &usize| number >> i & 1 == 1;
            Some((0..64).filter(is_in).filter_map(name).collect::<Vec<_>>().join(",").into())
        }
        _ => None,
    }
}

fn text(column: &Column, bytes: &[u8]) -> Option<Json> {
    match column.kind {
        ColumnType::Bit { .. } if bytes.len() <= 8 => {
            Some(bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte)).into())
        }
        ColumnType::Char { .. } | ColumnType::VarChar { .. } | ColumnType::Blob { .. }
            if column.collation != Some(BINARY) =>
        {
            std::str::from_utf8(bytes).ok().map(Json::from)
        }
        _ => None,
    }
}

/// A document out of the server's binary JSON.
fn document(bytes: &[u8]) -> Option<Json> {
    let value: jsonb::Value<'_> = ParseBuf(bytes).parse(()).ok()?;
    value.parse().ok().map(Json::from)
}

fn hex(bytes: &[u8]) -> Json {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("0x{digits}").into()
}
