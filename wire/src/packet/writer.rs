//! Writing packets: small ones are gathered into one buffer, large payloads go out as they lie.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::Error;
use crate::constants::MAX_CHUNK;

/// A payload part below this size is copied into the buffer: one system call for many packets. Above
/// it the copy would cost more than the call.
const COPY_BELOW: usize = 64 * 1024;

/// Buffered bytes are written once there are this many.
const HIGH_WATER: usize = 256 * 1024;

/// Cuts payloads into chunks on `W`.
pub(crate) struct PacketWriter<W> {
    inner: W,
    buffer: Vec<u8>,
    sequence: u8,
    /// A write began and did not end: what the peer has got is unknown.
    torn: bool,
    /// How long the peer may take no byte at all.
    stall_limit: Option<Duration>,
}

impl<W> PacketWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, buffer: Vec::new(), sequence: 0, torn: false, stall_limit: None }
    }

    /// Fails writes during which the peer takes nothing for so long. A peer that takes little, but goes
    /// on taking it, is slow and not stalled, however large what is sent.
    pub(crate) fn set_stall_limit(&mut self, limit: Duration) {
        self.stall_limit = Some(limit);
    }

    /// The number that the next chunk gets.
    pub(crate) fn set_sequence(&mut self, sequence: u8) {
        self.sequence = sequence;
    }

    pub(crate) fn sequence(&self) -> u8 {
        self.sequence
    }

    pub(crate) fn into_inner(self) -> W {
        self.inner
    }

    /// Bytes gathered and not yet written.
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    fn put_header(&mut self, length: usize) {
        let [a, b, c, ..] = length.to_le_bytes();
        self.buffer.extend_from_slice(&[a, b, c, self.sequence]);
        self.sequence = self.sequence.wrapping_add(1);
    }

    fn check(&self) -> Result<(), Error> {
        if self.torn { Err(Error::Poisoned { command: "write" }) } else { Ok(()) }
    }
}

impl<W: AsyncWrite + Unpin> PacketWriter<W> {
    /// One packet; its payload is `parts` in a row. It may stay in the buffer until [`Self::flush`].
    ///
    /// Not cancellation safe: after a cancelled call every further one fails.
    pub(crate) async fn write(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        self.check()?;
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if total < COPY_BELOW {
            self.put_header(total);
            for part in parts {
                self.buffer.extend_from_slice(part);
            }
            return if self.buffer.len() >= HIGH_WATER { self.drain().await } else { Ok(()) };
        }
        self.write_long(parts, total).await
    }

    async fn write_long(&mut self, parts: &[&[u8]], total: usize) -> Result<(), Error> {
        let mut left = total;
        let mut room = left.min(MAX_CHUNK);
        self.put_header(room);
        for part in parts {
            let mut part = *part;
            while !part.is_empty() {
                if room == 0 {
                    room = left.min(MAX_CHUNK);
                    self.put_header(room);
                }
                let (now, later) = part.split_at(part.len().min(room));
                self.put_or_write(now).await?;
                room -= now.len();
                left -= now.len();
                part = later;
            }
        }
        // A packet whose last chunk is full needs an empty one behind it, else the reader waits for more.
        if total.is_multiple_of(MAX_CHUNK) && total > 0 {
            self.put_header(0);
        }
        Ok(())
    }

    async fn put_or_write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() < COPY_BELOW {
            self.buffer.extend_from_slice(bytes);
            return if self.buffer.len() >= HIGH_WATER { self.drain().await } else { Ok(()) };
        }
        self.drain().await?;
        self.torn = true;
        write_all(&mut self.inner, bytes, self.stall_limit).await?;
        self.torn = false;
        Ok(())
    }

    /// Hands the buffer to the stream.
    async fn drain(&mut self) -> Result<(), Error> {
        self.torn = true;
        write_all(&mut self.inner, &self.buffer, self.stall_limit).await?;
        self.buffer.clear();
        self.torn = false;
        Ok(())
    }

    /// Sends all that was written. Not cancellation safe, as [`Self::write`].
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        self.check()?;
        self.drain().await?;
        self.torn = true;
        unless_stalled(self.stall_limit, self.inner.flush()).await?;
        self.torn = false;
        Ok(())
    }

    /// One packet, sent at once.
    pub(crate) async fn send(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        self.write(parts).await?;
        self.flush().await
    }

    /// Closes the sending side, in TLS too. Errors are of no interest: the peer may be gone already.
    pub(crate) async fn shutdown(&mut self) {
        let _ = unless_stalled(self.stall_limit, self.inner.shutdown()).await;
    }
}

/// Writes all bytes; each write that takes at least one begins the time anew.
async fn write_all<W: AsyncWrite + Unpin>(
    inner: &mut W,
    mut bytes: &[u8],
    stall_limit: Option<Duration>,
) -> Result<(), Error> {
    while !bytes.is_empty() {
        let count = unless_stalled(stall_limit, inner.write(bytes)).await?;
        if count == 0 {
            return Err(Error::Io(io::ErrorKind::WriteZero.into()));
        }
        bytes = bytes.split_at(count.min(bytes.len())).1;
    }
    Ok(())
}

async fn unless_stalled<T>(
    limit: Option<Duration>,
    step: impl Future<Output = io::Result<T>>,
) -> Result<T, Error> {
    match limit {
        None => Ok(step.await?),
        Some(after) => {
            let done = timeout(after, step).await;
            Ok(done.map_err(|_| Error::Timeout { what: "the other side to take bytes", after })??)
        }
    }
}
