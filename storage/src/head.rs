//! What a segment begins with, and the file that tells where its events are from.
//!
//! ```text
//! 0    magic, format description, previous GTIDs     in the segment
//!      source_uuid, file, position of the first event     in segment-<n>.json
//! ```
//! The format description is the source's, with the in-use flag cleared and checksums on. The previous GTIDs
//! are all that was received before, purged ones included: the source's own event where it says the same
//! (then the segment is the source's file byte for byte, and so are its offsets), else one of our own: a log
//! that began in the middle of a source's history must not claim what it never had.
//!
//! Uuid and name stand in no event that every reader of binary logs would pass over in silence, hence the
//! second file. It is flushed before the segment is made, so a segment without one is damage.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use binlog::event::{EventError, EventKind, FLAG_ARTIFICIAL, MAGIC, previous_gtids, read_previous_gtids};
use binlog::{Event, FormatDescription, GtidSet};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Damage, Error};
use crate::events::{EventReader, Read};
use crate::files::{Folder, read_small, write_durably};

/// Everything a segment says of itself before its first event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    /// The segment, from 1.
    pub segment: u64,
    /// The server the events were read from (a relay's own uuid when that was a relay).
    pub server_uuid: Uuid,
    /// That server's file.
    pub file: Arc<str>,
    /// Where the segment's first event begins in that file.
    pub position: u64,
    /// It begins where that file does: no event of the file, but its head, lies before `position`.
    pub begins_file: bool,
    /// The format description, as stored.
    pub format: Event,
    /// The previous-GTIDs event, as stored.
    pub previous_event: Event,
    /// All transactions before this segment, purged ones included.
    pub previous: Arc<GtidSet>,
}

/// The contents of `segment-<n>.json`.
#[derive(Serialize, Deserialize)]
struct Origin {
    source_uuid: String,
    file: String,
    position: u64,
    begins_file: bool,
}

impl SegmentHead {
    /// Where the first event begins in the segment.
    pub fn end(&self) -> u64 {
        MAGIC.len() as u64 + u64::from(self.format.size()) + u64::from(self.previous_event.size())
    }

    /// Do the events of `other`, read from the same server, belong in this segment's file as well?
    pub(crate) fn is_same_file(&self, server_uuid: Uuid, file: &str, format: &Event) -> bool {
        self.server_uuid == server_uuid && *self.file == *file && is_same_format(&self.format, format)
    }

    /// Makes the segment's files, flushed, directory included. Whatever fails, nothing stays behind that a
    /// second attempt would stumble over.
    pub(crate) fn create(&self, folder: &Folder) -> Result<File, Error> {
        let made = self.try_create(folder);
        if made.is_err() {
            // The first failure is the one to tell of; leftovers are also removed at the next open.
            let _ = folder.remove(&folder.segment(self.segment));
            let _ = folder.remove(&folder.origin(self.segment));
        }
        made
    }

    fn try_create(&self, folder: &Folder) -> Result<File, Error> {
        let origin_path = folder.origin(self.segment);
        let origin = Origin {
            source_uuid: self.server_uuid.to_string(),
            file: self.file.to_string(),
            position: self.position,
            begins_file: self.begins_file,
        };
        let text = serde_json::to_vec(&origin).map_err(|e| Error::file(&origin_path, e))?;
        write_durably(&origin_path, &text)?;
        let path = folder.segment(self.segment);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let file = open.map_err(|e| Error::io("create", &path, e))?;
        let head = [&MAGIC[..], self.format.bytes(), self.previous_event.bytes()].concat();
        file.write_all_at(&head, 0).map_err(|e| Error::io("write", &path, e))?;
        file.sync_all().map_err(|source| Error::SyncFailed { path, source })?;
        folder.sync()?;
        Ok(file)
    }

    /// Reads the head of a segment that is there.
    pub(crate) fn read(folder: &Folder, segment: u64) -> Result<Self, Error> {
        let path = folder.segment(segment);
        let file = File::open(&path).map_err(|e| Error::io("open", &path, e))?;
        let length = file.metadata().map_err(|e| Error::io("read", &path, e))?.len();
        let mut magic = [0; MAGIC.len()];
        if length < MAGIC.len() as u64 {
            let cut = Damage::Cut { size: MAGIC.len() as u64, has: length };
            return Err(Error::corrupt(segment, 0, cut));
        }
        file.read_exact_at(&mut magic, 0).map_err(|e| Error::io("read", &path, e))?;
        if magic != MAGIC {
            return Err(Error::corrupt(segment, 0, Damage::Magic));
        }
        let mut events = EventReader::new(file, path, segment, MAGIC.len() as u64);
        let format = head_event(&mut events, length)?;
        let at = MAGIC.len() as u64;
        FormatDescription::parse(&format).map_err(|e| Error::corrupt(segment, at, e))?;
        let at = events.position();
        let previous_event = head_event(&mut events, length)?;
        let previous = read_previous_gtids(&previous_event).map_err(|e| Error::corrupt(segment, at, e))?;
        let origin_path = folder.origin(segment);
        let origin = read_origin(&origin_path)?;
        let server_uuid = Uuid::parse_str(&origin.source_uuid).map_err(|e| Error::file(&origin_path, e))?;
        Ok(Self {
            segment,
            server_uuid,
            file: origin.file.into(),
            position: origin.position,
            begins_file: origin.begins_file,
            format,
            previous_event,
            previous: Arc::new(previous),
        })
    }
}

fn head_event(events: &mut EventReader, length: u64) -> Result<Event, Error> {
    let (segment, at) = (events.segment(), events.position());
    match events.next(length, HEAD_CHUNK)? {
        Read::Event(event) => Ok(event),
        Read::End => Err(Error::corrupt(segment, at, Damage::Cut { size: 1, has: 0 })),
        Read::Cut { size, has } => Err(Error::corrupt(segment, at, Damage::Cut { size, has })),
        Read::Bad(source) => Err(Error::corrupt(segment, at, source)),
    }
}

/// Bytes of the magic, as positions in headers count.
const MAGIC_LENGTH: u32 = 4;

/// A head is a few hundred bytes; a previous-GTIDs event that is larger is read in a second go.
const HEAD_CHUNK: usize = 4096;

fn read_origin(path: &Path) -> Result<Origin, Error> {
    match read_small(path)? {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|e| Error::file(path, e)),
        None => Err(Error::MissingSegment { path: path.into() }),
    }
}

/// The format description as a file at rest has it. One that a source sends for a stream from the middle of a
/// file says `log_pos` 0 or is marked as artificial; at the beginning of a segment it is neither.
pub(crate) fn stored_format(format: &FormatDescription) -> Event {
    format.normalised().with_header(|header| {
        header.flags &= !FLAG_ARTIFICIAL;
        header.log_pos = MAGIC_LENGTH + format.event().size();
    })
}

/// Where the time that a server was started stands in a format description. A source leaves it out of a stream
/// from the middle of a file.
const CREATED: std::ops::Range<usize> = 52..56;

/// Do these descriptions say the same of the events behind them?
fn is_same_format(one: &Event, other: &Event) -> bool {
    let (one, other) = (one.body(), other.body());
    one.len() == other.len()
        && one.get(..CREATED.start) == other.get(..CREATED.start)
        && one.get(CREATED.end..) == other.get(CREATED.end..)
}

/// The previous-GTIDs event for a segment: the source's where it says the same as we do, else one of our own.
pub(crate) fn previous_event(
    received: &GtidSet,
    format: &Event,
    source: Option<&Event>,
) -> Result<Event, EventError> {
    if let Some(event) = source.filter(|event| event.kind() == EventKind::PreviousGtids)
        && read_previous_gtids(event)? == *received
    {
        return Ok(event.clone());
    }
    let begins = MAGIC_LENGTH + format.size();
    let event = previous_gtids(format.server_id(), format.timestamp(), 0, received);
    let ends = begins + event.size();
    Ok(event.with_header(|header| header.log_pos = ends))
}
