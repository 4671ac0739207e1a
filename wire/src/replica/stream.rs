//! The event stream of a dump.
//!
//! ```text
//! packet = 0x00 | [0xEF | 1 if an acknowledgement is wanted, else 0] | event
//! ```
//!
//! The two bytes of semi-sync are there in every packet or in none. Events are handed out as they came,
//! CRC and all, as slices of a large read buffer: no copy and no system call per event, one read for as
//! many events as the socket has. An event keeps its whole buffer alive; who wants to keep one for long
//! copies it.

use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::Instant;

use super::{AckSender, Registered};
use crate::answer::unexpected;
use crate::constants::{SEMI_SYNC_MAGIC, header};
use crate::packet::{Line, Packet, PacketReader, PacketWriter};
use crate::stream::{Reading, Writing};
use crate::{Error, ServerError};

/// As much as a socket's receive buffer usually grows to on a fast network.
const READ_AHEAD: usize = 1 << 20;

/// Where the event's length stands, and the length of its header.
const SIZE_AT: usize = 9;
const EVENT_HEADER: usize = 19;

/// Periods without a sign of life after which a source counts as gone.
const MISSED_HEARTBEATS: u32 = 3;

/// One event as the source sent it.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Header, body and checksum, untouched and unverified but for the length in the header.
    pub event: Bytes,
    /// The source waits for an acknowledgement of this event's end position (semi-sync).
    pub wants_ack: bool,
}

/// Events, live.
///
/// The connection is closed when both this and the [`AckSender`] split off it are dropped.
pub struct EventStream {
    reader: PacketReader<Reading>,
    /// Kept, for dropping it would not close anything, until it becomes an [`AckSender`].
    writer: Option<PacketWriter<Writing>>,
    prefix: Prefix,
    semi_sync: bool,
    silence: Option<Duration>,
    /// Since when nothing has come though it was waited for.
    waiting_since: Option<Instant>,
    ended: bool,
}

/// Whether packets carry the two bytes of semi-sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prefix {
    /// Semi-sync was agreed on, yet a source whose semi-sync is switched off may leave the bytes out:
    /// the first packet tells.
    ToBeSeen,
    Present,
    Absent,
}

impl EventStream {
    pub(super) fn new(line: Line, registered: &Registered) -> Self {
        let Line { mut reader, writer, .. } = line;
        reader.set_read_ahead(READ_AHEAD);
        Self {
            reader,
            writer: Some(writer),
            prefix: if registered.semi_sync { Prefix::ToBeSeen } else { Prefix::Absent },
            semi_sync: registered.semi_sync,
            silence: Some(registered.heartbeat_period * MISSED_HEARTBEATS).filter(|limit| !limit.is_zero()),
            waiting_since: None,
            ended: false,
        }
    }

    /// The next event, waiting for it. Heartbeats are events and are handed out too. Cancellation safe:
    /// no event is lost, and the watchdog goes on counting from where it was.
    ///
    /// # Errors
    ///
    /// [`Error::Server`] where the source ends the stream (1236 with its full text),
    /// [`Error::EndOfStream`] after the last event of a dump that was not to wait, [`Error::Silent`]
    /// when nothing came for three heartbeat periods, and those of a broken connection. After any of
    /// them the stream is at its end.
    pub async fn next(&mut self) -> Result<Incoming, Error> {
        loop {
            if let Some(incoming) = self.try_next()? {
                return Ok(incoming);
            }
            if let Err(error) = self.wait_for_bytes().await {
                self.ended = true;
                return Err(error);
            }
        }
    }

    /// The next event if it has been read already, else `None`. Never waits and never asks the socket:
    /// after [`Self::next`], this gives what else came with it.
    ///
    /// # Errors
    ///
    /// As [`Self::next`].
    pub fn try_next(&mut self) -> Result<Option<Incoming>, Error> {
        if self.ended {
            return Err(Error::Poisoned { command: "dump" });
        }
        let result = match self.reader.take() {
            Ok(Some(packet)) => self.decode(packet).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        self.ended = result.is_err();
        result
    }

    /// Whether the source listens to acknowledgements.
    pub fn is_semi_sync(&self) -> bool {
        self.semi_sync
    }

    /// Takes off the half that acknowledges, for another task to own. A second call gives one whose
    /// calls fail.
    pub fn split(mut self) -> (Self, AckSender) {
        let sender = AckSender::new(self.writer.take(), self.semi_sync);
        (self, sender)
    }

    async fn wait_for_bytes(&mut self) -> Result<(), Error> {
        match self.silence {
            None => self.reader.fill().await?,
            Some(after) => {
                let since = *self.waiting_since.get_or_insert_with(Instant::now);
                let read = tokio::time::timeout_at(since + after, self.reader.fill()).await;
                read.map_err(|_| Error::Silent { after })??;
                self.waiting_since = None;
            }
        }
        Ok(())
    }

    /// Takes the event out of its packet. Packet numbers are not looked at: after an event that wants an
    /// acknowledgement the source begins anew, when exactly depends on its make, and TCP keeps the order.
    fn decode(&mut self, packet: Packet) -> Result<Incoming, Error> {
        let mut payload = packet.payload;
        match payload.split_first() {
            Some((&header::OK, _)) => payload.advance(1),
            Some((&header::ERR, body)) => return Err(ServerError::parse(body)?.into()),
            Some((&header::EOF, body)) if body.len() < 8 => return Err(Error::EndOfStream),
            _ => return Err(unexpected(&payload, "an event")),
        }
        if self.prefix == Prefix::ToBeSeen {
            let with =
                payload.first() == Some(&SEMI_SYNC_MAGIC) && payload.get(2..).is_some_and(is_whole_event);
            self.prefix = if with { Prefix::Present } else { Prefix::Absent };
        }
        let mut wants_ack = false;
        if self.prefix == Prefix::Present {
            match *payload {
                [SEMI_SYNC_MAGIC, flag, ..] => wants_ack = flag & 1 != 0,
                _ => return Err(Error::protocol("an event without the semi-sync bytes that others have")),
            }
            payload.advance(2);
        }
        if !is_whole_event(&payload) {
            return Err(Error::protocol("an event whose length is not that of its packet"));
        }
        Ok(Incoming { event: payload, wants_ack })
    }
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream")
            .field("semi_sync", &self.semi_sync)
            .field("silence", &self.silence)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// Whether the length in the header is that of the bytes.
fn is_whole_event(event: &[u8]) -> bool {
    let size = event.get(SIZE_AT..).and_then(|rest| rest.first_chunk::<4>());
    event.len() >= EVENT_HEADER
        && size.is_some_and(|size| usize::try_from(u32::from_le_bytes(*size)) == Ok(event.len()))
}
