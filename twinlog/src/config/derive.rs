//! Values that follow from others when the file does not give them.

use std::env;
use std::path::PathBuf;

use uuid::Uuid;

/// A `server_id` for a process of this sync: the same on every start and host, in the upper half of the range, where
/// people seldom put their own.
pub(super) fn server_id(sync: &str, kind: &str, name: &str) -> u32 {
    let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("twinlog/{sync}/{kind}/{name}").as_bytes());
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_be_bytes([a, b, c, d]) | 1 << 31
}

/// `XDG_STATE_HOME/twinlog/<sync>`, else `HOME/.local/state/twinlog/<sync>`.
pub(super) fn state_dir(sync: &str) -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|h| h.join(".local").join("state")))?;
    Some(base.join("twinlog").join(sync))
}

#[cfg(test)]
mod tests {
    use super::server_id;

    #[test]
    fn derived_server_ids_are_stable_high_and_differ() {
        assert_eq!(server_id("shop", "link", "eu-us"), server_id("shop", "link", "eu-us"));
        assert_ne!(server_id("shop", "link", "eu-us"), server_id("shop", "relay", "eu-us"));
        assert_ne!(server_id("shop", "link", "eu-us"), server_id("shop", "link", "us-eu"));
        assert!(server_id("", "", "") >= 1 << 31);
    }
}
