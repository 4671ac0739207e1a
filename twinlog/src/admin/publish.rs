//! Where a process listens, told to others on the same host by a small file in the state folder.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Kind;

/// A published address; withdrawn when dropped, unless somebody else has published since.
#[derive(Debug)]
pub(super) struct Publication {
    path: PathBuf,
    address: String,
}

impl Publication {
    /// Writes the file, whole or not at all.
    pub(super) fn write(state_dir: &Path, kind: Kind, name: &str, address: &str) -> io::Result<Self> {
        fs::create_dir_all(state_dir)?;
        let path = file(state_dir, kind, name);
        let mut temporary = tempfile::NamedTempFile::new_in(state_dir)?;
        writeln!(temporary, "{address}")?;
        temporary.persist(&path).map_err(|e| e.error)?;
        Ok(Self { path, address: address.into() })
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        if fs::read_to_string(&self.path).is_ok_and(|text| text.trim() == self.address) {
            // What stays behind is found out when nobody answers there.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The address that a process has published.
pub(crate) fn published(state_dir: &Path, kind: Kind, name: &str) -> Result<String, String> {
    let path = file(state_dir, kind, name);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Err(format!("not running on this host: nothing published at {}", path.display()))
        }
        Err(e) => Err(format!("cannot read {}: {e}", path.display())),
    }
}

fn file(state_dir: &Path, kind: Kind, name: &str) -> PathBuf {
    state_dir.join(format!("{kind}-{name}.admin"))
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::{Publication, published};

    #[test]
    fn an_address_is_there_while_its_process_is() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        assert!(published(&state, Kind::Relay, "eu").unwrap_err().contains("not running"));
        let first = Publication::write(&state, Kind::Relay, "eu", "127.0.0.1:1").unwrap();
        assert_eq!(published(&state, Kind::Relay, "eu").unwrap(), "127.0.0.1:1");
        let second = Publication::write(&state, Kind::Relay, "eu", "127.0.0.1:2").unwrap();
        drop(first);
        assert_eq!(published(&state, Kind::Relay, "eu").unwrap(), "127.0.0.1:2");
        drop(second);
        assert!(published(&state, Kind::Relay, "eu").is_err());
        assert_eq!(std::fs::read_dir(&state).unwrap().count(), 0);
    }
}
