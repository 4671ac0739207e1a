//! Keys of rows, folded: what two changes must share to be able to meet.
//!
//! Texts are equal by their collation, which only the server knows: `weights.rs` asks it for them. Everything else is
//! equal where its bytes are. A folded key is 96 bits of a hash that is seeded anew in each process, so that nobody can
//! write rows that collide on purpose; two keys of a billion in a window are taken for one with a chance of 1 in 10^11.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

use binlog::row::{Image, RowChange, Value};

use crate::collations::Folding;

/// A unique key of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UniqueKey {
    /// Its name; `PRIMARY` for the primary key.
    pub(crate) name: String,
    /// Its columns in order.
    pub(crate) parts: Vec<Part>,
    /// May a column be NULL? Then it names no row.
    pub(crate) nullable: bool,
}

/// A column of a unique key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The column's name, in lower case.
    pub(crate) column: String,
    /// Only so many characters of it count.
    pub(crate) prefix: Option<usize>,
}

/// The unique keys of a table as they lie in the images under one table map.
#[derive(Clone, Debug)]
pub(crate) struct TableKeys {
    keys: Vec<MappedKey>,
    /// Which of them names rows; `None` for a table without primary key and without a unique key on columns that
    /// are NOT NULL.
    identity: Option<usize>,
}

#[derive(Clone, Debug)]
struct MappedKey {
    /// Table and index, hashed.
    bucket: u64,
    columns: Vec<MappedPart>,
}

#[derive(Clone, Debug)]
struct MappedPart {
    position: usize,
    prefix: Option<usize>,
    folding: Folding,
}

/// A row's value of one unique key, as the row has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RowKey {
    /// Which index of which table.
    pub(crate) bucket: u64,
    parts: Vec<RowPart>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum RowPart {
    Bytes(Vec<u8>),
    Text(Text),
}

/// A text that is equal to others by its collation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Text {
    pub(crate) collation: u32,
    /// Only so many characters count.
    pub(crate) prefix: Option<usize>,
    pub(crate) bytes: Vec<u8>,
}

/// A key, folded: the same for all values that the index holds for equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// Which index of which table.
    pub(crate) bucket: u64,
    /// Bucket and value, hashed.
    pub(crate) hash: u64,
    /// And once more.
    pub(crate) check: u32,
}

/// The keys of one row change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChangeKeys<K = RowKey> {
    /// What names the row: before, and after where that is another.
    pub(crate) identity: Vec<K>,
    /// Values of the other unique keys that the change brings in.
    pub(crate) unique: Vec<K>,
}

impl<K> ChangeKeys<K> {
    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &K> {
        self.identity.iter().chain(&self.unique)
    }

    /// The same in another form.
    pub(crate) fn map<T>(&self, mut to: impl FnMut(&K) -> T) -> ChangeKeys<T> {
        ChangeKeys {
            identity: self.identity.iter().map(&mut to).collect(),
            unique: self.unique.iter().map(&mut to).collect(),
        }
    }
}

impl TableKeys {
    /// Maps the keys of a table onto its images. `columns` tells a column's position by its name, and how its values
    /// are folded. A key on a column that the images lack is left out: strict apply still sees its collisions.
    pub(crate) fn new(
        name: (&str, &str),
        keys: &[UniqueKey],
        columns: impl Fn(&str) -> Option<(usize, Folding)>,
    ) -> Self {
        let (mut mapped, mut identity) = (Vec::new(), None);
        for key in keys {
            let part = |part: &Part| {
                let (position, folding) = columns(&part.column)?;
                Some(MappedPart { position, prefix: part.prefix, folding })
            };
            let Some(columns) = key.parts.iter().map(part).collect::<Option<Vec<_>>>() else { continue };
            if identity.is_none() && !key.nullable {
                identity = Some(mapped.len());
            }
            mapped.push(MappedKey { bucket: hash(&(name, &key.name), 0), columns });
        }
        Self { keys: mapped, identity }
    }

    /// The hashes of its indexes, as [`Key::bucket`] has them.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = u64> {
        self.keys.iter().map(|key| key.bucket)
    }

    /// The columns that name a row, by position, each with the prefix that counts: those of the primary key, where
    /// there is one.
    pub(crate) fn identity_columns(&self) -> Vec<(usize, Option<usize>)> {
        let key = self.identity.map(|i| &self.keys[i]);
        key.map(|key| key.columns.iter().map(|c| (c.position, c.prefix)).collect()).unwrap_or_default()
    }

    /// Can its rows be named?
    pub(crate) fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// The key that names this row.
    pub(crate) fn identity_of(&self, image: &Image<'_>) -> Option<RowKey> {
        self.keys.get(self.identity?)?.of(image)
    }

    /// The keys of a change.
    pub(crate) fn of(&self, change: &RowChange<'_>) -> ChangeKeys {
        let mut keys = ChangeKeys { identity: Vec::new(), unique: Vec::new() };
        if let Some(identity) = self.identity.map(|i| &self.keys[i]) {
            let before = change.before.as_ref().and_then(|image| identity.of(image));
            let after = change.after.as_ref().and_then(|image| identity.of(image));
            let moved = after.filter(|after| before.as_ref() != Some(after));
            keys.identity.extend(before.into_iter().chain(moved));
        }
        let Some(after) = &change.after else { return keys };
        for (_, key) in self.keys.iter().enumerate().filter(|(i, _)| Some(*i) != self.identity) {
            let value = key.of(after);
            // What an update leaves as it is, it does not bring in.
            let was = change.before.as_ref().and_then(|image| key.of(image));
            keys.unique.extend(value.filter(|value| was.as_ref() != Some(value)));
        }
        keys
    }
}

impl MappedKey {
    /// `None` where a column is NULL or missing: it collides with nothing.
    fn of(&self, image: &Image<'_>) -> Option<RowKey> {
        let part = |part: &MappedPart| part.of(image.get(part.position)?);
        Some(RowKey { bucket: self.bucket, parts: self.columns.iter().map(part).collect::<Option<_>>()? })
    }
}

impl MappedPart {
    fn of(&self, value: &Value<'_>) -> Option<RowPart> {
        let bytes = |bytes: &[u8]| Some(RowPart::Bytes(bytes.to_vec()));
        match value {
            Value::Null | Value::Json(_) | Value::JsonDiff(_) => None,
            Value::Signed(n) => bytes(&n.to_be_bytes()),
            Value::Unsigned(n) => bytes(&n.to_be_bytes()),
            // Zero has two signs and is one key.
            Value::Float(n) => bytes(&(n + 0.0).to_be_bytes()),
            Value::Double(n) => bytes(&(n + 0.0).to_be_bytes()),
            Value::Text(text) => bytes(text.as_bytes()),
            Value::Timestamp(seconds, micros) => {
                bytes(&[seconds.to_be_bytes(), micros.to_be_bytes()].concat())
            }
            Value::Bytes(text) => self.of_bytes(text),
        }
    }

    /// A prefix of a text counts characters, one of bytes counts bytes.
    fn of_bytes(&self, bytes: &[u8]) -> Option<RowPart> {
        Some(match (self.folding, self.prefix) {
            (Folding::Bytes, prefix) => {
                RowPart::Bytes(bytes[..prefix.unwrap_or(usize::MAX).min(bytes.len())].to_vec())
            }
            (Folding::Unpadded { .. }, None) => {
                let end = bytes.iter().rposition(|b| *b != b' ').map_or(0, |last| last + 1);
                RowPart::Bytes(bytes[..end].to_vec())
            }
            (Folding::Unpadded { collation } | Folding::Weights { collation }, prefix) => {
                RowPart::Text(Text { collation, prefix, bytes: bytes.to_vec() })
            }
        })
    }
}

impl RowKey {
    /// Its texts: what the server must be asked about.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &Text> {
        self.parts.iter().filter_map(|part| match part {
            RowPart::Text(text) => Some(text),
            RowPart::Bytes(_) => None,
        })
    }

    /// Folds it. `weight`: what stands for a text and all that are equal to it.
    pub(crate) fn fold(&self, weight: impl Fn(&Text) -> u128) -> Key {
        let mut folded = Vec::with_capacity(32);
        for part in &self.parts {
            let begin = folded.len();
            match part {
                RowPart::Bytes(bytes) => folded.extend_from_slice(bytes),
                RowPart::Text(text) => folded.extend_from_slice(&weight(text).to_le_bytes()),
            }
            let length = u32::try_from(folded.len() - begin).unwrap_or(u32::MAX);
            folded.extend_from_slice(&length.to_le_bytes());
        }
        key(self.bucket, &folded)
    }
}

fn key(bucket: u64, folded: &[u8]) -> Key {
    // A check is the lower half of a second hash.
    let check = u32::try_from(hash(&folded, !bucket) & u64::from(u32::MAX)).unwrap_or_default();
    Key { bucket, hash: hash(&folded, bucket), check }
}

fn hash(value: &impl Hash, seed: u64) -> u64 {
    static SECRET: OnceLock<u64> = OnceLock::new();
    let mut hasher = DefaultHasher::new();
    (SECRET.get_or_init(rand::random), seed).hash(&mut hasher);
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
pub(super) mod tests {
    use binlog::row::Value;

    use super::{Folding, Key, MappedPart, RowPart, hash};

    /// A key of one column, for tests of what holds keys.
    pub(crate) fn key(table: &str, value: &str) -> Key {
        super::key(hash(&table, 0), value.as_bytes())
    }

    #[test]
    fn keys_of_other_values_and_other_indexes_are_others() {
        assert_eq!(key("t", "1"), key("t", "1"));
        assert_ne!(key("t", "1"), key("t", "2"));
        let (one, other) = (key("t", "1"), key("u", "1"));
        assert!(one.bucket != other.bucket && one.hash != other.hash && one.check != other.check);
    }

    #[test]
    fn trailing_spaces_and_prefixes_count_as_the_collation_says() {
        let part = |folding, prefix, text: &'static [u8]| {
            MappedPart { position: 0, prefix, folding }.of(&Value::Bytes(text))
        };
        let padded = Folding::Unpadded { collation: 46 };
        assert_eq!(part(padded, None, b"a  "), part(padded, None, b"a"));
        assert_ne!(part(Folding::Bytes, None, b"a "), part(Folding::Bytes, None, b"a"));
        assert_eq!(part(Folding::Bytes, Some(2), b"abc"), part(Folding::Bytes, Some(2), b"abd"));
        // Two characters are not two bytes: the server cuts.
        assert!(matches!(part(padded, Some(2), "éé".as_bytes()), Some(RowPart::Text(_))));
        assert_eq!(part(Folding::Bytes, None, b"").map(|_| ()), Some(()));
    }
}
