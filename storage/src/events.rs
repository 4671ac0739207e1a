//! Reading events out of a segment, one after the other, in large pieces.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use binlog::Event;
use binlog::event::{CHECKSUM_LENGTH, EventError, FLAG_IN_USE, HEADER_LENGTH};
use bytes::Bytes;

use crate::error::{Damage, Error};

/// The least that an event can have.
const LEAST: u64 = (HEADER_LENGTH + CHECKSUM_LENGTH) as u64;

/// Walks a segment's events from some place on. Every event's CRC32 is verified.
#[derive(Debug)]
pub(crate) struct EventReader {
    file: File,
    path: PathBuf,
    segment: u64,
    /// Where the next event begins.
    next: u64,
    /// What was read of the file from there on.
    ahead: Bytes,
}

/// What stands at a place.
#[derive(Debug)]
pub(crate) enum Read {
    /// An event.
    Event(Event),
    /// Nothing: the limit is reached.
    End,
    /// An event that reaches beyond the limit.
    Cut {
        /// Its size, or what is needed to know it.
        size: u64,
        /// Bytes that are there.
        has: u64,
    },
    /// No event.
    Bad(Damage),
}

impl EventReader {
    /// Reads from `offset`, where an event begins.
    pub(crate) fn new(file: File, path: PathBuf, segment: u64, offset: u64) -> Self {
        Self { file, path, segment, next: offset, ahead: Bytes::new() }
    }

    /// Where the next event begins.
    pub(crate) fn position(&self) -> u64 {
        self.next
    }

    /// Bytes of the whole file now.
    pub(crate) fn length(&self) -> Result<u64, Error> {
        let meta = self.file.metadata();
        meta.map(|meta| meta.len()).map_err(|e| Error::io("read", &self.path, e))
    }

    /// The segment that is read.
    pub(crate) fn segment(&self) -> u64 {
        self.segment
    }

    /// The next event of those that lie before `limit`, which is not beyond the file's end. Reads `chunk`
    /// bytes at a time, or a whole event where that is more.
    pub(crate) fn next(&mut self, limit: u64, chunk: usize) -> Result<Read, Error> {
        let left = limit.saturating_sub(self.next);
        if left < LEAST {
            return Ok(if left == 0 { Read::End } else { Read::Cut { size: LEAST, has: left } });
        }
        if self.ahead.len() < HEADER_LENGTH {
            self.fill(left, chunk)?;
        }
        let size = u32::from_le_bytes([self.ahead[9], self.ahead[10], self.ahead[11], self.ahead[12]]);
        if u64::from(size) < LEAST {
            return Ok(Read::Bad(EventError::Truncated(size as usize).into()));
        }
        if u64::from(size) > left {
            return Ok(Read::Cut { size: size.into(), has: left });
        }
        if self.ahead.len() < size as usize {
            self.fill(left, chunk.max(size as usize))?;
        }
        // Looked at before it is taken, so that the place stays at the event when it is wrong.
        match Event::new(self.ahead.slice(..size as usize)) {
            Ok(event) if event.flags() & FLAG_IN_USE != 0 => Ok(Read::Bad(Damage::InUse)),
            Ok(event) => {
                self.ahead = self.ahead.slice(size as usize..);
                self.next += u64::from(size);
                Ok(Read::Event(event))
            }
            Err(source) => Ok(Read::Bad(source.into())),
        }
    }

    /// Like [`Self::next`], where only whole events can be: anything else is damage.
    pub(crate) fn expect(&mut self, limit: u64, chunk: usize) -> Result<Option<Event>, Error> {
        match self.next(limit, chunk)? {
            Read::Event(event) => Ok(Some(event)),
            Read::End => Ok(None),
            Read::Cut { size, has } => Err(self.damage(Damage::Cut { size, has })),
            Read::Bad(source) => Err(self.damage(source)),
        }
    }

    /// Like [`Self::expect`], without going beyond the event.
    pub(crate) fn peek(&mut self, limit: u64, chunk: usize) -> Result<Option<Event>, Error> {
        let before = (self.next, self.ahead.clone());
        let event = self.expect(limit, chunk)?;
        (self.next, self.ahead) = before;
        Ok(event)
    }

    /// An error about the event that comes next.
    fn damage(&self, what: impl Into<Damage>) -> Error {
        Error::corrupt(self.segment, self.next, what)
    }

    /// Reads `wanted` of the `left` bytes anew: what is left over of the piece before is a part of one event.
    fn fill(&mut self, left: u64, wanted: usize) -> Result<(), Error> {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(wanted.max(HEADER_LENGTH + CHECKSUM_LENGTH));
        let mut piece = vec![0; n];
        self.file.read_exact_at(&mut piece, self.next).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => self.damage(Damage::Cut { size: n as u64, has: 0 }),
            _ => Error::io("read", &self.path, e),
        })?;
        self.ahead = Bytes::from(piece);
        Ok(())
    }
}
