//! The segment that is being written: a buffer in front of a file.
//!
//! A write that fails takes nothing: the buffer stays, and the same bytes go to the same place at the next
//! attempt. So a full disk costs waiting, not data.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Error;
use crate::head::SegmentHead;

/// Bytes collected before they are written: large enough that system calls cost nothing beside the copying.
const BUFFER: usize = 1 << 20;

/// The segment.
#[derive(Debug)]
pub(crate) struct Active {
    head: Arc<SegmentHead>,
    file: Arc<File>,
    path: PathBuf,
    /// Where the buffer goes: bytes that are in the file.
    written: u64,
    buffer: Vec<u8>,
    /// A failed write may have left bytes behind `written`.
    overhang: bool,
}

impl Active {
    /// Goes on at `end` of an open file.
    pub(crate) fn new(head: Arc<SegmentHead>, file: File, path: PathBuf, end: u64) -> Self {
        let file = Arc::new(file);
        Self { head, file, path, written: end, buffer: Vec::with_capacity(BUFFER), overhang: false }
    }

    pub(crate) fn head(&self) -> &Arc<SegmentHead> {
        &self.head
    }

    /// The file, for another thread to flush.
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the segment, the buffered ones included.
    pub(crate) fn end(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Adds bytes. After an error none of them was added.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        if bytes.len() < BUFFER {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.write(bytes, 0)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Writes the buffer to the file.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        if !self.buffer.is_empty() {
            let buffer = std::mem::take(&mut self.buffer);
            let outcome = self.write(&buffer, 0);
            self.buffer = buffer;
            outcome?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        if self.overhang {
            self.truncate()?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], ahead: u64) -> Result<(), Error> {
        self.file.write_all_at(bytes, self.written + ahead).map_err(|e| {
            // A part may be there: it would be taken for damage when a segment ends with it.
            self.overhang = self.file.set_len(self.written).is_err();
            Error::io("write", &self.path, e)
        })
    }

    /// Drops everything behind `end`, in the file for good: what was there can't come back after a crash
    /// under what is written in its place.
    pub(crate) fn cut(&mut self, end: u64) -> Result<(), Error> {
        if let Some(keep) = end.checked_sub(self.written) {
            // The buffer holds at most 1 MiB, so this is its length or less.
            self.buffer.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
            return if self.overhang { self.truncate() } else { Ok(()) };
        }
        self.buffer.clear();
        self.written = end;
        self.overhang = true;
        self.truncate()?;
        self.sync()
    }

    fn truncate(&mut self) -> Result<(), Error> {
        self.file.set_len(self.written).map_err(|e| Error::io("truncate", &self.path, e))?;
        self.overhang = false;
        Ok(())
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(|source| Error::SyncFailed { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;
    use std::sync::Arc;

    use super::{Active, BUFFER};
    use crate::error::Error;
    use crate::head::SegmentHead;

    /// A segment on a device that is always full, and a file that is not.
    fn on_full_disk(dir: &Path) -> (Active, File) {
        let event = binlog::event::artificial_rotate(1, "binlog.000001", 4);
        let head = SegmentHead {
            segment: 1,
            server_uuid: uuid::Uuid::nil(),
            file: "binlog.000001".into(),
            position: 4,
            begins_file: true,
            format: event.clone(),
            previous_event: event,
            previous: Arc::default(),
        };
        let full = File::options().write(true).open("/dev/full").unwrap();
        let path = dir.join("segment");
        let file = File::options().write(true).create_new(true).open(&path).unwrap();
        (Active::new(head.into(), full, path, 0), file)
    }

    #[test]
    fn a_full_disk_takes_nothing_and_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (mut active, file) = on_full_disk(dir.path());
        active.push(b"first ").unwrap();
        let large = vec![b'x'; BUFFER];
        for _ in 0..2 {
            let error = active.push(&large).unwrap_err();
            assert!(matches!(error, Error::NoSpace { .. }), "{error}");
            assert!(error.remedy().unwrap().contains("room"));
            assert_eq!(active.end(), 6);
            assert!(matches!(active.flush(), Err(Error::NoSpace { .. })));
        }
        active.file = file.into();
        active.push(b"second ").unwrap();
        active.push(&large).unwrap();
        active.flush().unwrap();
        let written = fs::read(dir.path().join("segment")).unwrap();
        assert_eq!(written, [b"first second ", &large[..]].concat());
        assert_eq!(active.end(), written.len() as u64);
    }

    #[test]
    fn what_is_cut_is_gone_from_buffer_and_file() {
        let dir = tempfile::tempdir().unwrap();
        let (mut active, file) = on_full_disk(dir.path());
        active.file = file.into();
        active.push(b"whole").unwrap();
        active.flush().unwrap();
        active.push(b" half").unwrap();
        active.cut(5).unwrap();
        assert_eq!(active.end(), 5);
        active.push(b" half").unwrap();
        active.flush().unwrap();
        active.cut(5).unwrap();
        active.push(b"!").unwrap();
        active.flush().unwrap();
        assert_eq!(fs::read(dir.path().join("segment")).unwrap(), b"whole!");
    }

    impl Active {
        /// Puts another file under the segment, and gives the one that was there.
        pub(crate) fn replace_file(&mut self, file: impl Into<Arc<File>>) -> Arc<File> {
            std::mem::replace(&mut self.file, file.into())
        }
    }
}
