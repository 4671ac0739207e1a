//! Reading packets out of large buffers.
//!
//! The reader asks the socket for as much as there is, up to its read-ahead, and hands out packets as
//! slices of that buffer: no copy, no system call per packet. Only a packet of more than one chunk is
//! copied, once, for its chunk headers lie in between.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::Error;
use crate::constants::MAX_CHUNK;

const HEADER: usize = 4;

/// With less free space than this, and little to move, a new buffer is begun: reads of a few bytes at
/// a buffer's end would cost a system call each.
const LOW_ROOM: usize = 32 * 1024;

/// A whole packet.
#[derive(Debug)]
pub(crate) struct Packet {
    /// The number of its first chunk.
    pub(crate) sequence: u8,
    /// The number of its last chunk; the next packet has the one after.
    pub(crate) last_sequence: u8,
    /// Its bytes, without chunk headers.
    pub(crate) payload: Bytes,
}

/// Cuts packets out of `R`.
pub(crate) struct PacketReader<R> {
    inner: R,
    buffer: BytesMut,
    /// The chunks so far of a packet that has more than one.
    partial: Option<Partial>,
    read_ahead: usize,
    limit: usize,
}

struct Partial {
    first_sequence: u8,
    next_sequence: u8,
    payload: BytesMut,
}

impl<R> PacketReader<R> {
    /// A reader that takes not one byte beyond the packet asked for, so that the stream can be handed
    /// to TLS, and refuses packets over `limit` bytes before it asks memory for them.
    pub(crate) fn exact(inner: R, limit: usize) -> Self {
        Self { inner, buffer: BytesMut::new(), partial: None, read_ahead: 0, limit }
    }

    /// Reads up to `read_ahead` bytes at a time from now on.
    pub(crate) fn set_read_ahead(&mut self, read_ahead: usize) {
        self.read_ahead = read_ahead;
    }

    /// The largest packet accepted from now on.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The stream back, and the bytes read from it that no packet was made of.
    pub(crate) fn into_parts(self) -> (R, BytesMut) {
        (self.inner, self.buffer)
    }

    /// Whether bytes are here that no packet was made of yet.
    pub(crate) fn has_bytes(&self) -> bool {
        !self.buffer.is_empty() || self.partial.is_some()
    }

    /// The next packet if all of it has been read already. Never waits, never touches the socket.
    pub(crate) fn take(&mut self) -> Result<Option<Packet>, Error> {
        loop {
            let Some((length, sequence)) = self.header() else { return Ok(None) };
            let before = match &self.partial {
                Some(partial) if partial.next_sequence != sequence => {
                    return Err(Error::protocol(format!(
                        "chunk {sequence} of a long packet where {} belongs",
                        partial.next_sequence
                    )));
                }
                Some(partial) => partial.payload.len(),
                None => 0,
            };
            if before + length > self.limit {
                return Err(Error::PacketTooLarge { size: (before + length) as u64, limit: self.limit });
            }
            if self.buffer.len() < HEADER + length {
                return Ok(None);
            }
            self.buffer.advance(HEADER);
            let chunk = self.buffer.split_to(length);
            if let Some(packet) = self.join(chunk, sequence) {
                return Ok(Some(packet));
            }
        }
    }

    /// Adds a chunk; gives the packet if it was the last.
    fn join(&mut self, chunk: BytesMut, sequence: u8) -> Option<Packet> {
        let more = chunk.len() == MAX_CHUNK;
        match (self.partial.take(), more) {
            (None, false) => Some(Packet { sequence, last_sequence: sequence, payload: chunk.freeze() }),
            (None, true) => {
                self.partial = Some(Partial {
                    first_sequence: sequence,
                    next_sequence: sequence.wrapping_add(1),
                    payload: chunk,
                });
                None
            }
            (Some(mut partial), more) => {
                partial.payload.extend_from_slice(&chunk);
                if !more {
                    return Some(Packet {
                        sequence: partial.first_sequence,
                        last_sequence: sequence,
                        payload: partial.payload.freeze(),
                    });
                }
                partial.next_sequence = sequence.wrapping_add(1);
                self.partial = Some(partial);
                None
            }
        }
    }

    fn header(&self) -> Option<(usize, u8)> {
        let [a, b, c, sequence] = *self.buffer.first_chunk::<HEADER>()?;
        Some((usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16, sequence))
    }

    /// Bytes that the chunk at hand still lacks; at least one.
    fn missing(&self) -> usize {
        let wanted = self.header().map_or(HEADER, |(length, _)| HEADER + length);
        wanted.saturating_sub(self.buffer.len()).max(1)
    }
}

impl<R: AsyncRead + Unpin> PacketReader<R> {
    /// The next packet. Cancellation safe: what was read stays in the reader.
    pub(crate) async fn next(&mut self) -> Result<Packet, Error> {
        loop {
            if let Some(packet) = self.take()? {
                return Ok(packet);
            }
            self.fill().await?;
        }
    }

    /// Reads from the socket once. Cancellation safe.
    pub(crate) async fn fill(&mut self) -> Result<(), Error> {
        let missing = self.missing();
        let room = self.buffer.capacity() - self.buffer.len();
        if room < missing || (self.read_ahead > 0 && room < LOW_ROOM && self.buffer.len() < LOW_ROOM) {
            self.buffer.reserve(missing.max(self.read_ahead));
        }
        let count = if self.read_ahead == 0 {
            self.inner.read_buf(&mut (&mut self.buffer).limit(missing)).await?
        } else {
            self.inner.read_buf(&mut self.buffer).await?
        };
        if count == 0 {
            return Err(Error::Closed { mid_packet: self.has_bytes() });
        }
        Ok(())
    }
}
