//! Keys of rows, folded: what two changes must share to be able to meet.
//!
//! Texts are equal by their collation, which only the server knows. A key is folded *at least as coarsely*: letters
//! lose their case and a few share a class (`i j y`, `u v w`: equal at the first level in some languages), trailing
//! spaces go, and a text with anything but printable ASCII matches every other of its index. What is equal only when
//! folded is *in question*: whoever needs to know asks the server. Binary and `_bin` texts are taken as they are.

use std::hash::{DefaultHasher, Hash, Hasher};

use binlog::row::{Image, RowChange, Value};

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
    /// The collation of a text that is compared by it; `None` where bytes decide.
    collation: Option<u32>,
}

/// A row's value of one unique key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Which index of which table.
    pub(crate) bucket: u64,
    /// Bucket and folded value, hashed; of no meaning when `any`.
    pub(crate) folded: u128,
    /// It can't be folded: it may equal every other of its bucket.
    pub(crate) any: bool,
    /// The values as they are, where texts are among them: equal when folded is not yet equal.
    pub(crate) exact: Exact,
}

/// The values of a key as they are. Empty where bytes alone decide: what folds alike is equal then.
pub(crate) type Exact = Vec<ExactPart>;

/// One column's value in a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExactPart {
    /// The bytes, cut to the key's prefix where it has one.
    pub(crate) bytes: Vec<u8>,
    /// Compared by this collation; `None` where bytes decide.
    pub(crate) collation: Option<u32>,
}

/// The keys of one row change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChangeKeys {
    /// What names the row: before, and after where that is another.
    pub(crate) identity: Vec<Key>,
    /// Values of the other unique keys that the change brings in.
    pub(crate) unique: Vec<Key>,
}

impl TableKeys {
    /// Maps the keys of a table onto its images. `columns` tells a column's position by its name, and its collation
    /// where it is a text that is not compared byte by byte. A key on a column that the images lack is left out:
    /// strict apply still sees its collisions.
    pub(crate) fn new(
        name: (&str, &str),
        keys: &[UniqueKey],
        columns: impl Fn(&str) -> Option<(usize, Option<u32>)>,
    ) -> Self {
        let (mut mapped, mut identity) = (Vec::new(), None);
        for key in keys {
            let part = |part: &Part| {
                let (position, collation) = columns(&part.column)?;
                Some(MappedPart { position, prefix: part.prefix, collation })
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
    pub(crate) fn identity_of(&self, image: &Image<'_>) -> Option<Key> {
        self.keys.get(self.identity?)?.of(image)
    }

    /// The keys of a change.
    pub(crate) fn of(&self, change: &RowChange<'_>) -> ChangeKeys {
        let mut keys = ChangeKeys::default();
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
    fn of(&self, image: &Image<'_>) -> Option<Key> {
        let mut any = false;
        let mut folded = Vec::with_capacity(16);
        let mut exact = Vec::with_capacity(self.columns.len());
        for part in &self.columns {
            let value = image.get(part.position)?;
            // An ENUM is a number here.
            let collation = part.collation.filter(|_| matches!(value, Value::Bytes(_)));
            let bytes = bytes_of(value, part)?;
            let begin = folded.len();
            match collation {
                None => folded.extend_from_slice(&bytes),
                Some(_) => match fold(&bytes) {
                    Some(text) => folded.extend_from_slice(&text),
                    None => any = true,
                },
            }
            let length = u32::try_from(folded.len() - begin).unwrap_or(u32::MAX);
            folded.extend_from_slice(&length.to_le_bytes());
            exact.push(ExactPart { bytes, collation });
        }
        if exact.iter().all(|part| part.collation.is_none()) {
            exact.clear();
        }
        let folded = if any { 0 } else { wide_hash(self.bucket, &folded) };
        Some(Key { bucket: self.bucket, folded, any, exact })
    }
}

/// The bytes that decide: numbers in one form, texts as they are.
fn bytes_of(value: &Value<'_>, part: &MappedPart) -> Option<Vec<u8>> {
    Some(match value {
        Value::Null | Value::Json(_) | Value::JsonDiff(_) => return None,
        Value::Signed(n) => n.to_be_bytes().to_vec(),
        Value::Unsigned(n) => n.to_be_bytes().to_vec(),
        // Zero has two signs and is one key.
        Value::Float(n) => (n + 0.0).to_be_bytes().to_vec(),
        Value::Double(n) => (n + 0.0).to_be_bytes().to_vec(),
        Value::Text(text) => text.as_bytes().to_vec(),
        Value::Timestamp(seconds, micros) => [seconds.to_be_bytes(), micros.to_be_bytes()].concat(),
        // A prefix counts characters, of one byte at least: so many bytes are no finer.
        Value::Bytes(bytes) => bytes[..part.prefix.unwrap_or(usize::MAX).min(bytes.len())].to_vec(),
    })
}

/// A text folded; `None` with anything in it but printable ASCII.
fn fold(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|b| *b != b' ').map_or(0, |last| last + 1);
    let class = |byte: &u8| match byte.to_ascii_lowercase() {
        b'j' | b'y' => Some(b'i'),
        b'v' | b'w' => Some(b'u'),
        byte @ 0x20..=0x7e => Some(byte),
        _ => None,
    };
    text[..end].iter().map(class).collect()
}

fn wide_hash(bucket: u64, bytes: &[u8]) -> u128 {
    u128::from(hash(&bytes, bucket)) << 64 | u128::from(hash(&bytes, !bucket))
}

fn hash(value: &impl Hash, seed: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    seed.hash(&mut hasher);
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Key, fold, hash, wide_hash};

    /// A key of one column, for tests of what holds keys.
    pub(crate) fn key(table: &str, value: &str) -> Key {
        let bucket = hash(&table, 0);
        Key { bucket, folded: wide_hash(bucket, value.as_bytes()), any: false, exact: Vec::new() }
    }

    #[test]
    fn folding_is_never_finer_than_a_collation() {
        assert_eq!(fold(b"Abc  "), fold(b"aBC"));
        assert_eq!(fold(b"Vilnyus"), fold(b"wjlniws"));
        assert_ne!(fold(b"a"), fold(b"b"));
        assert_eq!(fold("é".as_bytes()), None);
        assert_eq!(fold(b"a\x01"), None, "some collations pass over control characters");
        assert_eq!(fold(b"   "), fold(b""));
    }
}
