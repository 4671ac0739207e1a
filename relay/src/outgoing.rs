//! What a downstream is told, in the way of MySQL's `Binlog_sender`: where events are from, the events, and signs
//! of life.
//!
//! A client keeps account of the place it has reached by the events' positions. Where transactions were left out
//! it is told by a heartbeat, before the next event or when there is none, as a server does.

use std::ops::Range;

use binlog::event::{CHECKSUM_LENGTH, Header, Rotate, artificial_rotate, heartbeat, heartbeat_v2};
use binlog::{Event, EventKind};
use storage::{Item, LogEvent, LogPosition, SegmentBegin};
use wire::EventSender;

use crate::echo::Echo;
use crate::request::{From, Request};

/// How a client is to get checksums. In the log every event has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksums {
    /// `@source_binlog_checksum` is CRC32: it has them from the first event on.
    Sent,
    /// It is NONE: the client means to go by the format description. The events before that have none. A server
    /// answers `mysqlbinlog` and others so.
    SentFromFormat,
    /// It was never set: the client knows nothing of checksums. A server refuses it when it has checksums; here
    /// they are taken off.
    TakenOff,
}

/// A downstream, as events go to it.
pub(crate) struct Outgoing {
    pub(crate) sender: EventSender,
    server_id: u32,
    checksums: Checksums,
    /// Heartbeats are to be of version 2.
    heartbeat_v2: bool,
    /// It begins at this position of a file, and knows what is before it.
    begins_at: Option<u64>,
    by_gtids: bool,
    echo: Option<Echo>,
    state: State,
}

/// What the client has been told.
#[derive(Default)]
struct State {
    /// A format description was sent.
    has_format: bool,
    /// The place it has reached in the source's file.
    file: String,
    position: u64,
}

impl Outgoing {
    /// For one who asked so.
    pub(crate) fn new(sender: EventSender, server_id: u32, request: &Request) -> Self {
        let begins_at = match &request.from {
            From::Gtids(_, place) => place.as_ref(),
            From::Place(place) => Some(place),
        };
        Self {
            sender,
            server_id,
            checksums: request.checksums,
            heartbeat_v2: request.heartbeat_v2,
            begins_at: begins_at.map(|place| place.position),
            by_gtids: matches!(request.from, From::Gtids(..)),
            echo: request.without_echo.clone().map(Echo::new),
            state: State::default(),
        }
    }

    /// Sends items, behind which the log goes on at `end`. Not cancellation safe, as all of it.
    pub(crate) async fn items(&mut self, items: &[Item], end: LogPosition) -> Result<(), wire::Error> {
        for (at, item) in items.iter().enumerate() {
            match item {
                Item::Begins(begin) if begin.continues && self.state.has_format => {}
                Item::Begins(begin) => {
                    let next = items[at + 1..].iter().find_map(|item| match item {
                        Item::Event(event) => Some(event.at),
                        Item::Begins(_) => None,
                    });
                    self.begin(begin, next.unwrap_or(end)).await?;
                }
                Item::Event(event) => self.event(event).await?,
            }
        }
        Ok(())
    }

    async fn event(&mut self, event: &LogEvent) -> Result<(), wire::Error> {
        if self.echo.as_mut().is_some_and(|echo| echo.leaves_out(&event.event)) {
            // In the middle of a transaction, the rest of which follows and tells the place.
            self.state.position = event.source_end;
            return Ok(());
        }
        let begin = event.source_end.saturating_sub(event.event.size().into());
        if self.advance(begin) {
            self.heartbeat().await?;
        }
        self.send(&event.event).await?;
        self.state.position = event.source_end;
        if event.event.kind() == EventKind::Rotate
            && let Ok(Rotate { position, file }) = Rotate::parse(&event.event)
        {
            // The client goes on there at once, and refuses heartbeats from where it was.
            (self.state.file, self.state.position) = (file, position);
        }
        Ok(())
    }

    /// Tells that everything up to this place was passed over, where the client does not know.
    pub(crate) async fn passed_over(&mut self, place: (&str, u64)) -> Result<(), wire::Error> {
        if self.reached(place) { self.heartbeat().await } else { Ok(()) }
    }

    /// The client has this place behind it: the next heartbeat tells. Is that news to it?
    pub(crate) fn reached(&mut self, (file, position): (&str, u64)) -> bool {
        // Behind a rotation the log stands at the end of the old file until it has something of the new one.
        *file == *self.state.file && self.advance(position)
    }

    /// Goes on to this position of the file; `false` where the client is there already, or has no format yet.
    fn advance(&mut self, position: u64) -> bool {
        let advances = self.state.has_format && position > self.state.position;
        if advances {
            self.state.position = position;
        }
        advances
    }

    /// A sign of life, with the place reached.
    pub(crate) async fn heartbeat(&mut self) -> Result<(), wire::Error> {
        let (file, position) = (&self.state.file, self.state.position);
        let make = if self.heartbeat_v2 { heartbeat_v2 } else { heartbeat };
        let event = make(self.server_id, file, position);
        self.send(&event).await
    }

    /// A sign of life to one who waits for the log to begin, or to come to where it is. A client refuses heartbeats
    /// from files it was not told of.
    pub(crate) async fn wait_at(&mut self, file: &str) -> Result<(), wire::Error> {
        if self.state.file.is_empty() {
            self.tell_file(file, 4).await?;
        }
        self.heartbeat().await?;
        self.sender.flush().await
    }

    /// Tells which file the events that follow are from. The first event goes to the log's place `next`.
    async fn begin(&mut self, begin: &SegmentBegin, next: LogPosition) -> Result<(), wire::Error> {
        let head = &begin.head;
        let first = !self.state.has_format;
        // The segment is the source's file from its begin on: it is told so, whatever of it is left out.
        let is_whole_file = head.begins_file && head.position == head.end();
        let asked = self.begins_at.filter(|_| first);
        if is_whole_file && asked.is_none_or(|position| position <= 4) {
            let left_out = next != LogPosition { segment: head.segment, offset: head.end() };
            self.tell_file(&head.file, 4).await?;
            // A server does this where it found the file by GTIDs, not where the client named it.
            let format = if first && asked.is_none() && left_out {
                without(&head.format, None)
            } else {
                head.format.clone()
            };
            self.send(&format).await?;
            self.send(&head.previous_event).await?;
            self.state.position = head.position;
        } else {
            let asked = asked.filter(|position| *position > 4);
            self.tell_file(&head.file, asked.unwrap_or(begin.position)).await?;
            // A server sends it unchanged to one who names GTIDs and a place.
            let unchanged = self.by_gtids && asked.is_some();
            let format = if unchanged { head.format.clone() } else { without(&head.format, Some(0)) };
            self.send(&format).await?;
        }
        Ok(())
    }

    async fn tell_file(&mut self, file: &str, position: u64) -> Result<(), wire::Error> {
        self.send(&artificial_rotate(self.server_id, file, position)).await?;
        self.state.file = file.to_owned();
        self.state.position = position;
        Ok(())
    }

    async fn send(&mut self, event: &Event) -> Result<(), wire::Error> {
        let bytes = event.bytes();
        let is_format = event.kind() == EventKind::FormatDescription;
        match self.checksums {
            Checksums::SentFromFormat if !self.state.has_format && !is_format => {
                self.sender.send(&unchecksummed(event), false).await?;
            }
            Checksums::TakenOff if is_format => {
                self.sender.send(without_checksums(event).bytes(), false).await?;
            }
            Checksums::TakenOff => self.sender.send(&unchecksummed(event), false).await?,
            Checksums::Sent | Checksums::SentFromFormat => self.sender.send(bytes, false).await?,
        }
        self.state.has_format |= is_format;
        Ok(())
    }
}

/// Where the time that the server was started stands in a format description. A replica drops its temporary tables
/// when it reads one, so it is left out where not all of a file is sent.
const CREATED: Range<usize> = 52..56;

/// A format description without the server's start, and with another `log_pos`: 0 is one that moves no position.
fn without(format: &Event, log_pos: Option<u32>) -> Event {
    let mut body = format.body().to_vec();
    if let Some(created) = body.get_mut(CREATED) {
        created.fill(0);
    }
    let header = format.header();
    Event::build(&Header { log_pos: log_pos.unwrap_or(header.log_pos), ..header }, &body)
}

/// A format description that says that events have no checksum. It has one itself, as it always does.
fn without_checksums(format: &Event) -> Event {
    let mut body = format.body().to_vec();
    if let Some(algorithm) = body.last_mut() {
        *algorithm = 0;
    }
    Event::build(&format.header(), &body)
}

/// The event's bytes without its checksum.
fn unchecksummed(event: &Event) -> Vec<u8> {
    const SIZE: Range<usize> = 9..13;
    let bytes = event.bytes();
    let mut shorter = bytes[..bytes.len() - CHECKSUM_LENGTH].to_vec();
    // A size that fits four bytes still does when it is smaller.
    let size = u32::try_from(shorter.len()).unwrap_or(u32::MAX);
    shorter[SIZE].copy_from_slice(&size.to_le_bytes());
    shorter
}

#[cfg(test)]
mod tests {
    use binlog::event::FLAG_ARTIFICIAL;

    use super::{artificial_rotate, unchecksummed};

    #[test]
    fn an_event_without_checksum_is_four_bytes_shorter_and_says_so() {
        let event = artificial_rotate(7, "binlog.000001", 4);
        let bytes = unchecksummed(&event);
        assert_eq!(bytes.len() + 4, event.bytes().len());
        assert_eq!(bytes[9..13], 40u32.to_le_bytes());
        assert_eq!(bytes[17..19], FLAG_ARTIFICIAL.to_le_bytes());
        assert_eq!(binlog::Event::from_unchecksummed(&bytes).unwrap(), event);
    }
}
