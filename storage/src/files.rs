//! The log's folder: names of its files, and the few operations on them that must survive a power cut.
//!
//! ```text
//! identity.json             whose log this is            made once
//! lock                      held while the log is open
//! durable                   how far the last segment is on disk
//! segment-00000001.binlog   events
//! segment-00000001.json     which source file they are from
//! index/                    sled; rebuilt when lost
//! ```

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, FileDamage};

/// The folder's files by name.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

/// Which numbers have which files.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Segments.
    pub(crate) segments: BTreeSet<u64>,
    /// Files that tell where a segment is from.
    pub(crate) origins: BTreeSet<u64>,
}

impl Folder {
    /// Makes the folder where it is missing.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let made = !path.exists();
        // Rows of every table are in there: not for everyone, as a server's own logs are not.
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o750)
            .create(path)
            .map_err(|e| Error::io("make the relay log's folder", path, e))?;
        if made && let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_dir(parent)?;
        }
        Ok(Self(path.to_path_buf()))
    }

    /// A folder that is there, or is not: reading it tells.
    pub(crate) fn existing(path: &Path) -> Self {
        Self(path.to_path_buf())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn identity(&self) -> PathBuf {
        self.0.join("identity.json")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    pub(crate) fn durable(&self) -> PathBuf {
        self.0.join("durable")
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.0.join("index")
    }

    pub(crate) fn segment(&self, number: u64) -> PathBuf {
        self.0.join(format!("segment-{number:08}.binlog"))
    }

    pub(crate) fn origin(&self, number: u64) -> PathBuf {
        self.0.join(format!("segment-{number:08}.json"))
    }

    /// Makes what was created, renamed or removed in the folder durable.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        sync_dir(&self.0)
    }

    /// What is there. Names that are not the log's own are left alone.
    pub(crate) fn list(&self) -> Result<Listing, Error> {
        let fail = |e| Error::io("list the relay log's folder", &self.0, e);
        let mut listing = Listing::default();
        for entry in fs::read_dir(&self.0).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name();
            let Some((number, kind)) = name.to_str().and_then(parse_name) else { continue };
            match kind {
                "binlog" => listing.segments.insert(number),
                "json" => listing.origins.insert(number),
                _ => continue,
            };
        }
        Ok(listing)
    }

    /// Removes a file; one that is not there is fine. Durable only after [`Self::sync`].
    pub(crate) fn remove(&self, path: &Path) -> Result<(), Error> {
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
            _ => Ok(()),
        }
    }
}

/// `segment-<8 or more digits>.<kind>`.
fn parse_name(name: &str) -> Option<(u64, &str)> {
    let (digits, kind) = name.strip_prefix("segment-")?.split_once('.')?;
    let fits = digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = fits.then(|| digits.parse().ok())??;
    // Longer only when it has to be: "000000001" would be a second name for segment 1.
    (number > 0 && digits == format!("{number:08}")).then_some((number, kind))
}

/// Makes a folder's entries durable.
fn sync_dir(path: &Path) -> Result<(), Error> {
    let fail = |source| Error::SyncFailed { path: path.to_path_buf(), source };
    let dir = File::open(path).map_err(|e| Error::io("open", path, e))?;
    dir.sync_all().map_err(fail)
}

/// Writes a small file and flushes it. The name is durable only after the folder was flushed.
pub(crate) fn write_durably(path: &Path, contents: &[u8]) -> Result<(), Error> {
    let mut file = File::create(path).map_err(|e| Error::io("create", path, e))?;
    file.write_all(contents).map_err(|e| Error::io("write", path, e))?;
    file.sync_all().map_err(|source| Error::SyncFailed { path: path.to_path_buf(), source })
}

/// Replaces a small file: either the old or the new contents are there, whatever happens.
pub(crate) fn replace_durably(folder: &Folder, path: &Path, contents: &[u8]) -> Result<(), Error> {
    let new = path.with_extension("new");
    write_durably(&new, contents)?;
    fs::rename(&new, path).map_err(|e| Error::io("rename", &new, e))?;
    folder.sync()
}

/// Reads a small file; `None` when there is none. One that is far too large is not read.
pub(crate) fn read_small(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    const LIMIT: u64 = 64 << 20;
    let fail = |e| Error::io("read", path, e);
    match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(fail(e)),
        Ok(meta) if meta.len() > LIMIT => Err(Error::file(path, FileDamage::TooLarge)),
        Ok(_) => fs::read(path).map(Some).map_err(fail),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_name;

    #[test]
    fn only_the_logs_own_names_count() {
        assert_eq!(parse_name("segment-00000012.binlog"), Some((12, "binlog")));
        assert_eq!(parse_name("segment-123456789.json"), Some((123_456_789, "json")));
        for other in ["segment-12.binlog", "segment-000000012.binlog", "segment-00000000.binlog", "lock"] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
