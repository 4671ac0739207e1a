//! Conflicts: found by the window, decided by rule, recorded.
//!
//! | file | holds |
//! |---|---|
//! | `rules.rs` | who wins, and the hybrid clock; pure |
//! | `key.rs` | a row's keys, folded |
//! | `seen.rs` | what a region had applied of the others: seen-sets out of stamps |
//! | `window.rs` | keys written in the target, and by whom; pure |
//! | `follow.rs` | the target's own log, read into the window |

pub(crate) mod key;
pub(crate) mod rules;
pub(crate) mod seen;
pub(crate) mod window;

#[cfg(test)]
mod model_tests;

pub use rules::{Detect, Kind, Policy, Winner};
