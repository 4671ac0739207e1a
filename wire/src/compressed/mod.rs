//! MySQL's compressed protocol: below the packets, from the end of the login on.
//!
//! ```text
//! frame = bytes that follow u24 | number u8 | bytes when unpacked u24, 0: they are not packed | bytes, a zstd frame
//! ```
//! Packets lie in the unpacked bytes as they would on the socket, and may go over the ends of frames. "Compression", in
//! the server's internals documentation; `sql-common/net_serv.cc`.
//!
//! What is written is gathered until it is flushed, or is enough for a frame. Frames are numbered from 0 with each command,
//! both directions together. How they are packed: [`frames`].
//!
//! Reading and writing are as cancellation safe as those of the stream below.

mod frames;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(crate) use self::frames::{GoingOn, LEVEL, LEVELS};
use self::frames::{Packer, Unpacker};
use crate::stream::Stream;

/// Bytes before what is packed.
const HEADER: usize = 7;
/// A frame is packed when so much is gathered. 16 MiB is the most that a frame can hold.
const FRAME: usize = 512 << 10;
/// One read of the stream below.
const READ: usize = 256 << 10;
/// Where a packet's number is, behind its length.
const PACKET_NUMBER: usize = 3;

/// Who numbers: a client begins anew with each command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// A stream whose bytes are packed on the way.
pub(crate) struct Compressed<S> {
    inner: S,
    side: Side,
    /// The number of the next frame.
    number: u8,
    /// Frames as they came, and what was unpacked and is not taken yet.
    received: BytesMut,
    unpacked: BytesMut,
    unpacker: Unpacker,
    /// Bytes to be packed, and frames that are on their way.
    gathered: Vec<u8>,
    packed: BytesMut,
    packer: Packer,
    /// Nothing of a packet has gone before what is gathered.
    is_fresh: bool,
}

impl<S> Compressed<S> {
    /// # Errors
    ///
    /// No memory for packing.
    pub(crate) fn new(inner: S, side: Side, level: u8, going_on: GoingOn) -> io::Result<Self> {
        Ok(Self {
            inner,
            side,
            number: 0,
            received: BytesMut::new(),
            unpacked: BytesMut::new(),
            unpacker: Unpacker::new()?,
            gathered: Vec::new(),
            packed: BytesMut::new(),
            packer: Packer::new(level, going_on)?,
            is_fresh: true,
        })
    }

    /// Makes a frame of what is gathered.
    fn pack(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        // A command's first packet has number 0.
        let begins = self.is_fresh && self.gathered.get(PACKET_NUMBER) == Some(&0);
        if self.side == Side::Client && begins {
            self.number = 0;
        }
        self.is_fresh = false;
        let packed = self.packer.pack(&self.gathered)?;
        let unpacked = if packed.is_some() { self.gathered.len() } else { 0 };
        let bytes = packed.as_deref().unwrap_or(&self.gathered);
        let [a, b, c, ..] = bytes.len().to_le_bytes();
        let [d, e, f, ..] = unpacked.to_le_bytes();
        self.packed.extend_from_slice(&[a, b, c, self.number, d, e, f]);
        self.packed.extend_from_slice(bytes);
        self.number = self.number.wrapping_add(1);
        self.gathered.clear();
        Ok(())
    }

    /// Unpacks the next frame if all of it is here.
    fn unpack(&mut self) -> io::Result<bool> {
        let Some([a, b, c, number, d, e, f]) = self.received.first_chunk::<HEADER>().copied() else {
            return Ok(false);
        };
        let u24 = |a: u8, b: u8, c: u8| usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
        let (packed, unpacked) = (u24(a, b, c), u24(d, e, f));
        if self.received.len() < HEADER + packed {
            return Ok(false);
        }
        self.received.advance(HEADER);
        let frame = self.received.split_to(packed);
        self.number = number.wrapping_add(1);
        if unpacked == 0 {
            self.unpacked = frame;
            return Ok(true);
        }
        // At most 16 MiB, whatever is sent.
        let bytes = self.unpacker.unpack(&frame, unpacked)?;
        self.unpacked = BytesMut::from(bytes.as_slice());
        Ok(true)
    }
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl<S: Stream> Compressed<S> {
    /// Writes frames until none is left.
    fn drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.packed.is_empty() {
            let count = ready!(Pin::new(&mut self.inner).poll_write(context, &self.packed))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.packed.advance(count);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncRead for Compressed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.unpacked.is_empty() {
            if this.unpack()? {
                continue;
            }
            this.received.reserve(READ);
            let mut chunk = ReadBuf::uninit(this.received.spare_capacity_mut());
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut chunk))?;
            let read = chunk.filled().to_vec();
            if read.is_empty() {
                let is_clean = this.received.is_empty();
                return Poll::Ready(if is_clean { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) });
            }
            this.received.extend_from_slice(&read);
        }
        let count = this.unpacked.len().min(out.remaining());
        out.put_slice(&this.unpacked.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for Compressed<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // One frame on its way is enough: who writes waits for it.
        ready!(this.drain(context))?;
        let count = bytes.len().min(FRAME - this.gathered.len());
        this.gathered.extend_from_slice(&bytes[..count]);
        if this.gathered.len() == FRAME {
            this.pack()?;
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.pack()?;
        ready!(this.drain(context))?;
        this.is_fresh = true;
        Pin::new(&mut this.inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.pack()?;
        ready!(this.drain(context))?;
        Pin::new(&mut this.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::{Compressed, GoingOn, LEVEL, Side};

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_written_is_read_whatever_its_pieces(pieces in vec((any::<u8>(), 1usize..200_000, any::<bool>()), 1..12), goes_on in 0usize..12) {
            run(async {
                let (near, far) = tokio::io::duplex(10_000);
                let going_on = GoingOn::default();
                let mut near = Compressed::new(near, Side::Client, LEVEL, going_on.clone()).unwrap();
                let mut far = Compressed::new(far, Side::Server, LEVEL, GoingOn::default()).unwrap();
                // Half of it packs well.
                let bytes = |(seed, length, packs): &(u8, usize, bool)| -> Vec<u8> {
                    let noise = |i: usize| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[6];
                    (0..*length).map(|i| if *packs { *seed } else { noise(i + usize::from(*seed)) }).collect()
                };
                let sent: Vec<u8> = pieces.iter().flat_map(bytes).collect();
                let write = async {
                    for (at, piece) in pieces.iter().enumerate() {
                        if at == goes_on {
                            going_on.set();
                        }
                        near.write_all(&bytes(piece)).await.unwrap();
                        if piece.2 {
                            near.flush().await.unwrap();
                        }
                    }
                    near.shutdown().await.unwrap();
                };
                let mut received = Vec::new();
                let (_, read) = tokio::join!(write, far.read_to_end(&mut received));
                read.unwrap();
                prop_assert_eq!(received, sent);
                Ok(())
            })?;
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
            run(async {
                let (mut near, far) = tokio::io::duplex(1000);
                near.write_all(&bytes).await.unwrap();
                drop(near);
                let mut far = Compressed::new(far, Side::Client, LEVEL, GoingOn::default()).unwrap();
                // Whether it is an error or nothing depends on the bytes.
                _ = far.read_to_end(&mut Vec::new()).await;
            });
        }
    }

    #[test]
    fn a_stream_that_ends_within_a_frame_is_an_error() {
        run(async {
            let (mut near, far) = tokio::io::duplex(1000);
            near.write_all(&[10, 0, 0, 0, 0, 0, 0, 1, 2]).await.unwrap();
            drop(near);
            let mut far = Compressed::new(far, Side::Client, LEVEL, GoingOn::default()).unwrap();
            assert!(far.read_to_end(&mut Vec::new()).await.is_err());
        });
    }
}
