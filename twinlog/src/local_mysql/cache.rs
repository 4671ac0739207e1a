//! The folder that keeps what is fetched and what is made once: the unpacked server and the data folder templates.
//!
//! Several processes may need the same thing at once: what is made is made under the folder's lock, in a
//! temporary name, and renamed when it is complete. What has its final name is whole.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{Error, Result};

/// What temporary names in the cache begin with.
const MAKING: &str = "making-";

/// The cache folder.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `TWINLOG_CACHE`, else `XDG_CACHE_HOME/twinlog`, else `HOME/.cache/twinlog`; made if it is not there.
    pub(super) fn open() -> Result<Self> {
        let set = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let root = set("TWINLOG_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|d| d.join("twinlog")))
            .or_else(|| set("HOME").map(|d| d.join(".cache").join("twinlog")))
            .ok_or(Error::NoCacheFolder)?;
        Self::at(&root)
    }

    /// The cache in this folder.
    pub(super) fn at(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).map_err(Error::io("cannot make the cache folder", root))?;
        // Absolute, because servers are started with other working folders.
        let root = root.canonicalize().map_err(Error::io("cannot resolve the cache folder", root))?;
        Ok(Self { root })
    }

    /// Where the unpacked server is once it is complete.
    pub(super) fn server_root(&self) -> PathBuf {
        self.root.join("mysql")
    }

    /// Where something else that is fetched is once it is complete.
    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where the template of a data folder is once it is complete.
    pub(super) fn template(&self, key: &str) -> PathBuf {
        self.root.join(format!("template-{key}"))
    }

    /// Returns `finished`, after making it with `make` when it is not there. `make` fills an empty folder and
    /// names the part of it that becomes `finished`.
    pub(super) fn once(
        &self,
        finished: &Path,
        progress: &mut dyn FnMut(&str),
        make: impl FnOnce(&Path, &mut dyn FnMut(&str)) -> Result<PathBuf>,
    ) -> Result<()> {
        if finished.is_dir() {
            return Ok(());
        }
        let _lock = self.lock(progress)?;
        if finished.is_dir() {
            return Ok(());
        }
        self.clear_abandoned();
        let work = tempfile::Builder::new()
            .prefix(MAKING)
            .tempdir_in(&self.root)
            .map_err(Error::io("cannot make a folder in the cache", &self.root))?;
        let made = make(work.path(), progress)?;
        fs::rename(&made, finished).map_err(Error::io("cannot move into the cache", finished))
    }

    /// Removes what a killed process was making. Only under the lock, when nobody makes anything.
    fn clear_abandoned(&self) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(MAKING) {
                // What can't be removed takes space and does no other harm.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// The folder's lock, held until the file is dropped.
    fn lock(&self, progress: &mut dyn FnMut(&str)) -> Result<File> {
        let path = self.root.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::io("cannot open the cache's lock", &path))?;
        if file.try_lock().is_err() {
            progress("waiting for another process that fills the cache");
            file.lock().map_err(Error::io("cannot lock the cache", &path))?;
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Cache;
    use crate::local_mysql::Error;

    #[test]
    fn what_several_need_at_once_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let made = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let cache = Cache::at(dir.path()).unwrap();
                    let finished = cache.server_root();
                    let make = |work: &std::path::Path, _: &mut dyn FnMut(&str)| {
                        made.fetch_add(1, Ordering::SeqCst);
                        let part = work.join("part");
                        fs::create_dir(&part).unwrap();
                        fs::write(part.join("file"), "whole").unwrap();
                        Ok(part)
                    };
                    cache.once(&finished, &mut |_| {}, make).unwrap();
                    assert_eq!(fs::read_to_string(finished.join("file")).unwrap(), "whole");
                });
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_was_left_half_made_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let finished = cache.server_root();
        fs::create_dir(dir.path().join("making-abandoned")).unwrap();
        let fails = |work: &std::path::Path, _: &mut dyn FnMut(&str)| {
            fs::create_dir(work.join("part")).unwrap();
            Err(Error::NoArchive)
        };
        assert!(cache.once(&finished, &mut |_| {}, fails).is_err());
        assert!(!finished.exists());
        let leftovers =
            fs::read_dir(cache.root).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count();
        assert_eq!(leftovers, 0);
    }
}
