//! Reading a packet's fields with every length checked: bytes of a peer can't make it panic or allocate.

use crate::Error;

/// A packet that is shorter than its own fields say, or has a field that can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        Self::protocol(format!("malformed packet, {}", malformed.0))
    }
}

/// What is left of a packet. A failed read leaves it where it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(packet: &'a [u8]) -> Self {
        Self { rest: packet }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.rest.split_at_checked(count).ok_or(Malformed("it ends inside a field"))?;
        self.rest = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(Malformed("it ends inside a field"))?;
        self.rest = tail;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length-encoded integer. 0xFB (NULL) and 0xFF (error) are not numbers.
    pub(crate) fn lenenc(&mut self) -> Result<u64, Malformed> {
        let start = *self;
        let value = match self.u8()? {
            short @ 0..=0xfa => Ok(u64::from(short)),
            0xfc => self.u16().map(u64::from),
            0xfd => self.array::<3>().map(|[a, b, c]| u64::from(u32::from_le_bytes([a, b, c, 0]))),
            0xfe => self.u64(),
            _ => Err(Malformed("no length where one belongs")),
        };
        if value.is_err() {
            *self = start;
        }
        value
    }

    /// A string with its length-encoded length in front.
    pub(crate) fn lenenc_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let start = *self;
        let length = self.lenenc()?;
        let bytes = usize::try_from(length)
            .map_err(|_| Malformed("a length beyond all memory"))
            .and_then(|length| self.take(length));
        if bytes.is_err() {
            *self = start;
        }
        bytes
    }

    /// A string up to its NUL, which is consumed.
    pub(crate) fn nul_terminated(&mut self) -> Result<&'a [u8], Malformed> {
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or(Malformed("a string without an end"))?;
        let bytes = self.take(end)?;
        self.take(1)?;
        Ok(bytes)
    }

    /// A string up to its NUL, or to the end of the packet where a sender leaves the NUL out.
    pub(crate) fn nul_terminated_or_rest(&mut self) -> &'a [u8] {
        self.nul_terminated().unwrap_or_else(|_| std::mem::take(&mut self.rest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::encode::{put_lenenc, put_lenenc_bytes};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn a_length_encoded_number_comes_back(value in any::<u64>(), shift in 0u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_lenenc(&mut out, value);
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.lenenc(), Ok(value));
            prop_assert!(cursor.is_empty());
        }

        #[test]
        fn a_length_encoded_string_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..70_000)) {
            let mut out = Vec::new();
            put_lenenc_bytes(&mut out, &bytes);
            prop_assert_eq!(Cursor::new(&out).lenenc_bytes(), Ok(bytes.as_slice()));
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_a_failed_read_moves_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut cursor = Cursor::new(&bytes);
            if cursor.lenenc_bytes().is_err() {
                prop_assert_eq!(cursor.rest(), bytes.as_slice());
            }
            let _ = cursor.nul_terminated();
            let _ = cursor.u64();
            let _ = cursor.lenenc();
            let _ = cursor.nul_terminated_or_rest();
        }
    }

    #[test]
    fn a_length_larger_than_the_packet_is_an_error() {
        assert!(Cursor::new(b"\xfe\xff\xff\xff\xff\xff\xff\xff\xffab").lenenc_bytes().is_err());
        assert!(Cursor::new(b"\x05abcd").lenenc_bytes().is_err());
    }
}
