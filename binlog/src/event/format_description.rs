//! The format description: the first event of every file, which says how to read the others.
//!
//! ```text
//! 0   version          u16   4
//! 2   server version   50 bytes, NUL-padded
//! 52  created          u32   when the server started, if this is its first file; else 0
//! 56  header length    u8    19
//! 57  post-header lengths, one byte for each event type from 1
//! -1  checksum algorithm     0 none, 1 CRC32
//! ```
//! It always carries a CRC32 of its own, computed with the in-use flag cleared.

use bytes::Bytes;

use super::{Event, EventError, EventKind, FLAG_IN_USE};

/// Whether a file's events carry a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumAlgorithm {
    /// They do not.
    None,
    /// They end in a CRC32.
    Crc32,
}

/// A format description event, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatDescription {
    event: Event,
    algorithm: ChecksumAlgorithm,
    version: String,
}

/// Where the post-header lengths begin in the body.
const LENGTHS: usize = 57;
/// Event types whose post-header length decides how this crate reads them, with the length it reads.
const READ_HERE: [(EventKind, u8); 6] = [
    (EventKind::Query, 13),
    (EventKind::Rotate, 8),
    (EventKind::TableMap, 8),
    (EventKind::WriteRows, 10),
    (EventKind::UpdateRows, 10),
    (EventKind::DeleteRows, 10),
];

impl FormatDescription {
    /// Reads a format description and refuses a layout that this crate does not read.
    pub fn parse(event: &Event) -> Result<Self, EventError> {
        let body = event.body();
        if event.kind() != EventKind::FormatDescription {
            return Err(event.malformed("a format description was expected"));
        }
        if body.len() < LENGTHS + 40 || body[..2] != [4, 0] || body[56] != 19 {
            return Err(event.malformed("not version 4 with headers of 19 bytes"));
        }
        let lengths = &body[LENGTHS..body.len() - 1];
        for (kind, length) in READ_HERE {
            if lengths.get(usize::from(kind.code()) - 1) != Some(&length) {
                return Err(event.malformed("an event type has an unknown post-header length"));
            }
        }
        let algorithm = match body[body.len() - 1] {
            0 => ChecksumAlgorithm::None,
            1 => ChecksumAlgorithm::Crc32,
            _ => return Err(event.malformed("an unknown checksum algorithm")),
        };
        let name = &body[2..52];
        let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
        let version = String::from_utf8_lossy(&name[..end]).into_owned();
        Ok(Self { event: event.clone(), algorithm, version })
    }

    /// The event as a file or a stream at rest has it: not in use, and its events checksummed.
    #[must_use]
    pub fn normalised(&self) -> Event {
        let mut body = self.event.body().to_vec();
        if let Some(algorithm) = body.last_mut() {
            *algorithm = 1;
        }
        let mut header = self.event.header();
        header.flags &= !FLAG_IN_USE;
        Event::build(&header, &body)
    }

    /// The event as it was read.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Whether the events behind it carry checksums.
    pub fn checksum(&self) -> ChecksumAlgorithm {
        self.algorithm
    }

    /// The server's version, for example `9.7.4-2`.
    pub fn server_version(&self) -> &str {
        &self.version
    }

    /// Takes an event of this file and gives it with a verified, or added, CRC32.
    pub fn read_event(&self, bytes: Bytes) -> Result<Event, EventError> {
        // A format description, and an event that says so by its kind, is always checksummed.
        let own = bytes.get(4).copied().map(EventKind::from_code) == Some(EventKind::FormatDescription);
        match self.algorithm {
            ChecksumAlgorithm::None if !own => Event::from_unchecksummed(&bytes),
            _ => Event::new(bytes),
        }
    }
}
