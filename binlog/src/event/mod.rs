//! One event of a binary log: its frame, its header, its checksum.
//!
//! ```text
//! 0   timestamp   u32   when the statement began, seconds since 1970; 0 in artificial events
//! 4   type        u8
//! 5   server_id   u32   of the server that first wrote it
//! 9   size        u32   of the whole event, header and checksum included
//! 13  log_pos     u32   where the next event begins in the source's file, modulo 2^32
//! 17  flags       u16
//! 19  body
//! -4  CRC32             of all before it (IEEE)
//! ```
//! All little-endian. The manual's "Binary Log Event Header"; `libs/mysql/binlog/event/binlog_event.h`.
//!
//! Inside Twinlog every event carries its CRC32: the relay adds it where a source has none
//! ([`Event::from_unchecksummed`]) and says so in the format description.

mod format_description;
mod gtid;
mod kind;
mod query;
mod small;
mod status_vars;

use bytes::{BufMut, Bytes, BytesMut};

pub use format_description::{ChecksumAlgorithm, FormatDescription};
pub use gtid::GtidEvent;
pub(crate) use gtid::read_length_encoded;
pub use kind::EventKind;
pub use query::Query;
pub use small::{
    Heartbeat, Rotate, XaPrepare, artificial_rotate, heartbeat, heartbeat_v2, previous_gtids,
    read_previous_gtids,
};
pub use status_vars::{OPTION_NO_FOREIGN_KEY_CHECKS, OPTION_RELAXED_UNIQUE_CHECKS, StatusVars};

/// Bytes of an event's header.
pub const HEADER_LENGTH: usize = 19;
/// Bytes of its checksum.
pub const CHECKSUM_LENGTH: usize = 4;
/// The first bytes of a binary log file.
pub const MAGIC: [u8; 4] = [0xfe, b'b', b'i', b'n'];

/// Header flag: the file is still being written (format description only); not covered by its checksum.
pub const FLAG_IN_USE: u16 = 0x1;
/// Header flag: made by a sender, in no file.
pub const FLAG_ARTIFICIAL: u16 = 0x20;
/// Header flag: who does not know the type may pass over it.
pub const FLAG_IGNORABLE: u16 = 0x80;

/// Why bytes are no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Shorter than a header and a checksum.
    #[error("event is cut short: {0} bytes")]
    Truncated(usize),
    /// The size in the header is not the size of the bytes.
    #[error("event says it has {said} bytes and has {has}")]
    Size {
        /// By its header.
        said: u32,
        /// In truth.
        has: usize,
    },
    /// The checksum does not fit.
    #[error("event checksum is {stored:#010x} and should be {computed:#010x}")]
    Checksum {
        /// In the event.
        stored: u32,
        /// Over its bytes.
        computed: u32,
    },
    /// Its body is not what its type says.
    #[error("malformed {kind:?} event: {what}")]
    Body {
        /// The event's type.
        kind: EventKind,
        /// What is wrong.
        what: &'static str,
    },
    /// A GTID set in it can't be read.
    #[error("malformed GTID set in an event: {0}")]
    GtidSet(#[from] crate::gtid::GtidWireError),
}

/// A whole event: header, body, verified CRC32. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Event(Bytes);

impl Event {
    /// Takes a whole event with its CRC32, and verifies it.
    pub fn new(bytes: Bytes) -> Result<Self, EventError> {
        let event = Self::framed(bytes)?;
        event.verify()?;
        Ok(event)
    }

    /// Takes a whole event whose CRC32 is known to fit: bytes verified before, or made here.
    pub fn framed(bytes: Bytes) -> Result<Self, EventError> {
        if bytes.len() < HEADER_LENGTH + CHECKSUM_LENGTH {
            return Err(EventError::Truncated(bytes.len()));
        }
        let event = Self(bytes);
        if event.size() as usize != event.0.len() {
            return Err(EventError::Size { said: event.size(), has: event.0.len() });
        }
        Ok(event)
    }

    /// Takes a whole event without checksum (a source with `binlog_checksum=NONE`, an event out of a
    /// compressed payload) and adds one; size and checksum change, position and body stay.
    pub fn from_unchecksummed(bytes: &[u8]) -> Result<Self, EventError> {
        if bytes.len() < HEADER_LENGTH {
            return Err(EventError::Truncated(bytes.len()));
        }
        let said = u32_at(bytes, 9);
        if said as usize != bytes.len() {
            return Err(EventError::Size { said, has: bytes.len() });
        }
        let size = u32::try_from(bytes.len() + CHECKSUM_LENGTH)
            .map_err(|_| EventError::Size { said, has: bytes.len() })?;
        let mut sealed = BytesMut::with_capacity(bytes.len() + CHECKSUM_LENGTH);
        sealed.put_slice(bytes);
        sealed[9..13].copy_from_slice(&size.to_le_bytes());
        sealed.put_u32_le(crc32fast::hash(&sealed));
        Ok(Self(sealed.freeze()))
    }

    /// Builds an event from its parts.
    ///
    /// # Panics
    /// If the body is larger than an event can be (4 GiB).
    pub fn build(header: &Header, body: &[u8]) -> Self {
        let size = u32::try_from(HEADER_LENGTH + body.len() + CHECKSUM_LENGTH)
            .expect("bodies built here are far below 4 GiB");
        let mut out = BytesMut::with_capacity(size as usize);
        out.put_u32_le(header.timestamp);
        out.put_u8(header.kind.code());
        out.put_u32_le(header.server_id);
        out.put_u32_le(size);
        out.put_u32_le(header.log_pos);
        out.put_u16_le(header.flags);
        out.put_slice(body);
        let mut crc = crc32fast::Hasher::new();
        crc.update(&out[..17]);
        crc.update(&(header.flags & !FLAG_IN_USE).to_le_bytes());
        crc.update(body);
        out.put_u32_le(crc.finalize());
        Self(out.freeze())
    }

    /// The same event with other header fields (its kind stays), and a checksum that fits.
    #[must_use]
    pub fn with_header(&self, change: impl FnOnce(&mut Header)) -> Self {
        let mut header = self.header();
        change(&mut header);
        Self::build(&header, self.body())
    }

    fn verify(&self) -> Result<(), EventError> {
        let (body, stored) = self.0.split_at(self.0.len() - CHECKSUM_LENGTH);
        let stored = u32_at(stored, 0);
        let computed = if self.flags() & FLAG_IN_USE == 0 {
            crc32fast::hash(body)
        } else {
            let mut crc = crc32fast::Hasher::new();
            crc.update(&body[..17]);
            crc.update(&(self.flags() & !FLAG_IN_USE).to_le_bytes());
            crc.update(&body[HEADER_LENGTH..]);
            crc.finalize()
        };
        if stored == computed { Ok(()) } else { Err(EventError::Checksum { stored, computed }) }
    }

    /// The whole event, header and checksum included.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// What stands between header and checksum.
    pub fn body(&self) -> &[u8] {
        &self.0[HEADER_LENGTH..self.0.len() - CHECKSUM_LENGTH]
    }

    /// The header.
    pub fn header(&self) -> Header {
        Header {
            timestamp: self.timestamp(),
            kind: self.kind(),
            server_id: self.server_id(),
            log_pos: self.log_pos(),
            flags: self.flags(),
        }
    }

    /// Seconds since 1970 when the statement began; 0 in an artificial event.
    pub fn timestamp(&self) -> u32 {
        u32_at(&self.0, 0)
    }

    /// What it is.
    pub fn kind(&self) -> EventKind {
        EventKind::from_code(self.0[4])
    }

    /// The `server_id` of the server that first wrote it.
    pub fn server_id(&self) -> u32 {
        u32_at(&self.0, 5)
    }

    /// Bytes of the whole event, as its header says: always the length of [`Self::bytes`].
    pub fn size(&self) -> u32 {
        u32_at(&self.0, 9)
    }

    /// Where the next event begins in the source's file, modulo 2^32; 0 in an artificial event.
    pub fn log_pos(&self) -> u32 {
        u32_at(&self.0, 13)
    }

    /// The header's flags.
    pub fn flags(&self) -> u16 {
        u16::from_le_bytes([self.0[17], self.0[18]])
    }

    /// Was it made by a sender, and stands in no file?
    pub fn is_artificial(&self) -> bool {
        self.flags() & FLAG_ARTIFICIAL != 0 || self.log_pos() == 0
    }

    /// An error about this event's body.
    pub(crate) fn malformed(&self, what: &'static str) -> EventError {
        EventError::Body { kind: self.kind(), what }
    }
}

impl std::fmt::Debug for Event {
    /// Kind and place only: bodies hold row values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}({} bytes, log_pos {})", self.kind(), self.size(), self.log_pos())
    }
}

/// What an event's header says, its size aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Seconds since 1970.
    pub timestamp: u32,
    /// What it is.
    pub kind: EventKind,
    /// Of the server that first wrote it.
    pub server_id: u32,
    /// Where the next event begins in the source's file.
    pub log_pos: u32,
    /// `FLAG_…`.
    pub flags: u16,
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests;
