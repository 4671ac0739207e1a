//! Sending events, and hearing what was acknowledged.

use bytes::Bytes;

use crate::constants::{SEMI_SYNC_MAGIC, command, header, status};
use crate::cursor::Cursor;
use crate::packet::{PacketReader, PacketWriter};
use crate::replica::MAX_FILE_NAME;
use crate::stream::{Reading, Writing};
use crate::{Error, OkInfo, ServerError};

/// A reply holds a magic byte, a position and a file name.
const ACK_PACKET: usize = 1 + 8 + MAX_FILE_NAME;

/// The sending half of a dump.
///
/// Not cancellation safe: after a cancelled call every further one fails.
pub struct EventSender {
    writer: PacketWriter<Writing>,
    semi_sync: bool,
}

impl EventSender {
    pub(super) fn new(mut writer: PacketWriter<Writing>, sequence: u8, semi_sync: bool) -> Self {
        writer.set_sequence(sequence);
        Self { writer, semi_sync }
    }

    /// Adds an event, whole and with its checksum. It goes out when the buffer (256 KiB) is full, or with
    /// [`Self::flush`]. `ack_wanted` marks the last event of a transaction whose replica is waited for;
    /// without semi-sync it has no effect.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] where the client takes not a byte for the write timeout, and those of a broken
    /// connection.
    pub async fn send(&mut self, event: &[u8], ack_wanted: bool) -> Result<(), Error> {
        let prefix = [header::OK, SEMI_SYNC_MAGIC, u8::from(ack_wanted)];
        let prefix = if self.semi_sync { &prefix[..] } else { &prefix[..1] };
        self.writer.write(&[prefix, event]).await?;
        if self.semi_sync && ack_wanted {
            // A replica answers such an event before it reads on, and begins to count anew with its
            // answer, which has number 0: the next event has 1.
            self.writer.set_sequence(1);
        }
        Ok(())
    }

    /// Sends what is in the buffer.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.writer.flush().await
    }

    /// Bytes that wait for [`Self::flush`].
    pub fn buffered(&self) -> usize {
        self.writer.buffered()
    }

    /// Ends the dump with an error, 1236 mostly, and closes the sending side.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn send_error(mut self, code: u16, sqlstate: &str, message: &str) -> Result<(), Error> {
        let packet = ServerError::new(code, sqlstate, message).encode();
        self.end(&packet).await
    }

    /// Ends the dump of a client that did not want to wait, and closes the sending side.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn send_eof(mut self) -> Result<(), Error> {
        // The old kind for every client: MySQL's own end of a dump, and what mysqlbinlog looks for.
        let packet = OkInfo { status_flags: status::AUTOCOMMIT, ..OkInfo::default() }.encode_eof();
        self.end(&packet).await
    }

    async fn end(&mut self, packet: &[u8]) -> Result<(), Error> {
        self.writer.write(&[packet]).await?;
        self.flush().await?;
        self.writer.shutdown().await;
        Ok(())
    }
}

impl std::fmt::Debug for EventSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventSender").field("semi_sync", &self.semi_sync).finish_non_exhaustive()
    }
}

/// What a replica says is safe with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The log file, by the name in the last Rotate event sent.
    pub file: Bytes,
    /// The end position of the last safe event in it.
    pub position: u64,
}

/// The hearing half of a dump. Poll it without semi-sync too: it is how the client's leaving is noticed
/// before the next write.
pub struct AckReceiver {
    reader: PacketReader<Reading>,
}

impl AckReceiver {
    pub(super) fn new(mut reader: PacketReader<Reading>) -> Self {
        reader.set_limit(ACK_PACKET);
        Self { reader }
    }

    /// The next acknowledgement; `None` when the client has left, with a word (COM_QUIT) or without.
    /// Cancellation safe.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] for what is no acknowledgement, and those of a broken connection.
    pub async fn next(&mut self) -> Result<Option<Ack>, Error> {
        let payload = match self.reader.next().await {
            Ok(packet) => packet.payload,
            Err(Error::Closed { mid_packet: false }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if *payload == [command::QUIT] {
            return Ok(None);
        }
        parse_ack(&payload).map(Some)
    }
}

fn parse_ack(payload: &Bytes) -> Result<Ack, Error> {
    let mut cursor = Cursor::new(payload);
    if cursor.u8()? != SEMI_SYNC_MAGIC {
        return Err(Error::protocol("a packet that is no acknowledgement, in the middle of a dump"));
    }
    let position = cursor.u64()?;
    // The name goes to the packet's end; some senders put their NUL in.
    let file = payload.slice_ref(cursor.nul_terminated_or_rest());
    if file.is_empty() {
        return Err(Error::protocol("an acknowledgement without a file"));
    }
    Ok(Ack { file, position })
}

impl std::fmt::Debug for AckReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AckReceiver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};

    use super::*;

    #[test]
    fn an_acknowledgement_is_read_with_and_without_final_nul() {
        let ack = Ack { file: Bytes::from_static(b"binlog.000007"), position: 1234 };
        let packet = b"\xef\xd2\x04\0\0\0\0\0\0binlog.000007";
        assert_eq!(parse_ack(&Bytes::from_static(packet)).unwrap(), ack);
        let packet = b"\xef\xd2\x04\0\0\0\0\0\0binlog.000007\0";
        assert_eq!(parse_ack(&Bytes::from_static(packet)).unwrap(), ack);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse_ack(&Bytes::from(bytes));
            prop_assert!(true);
        }
    }
}
