//! What a source sends, framed: events with verified checksums, and the file that they are from.
//!
//! The bytes go on untouched; a source without checksums gets them added. Everything else about events is the log's.

use binlog::event::{ChecksumAlgorithm, Rotate};
use binlog::{Event, EventKind, FormatDescription};
use storage::SourceFile;
use uuid::Uuid;
use wire::{EventStream, Incoming};

use crate::Error;
use crate::writer::Message;

/// Most bytes of events handed to the writer at once.
const BATCH: usize = 1 << 20;

/// Frames what the source sends.
pub(crate) struct Frames {
    events: EventStream,
    server_uuid: Uuid,
    checksummed: bool,
    format: Option<FormatDescription>,
    /// The file that the last rotate event named.
    file: String,
    position: u64,
    /// The format description that follows begins a file, as a sender's rotate event says.
    begins: bool,
}

/// What was read together.
pub(crate) struct Batch {
    /// For the writer, in order.
    pub(crate) messages: Vec<Message>,
    /// Bytes of the events.
    pub(crate) bytes: u64,
}

/// Events for one message.
#[derive(Default)]
struct Events {
    list: Vec<Event>,
    bytes: usize,
}

impl Events {
    fn push(&mut self, event: Event) {
        self.bytes += event.bytes().len();
        self.list.push(event);
    }

    fn take(&mut self) -> Option<Message> {
        let Self { list, bytes } = std::mem::take(self);
        (!list.is_empty()).then_some(Message::Events(list, bytes))
    }
}

impl Frames {
    pub(crate) fn new(events: EventStream, server_uuid: Uuid, checksummed: bool) -> Self {
        Self {
            events,
            server_uuid,
            checksummed,
            format: None,
            file: String::new(),
            position: 0,
            begins: false,
        }
    }

    /// Waits for an event, and takes along what else was read with it. Cancellation safe only in that nothing is
    /// handed out twice: what was read is lost, and so must the connection be.
    pub(crate) async fn batch(&mut self) -> Result<Batch, Error> {
        let failed = Error::source("reading its events");
        let mut events = Events::default();
        let mut batch = Batch { messages: Vec::new(), bytes: 0 };
        let mut next = Some(self.events.next().await.map_err(&failed)?);
        while let Some(Incoming { event, .. }) = next {
            batch.bytes += event.len() as u64;
            let event = self.read(event)?;
            if let Some(file) = self.file_of(&event)? {
                batch.messages.extend(events.take());
                batch.messages.push(Message::File(Box::new(file)));
            }
            if is_for_the_log(&event) {
                events.push(event);
            }
            let has_room = batch.bytes < BATCH as u64;
            next = if has_room { self.events.try_next().map_err(&failed)? } else { None };
        }
        batch.messages.extend(events.take());
        Ok(batch)
    }

    /// Frames an event and verifies its checksum.
    fn read(&mut self, bytes: bytes::Bytes) -> Result<Event, Error> {
        let is_format = bytes.get(4) == Some(&EventKind::FormatDescription.code());
        let event = match &self.format {
            _ if is_format => Event::new(bytes),
            Some(format) if format.checksum() == ChecksumAlgorithm::None => Event::from_unchecksummed(&bytes),
            Some(_) => Event::new(bytes),
            // The rotate event before the first format description is as the source was asked.
            None if self.checksummed => Event::new(bytes),
            None => Event::from_unchecksummed(&bytes),
        };
        let event = event.map_err(|source| self.malformed(source))?;
        if event.log_pos() != 0 {
            self.position = event.log_pos().into();
        }
        Ok(event)
    }

    /// Follows rotate events and format descriptions: the file that begins with this event, if one does.
    fn file_of(&mut self, event: &Event) -> Result<Option<SourceFile>, Error> {
        match event.kind() {
            EventKind::Rotate if event.is_artificial() => {
                let rotate = Rotate::parse(event).map_err(|source| self.malformed(source))?;
                self.file = rotate.file;
                self.position = rotate.position;
                self.begins = true;
                Ok(None)
            }
            EventKind::FormatDescription => {
                let format = FormatDescription::parse(event).map_err(|source| self.malformed(source))?;
                self.format = Some(format.clone());
                let begins = std::mem::take(&mut self.begins);
                Ok(begins.then(|| SourceFile {
                    server_uuid: self.server_uuid,
                    file: self.file.clone(),
                    position: self.position,
                    format,
                }))
            }
            _ => Ok(None),
        }
    }

    fn malformed(&self, source: binlog::EventError) -> Error {
        Error::Event { file: self.file.clone(), position: self.position, source }
    }
}

/// What tells where the events are from is for the writer to know, not to store. Heartbeats of version 2 tell it
/// positions beyond 4 GiB.
fn is_for_the_log(event: &Event) -> bool {
    match event.kind() {
        EventKind::FormatDescription | EventKind::Heartbeat => false,
        EventKind::HeartbeatV2 => true,
        _ => !event.is_artificial(),
    }
}
