//! One value of a row image.

use std::fmt;

use bytes::Buf;

use super::column::{Column, ColumnType};
use super::{decimal, temporal};

/// A value, borrowed from its image. Texts are in the column's character set.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// A signed integer.
    Signed(i64),
    /// An unsigned integer, a `YEAR`, an `ENUM`'s index or a `SET`'s bits.
    Unsigned(u64),
    /// A `FLOAT`.
    Float(f32),
    /// A `DOUBLE`.
    Double(f64),
    /// A `DECIMAL`, `DATE`, `DATETIME` or `TIME`, as SQL writes it.
    Text(String),
    /// A `TIMESTAMP`: seconds since 1970, microseconds.
    Timestamp(u32, u32),
    /// `CHAR`, `VARCHAR`, `BLOB`, `TEXT`, `BIT`, `GEOMETRY`, `VECTOR` and their kin: the bytes.
    Bytes(&'a [u8]),
    /// The server's binary JSON.
    Json(&'a [u8]),
    /// Changes to a JSON document, of a partial update.
    JsonDiff(&'a [u8]),
}

impl ColumnType {
    /// How many bytes of a row image the value at its head takes; `None` when it is cut short.
    fn value_length(self, bytes: &[u8]) -> Option<usize> {
        let prefixed = |n: usize| {
            let mut head = bytes.get(..n)?;
            Some(n + usize::try_from(head.get_uint_le(n)).ok()?)
        };
        Some(match self {
            Self::Integer { bytes } => bytes.into(),
            Self::Float => 4,
            Self::Double => 8,
            Self::Decimal { precision, scale } => decimal::length(precision, scale),
            Self::Bit { bits } => usize::from(bits.div_ceil(8)),
            Self::Year => 1,
            Self::Date => 3,
            Self::Time { fraction } => 3 + temporal::fraction_length(fraction),
            Self::DateTime { fraction } => 5 + temporal::fraction_length(fraction),
            Self::Timestamp { fraction } => 4 + temporal::fraction_length(fraction),
            Self::Char { max_bytes } | Self::VarChar { max_bytes } => {
                return prefixed(if max_bytes > 255 { 2 } else { 1 });
            }
            Self::Enum { bytes } | Self::Set { bytes } => bytes.into(),
            Self::Blob { length_bytes }
            | Self::Geometry { length_bytes }
            | Self::Json { length_bytes }
            | Self::Vector { length_bytes } => return prefixed(length_bytes.into()),
        })
    }

    /// Bytes of the length that stands before a value of this type.
    fn prefix_length(self) -> usize {
        match self {
            Self::Char { max_bytes } | Self::VarChar { max_bytes } => 1 + usize::from(max_bytes > 255),
            Self::Blob { length_bytes }
            | Self::Geometry { length_bytes }
            | Self::Json { length_bytes }
            | Self::Vector { length_bytes } => length_bytes.into(),
            _ => 0,
        }
    }
}

/// Takes the next value's bytes off an image, its length prefix left out.
pub(super) fn take<'a>(kind: ColumnType, image: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (head, rest) = image.split_at_checked(kind.value_length(image)?)?;
    *image = rest;
    head.get(kind.prefix_length()..)
}

/// Takes the diffs of a partial JSON update off an image: a 4-byte length, then they.
pub(super) fn take_diff<'a>(image: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(image.try_get_u32_le().ok()?).ok()?;
    let (head, rest) = image.split_at_checked(length)?;
    *image = rest;
    Some(head)
}

/// Reads a value whose bytes were taken by [`take`].
pub(super) fn read<'a>(column: &Column, bytes: &'a [u8]) -> Option<Value<'a>> {
    let mut rest = bytes;
    Some(match column.kind {
        ColumnType::Integer { bytes: width } => {
            let width = usize::from(width);
            let number = rest.try_get_uint_le(width).ok()?;
            if column.unsigned { Value::Unsigned(number) } else { Value::Signed(sign_extend(number, width)) }
        }
        ColumnType::Float => Value::Float(rest.try_get_f32_le().ok()?),
        ColumnType::Double => Value::Double(rest.try_get_f64_le().ok()?),
        ColumnType::Decimal { precision, scale } => Value::Text(decimal::text(bytes, precision, scale)),
        ColumnType::Year => match rest.try_get_u8().ok()? {
            0 => Value::Unsigned(0),
            years => Value::Unsigned(1900 + u64::from(years)),
        },
        ColumnType::Date => Value::Text(temporal::date(bytes.try_into().ok()?)),
        ColumnType::Time { fraction } => Value::Text(temporal::time(bytes, fraction)),
        ColumnType::DateTime { fraction } => Value::Text(temporal::datetime(bytes, fraction)),
        ColumnType::Timestamp { .. } => {
            let (seconds, micros) = temporal::timestamp(bytes);
            Value::Timestamp(seconds, micros)
        }
        ColumnType::Enum { bytes: n } | ColumnType::Set { bytes: n } => {
            Value::Unsigned(rest.try_get_uint_le(n.into()).ok()?)
        }
        ColumnType::Json { .. } => Value::Json(bytes),
        _ => Value::Bytes(bytes),
    })
}

/// The number whose lowest `width` bytes these are, in two's complement.
fn sign_extend(number: u64, width: usize) -> i64 {
    let unused = 64 - 8 * width;
    (number << unused).cast_signed() >> unused
}

impl fmt::Display for Value<'_> {
    /// For people: what names a row in an error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Signed(n) => write!(f, "{n}"),
            Self::Unsigned(n) => write!(f, "{n}"),
            Self::Float(n) => write!(f, "{n}"),
            Self::Double(n) => write!(f, "{n}"),
            Self::Text(text) => write!(f, "'{text}'"),
            Self::Timestamp(seconds, 0) => write!(f, "FROM_UNIXTIME({seconds})"),
            Self::Timestamp(seconds, micros) => write!(f, "FROM_UNIXTIME({seconds}.{micros:06})"),
            Self::Bytes(bytes) | Self::Json(bytes) | Self::JsonDiff(bytes) => {
                match std::str::from_utf8(bytes) {
                    Ok(text) if !text.chars().any(char::is_control) => write!(f, "'{text}'"),
                    _ => {
                        f.write_str("0x")?;
                        bytes.iter().try_for_each(|b| write!(f, "{b:02X}"))
                    }
                }
            }
        }
    }
}
