//! A JSON document's text, in the server's binary form (`sql-common/json_binary.h`).
//!
//! ```text
//! document  type u8, value
//! object    count, size, { key offset, key length u16 }*, { type u8, value or offset }*, keys, values
//! array     count, size, { type u8, value or offset }*, values
//! ```
//! Counts, sizes and offsets are of 2 bytes in a small document, of 4 in one beyond 64 KiB; offsets count from the object's
//! own begin. Small values stand in place of their offset. Keys are ordered by length, then by bytes.

use binlog::row::{Column, ColumnType, Value, put_value};

/// Deeper the server does not go.
const MAX_DEPTH: usize = 101;

/// A document, read.
enum Json {
    Literal(u8),
    Signed(i64),
    Unsigned(u64),
    Double(f64),
    /// A `DECIMAL`: how many digits, how many of them behind the point, and its binary form.
    Decimal(u8, u8, Vec<u8>),
    Text(Vec<u8>),
    Array(Vec<Json>),
    Object(Vec<(Vec<u8>, Json)>),
}

/// Appends the document that this text tells; `None` if it tells none.
pub(crate) fn encode(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut reader = Reader { rest: text };
    let json = reader.value(0)?;
    reader.space();
    if !reader.rest.is_empty() {
        return None;
    }
    let at = out.len();
    out.push(0);
    let kind = json.put(out)?;
    out[at] = kind;
    Some(())
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.space();
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }

    fn word(&mut self, word: &[u8], kind: u8) -> Option<Json> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(Json::Literal(kind))
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.space();
        match self.rest.first()? {
            b'n' => self.word(b"null", 0),
            b't' => self.word(b"true", 1),
            b'f' => self.word(b"false", 2),
            b'"' => self.text().map(Json::Text),
            b'[' => self.array(depth),
            b'{' => self.object(depth),
            _ => self.number(),
        }
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        self.take(b'[')?;
        let mut values = Vec::new();
        if self.take(b']').is_some() {
            return Some(Json::Array(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            if self.take(b',').is_none() {
                self.take(b']')?;
                return Some(Json::Array(values));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        self.take(b'{')?;
        let mut members = Vec::new();
        if self.take(b'}').is_none() {
            loop {
                self.space();
                let key = self.text()?;
                self.take(b':')?;
                members.push((key, self.value(depth + 1)?));
                if self.take(b',').is_none() {
                    self.take(b'}')?;
                    break;
                }
            }
        }
        members.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
        Some(Json::Object(members))
    }

    fn number(&mut self) -> Option<Json> {
        let is_part = |b: &u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let end = self.rest.iter().position(|b| !is_part(b)).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        let text = std::str::from_utf8(text).ok()?;
        if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
            let signed = text.parse().ok().map(Json::Signed);
            if let Some(whole) = signed.or_else(|| text.parse().ok().map(Json::Unsigned)) {
                return Some(whole);
            }
        }
        let number: f64 = text.parse().ok().filter(|n: &f64| n.is_finite())?;
        // As a double it would be shown otherwise: it is a DECIMAL.
        let is_decimal = !text.contains(['e', 'E']) && format!("{number:?}") != text;
        if is_decimal { decimal(text) } else { Some(Json::Double(number)) }
    }

    fn text(&mut self) -> Option<Vec<u8>> {
        self.rest = self.rest.strip_prefix(b"\"")?;
        let mut out = Vec::new();
        loop {
            let plain = self.rest.iter().position(|b| matches!(b, b'"' | b'\\'))?;
            out.extend_from_slice(&self.rest[..plain]);
            let special = self.rest[plain];
            self.rest = &self.rest[plain + 1..];
            if special == b'"' {
                return Some(out);
            }
            let (escape, rest) = self.rest.split_first()?;
            self.rest = rest;
            match escape {
                b'n' => out.push(b'\n'),
                b't' => out.push(b'\t'),
                b'r' => out.push(b'\r'),
                b'b' => out.push(8),
                b'f' => out.push(12),
                b'u' => {
                    let c = self.unicode()?;
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                other => out.push(*other),
            }
        }
    }

    fn unicode(&mut self) -> Option<char> {
        let first = self.unit()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        self.rest = self.rest.strip_prefix(b"\\u")?;
        let second = self.unit()?.checked_sub(0xdc00)?;
        char::from_u32(0x1_0000 + (first - 0xd800) * 0x400 + second)
    }

    fn unit(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }
}

fn decimal(text: &str) -> Option<Json> {
    let (whole, fraction) = text.trim_start_matches('-').split_once('.').unwrap_or((text, ""));
    let scale = u8::try_from(fraction.len()).ok()?;
    let precision = u8::try_from(whole.len()).ok()?.checked_add(scale)?;
    let column = Column::new(ColumnType::Decimal { precision, scale }, false);
    let mut bytes = Vec::new();
    put_value(&column, &Value::Text(text.into()), &mut bytes)?;
    Some(Json::Decimal(precision, scale, bytes))
}

fn put_length(mut length: usize, out: &mut Vec<u8>) {
    // Seven bits a byte, the lowest first.
    while length > 0x7f {
        out.push((length & 0x7f).to_le_bytes()[0] | 0x80);
        length >>= 7;
    }
    out.push(length.to_le_bytes()[0]);
}

impl Json {
    /// Appends the value and gives its type.
    fn put(&self, out: &mut Vec<u8>) -> Option<u8> {
        match self {
            Self::Array(_) | Self::Object(_) => {
                let begin = out.len();
                if self.put_parts(out, Width::Small).is_some() {
                    return Some(if matches!(self, Self::Object(_)) { 0 } else { 2 });
                }
                out.truncate(begin);
                self.put_parts(out, Width::Large)?;
                Some(if matches!(self, Self::Object(_)) { 1 } else { 3 })
            }
            Self::Literal(kind) => {
                out.push(*kind);
                Some(4)
            }
            Self::Signed(n) => Some(match (i16::try_from(*n), u16::try_from(*n), i32::try_from(*n)) {
                (Ok(n), ..) => {
                    out.extend_from_slice(&n.to_le_bytes());
                    5
                }
                (_, _, Ok(n)) => {
                    out.extend_from_slice(&n.to_le_bytes());
                    7
                }
                _ => {
                    out.extend_from_slice(&n.to_le_bytes());
                    9
                }
            }),
            Self::Unsigned(n) => {
                out.extend_from_slice(&n.to_le_bytes());
                Some(10)
            }
            Self::Double(n) => {
                out.extend_from_slice(&n.to_le_bytes());
                Some(11)
            }
            // Of another type, which is named: that of a DECIMAL.
            Self::Decimal(precision, scale, bytes) => {
                out.push(246);
                put_length(bytes.len() + 2, out);
                out.extend_from_slice(&[*precision, *scale]);
                out.extend_from_slice(bytes);
                Some(15)
            }
            Self::Text(text) => {
                put_length(text.len(), out);
                out.extend_from_slice(text);
                Some(12)
            }
        }
    }

    /// Appends an array or object; `None` where offsets of this width do not reach.
    fn put_parts(&self, out: &mut Vec<u8>, width: Width) -> Option<()> {
        let empty: &[(Vec<u8>, Json)] = &[];
        let (members, values): (&[(Vec<u8>, Json)], Vec<&Json>) = match self {
            Self::Object(members) => (members, members.iter().map(|(_, value)| value).collect()),
            Self::Array(values) => (empty, values.iter().collect()),
            _ => return None,
        };
        let begin = out.len();
        width.push(values.len(), out)?;
        let size_at = out.len();
        width.push(0, out)?;
        let keys_at = out.len();
        out.extend(std::iter::repeat_n(0, members.len() * (width.bytes() + 2)));
        let values_at = out.len();
        out.extend(std::iter::repeat_n(0, values.len() * (1 + width.bytes())));
        for (i, (key, _)) in members.iter().enumerate() {
            let mut entry = Vec::with_capacity(6);
            width.push(out.len() - begin, &mut entry)?;
            entry.extend_from_slice(&u16::try_from(key.len()).ok()?.to_le_bytes());
            let at = keys_at + i * entry.len();
            out[at..at + entry.len()].copy_from_slice(&entry);
            out.extend_from_slice(key);
        }
        for (i, value) in values.into_iter().enumerate() {
            let at = values_at + i * (1 + width.bytes());
            let mut entry = Vec::with_capacity(5);
            let kind = match value.inlined(width) {
                Some((kind, bytes)) => {
                    entry.extend_from_slice(&bytes[..width.bytes()]);
                    kind
                }
                None => {
                    width.push(out.len() - begin, &mut entry)?;
                    value.put(out)?
                }
            };
            out[at] = kind;
            out[at + 1..at + 1 + width.bytes()].copy_from_slice(&entry);
        }
        let mut size = Vec::with_capacity(4);
        width.push(out.len() - begin, &mut size)?;
        out[size_at..size_at + size.len()].copy_from_slice(&size);
        Some(())
    }

    /// A value that stands in place of its offset.
    fn inlined(&self, width: Width) -> Option<(u8, [u8; 4])> {
        match self {
            Self::Literal(kind) => Some((4, [*kind, 0, 0, 0])),
            Self::Signed(n) => match (i16::try_from(*n), i32::try_from(*n), width) {
                // An INT16 fills the first two bytes.
                (Ok(n), ..) => {
                    let [a, b] = n.to_le_bytes();
                    Some((5, [a, b, 0, 0]))
                }
                (_, Ok(n), Width::Large) => Some((7, n.to_le_bytes())),
                _ => None,
            },
            _ => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Small,
    Large,
}

impl Width {
    fn bytes(self) -> usize {
        if self == Self::Small { 2 } else { 4 }
    }

    fn push(self, number: usize, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Small => out.extend_from_slice(&u16::try_from(number).ok()?.to_le_bytes()),
            Self::Large => out.extend_from_slice(&u32::try_from(number).ok()?.to_le_bytes()),
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::encode;

    fn bytes(text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        encode(text.as_bytes(), &mut out).map(|()| out)
    }

    #[test]
    fn documents_are_as_the_server_writes_them() {
        assert_eq!(bytes("null"), Some(vec![4, 0]));
        assert_eq!(bytes("-2"), Some(vec![5, 0xfe, 0xff]));
        assert_eq!(bytes("\"a\\u00e9\""), Some(vec![12, 3, b'a', 0xc3, 0xa9]));
        assert_eq!(bytes("[]"), Some(vec![2, 0, 0, 4, 0]));
        // {"a": 1, "bb": [true]}
        let object = [0, 2, 0, 33, 0, 18, 0, 1, 0, 19, 0, 2, 0, 5, 1, 0, 2, 21, 0];
        let inner = [b'a', b'b', b'b', 1, 0, 7, 0, 4, 1, 0];
        let mut expected = [object.as_slice(), inner.as_slice()].concat();
        expected[3] = u8::try_from(expected.len() - 1).unwrap();
        assert_eq!(bytes("{\"bb\": [true], \"a\": 1}"), Some(expected));
    }

    #[test]
    fn a_number_that_no_double_is_shown_as_is_a_decimal() {
        assert_eq!(bytes("34.0"), Some([&[11][..], &34f64.to_le_bytes()].concat()));
        assert_eq!(bytes("34.00"), Some(vec![15, 246, 4, 4, 2, 0x80 | 34, 0]));
        assert_eq!(bytes("1e20").unwrap()[0], 11);
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for bad in ["", "{", "[1,]", "\"a", "nul", "1 2", "{\"a\" 1}", "1e999"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_document_beyond_64_kib_has_wide_offsets() {
        let long = format!("[\"{}\", 1, 70000]", "x".repeat(70_000));
        let encoded = bytes(&long).unwrap();
        assert_eq!(encoded[0], 3);
        assert_eq!(u32::from_le_bytes(encoded[5..9].try_into().unwrap()) as usize, encoded.len() - 1);
    }
}
