//! Keys and ranges of keys: a table's rows in an order both sides agree on.
//!
//! A range is `(after, upto]`; without `after` it begins at the first key there can be, without `upto` it ends at the
//! last. Ranges that follow each other cover the whole key space, whatever rows stand on either side.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::column::Column;

/// A key's exact values, one for each of its columns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyValue(pub(crate) Vec<Bytes>);

/// Part of the key space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Range {
    pub(crate) after: Option<KeyValue>,
    pub(crate) upto: Option<KeyValue>,
}

/// A unique key without NULLs, the same in both regions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Its columns, and whether its index goes down in each.
    pub(crate) parts: Vec<(Column, bool)>,
}

impl Key {
    /// What to select to read a key.
    pub(crate) fn select(&self) -> String {
        let parts: Vec<String> = self.parts.iter().map(|(column, _)| column.exact()).collect();
        parts.join(", ")
    }

    /// In the index's own order, so that nothing is sorted.
    pub(crate) fn order(&self) -> String {
        let part = |(column, down): &(Column, bool)| {
            format!("{}{}", column.quoted(), if *down { " DESC" } else { "" })
        };
        self.parts.iter().map(part).collect::<Vec<_>>().join(", ")
    }

    /// The condition of being this key, by the column's own collation, as the index has it.
    pub(crate) fn is(&self, value: &KeyValue) -> String {
        let part = |((column, _), value): (&(Column, bool), &Bytes)| {
            format!("{} = {}", column.quoted(), column.literal(Some(value)))
        };
        self.parts.iter().zip(&value.0).map(part).collect::<Vec<_>>().join(" AND ")
    }

    /// The condition of being in the range, in a form that the optimizer turns into index ranges; it does not do
    /// that with row values.
    pub(crate) fn within(&self, range: &Range) -> String {
        let after = range.after.as_ref().map(|key| self.beyond(key, false));
        let upto = range.upto.as_ref().map(|key| self.beyond(key, true));
        match (after, upto) {
            (None, None) => "TRUE".into(),
            (Some(one), None) | (None, Some(one)) => one,
            (Some(after), Some(upto)) => format!("{after} AND {upto}"),
        }
    }

    /// `upto`: not behind the key; else: behind it.
    fn beyond(&self, key: &KeyValue, upto: bool) -> String {
        let last = self.parts.len() - 1;
        let mut text = String::new();
        for (i, ((column, down), value)) in self.parts.iter().zip(&key.0).enumerate() {
            let (name, literal) = (column.quoted(), column.literal(Some(value)));
            let compare = if upto == *down { ">" } else { "<" };
            if i == last {
                let or_equal = if upto { "=" } else { "" };
                text += &format!("({name} {compare}{or_equal} {literal})");
            } else {
                text += &format!("({name} {compare} {literal} OR ({name} = {literal} AND ");
            }
        }
        text + &"))".repeat(last)
    }

    /// For people: `(id=5)`.
    pub(crate) fn describe(&self, value: &KeyValue) -> Vec<(String, String)> {
        let text = |column: &Column, value: &Bytes| match std::str::from_utf8(value) {
            Ok(text) if column.is_utf8() => text.to_owned(),
            _ => format!("0x{}", super::column::hex(value)),
        };
        self.parts.iter().zip(&value.0).map(|((c, _), v)| (c.name.clone(), text(c, v))).collect()
    }
}

impl Serialize for KeyValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|part| super::column::hex(part)))
    }
}

impl<'de> Deserialize<'de> for KeyValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parts: Vec<String> = Vec::deserialize(deserializer)?;
        let parse = |part: &String| {
            let bytes = part.as_bytes().chunks(2);
            bytes.map(|b| std::str::from_utf8(b).ok().and_then(|b| u8::from_str_radix(b, 16).ok())).collect()
        };
        let parts: Option<Vec<Vec<u8>>> = parts.iter().map(parse).collect();
        let parts = parts.ok_or_else(|| serde::de::Error::custom("a key that is not hexadecimal"))?;
        Ok(Self(parts.into_iter().map(Bytes::from).collect()))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Column, Key, KeyValue, Range};

    fn key(parts: &[(&str, bool)]) -> Key {
        Key { parts: parts.iter().map(|(name, down)| (Column::new(name, "int", "int"), *down)).collect() }
    }

    fn value(parts: &[&'static str]) -> KeyValue {
        KeyValue(parts.iter().map(|p| Bytes::from_static(p.as_bytes())).collect())
    }

    #[test]
    fn ranges_are_open_below_and_closed_above() {
        let range = Range { after: Some(value(&["1"])), upto: Some(value(&["5"])) };
        assert_eq!(key(&[("a", false)]).within(&range), "(`a` > 1) AND (`a` <= 5)");
        assert_eq!(key(&[("a", true)]).within(&range), "(`a` < 1) AND (`a` >= 5)");
        assert_eq!(key(&[("a", false)]).within(&Range::default()), "TRUE");
    }

    #[test]
    fn keys_of_several_columns_are_compared_column_by_column() {
        let range = Range { after: Some(value(&["1", "2"])), upto: None };
        assert_eq!(key(&[("a", false), ("b", true)]).within(&range), "(`a` > 1 OR (`a` = 1 AND (`b` < 2)))");
    }

    #[test]
    fn a_key_survives_being_written_down() {
        let key = KeyValue(vec![Bytes::from_static(b"\x00\xff"), Bytes::new()]);
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(text, r#"["00ff",""]"#);
        assert_eq!(serde_json::from_str::<KeyValue>(&text).unwrap(), key);
        assert!(serde_json::from_str::<KeyValue>(r#"["xy"]"#).is_err());
    }
}
