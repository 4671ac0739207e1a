//! Proving a password, and checking the proof, without the password crossing the wire.

pub(crate) mod client;
pub(crate) mod public_key;
pub(crate) mod verifier;
