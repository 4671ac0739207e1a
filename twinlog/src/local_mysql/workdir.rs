//! The folder a server works in: short enough for a socket's path, and cleared away even when its owner was killed.
//!
//! The owner holds a lock on a file inside. Whoever makes the next folder removes those that nobody holds any more.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::{Error, Result};

/// A socket's path may have 107 bytes; so much is left for the folder after its own name and `/socket`.
const LONGEST_PARENT: usize = 70;

const PREFIX: &str = "twinlog-mysql-";

/// A younger lock file may be one that its owner has made and not locked yet.
const SURELY_LOCKED: Duration = Duration::from_secs(60);

/// A locked folder, removed when dropped.
#[derive(Debug)]
pub(super) struct WorkDir {
    // Before the lock, so that the folder is gone before anyone could take it for abandoned.
    folder: TempDir,
    _lock: File,
}

impl WorkDir {
    pub(super) fn create() -> Result<Self> {
        let parent = parent();
        sweep(&parent, SURELY_LOCKED);
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&parent)
            .map_err(Error::io("cannot make a working folder in", &parent))?;
        let path = folder.path().join("lock");
        let lock = File::create(&path).map_err(Error::io("cannot make", &path))?;
        lock.lock().map_err(Error::io("cannot lock", &path))?;
        Ok(Self { folder, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// The folder for temporary files, or `/tmp` where that one's path is too long.
fn parent() -> PathBuf {
    let dir = env::temp_dir();
    if dir.as_os_str().len() <= LONGEST_PARENT { dir } else { PathBuf::from("/tmp") }
}

/// Removes the folders of owners that are gone. What can't be removed is left: it may be somebody else's.
fn sweep(parent: &Path, older_than: Duration) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // Without the lock file a folder is being made or removed at this moment.
        let Ok(lock) = File::open(entry.path().join("lock")) else { continue };
        let age = lock.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
        if age.is_some_and(|a| a >= older_than) && lock.try_lock().is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::{PREFIX, WorkDir, sweep};

    #[test]
    fn only_folders_nobody_holds_are_swept_away() {
        let parent = tempfile::tempdir().unwrap();
        let abandoned = parent.path().join(format!("{PREFIX}gone"));
        fs::create_dir_all(abandoned.join("data")).unwrap();
        fs::write(abandoned.join("lock"), "").unwrap();
        let other = parent.path().join("other");
        fs::create_dir(&other).unwrap();
        sweep(parent.path(), Duration::ZERO);
        assert!(!abandoned.exists());
        assert!(other.exists());

        let held = WorkDir::create().unwrap();
        sweep(held.path().parent().unwrap(), Duration::ZERO);
        assert!(held.path().exists());
    }
}
