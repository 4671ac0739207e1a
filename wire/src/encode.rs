//! Writing a packet's fields.

use bytes::BufMut;

/// A length-encoded integer.
#[allow(clippy::cast_possible_truncation, reason = "each arm's range fits what it is cast to")]
pub(crate) fn put_lenenc(out: &mut impl BufMut, value: u64) {
    match value {
        0..=0xfa => out.put_u8(value as u8),
        0xfb..=0xffff => {
            out.put_u8(0xfc);
            out.put_u16_le(value as u16);
        }
        0x1_0000..=0xff_ffff => {
            out.put_u8(0xfd);
            out.put_uint_le(value, 3);
        }
        _ => {
            out.put_u8(0xfe);
            out.put_u64_le(value);
        }
    }
}

/// A string with its length-encoded length in front.
pub(crate) fn put_lenenc_bytes(out: &mut impl BufMut, bytes: &[u8]) {
    put_lenenc(out, bytes.len() as u64);
    out.put_slice(bytes);
}

/// A string with a NUL behind it; a NUL inside ends it, for the reader would stop there anyway.
pub(crate) fn put_nul_terminated(out: &mut impl BufMut, bytes: &[u8]) {
    out.put_slice(bytes.split(|byte| *byte == 0).next().unwrap_or_default());
    out.put_u8(0);
}
