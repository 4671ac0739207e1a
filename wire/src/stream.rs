//! The byte stream below the packets: TCP, TLS over it, or a pipe in a test.

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};

/// Anything that carries bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// A stream whose make no longer matters. The indirection costs one virtual call per buffer, not per packet.
pub(crate) type BoxStream = Box<dyn Stream>;

/// The halves of a [`BoxStream`]: a replication stream is read by one task and acknowledged by another.
pub(crate) type Reading = ReadHalf<BoxStream>;
pub(crate) type Writing = WriteHalf<BoxStream>;
