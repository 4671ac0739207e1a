//! The way to the log's writer: bounded by bytes, so that a source is read on while the writer flushes, and no further.
//!
//! Messages are as large as what the socket had: a bound on their number would be one on nothing.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::writer::Message;

/// Bytes of events on their way to the writer: what a fast source sends during a flush or two.
const ROOM: u32 = 16 << 20;
/// Messages on their way, however small.
const MESSAGES: usize = 1024;

/// Sends to the writer.
pub(crate) struct Inlet {
    to_writer: mpsc::Sender<Sent>,
    room: Arc<Semaphore>,
}

/// A message, and the room it takes until it is dropped.
pub(crate) struct Sent {
    pub(crate) message: Message,
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// The writer has ended; it tells why.
pub(crate) struct WriterGone;

impl Inlet {
    /// The way, and its end.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Sent>) {
        let (to_writer, inbox) = mpsc::channel(MESSAGES);
        (Self { to_writer, room: Arc::new(Semaphore::new(ROOM as usize)) }, inbox)
    }

    /// Sends when there is room; events larger than all of it when nothing else is on its way.
    pub(crate) async fn send(&self, message: Message) -> Result<(), WriterGone> {
        let bytes = match &message {
            Message::Events(_, bytes) => *bytes,
            _ => 0,
        };
        let wanted = u32::try_from(bytes).unwrap_or(ROOM).min(ROOM);
        let room = match wanted {
            0 => None,
            wanted => Some(self.room.clone().acquire_many_owned(wanted).await.map_err(|_| WriterGone)?),
        };
        self.to_writer.send(Sent { message, room }).await.map_err(|_| WriterGone)
    }
}

#[cfg(test)]
mod tests {
    use super::{Inlet, MESSAGES, ROOM, Sent};
    use crate::writer::Message;

    fn events(size: usize) -> Message {
        let event = binlog::event::artificial_rotate(1, &"x".repeat(size), 4);
        let bytes = event.bytes().len();
        Message::Events(vec![event], bytes)
    }

    #[tokio::test]
    async fn bytes_are_what_bounds_the_way_and_the_largest_event_still_passes() {
        let (inlet, mut inbox) = Inlet::new();
        let mut sent = 0;
        while let Ok(result) =
            tokio::time::timeout(std::time::Duration::from_millis(50), inlet.send(events(1 << 20))).await
        {
            assert!(result.is_ok());
            sent += 1;
        }
        assert_eq!(sent, (ROOM >> 20) - 1, "with their headers, so many fit");
        assert!(sent < u32::try_from(MESSAGES).unwrap());
        for _ in 0..sent {
            let Sent { message, room } = inbox.recv().await.unwrap();
            assert!(matches!(message, Message::Events(..)) && room.is_some());
        }
        assert!(inlet.send(events(ROOM as usize * 2)).await.is_ok(), "alone, it passes");
        drop(inbox);
        assert!(inlet.send(Message::Events(Vec::new(), 0)).await.is_err());
    }
}
