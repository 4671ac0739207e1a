//! What a downstream is to be sent next: from the disk while it is behind, from memory when it has caught up.

use std::sync::Arc;

use binlog::GtidSet;
use storage::{Item, LogPosition, LogReader, SegmentHead};

use crate::tail::{Piece, Tail};

/// Bytes of events read from the disk at a time.
const BATCH: usize = 512 << 10;

/// One downstream's way through the log.
pub(crate) struct Feed {
    tail: Tail,
    /// `None` only while it is reading.
    reader: Option<LogReader>,
    /// What the downstream has said it has.
    has: GtidSet,
    at: LogPosition,
    source: u64,
    head: Option<Arc<SegmentHead>>,
    /// The reader has told the segment it began in.
    is_told: bool,
}

/// What comes next.
pub(crate) enum Next {
    /// Read for this one.
    Own(Vec<Item>, usize),
    /// What all who have caught up get.
    Shared(Arc<Piece>),
    /// Much was passed over that the downstream has; there is more.
    LeftOut,
    /// The durable end.
    End,
}

impl Feed {
    pub(crate) fn new(tail: Tail, reader: LogReader, has: GtidSet) -> Self {
        let (at, head) = (reader.end(), reader.head().cloned());
        let source = reader.source_position().map_or(4, |place| place.position);
        // Before the first segment there is none to tell.
        let is_told = head.is_none();
        Self { tail, reader: Some(reader), has, at, source, head, is_told }
    }

    /// The next items. Cancelled, it is of no more use.
    pub(crate) async fn next(&mut self) -> Result<Next, storage::Error> {
        if self.is_told {
            if let Some(piece) = self.tail.at(self.at) {
                self.at = piece.end();
                self.source = piece.source_end().unwrap_or(self.source);
                if let Some(head) = piece.head() {
                    self.head = Some(head.clone());
                }
                return Ok(Next::Shared(piece));
            }
            if self.at >= self.tail.end() {
                return Ok(Next::End);
            }
        }
        self.read().await
    }

    async fn read(&mut self) -> Result<Next, storage::Error> {
        let Some(mut reader) = self.reader.take() else { return Ok(Next::End) };
        let (at, source) = (self.at, self.source);
        let (reader, batch) = crate::blocking(move || {
            let batch = reader.advance_to(at, source).and_then(|()| reader.next_batch(BATCH));
            (reader, batch)
        })
        .await;
        let batch = batch?;
        self.at = reader.end();
        self.head = reader.head().cloned();
        self.source = reader.source_position().map_or(self.source, |place| place.position);
        self.is_told |= self.head.is_some();
        self.reader = Some(reader);
        Ok(match batch {
            batch if batch.is_end() => Next::End,
            batch if batch.items.is_empty() => Next::LeftOut,
            batch => Next::Own(batch.items, batch.bytes),
        })
    }

    /// What the downstream has already.
    pub(crate) fn has(&self) -> &GtidSet {
        &self.has
    }

    /// How far it has come.
    pub(crate) fn at(&self) -> LogPosition {
        self.at
    }

    /// The same place in the source's file; `None` while the log is empty.
    pub(crate) fn place(&self) -> Option<(&str, u64)> {
        self.head.as_ref().map(|head| (&*head.file, self.source))
    }
}
