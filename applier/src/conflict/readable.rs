//! Rows as JSON: for people who look at a conflict, and exact enough to put a row back.
//!
//! Numbers are numbers, decimals and times are texts, JSON is itself, texts are texts whatever their character set,
//! and what is no text is `{"base64": "…"}`. What is larger than a mebibyte is `{"omitted_bytes": n}`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use binlog::row::{Column, ColumnType, Image, TableMap, Value};
use mysql_common::binlog::jsonb::{self, JsonContainer, JsonDom, JsonNumber, JsonScalar};
use mysql_common::io::ParseBuf;
use serde_json::{Map, Value as Json, json};
use wire::{Connection, RowRef};

use crate::collations::Collations;
use crate::{Error, sql};

/// The collation of bytes that are no text.
const BINARY: u32 = 63;
/// A larger value is left out.
const LARGEST: usize = 1 << 20;

/// An image of a row event, by column name.
pub(super) async fn image(
    connection: &mut Connection,
    collations: &Collations,
    map: &TableMap,
    image: &Image<'_>,
) -> Result<Json, Error> {
    let mut row = Map::new();
    for (column, value) in map.columns.iter().zip(image.values()) {
        let Some(value) = value else { continue };
        let readable = match (value, charset(collations, column)) {
            (Value::Bytes(bytes), Some(charset)) => text(connection, charset, bytes).await?,
            _ => plain(column, value),
        };
        row.insert(column.name.clone(), readable);
    }
    Ok(Json::Object(row))
}

/// The character set of a column of texts.
fn charset<'a>(collations: &'a Collations, column: &Column) -> Option<&'a str> {
    let is_text =
        matches!(column.kind, ColumnType::Char { .. } | ColumnType::VarChar { .. } | ColumnType::Blob { .. });
    let collation = column.collation.filter(|id| is_text && *id != BINARY)?;
    collations.charset(collation)
}

/// A text; the server converts those of character sets that are not UTF-8.
async fn text(connection: &mut Connection, charset: &str, bytes: &[u8]) -> Result<Json, Error> {
    if bytes.len() > LARGEST {
        return Ok(omitted(bytes.len()));
    }
    if bytes.is_ascii() && !matches!(charset, "ucs2" | "utf16" | "utf16le" | "utf32" | "swe7")
        || charset.starts_with("utf8")
    {
        return Ok(std::str::from_utf8(bytes).map_or_else(|_| base64(bytes), Json::from));
    }
    let query = format!("SELECT CONVERT(_{charset} {} USING utf8mb4)", sql::bytes(bytes));
    let rows = connection.query_rows(query).await.map_err(Error::target("converting a text"))?;
    Ok(rows.single_text().map_or_else(|_| base64(bytes), Json::from))
}

fn plain(column: &Column, value: &Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Signed(n) => json!(n),
        Value::Unsigned(n) => members(column, *n).unwrap_or_else(|| json!(n)),
        // By its text: 0.1 as a float is another number as a double.
        Value::Float(n) => json!(n.to_string().parse::<f64>().unwrap_or_else(|_| f64::from(*n))),
        Value::Double(n) => json!(n),
        Value::Text(text) => json!(text),
        Value::Timestamp(seconds, micros) => json!(timestamp(column, *seconds, *micros)),
        Value::Bytes(bytes) => match column.kind {
            ColumnType::Bit { .. } if bytes.len() <= 8 => {
                json!(bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte)))
            }
            _ => binary(bytes),
        },
        Value::Json(bytes) => document(bytes).unwrap_or_else(|| binary(bytes)),
        Value::JsonDiff(bytes) => json!({ "json_diff": binary(bytes) }),
    }
}

/// What an ENUM's or SET's number stands for.
fn members(column: &Column, number: u64) -> Option<Json> {
    let name = |i: usize| column.members.get(i).map(|name| String::from_utf8_lossy(name).into_owned());
    match column.kind {
        ColumnType::Enum { .. } if number == 0 => Some(json!("")),
        ColumnType::Enum { .. } => name(usize::try_from(number).ok()? - 1).map(Json::from),
        ColumnType::Set { .. } => {
            let is_in = |i: &usize| number >> i & 1 == 1;
            Some(json!((0..64).filter(is_in).filter_map(name).collect::<Vec<_>>().join(",")))
        }
        _ => None,
    }
}

/// As a session in UTC shows it.
pub(crate) fn timestamp(column: &Column, seconds: u32, micros: u32) -> String {
    let digits = match column.kind {
        ColumnType::Timestamp { fraction } => usize::from(fraction),
        _ => 0,
    };
    let fraction = if digits == 0 { String::new() } else { format!(".{micros:06}")[..=digits].to_owned() };
    if seconds == 0 && micros == 0 {
        return format!("0000-00-00 00:00:00{fraction}");
    }
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds.into());
    let text = humantime::format_rfc3339_seconds(at).to_string();
    format!("{}{fraction}", text.trim_end_matches('Z').replace('T', " "))
}

/// A document out of the server's binary JSON.
fn document(bytes: &[u8]) -> Option<Json> {
    let value: jsonb::Value<'_> = ParseBuf(bytes).parse(()).ok()?;
    value.parse().ok().map(readable)
}

/// As the server shows it: a decimal is a number, as a text it would be put back as one.
fn readable(document: JsonDom) -> Json {
    match document {
        JsonDom::Container(JsonContainer::Array(all)) => all.into_iter().map(readable).collect(),
        JsonDom::Container(JsonContainer::Object(all)) => {
            all.into_iter().map(|(name, value)| (name, readable(value))).collect()
        }
        JsonDom::Scalar(JsonScalar::Number(JsonNumber::Decimal(decimal))) => {
            let text = decimal.to_string();
            serde_json::from_str(&text).unwrap_or(Json::String(text))
        }
        scalar @ JsonDom::Scalar(_) => scalar.into(),
    }
}

fn binary(bytes: &[u8]) -> Json {
    if bytes.len() > LARGEST { omitted(bytes.len()) } else { base64(bytes) }
}

fn base64(bytes: &[u8]) -> Json {
    json!({ "base64": STANDARD.encode(bytes) })
}

fn omitted(bytes: usize) -> Json {
    json!({ "omitted_bytes": bytes })
}

/// What to select of a table so that [`local`] can read it.
pub(super) fn selected(map: &TableMap) -> String {
    let columns = map.columns.iter().map(|column| {
        let name = sql::name(&column.name);
        let is_text = column.collation.is_some_and(|id| id != BINARY);
        match column.kind {
            ColumnType::Float => format!("CAST({name} AS DOUBLE) AS {name}"),
            ColumnType::Bit { .. } => format!("CAST({name} AS UNSIGNED) AS {name}"),
            ColumnType::Json { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } => {
                format!("CONVERT({name} USING utf8mb4) AS {name}")
            }
            _ if is_text => format!("CONVERT({name} USING utf8mb4) AS {name}"),
            // Bytes as they are; numbers and times as texts.
            _ => name,
        }
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// A row that was read with [`selected`].
pub(super) fn local(map: &TableMap, row: RowRef<'_>) -> Json {
    let read = |column: &Column| {
        let Some(bytes) = row.bytes(&column.name).ok().flatten() else { return Json::Null };
        let text = std::str::from_utf8(bytes);
        let number = || text.ok().and_then(|text| serde_json::from_str::<Json>(text).ok());
        let is_text = column.collation.is_some_and(|id| id != BINARY);
        match column.kind {
            ColumnType::Integer { .. } | ColumnType::Float | ColumnType::Double | ColumnType::Bit { .. } => {
                number().unwrap_or_else(|| binary(bytes))
            }
            ColumnType::Year => number().unwrap_or_else(|| json!(text.ok())),
            ColumnType::Json { .. } => number().unwrap_or_else(|| binary(bytes)),
            ColumnType::Geometry { .. } | ColumnType::Vector { .. } => binary(bytes),
            ColumnType::Char { .. } | ColumnType::VarChar { .. } | ColumnType::Blob { .. } if !is_text => {
                binary(bytes)
            }
            _ if bytes.len() > LARGEST => omitted(bytes.len()),
            _ => text.map_or_else(|_| base64(bytes), Json::from),
        }
    };
    Json::Object(map.columns.iter().map(|column| (column.name.clone(), read(column))).collect())
}
