//! A password encrypted with the server's RSA key: the full login without TLS.
//!
//! `mysql_common` does the arithmetic but panics on a key it does not like. So the key is taken apart
//! here first, strictly, and only what passed is written anew and handed on. The same key of a man in
//! the middle would pass too: without TLS nobody can tell, which is why the verifying TLS modes exist.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;

use crate::cursor::{Cursor, Malformed};

/// Moduli outside are not MySQL's (it makes 2048 bits); the upper end bounds the work.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 1024..=8192;

/// What OAEP with SHA-1 adds to the message.
const OAEP_OVERHEAD: usize = 42;

/// `password`, NUL-terminated and mixed with the nonce, encrypted for the holder of the key.
///
/// # Errors
///
/// Says what is wrong with the key, or that the password is too long for it.
pub(crate) fn encrypt_password(password: &str, nonce: &[u8], pem: &[u8]) -> Result<Vec<u8>, &'static str> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| "the server's key is not PEM")?;
    let modulus_bytes = modulus_length(&der).map_err(|Malformed(what)| what)?;
    if nonce.is_empty() {
        return Err("the server sent no random bytes");
    }
    let message: Vec<u8> =
        password.bytes().chain([0]).zip(nonce.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    if message.len() + OAEP_OVERHEAD > modulus_bytes {
        return Err("the password is too long for the server's key");
    }
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&der));
    Ok(mysql_common::crypto::encrypt(&message, pem.as_bytes()))
}

/// Checks a `SubjectPublicKeyInfo` of an RSA key to its last byte; gives the modulus' length in bytes.
///
/// ```text
/// SEQUENCE { SEQUENCE { algorithm }, BIT STRING { SEQUENCE { INTEGER modulus, INTEGER exponent } } }
/// ```
fn modulus_length(der: &[u8]) -> Result<usize, Malformed> {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    const INTEGER: u8 = 0x02;
    /// `rsaEncryption`, 1.2.840.113549.1.1.1, with its NULL parameter.
    const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

    let mut outer = Cursor::new(der);
    let mut info = Cursor::new(element(&mut outer, SEQUENCE)?);
    let algorithm = element(&mut info, SEQUENCE)?;
    let mut bits = Cursor::new(element(&mut info, BIT_STRING)?);
    if algorithm != RSA {
        return Err(Malformed("the server's key is not an RSA key"));
    }
    if bits.u8()? != 0 {
        return Err(Malformed("the server's key has bits left over"));
    }
    let mut key = Cursor::new(element(&mut bits, SEQUENCE)?);
    let modulus = positive(element(&mut key, INTEGER)?)?;
    let exponent = positive(element(&mut key, INTEGER)?)?;
    if !(outer.is_empty() && info.is_empty() && bits.is_empty() && key.is_empty()) {
        return Err(Malformed("the server's key has bytes left over"));
    }
    // A modulus whose length is no whole number of bytes is counted one byte short by mysql_common.
    let whole = modulus.first().is_some_and(|byte| *byte >= 0x80);
    if !whole || !MODULUS_BITS.contains(&(modulus.len() * 8)) || modulus.last().is_none_or(|b| b % 2 == 0) {
        return Err(Malformed("the server's key has a modulus of unusual size"));
    }
    if exponent.len() > 8 || exponent.last().is_none_or(|b| b % 2 == 0) || exponent == [1] {
        return Err(Malformed("the server's key has an unusual exponent"));
    }
    Ok(modulus.len())
}

/// The contents of a DER element. Its length must be written in the shortest form.
fn element<'a>(cursor: &mut Cursor<'a>, tag: u8) -> Result<&'a [u8], Malformed> {
    const BAD: Malformed = Malformed("the server's key is not proper DER");
    if cursor.u8()? != tag {
        return Err(BAD);
    }
    let length = match cursor.u8()? {
        short @ 0..=0x7f => usize::from(short),
        0x81 => match cursor.u8()? {
            long @ 0x80.. => usize::from(long),
            _ => return Err(BAD),
        },
        0x82 => match u16::from_be_bytes(cursor.array()?) {
            long @ 0x100.. => usize::from(long),
            _ => return Err(BAD),
        },
        _ => return Err(BAD),
    };
    cursor.take(length)
}

/// A DER integer above zero, without the zero byte that only keeps it positive.
fn positive(integer: &[u8]) -> Result<&[u8], Malformed> {
    match integer {
        [0, rest @ ..] if rest.first().is_some_and(|byte| *byte >= 0x80) => Ok(rest),
        [1..=0x7f, ..] => Ok(integer),
        _ => Err(Malformed("the server's key holds an improper number")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};

    use super::*;

    const PEM: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAxSKOcxiet8lLMn8ImyUE
bGGKob5EdRz/4wdiw12ED0GfKKTKhVnodFCfm1mdy7bKOX5QxL9skrvYodpW43eR
R5bfOzIgy1qIB8RYb6qOXRBw1oA4snBDqtUjDv/lbHLJN+IbzM4oU+e3Lt9rXyLX
VY289ewONPweXHqSCnTL91w+wkU1peIFV2QhZ+upUCdCtwOn5hnJPNgxtbklFoya
C8W3Z7Xx7He2QDJsEWAqX197efw0L6j8X8Tyd8Uwb7zUB1tfMGhHfm9EwejPAtzx
4GztQNtNMtGS2oGZLQBLV9hib4dDL92iiZeckg2LAf4GsJofLLR8mcHCRoqVbQJ1
YQIDAQAB
-----END PUBLIC KEY-----";

    #[test]
    fn a_password_is_encrypted_to_the_length_of_the_modulus() {
        let nonce: Vec<u8> = (1..=20).collect();
        let first = encrypt_password("secret", &nonce, PEM.as_bytes()).unwrap();
        let second = encrypt_password("secret", &nonce, PEM.as_bytes()).unwrap();
        assert_eq!(first.len(), 256);
        assert_ne!(first, second, "the padding is random");
    }

    #[test]
    fn a_password_longer_than_the_key_carries_is_an_error() {
        assert!(encrypt_password(&"x".repeat(213), &[1], PEM.as_bytes()).is_ok());
        assert!(encrypt_password(&"x".repeat(214), &[1], PEM.as_bytes()).is_err());
    }

    #[test]
    fn keys_that_are_none_are_errors() {
        for bad in [
            "",
            "no pem at all",
            "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----",
            "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----",
            "-----BEGIN RSA PUBLIC KEY-----\nMAA=\n-----END RSA PUBLIC KEY-----",
        ] {
            assert!(encrypt_password("secret", &[1], bad.as_bytes()).is_err(), "{bad}");
        }
    }

    fn der() -> Vec<u8> {
        SubjectPublicKeyInfoDer::from_pem_slice(PEM.as_bytes()).unwrap().to_vec()
    }

    fn try_der(der: &[u8]) {
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
        let _ = encrypt_password("secret", &[1, 2, 3], pem.as_bytes());
    }

    fn der_element(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        let length = match (length, body.len()) {
            ([_, low], 0..=0x7f) => vec![low],
            ([_, low], 0x80..=0xff) => vec![0x81, low],
            ([high, low], _) => vec![0x82, high, low],
        };
        [&[tag][..], &length, body].concat()
    }

    /// A proper key with these numbers.
    fn key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
        let numbers = [der_element(2, modulus), der_element(2, exponent)].concat();
        let bits = [&[0][..], &der_element(0x30, &numbers)].concat();
        let algorithm = der_element(0x30, b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00");
        der_element(0x30, &[algorithm, der_element(3, &bits)].concat())
    }

    #[test]
    fn keys_that_the_arithmetic_is_not_made_for_are_errors() {
        let odd = |first: &[u8], length: usize| [first, &vec![0xa7; length]].concat();
        assert_eq!(modulus_length(&key(&odd(&[0, 0xc5], 255), &[1, 0, 1])), Ok(256));
        for (what, modulus, exponent) in [
            ("one bit above whole bytes", odd(&[1], 256), &[1, 0, 1][..]),
            ("seven bits below whole bytes", odd(&[0x45], 255), &[1, 0, 1]),
            ("too short", odd(&[0, 0xc5], 100), &[1, 0, 1]),
            ("too long", odd(&[0, 0xc5], 1100), &[1, 0, 1]),
            ("even", [odd(&[0, 0xc5], 254), vec![2]].concat(), &[1, 0, 1]),
            ("zero", vec![0], &[1, 0, 1]),
            ("negative", odd(&[0xc5], 255), &[1, 0, 1]),
            ("exponent of one", odd(&[0, 0xc5], 255), &[1]),
            ("even exponent", odd(&[0, 0xc5], 255), &[1, 0]),
            ("long exponent", odd(&[0, 0xc5], 255), &[1; 9]),
        ] {
            assert!(modulus_length(&key(&modulus, exponent)).is_err(), "{what}");
            try_der(&key(&modulus, exponent));
        }
    }

    #[test]
    fn a_key_cut_short_or_bent_at_any_byte_never_panics() {
        let der = der();
        for end in 0..der.len() {
            try_der(&der[..end]);
        }
        // The head of the key and its exponent: what lies between is the modulus' digits.
        for at in (0..40).chain(der.len() - 8..der.len()) {
            for value in 0..=255 {
                let mut bent = der.clone();
                bent[at] = value;
                try_der(&bent);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            try_der(&bytes);
            let _ = encrypt_password("secret", &[1], &bytes);
            prop_assert!(true);
        }
    }
}
