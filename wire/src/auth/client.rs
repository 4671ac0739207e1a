//! The client's side of the two authentication plugins.

use mysql_common::scramble::{scramble_native, scramble_sha256};

use crate::Secret;
use crate::constants::plugin;

/// How a password is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plugin {
    /// SHA-256; where the server has the account not in its cache, the password itself is asked for.
    CachingSha2,
    /// SHA-1. Gone from MySQL 9.
    Native,
}

impl Plugin {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            plugin::CACHING_SHA2 => Some(Self::CachingSha2),
            plugin::NATIVE => Some(Self::Native),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CachingSha2 => plugin::CACHING_SHA2,
            Self::Native => plugin::NATIVE,
        }
    }

    /// The proof for this nonce; empty for an empty password.
    pub(crate) fn proof(self, password: &Secret, nonce: &[u8]) -> Vec<u8> {
        let password = password.expose().as_bytes();
        match self {
            Self::CachingSha2 => scramble_sha256(nonce, password).map(Vec::from),
            Self::Native => scramble_native(nonce, password).map(Vec::from),
        }
        .unwrap_or_default()
    }
}
