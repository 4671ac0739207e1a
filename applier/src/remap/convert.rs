//! A value of a row, written in the type of the target's column, if that holds it exactly.

use std::collections::HashMap;

use binlog::row::{Column, ColumnType, Value, put_value};

use super::layout::TargetColumn;
use super::plan::How;

/// Texts in other character sets, as the server gave them: by the two sets and the text. `None`: it has no equal.
pub(super) type Texts = HashMap<(String, String, Vec<u8>), Option<Vec<u8>>>;

/// The text that the server is to be asked for, if a value needs one.
pub(super) fn asks<'v>(value: &Value<'v>, how: &How) -> Option<&'v [u8]> {
    match (value, how) {
        (Value::Bytes(bytes), How::Convert { from, to }) => {
            let plain = bytes.is_ascii() && is_ascii_based(from) && is_ascii_based(to);
            (!plain).then_some(*bytes)
        }
        _ => None,
    }
}

/// Appends a value that is not NULL; an error says why it does not fit.
pub(super) fn put(
    value: &Value<'_>,
    how: &How,
    target: &TargetColumn,
    texts: &Texts,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let name = &target.facts.name;
    let misfit = || format!("a value of column {name} does not fit {}", target.shape.describe());
    let column = target.column.as_ref().ok_or_else(misfit)?;
    let put = |value: Option<Value<'_>>, out: &mut Vec<u8>| {
        value.and_then(|value| put_value(column, &value, out)).ok_or_else(misfit)
    };
    match how {
        How::Keep if matches!(value, Value::JsonDiff(_)) => Err(format!(
            "column {name} is told by what changed inside its document, and the table's columns differ"
        )),
        How::Keep => put(Some(value.clone()), out),
        How::Members(members) => put(member(value, members, column.kind), out),
        How::Fit => put(fit(value.clone(), column, target), out),
        How::Convert { from, to } => {
            let Value::Bytes(bytes) = value else { return Err(misfit()) };
            if asks(value, how).is_none() {
                return put(text(bytes, column, target), out);
            }
            let converted = texts.get(&(from.clone(), to.clone(), bytes.to_vec()));
            let converted = converted.and_then(Option::as_ref).ok_or_else(misfit)?;
            put(text(converted, column, target), out)
        }
    }
}

/// Character sets in which ASCII is itself.
fn is_ascii_based(charset: &str) -> bool {
    !matches!(charset, "ucs2" | "utf16" | "utf16le" | "utf32" | "swe7")
}

fn member(value: &Value<'_>, members: &[Option<u64>], kind: ColumnType) -> Option<Value<'static>> {
    let Value::Unsigned(number) = value else { return None };
    if matches!(kind, ColumnType::Set { .. }) {
        let mut bits = 0;
        for i in (0..64).filter(|i| number >> i & 1 == 1) {
            bits |= 1u64.checked_shl(u32::try_from((*members.get(i)?)?).ok()?)?;
        }
        return Some(Value::Unsigned(bits));
    }
    match usize::try_from(*number).ok()? {
        // The empty member, which every ENUM has.
        0 => Some(Value::Unsigned(0)),
        n => Some(Value::Unsigned((*members.get(n - 1)?)?)),
    }
}

fn fit<'v>(value: Value<'v>, column: &Column, target: &TargetColumn) -> Option<Value<'v>> {
    Some(match (value, column.kind) {
        (Value::Signed(n), ColumnType::Integer { bytes }) => integer(n.into(), bytes, column.unsigned)?,
        (Value::Unsigned(n), ColumnType::Integer { bytes }) => integer(n.into(), bytes, column.unsigned)?,
        (Value::Signed(n), ColumnType::Decimal { .. }) if !column.unsigned || n >= 0 => {
            Value::Text(n.to_string())
        }
        (Value::Unsigned(n), ColumnType::Decimal { .. }) => Value::Text(n.to_string()),
        (Value::Text(text), ColumnType::Decimal { .. }) => {
            let short = without_zeros(&text);
            if column.unsigned && short.starts_with('-') {
                return None;
            }
            Value::Text(short.to_owned())
        }
        (Value::Float(n), ColumnType::Double) => Value::Double(f64::from(n)),
        #[expect(clippy::cast_possible_truncation, reason = "it is compared with what it was")]
        (Value::Double(n), ColumnType::Float) => {
            let narrow = n as f32;
            if f64::from(narrow) != n {
                return None;
            }
            Value::Float(narrow)
        }
        (Value::Text(text), ColumnType::Time { fraction } | ColumnType::DateTime { fraction }) => {
            let short = without_zeros(&text);
            let digits = short.split_once('.').map_or(0, |(_, digits)| digits.len());
            if digits > usize::from(fraction) {
                return None;
            }
            Value::Text(short.to_owned())
        }
        (Value::Timestamp(seconds, micros), ColumnType::Timestamp { fraction }) => {
            if micros % 10u32.pow(6 - u32::from(fraction.min(6))) != 0 {
                return None;
            }
            Value::Timestamp(seconds, micros)
        }
        (Value::Bytes(bytes), ColumnType::Bit { bits }) => {
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            let number = &bytes[zeros..];
            let used = number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize);
            if used > usize::from(bits) {
                return None;
            }
            Value::Bytes(number)
        }
        (Value::Bytes(bytes), _) => text(bytes, column, target)?,
        _ => return None,
    })
}

/// Digits behind the point that are zero say nothing.
fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

fn integer(number: i128, bytes: u8, unsigned: bool) -> Option<Value<'static>> {
    let bits = u32::from(bytes) * 8;
    if unsigned {
        let fits = (0..1i128 << bits).contains(&number);
        return fits.then(|| u64::try_from(number).ok().map(Value::Unsigned))?;
    }
    let half = 1i128 << (bits - 1);
    (-half..half).contains(&number).then(|| i64::try_from(number).ok().map(Value::Signed))?
}

/// A text, if the column has room for it.
fn text<'v>(bytes: &'v [u8], column: &Column, target: &TargetColumn) -> Option<Value<'v>> {
    if let ColumnType::Char { max_bytes } | ColumnType::VarChar { max_bytes } = column.kind {
        let most = target.facts.characters.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
        let is_utf8 = target.facts.charset.as_deref().is_some_and(|charset| charset.starts_with("utf8"));
        // A character is one byte at least; in UTF-8 they can be counted.
        let fits = bytes.len() <= most
            || is_utf8 && std::str::from_utf8(bytes).is_ok_and(|text| text.chars().count() <= most);
        if bytes.len() > usize::from(max_bytes) || !fits {
            return None;
        }
    }
    // CHAR forgets the spaces at its end.
    let forgets = matches!(column.kind, ColumnType::Char { .. }) && bytes.ends_with(b" ");
    (!forgets).then_some(Value::Bytes(bytes))
}

#[cfg(test)]
mod tests {
    use binlog::row::{ColumnType, Value};

    use super::{Texts, put};
    use crate::remap::layout::{ColumnFacts, TargetColumn};
    use crate::remap::plan::How;

    fn column(column_type: &str) -> TargetColumn {
        let text = column_type.contains("char") || column_type.contains("text");
        TargetColumn::new(ColumnFacts {
            name: "a".into(),
            column_type: column_type.into(),
            octets: text.then_some(16),
            characters: text.then_some(4),
            charset: text.then(|| "utf8mb4".into()),
            ..ColumnFacts::default()
        })
    }

    fn fits(value: &Value<'_>, column_type: &str) -> bool {
        put(value, &How::Fit, &column(column_type), &Texts::new(), &mut Vec::new()).is_ok()
    }

    #[test]
    fn numbers_fit_where_they_are_the_same_number() {
        assert!(fits(&Value::Signed(127), "tinyint") && !fits(&Value::Signed(128), "tinyint"));
        assert!(fits(&Value::Signed(-128), "tinyint") && !fits(&Value::Signed(-1), "bigint unsigned"));
        assert!(
            fits(&Value::Unsigned(u64::MAX), "bigint unsigned")
                && !fits(&Value::Unsigned(u64::MAX), "bigint")
        );
        assert!(
            fits(&Value::Text("12.500".into()), "decimal(4,1)")
                && !fits(&Value::Text("12.55".into()), "decimal(4,1)")
        );
        assert!(fits(&Value::Double(0.5), "float") && !fits(&Value::Double(0.1), "float"));
        assert!(fits(&Value::Float(0.1), "double"));
        assert!(
            fits(&Value::Text("10:00:00.120000".into()), "time(2)")
                && !fits(&Value::Text("10:00:00.125".into()), "time(2)")
        );
        assert!(
            fits(&Value::Timestamp(1, 120_000), "timestamp(2)")
                && !fits(&Value::Timestamp(1, 1), "timestamp(5)")
        );
        assert!(fits(&Value::Bytes(&[0, 3]), "bit(2)") && !fits(&Value::Bytes(&[4]), "bit(2)"));
    }

    #[test]
    fn texts_fit_by_characters_and_keep_their_spaces() {
        assert!(fits(&Value::Bytes("äöüß".as_bytes()), "varchar(4)"));
        assert!(!fits(&Value::Bytes(b"abcde"), "varchar(4)"));
        assert!(!fits(&Value::Bytes(b"a "), "char(4)") && fits(&Value::Bytes(b"a "), "varchar(4)"));
        assert!(fits(&Value::Bytes(b"abcde"), "text"));
    }

    #[test]
    fn members_are_found_by_name() {
        let mut out = Vec::new();
        let how = How::Members(vec![Some(2), None]);
        let there = column("enum('z','x')");
        assert_eq!(there.column.as_ref().unwrap().kind, ColumnType::Enum { bytes: 1 });
        put(&Value::Unsigned(1), &how, &there, &Texts::new(), &mut out).unwrap();
        put(&Value::Unsigned(0), &how, &there, &Texts::new(), &mut out).unwrap();
        assert_eq!(out, [2, 0]);
        let lost = put(&Value::Unsigned(2), &how, &there, &Texts::new(), &mut out);
        assert!(lost.unwrap_err().contains("column a does not fit"));
        let how = How::Members(vec![Some(1), Some(0)]);
        out.clear();
        put(&Value::Unsigned(0b01), &how, &column("set('b','a')"), &Texts::new(), &mut out).unwrap();
        assert_eq!(out, [0b10]);
    }
}
