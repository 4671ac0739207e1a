//! The server's side: a password is checked against hashes from which it can't be had.
//!
//! With H1 = hash(password), H2 = hash(H1), a client proves H1 by `H1 xor hash(nonce, H2)`, in the order
//! that its plugin has. Knowing H2, the server takes H1 out of the proof and hashes it once more. That is
//! the fast path of caching_sha2_password, always: no client is ever asked for the password itself, so
//! there is neither an RSA key nor a password in clear text here.

use std::collections::HashMap;
use std::fmt;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::Secret;

/// What a user's password is checked against. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    kind: Kind,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    /// No password: only an empty one is right.
    Empty,
    Hashes {
        sha2: [u8; 32],
        sha1: [u8; 20],
    },
}

impl Verifier {
    /// Hashes a password; only the hashes are kept.
    pub fn new(password: &Secret) -> Self {
        let password = password.expose().as_bytes();
        if password.is_empty() {
            return Self { kind: Kind::Empty };
        }
        Self {
            kind: Kind::Hashes {
                sha2: Sha256::digest(Sha256::digest(password)).into(),
                sha1: Sha1::digest(Sha1::digest(password)).into(),
            },
        }
    }

    /// A verifier that nothing passes: what a user that does not exist is checked against, so that the
    /// answer takes the same way and the same time.
    pub(crate) fn impossible() -> Self {
        Self { kind: Kind::Hashes { sha2: rand::random(), sha1: rand::random() } }
    }

    /// Whether a login without a password is right.
    pub(crate) fn accepts_empty(&self) -> bool {
        self.kind == Kind::Empty
    }

    /// Checks a proof of `caching_sha2_password`: `H1 xor SHA256(H2, nonce)`.
    pub(crate) fn accepts_sha2(&self, proof: &[u8], nonce: &[u8]) -> bool {
        let (Kind::Hashes { sha2, .. }, Ok(proof)) = (&self.kind, <[u8; 32]>::try_from(proof)) else {
            return false;
        };
        let mask: [u8; 32] = Sha256::new().chain_update(sha2).chain_update(nonce).finalize().into();
        same(&Sha256::digest(xor(proof, &mask)), sha2)
    }

    /// Checks a proof of `mysql_native_password`: `H1 xor SHA1(nonce, H2)`.
    pub(crate) fn accepts_sha1(&self, proof: &[u8], nonce: &[u8]) -> bool {
        let (Kind::Hashes { sha1, .. }, Ok(proof)) = (&self.kind, <[u8; 20]>::try_from(proof)) else {
            return false;
        };
        let mask: [u8; 20] = Sha1::new().chain_update(nonce).chain_update(sha1).finalize().into();
        same(&Sha1::digest(xor(proof, &mask)), sha1)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Who may log in.
#[derive(Clone, Debug, Default)]
pub struct Users {
    by_name: HashMap<String, Verifier>,
}

impl Users {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets a user in; a second entry of the same name replaces the first.
    pub fn insert(&mut self, user: impl Into<String>, verifier: Verifier) {
        self.by_name.insert(user.into(), verifier);
    }

    /// Lets a user in, told as name and password.
    #[must_use]
    pub fn with(mut self, user: impl Into<String>, password: &Secret) -> Self {
        self.insert(user, Verifier::new(password));
        self
    }

    pub(crate) fn get(&self, user: &str) -> Option<&Verifier> {
        self.by_name.get(user)
    }
}

fn xor<const N: usize>(mut bytes: [u8; N], mask: &[u8; N]) -> [u8; N] {
    for (byte, mask) in bytes.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    bytes
}

/// Compares in a time that does not depend on where the difference is.
fn same(left: &[u8], right: &[u8]) -> bool {
    let difference = left.iter().zip(right).fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
    left.len() == right.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::auth::client::Plugin;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn the_right_password_passes_and_another_does_not(
            right in ".{1,40}", wrong in ".{0,40}", nonce in proptest::collection::vec(1u8..128, 20),
        ) {
            let verifier = Verifier::new(&Secret::new(right.clone()));
            for (password, expected) in [(&right, true), (&wrong, wrong == right)] {
                let secret = Secret::new(password.clone());
                prop_assert_eq!(verifier.accepts_sha2(&Plugin::CachingSha2.proof(&secret, &nonce), &nonce), expected);
                prop_assert_eq!(verifier.accepts_sha1(&Plugin::Native.proof(&secret, &nonce), &nonce), expected);
            }
        }

        #[test]
        fn arbitrary_proofs_never_pass(proof in proptest::collection::vec(any::<u8>(), 0..40), nonce in proptest::collection::vec(any::<u8>(), 0..40)) {
            let verifier = Verifier::new(&Secret::new("right"));
            prop_assert!(!verifier.accepts_sha2(&proof, &nonce));
            prop_assert!(!verifier.accepts_sha1(&proof, &nonce));
        }
    }

    #[test]
    fn an_account_without_password_takes_none_and_one_with_takes_no_empty_one() {
        assert!(Verifier::new(&Secret::default()).accepts_empty());
        assert!(!Verifier::new(&Secret::default()).accepts_sha2(&[0; 32], &[0; 20]));
        assert!(!Verifier::new(&Secret::new("x")).accepts_empty());
        assert!(!Verifier::impossible().accepts_empty());
    }

    #[test]
    fn one_bit_of_difference_is_a_difference() {
        assert!(same(b"abc", b"abc"));
        assert!(!same(b"abc", b"ab"));
        for bit in 0..24 {
            let mut other = *b"abc";
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!same(b"abc", &other), "bit {bit}");
        }
    }

    #[test]
    fn nothing_of_a_password_is_printed() {
        let users = Users::new().with("u", &Secret::new("hunter2"));
        assert_eq!(format!("{users:?}"), r#"Users { by_name: {"u": ***} }"#);
    }
}
