//! How far the log is on disk, remembered across a crash of the process.
//!
//! A bad event at the end of the last segment is either a write that never finished (trimmed: the source
//! sends it again) or damage to what was flushed (refused). Only knowing how far the flushes had come tells
//! them apart, so after each one the place is put into the file `durable`:
//!
//! ```text
//! 0   segment  u64
//! 8   offset   u64
//! 16  CRC32    u32    of the 16 bytes before
//! ```
//! The file itself is flushed only when a segment begins and when the log is closed: after a kill it is exact,
//! after a power cut it may be behind, never ahead.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::error::Error;
use crate::files::{Folder, read_small};
use crate::position::LogPosition;

/// The file, open.
#[derive(Debug)]
pub(crate) struct DurableMark {
    file: File,
    path: PathBuf,
}

impl DurableMark {
    /// Opens it, and reads what it says: `None` when it is new or unreadable.
    pub(crate) fn open(folder: &Folder) -> Result<(Self, Option<LogPosition>), Error> {
        let path = folder.durable();
        let said = Self::read(folder)?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|e| Error::io("open", &path, e))?;
        Ok((Self { file, path }, said))
    }

    /// Reads what it says, if it says anything.
    pub(crate) fn read(folder: &Folder) -> Result<Option<LogPosition>, Error> {
        Ok(read_small(&folder.durable())?.and_then(|bytes| parse(&bytes)))
    }

    /// Says how far the log is on disk now.
    pub(crate) fn set(&self, position: LogPosition) -> Result<(), Error> {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&position.segment.to_le_bytes());
        bytes[8..16].copy_from_slice(&position.offset.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..16]);
        bytes[16..].copy_from_slice(&crc.to_le_bytes());
        self.file.write_all_at(&bytes, 0).map_err(|e| Error::io("write", &self.path, e))
    }

    /// Makes what was said durable.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        let failed = |source| Error::SyncFailed { path: self.path.clone(), source };
        self.file.sync_data().map_err(failed)
    }
}

fn parse(bytes: &[u8]) -> Option<LogPosition> {
    let (place, crc) = bytes.split_at_checked(16)?;
    if crc32fast::hash(place).to_le_bytes() != *crc {
        return None;
    }
    let (segment, offset) = place.split_at(8);
    Some(LogPosition {
        segment: u64::from_le_bytes(segment.try_into().ok()?),
        offset: u64::from_le_bytes(offset.try_into().ok()?),
    })
}
