//! A value as SQL tells it, as it stands in a row image.
//!
//! The texts are those of [`crate::verify::column::Column::exact`], in a session whose time zone is UTC and which does
//! not convert character sets: nothing is rounded, and nothing is lost but one thing. A JSON document is told as text, and
//! made of that text again; a time that SQL functions put into a document as such becomes the string it is shown as. Every
//! tool that copies by SQL does the same.

use binlog::row::{Column, ColumnType, Value, put_value};
use bytes::Bytes;

use super::json;
use crate::conflict::readable;

/// The collation of bytes that are no text.
const BINARY: u32 = 63;

/// Reads a text. `room` holds what is made of it where it is not the text itself.
pub(crate) fn parse<'a>(column: &Column, text: &'a [u8], room: &'a mut Vec<u8>) -> Option<Value<'a>> {
    let plain = || std::str::from_utf8(text).ok();
    Some(match column.kind {
        ColumnType::Integer { .. } if !column.unsigned => Value::Signed(plain()?.parse().ok()?),
        ColumnType::Integer { .. } | ColumnType::Year | ColumnType::Enum { .. } | ColumnType::Set { .. } => {
            Value::Unsigned(plain()?.parse().ok()?)
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is a FLOAT's own value, told in full")]
        ColumnType::Float => Value::Float(plain()?.parse::<f64>().ok()? as f32),
        ColumnType::Double => Value::Double(plain()?.parse().ok()?),
        ColumnType::Decimal { .. }
        | ColumnType::Date
        | ColumnType::Time { .. }
        | ColumnType::DateTime { .. } => Value::Text(plain()?.into()),
        ColumnType::Timestamp { .. } => timestamp(plain()?)?,
        ColumnType::Bit { bits } => {
            let number: u64 = plain()?.parse().ok()?;
            room.clear();
            room.extend_from_slice(&number.to_be_bytes()[8 - usize::from(bits.div_ceil(8))..]);
            Value::Bytes(room)
        }
        ColumnType::Json { .. } => {
            room.clear();
            json::encode(text, room)?;
            Value::Json(room)
        }
        ColumnType::Char { .. }
        | ColumnType::VarChar { .. }
        | ColumnType::Blob { .. }
        | ColumnType::Geometry { .. }
        | ColumnType::Vector { .. } => Value::Bytes(text),
    })
}

/// Appends a row's image. Gives the position of the value that does not fit its column, if one does not.
pub(crate) fn put_row(
    columns: &[Column],
    row: &[Option<Bytes>],
    room: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), usize> {
    let nulls = out.len();
    out.extend(std::iter::repeat_n(0, columns.len().div_ceil(8)));
    for (i, (column, text)) in columns.iter().zip(row).enumerate() {
        match text {
            None => out[nulls + i / 8] |= 1 << (i % 8),
            Some(text) => {
                let value = parse(column, text, room).ok_or(i)?;
                put_value(column, &value, out).ok_or(i)?;
            }
        }
    }
    Ok(())
}

/// A value of a key as SQL tells it: the inverse of [`parse`]. `None` for NULL, and for what is in no key.
pub(crate) fn text_of(column: &Column, value: &Value<'_>) -> Option<Bytes> {
    Some(match value {
        Value::Null | Value::Json(_) | Value::JsonDiff(_) => return None,
        Value::Signed(n) => n.to_string().into(),
        Value::Unsigned(n) => n.to_string().into(),
        Value::Float(n) => f64::from(*n).to_string().into(),
        Value::Double(n) => n.to_string().into(),
        Value::Text(text) => text.clone().into(),
        Value::Timestamp(seconds, micros) => readable::timestamp(column, *seconds, *micros).into(),
        Value::Bytes(bytes) => match column.kind {
            ColumnType::Bit { .. } => {
                bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte)).to_string().into()
            }
            // A BINARY is as long as its column.
            ColumnType::Char { max_bytes } if column.collation == Some(BINARY) => {
                let mut padded = bytes.to_vec();
                padded.resize(usize::from(max_bytes).max(padded.len()), 0);
                padded.into()
            }
            _ => Bytes::copy_from_slice(bytes),
        },
    })
}

/// `2026-11-25 14:00:00.5` in UTC. The zero timestamp is no time, and second 0.
fn timestamp(text: &str) -> Option<Value<'static>> {
    let (head, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = head.split(['-', ':', ' ']).map(|part| part.parse::<i64>().ok());
    let mut next = || parts.next().flatten();
    let (year, month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?, next()?);
    if year == 0 {
        return Some(Value::Timestamp(0, 0));
    }
    let micros = if fraction.is_empty() { 0 } else { format!("{fraction:0<6}").parse().ok()? };
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(Value::Timestamp(u32::try_from(seconds).ok()?, micros))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar. Years are counted from March, so that the odd day is the
/// last of them.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let since_march = (month + 9) % 12;
    let day_of_year = (153 * since_march + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use binlog::row::{Column, ColumnType, Value};

    use super::{parse, timestamp};

    #[test]
    fn timestamps_are_counted_in_seconds_of_utc() {
        assert_eq!(timestamp("1970-01-01 00:00:01"), Some(Value::Timestamp(1, 0)));
        assert_eq!(timestamp("2000-02-29 12:00:00.5"), Some(Value::Timestamp(951_825_600, 500_000)));
        assert_eq!(timestamp("2038-01-19 03:14:07.999999"), Some(Value::Timestamp(2_147_483_647, 999_999)));
        assert_eq!(timestamp("0000-00-00 00:00:00.00"), Some(Value::Timestamp(0, 0)));
        assert_eq!(timestamp("tomorrow"), None);
    }

    #[test]
    fn a_keys_value_comes_back_from_its_text() {
        let values = [
            (ColumnType::Integer { bytes: 8 }, Value::Signed(i64::MIN)),
            (ColumnType::Double, Value::Double(-2.25e-300)),
            (ColumnType::Float, Value::Float(0.1)),
            (ColumnType::Bit { bits: 12 }, Value::Bytes(&[0x0a, 0xbc])),
            (ColumnType::Timestamp { fraction: 3 }, Value::Timestamp(951_825_600, 500_000)),
            (ColumnType::Date, Value::Text("0000-00-00".into())),
        ];
        for (kind, value) in values {
            let column = Column::new(kind, false);
            let text = super::text_of(&column, &value).unwrap();
            assert_eq!(parse(&column, &text, &mut Vec::new()), Some(value), "{kind:?}");
        }
    }

    #[test]
    fn bits_are_as_wide_as_their_column() {
        let column = Column::new(ColumnType::Bit { bits: 33 }, false);
        let mut room = Vec::new();
        assert_eq!(
            parse(&column, b"8589934591", &mut room),
            Some(Value::Bytes(&[1, 0xff, 0xff, 0xff, 0xff]))
        );
    }

    #[test]
    fn what_is_no_value_of_its_column_is_refused() {
        let mut room = Vec::new();
        for kind in
            [ColumnType::Integer { bytes: 4 }, ColumnType::Double, ColumnType::Json { length_bytes: 4 }]
        {
            assert_eq!(parse(&Column::new(kind, false), b"x1", &mut room), None, "{kind:?}");
        }
    }
}
