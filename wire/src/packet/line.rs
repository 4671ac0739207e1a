//! Both directions of a connection, with the one sequence number they share.

use bytes::Bytes;

use super::{PacketReader, PacketWriter};
use crate::compressed::{Compressed, GoingOn, Side};
use crate::constants::header;
use crate::stream::{BoxStream, Reading, Writing};
use crate::{Error, ServerError};

/// A conversation of commands and answers. Packets of both directions count on together; a command
/// begins anew at 0.
pub(crate) struct Line {
    pub(crate) reader: PacketReader<Reading>,
    pub(crate) writer: PacketWriter<Writing>,
    sequence: u8,
    /// Where it is packed: how.
    going_on: Option<GoingOn>,
}

impl Line {
    /// A line that accepts packets up to `limit` bytes and reads nothing ahead.
    pub(crate) fn new(stream: BoxStream, limit: usize) -> Self {
        let (reading, writing) = tokio::io::split(stream);
        let (reader, writer) = (PacketReader::exact(reading, limit), PacketWriter::new(writing));
        Self { reader, writer, sequence: 0, going_on: None }
    }

    /// The stream again, to be upgraded. The numbers go on where they were: take [`Self::sequence`] along.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if bytes arrived that should have come after the upgrade: somebody on the
    /// way may have put them there before a TLS handshake.
    pub(crate) fn into_stream(self) -> Result<BoxStream, Error> {
        let (reading, early) = self.reader.into_parts();
        if !early.is_empty() {
            return Err(Error::protocol("bytes in the clear where the upgrade of the connection belongs"));
        }
        Ok(reading.unsplit(self.writer.into_inner()))
    }

    /// The same conversation, packed from here on: behind the end of a login.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if bytes arrived already that should have been packed.
    pub(crate) fn compressed(self, side: Side, level: u8) -> Result<Self, Error> {
        let (sequence, going_on) = (self.sequence, GoingOn::default());
        let stream = Compressed::new(self.into_stream()?, side, level, going_on.clone())?;
        let mut line = Self::new(Box::new(stream), 0);
        line.set_sequence(sequence);
        line.going_on = Some(going_on);
        Ok(line)
    }

    /// From here on what is sent is packed over the ends of frames, if it is packed at all.
    pub(crate) fn go_on_packing(&self) {
        if let Some(going_on) = &self.going_on {
            going_on.set();
        }
    }

    pub(crate) fn sequence(&self) -> u8 {
        self.sequence
    }

    /// The number of the next packet, whoever sends it.
    pub(crate) fn set_sequence(&mut self, sequence: u8) {
        self.sequence = sequence;
    }

    /// The next packet. Cancellation safe.
    ///
    /// # Errors
    ///
    /// [`Error::Server`] for an error packet out of turn, which is how a server says why it ends the
    /// connection (shutdown, killed, idle for too long); nothing can be said then of a command just sent.
    pub(crate) async fn receive(&mut self) -> Result<Bytes, Error> {
        let packet = self.reader.next().await?;
        if packet.sequence != self.sequence {
            if let Some((&header::ERR, body)) = packet.payload.split_first() {
                return Err(ServerError::parse(body)?.into());
            }
            return Err(Error::protocol(format!(
                "packet number {} where {} belongs",
                packet.sequence, self.sequence
            )));
        }
        self.sequence = packet.last_sequence.wrapping_add(1);
        Ok(packet.payload)
    }

    /// One packet into the buffer. Not cancellation safe.
    pub(crate) async fn write(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        self.writer.set_sequence(self.sequence);
        self.writer.write(parts).await?;
        self.sequence = self.writer.sequence();
        Ok(())
    }

    /// One packet, sent at once. Not cancellation safe.
    pub(crate) async fn send(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        self.write(parts).await?;
        self.writer.flush().await
    }
}
