//! Keys in the order of their index: what tells whether a row belongs to a part of its table that is copied.
//!
//! Each column of a key becomes bytes that compare as its values do. Numbers and times are turned so; a text is weighed by
//! a server, for nobody else knows its collation (`WEIGHT_STRING`: of two texts the one that is less has the lesser
//! weight, equal ones have the same). Weights that pad are asked for with the padding, over the column's whole length.

use std::cmp::Ordering;

use binlog::row::{Column, ColumnType, Image, TableMap, Value};
use wire::Connection;

use crate::{Error, sql};

/// Texts weighed in one question, and their bytes together.
const AT_ONCE: usize = 500;
const BYTES_AT_ONCE: usize = 1 << 20;

/// A key's values, turned; equal bytes are equal keys.
pub(crate) type SortKey = Vec<Vec<u8>>;

/// A key of a table, as its values lie in row images.
#[derive(Clone, Debug)]
pub(crate) struct KeyShape {
    pub(crate) parts: Vec<KeyPart>,
}

/// One column of a key.
#[derive(Clone, Debug)]
pub(crate) struct KeyPart {
    /// Which column of the table.
    pub(crate) position: usize,
    pub(crate) column: Column,
    /// The index goes down in it.
    pub(crate) down: bool,
    /// How its texts are weighed; `None` where bytes decide.
    pub(crate) weight: Option<Weight>,
}

/// How a text is weighed.
#[derive(Clone, Debug)]
pub(crate) struct Weight {
    pub(crate) charset: String,
    pub(crate) collation: String,
    /// So many characters, filled up with spaces, where the collation pads.
    pub(crate) padded: Option<u64>,
}

impl KeyShape {
    /// The key in an image; its texts are still to be weighed. `None` where a column is missing.
    pub(crate) fn of(&self, image: &Image<'_>) -> Option<SortKey> {
        self.parts.iter().map(|part| part.turn(image.get(part.position)?)).collect()
    }

    /// Where its columns are in images of this table map, by their names: a row of the stream may be older than a statement
    /// that moved them. `None` where one of them is missing.
    pub(crate) fn places_in(&self, map: &TableMap, columns: &[Column]) -> Option<Vec<usize>> {
        let place = |part: &KeyPart| {
            if !map.has_names {
                return Some(part.position);
            }
            let name = &columns.get(part.position)?.name;
            map.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
        };
        self.parts.iter().map(place).collect()
    }

    /// The key in an image that has its columns in these places.
    pub(crate) fn of_places(&self, image: &Image<'_>, places: &[usize]) -> Option<SortKey> {
        self.parts.iter().zip(places).map(|(part, at)| part.turn(image.get(*at)?)).collect()
    }

    /// Are there texts to be weighed?
    pub(crate) fn has_texts(&self) -> bool {
        self.parts.iter().any(|part| part.weight.is_some())
    }

    /// Keys with their texts weighed.
    pub(crate) async fn weigh(&self, connection: &mut Connection, keys: &mut [SortKey]) -> Result<(), Error> {
        for (i, part) in self.parts.iter().enumerate() {
            let Some(weight) = &part.weight else { continue };
            let mut from = 0;
            while from < keys.len() {
                let mut bytes = 0;
                let fits = |key: &&SortKey| {
                    bytes += key[i].len();
                    bytes <= BYTES_AT_ONCE
                };
                let some = keys[from..].iter().take(AT_ONCE).take_while(fits).count().max(1);
                weigh_some(connection, weight, i, &mut keys[from..from + some]).await?;
                from += some;
            }
        }
        Ok(())
    }

    /// Which comes first in the index.
    pub(crate) fn compare(&self, a: &SortKey, b: &SortKey) -> Ordering {
        for (part, (a, b)) in self.parts.iter().zip(a.iter().zip(b)) {
            let order = if part.down { b.cmp(a) } else { a.cmp(b) };
            if order != Ordering::Equal {
                return order;
            }
        }
        Ordering::Equal
    }
}

async fn weigh_some(
    connection: &mut Connection,
    weight: &Weight,
    part: usize,
    keys: &mut [SortKey],
) -> Result<(), Error> {
    let failed = Error::target("weighing keys");
    let padded = weight.padded.map(|n| format!(" AS CHAR({n})")).unwrap_or_default();
    let term = |key: &SortKey| {
        let text = sql::bytes(&key[part]);
        format!("WEIGHT_STRING(_{} {text} COLLATE {}{padded})", weight.charset, weight.collation)
    };
    let terms: Vec<String> = keys.iter().map(term).collect();
    let rows = connection.query_rows(format!("SELECT {}", terms.join(", "))).await.map_err(&failed)?;
    let row = rows.rows.first().ok_or_else(|| failed(wire::Error::Invalid { what: "no weights".into() }))?;
    for (key, weight) in keys.iter_mut().zip(row) {
        key[part] = weight.as_ref().map(|bytes| bytes.to_vec()).unwrap_or_default();
    }
    Ok(())
}

impl KeyPart {
    /// A value as bytes that compare as it does; a text as it is. `None` for NULL and what can be no key.
    pub(crate) fn turn(&self, value: &Value<'_>) -> Option<Vec<u8>> {
        Some(match value {
            Value::Null | Value::Json(_) | Value::JsonDiff(_) => return None,
            Value::Signed(n) => (n.cast_unsigned() ^ 1 << 63).to_be_bytes().to_vec(),
            Value::Unsigned(n) => n.to_be_bytes().to_vec(),
            Value::Float(n) => turned_float(f64::from(*n)),
            Value::Double(n) => turned_float(*n),
            Value::Timestamp(seconds, micros) => [seconds.to_be_bytes(), micros.to_be_bytes()].concat(),
            Value::Text(text) => match self.column.kind {
                // Written as four digits, two, two.
                ColumnType::Date => text.as_bytes().to_vec(),
                // Their binary forms compare as they do: most significant byte first, the sign turned.
                _ => {
                    let mut out = Vec::new();
                    binlog::row::put_value(&self.column, value, &mut out)?;
                    out
                }
            },
            Value::Bytes(bytes) => {
                let mut out = bytes.to_vec();
                // A BINARY is as long as its column, the zeros that images leave out included.
                if let (ColumnType::Char { max_bytes }, None) = (self.column.kind, &self.weight) {
                    out.resize(usize::from(max_bytes).max(out.len()), 0);
                }
                out
            }
        })
    }
}

/// Negative numbers with all bits turned, others with the sign's; zero has one sign.
fn turned_float(n: f64) -> Vec<u8> {
    let bits = (n + 0.0).to_bits();
    let turned = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    turned.to_be_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use binlog::row::{Column, ColumnType, Value};
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::{KeyPart, KeyShape};

    fn part(kind: ColumnType, down: bool) -> KeyPart {
        KeyPart { position: 0, column: Column::new(kind, false), down, weight: None }
    }

    fn turned(kind: ColumnType, value: &Value<'_>) -> Vec<u8> {
        part(kind, false).turn(value).unwrap()
    }

    proptest! {
        #[test]
        fn numbers_compare_as_their_bytes_do(a in any::<i64>(), b in any::<i64>(), x in any::<f64>(), y in any::<f64>()) {
            let whole = ColumnType::Integer { bytes: 8 };
            prop_assert_eq!(turned(whole, &Value::Signed(a)).cmp(&turned(whole, &Value::Signed(b))), a.cmp(&b));
            let (ua, ub) = (a.cast_unsigned(), b.cast_unsigned());
            prop_assert_eq!(turned(whole, &Value::Unsigned(ua)).cmp(&turned(whole, &Value::Unsigned(ub))), ua.cmp(&ub));
            if let Some(order) = x.partial_cmp(&y) {
                let double = |n| turned(ColumnType::Double, &Value::Double(n));
                prop_assert_eq!(double(x).cmp(&double(y)), order);
            }
        }

        #[test]
        fn decimals_and_times_compare_as_their_bytes_do(a in -99_999_999i64..100_000_000, b in -99_999_999i64..100_000_000) {
            let decimal = |n: i64| {
                let sign = if n < 0 { "-" } else { "" };
                let text = format!("{sign}{}.{:03}", n.abs() / 1000, n.abs() % 1000);
                turned(ColumnType::Decimal { precision: 12, scale: 3 }, &Value::Text(text))
            };
            prop_assert_eq!(decimal(a).cmp(&decimal(b)), a.cmp(&b));
            let time = |n: i64| {
                let (sign, s) = (if n < 0 { "-" } else { "" }, n.abs() % 3_000_000);
                let text = format!("{sign}{:02}:{:02}:{:02}.0", s / 3600, s / 60 % 60, s % 60);
                turned(ColumnType::Time { fraction: 1 }, &Value::Text(text))
            };
            let (s, t) = (a % 3_000_000, b % 3_000_000);
            prop_assert_eq!(time(s).cmp(&time(t)), s.cmp(&t));
        }
    }

    #[test]
    fn a_column_in_which_the_index_goes_down_turns_the_order() {
        let whole = ColumnType::Integer { bytes: 4 };
        let shape = KeyShape { parts: vec![part(whole, false), part(whole, true)] };
        let key = |a: i64, b: i64| {
            [a, b].iter().zip(&shape.parts).map(|(n, part)| part.turn(&Value::Signed(*n)).unwrap()).collect()
        };
        assert_eq!(shape.compare(&key(1, 2), &key(1, 5)), Ordering::Greater);
        assert_eq!(shape.compare(&key(1, 2), &key(2, 9)), Ordering::Less);
        assert_eq!(shape.compare(&key(1, 2), &key(1, 2)), Ordering::Equal);
    }
}
