//! What can go wrong in the relay log, and what a person does about it.

use std::io;
use std::path::{Path, PathBuf};

use binlog::event::EventError;
use binlog::transaction::SequenceError;
use binlog::{Gtid, GtidSet};

use crate::position::LogPosition;

/// Why the relay log could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the log open.
    #[error("relay log is in use by another process: {}", path.display())]
    Locked {
        /// The log's folder.
        path: PathBuf,
    },
    /// The folder holds the log of another sync or region.
    #[error("relay log in {} belongs to another {key}: it is of {has:?}, wanted is {wanted:?}", path.display())]
    Foreign {
        /// The log's folder.
        path: PathBuf,
        /// `sync` or `region`.
        key: &'static str,
        /// What the folder is of.
        has: String,
        /// What was asked for.
        wanted: String,
    },
    /// A small file beside the segments can't be understood.
    #[error("{} is damaged: {what}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: FileDamage,
    },
    /// The log was written by a version of the program that this one does not know.
    #[error("relay log in {} has format {version}, which this program does not read", path.display())]
    Format {
        /// The log's folder.
        path: PathBuf,
        /// The format it says it has.
        version: u32,
    },
    /// Bytes of a segment are not what was written.
    #[error("relay log is damaged at segment:offset {at}: {what}")]
    Corrupt {
        /// Where: the beginning of the event that is wrong.
        at: LogPosition,
        /// What is wrong.
        what: Damage,
    },
    /// A segment that must be there is not.
    #[error("relay log lacks a segment: {}", path.display())]
    MissingSegment {
        /// The file that should be there.
        path: PathBuf,
    },
    /// The file system has no room. Nothing is lost: what was refused can be appended again.
    #[error("no room for the relay log: {}", path.display())]
    NoSpace {
        /// The file that could not grow.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Flushing to disk failed. Whether the bytes are there can't be known any more, so the process must
    /// end; the next open looks at what the disk has.
    #[error("flushing the relay log to disk failed: {}", path.display())]
    SyncFailed {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A flush failed before: the log takes nothing any more.
    #[error("relay log takes nothing after a failed flush")]
    Poisoned,
    /// Any other failure of the file system.
    #[error("can't {action}: {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The index could not be opened, not even a new one.
    #[error("can't open the relay log's index: {}", path.display())]
    Index {
        /// Its folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The source sent a transaction that the log has.
    #[error("source sent a transaction that the log already has: {0}")]
    Known(Gtid),
    /// The source sent a transaction that the log has, with other contents.
    #[error("source has another transaction under a GTID that the log has: {gtid}")]
    Diverged {
        /// Its GTID.
        gtid: Gtid,
        /// Where the log has it.
        at: LogPosition,
    },
    /// The source sent a transaction without GTID.
    #[error("source sent a transaction without GTID, before position {position} of {file}")]
    Anonymous {
        /// The source's file.
        file: String,
        /// Where the event ends in it.
        position: u64,
    },
    /// The source's events are no run of transactions.
    #[error("source sent events out of order, before position {position} of {file}")]
    Sequence {
        /// The source's file.
        file: String,
        /// Where the event ends in it.
        position: u64,
        /// The cause.
        #[source]
        source: SequenceError,
    },
    /// An event came before it was said which file of which source it is from.
    #[error("an event came before its source file was named")]
    NoSourceFile,
    /// A source file was named while a transaction is unfinished.
    #[error("a source file begins inside a transaction")]
    Unfinished,
    /// A starting set was given for a log that has begun.
    #[error("relay log has begun: it can't be given another start")]
    NotEmpty,
    /// What a reader was to read next was purged while it was slow.
    #[error("transactions were purged before they were read: {missing}")]
    PurgedUnread {
        /// The transactions.
        missing: GtidSet,
    },
}

/// What is wrong with a small file beside the segments.
#[derive(Debug, thiserror::Error)]
pub enum FileDamage {
    /// It should be there.
    #[error("missing beside segments")]
    Missing,
    /// It is no small file.
    #[error("far too large")]
    TooLarge,
    /// It is no JSON of the right shape.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Nothing in the folder is sound enough to go on from.
    #[error("no segment is sound; a new beginning needs an empty folder")]
    NothingSound,
    /// A uuid in it is none.
    #[error(transparent)]
    Uuid(#[from] uuid::Error),
    /// A GTID set in it is none.
    #[error(transparent)]
    GtidSet(#[from] binlog::gtid::GtidParseError),
}

/// What is wrong with a segment's bytes.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// It does not begin like a binary log file.
    #[error("not a binary log file")]
    Magic,
    /// The file ends inside an event.
    #[error("an event is cut short: {has} of {size} bytes")]
    Cut {
        /// Bytes the event says it has.
        size: u64,
        /// Bytes that are there.
        has: u64,
    },
    /// An event's bytes are wrong.
    #[error(transparent)]
    Event(#[from] EventError),
    /// An event has the flag of a file that is being written, which no stored event has and no checksum covers.
    #[error("an event has the in-use flag")]
    InUse,
    /// Its events are no run of transactions.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// The last transaction of a finished segment has no end.
    #[error("the segment ends inside a transaction")]
    Unfinished,
    /// A transaction stands in the log twice.
    #[error("transaction stands in the log twice: {0}")]
    Twice(Gtid),
    /// A transaction without GTID.
    #[error("transaction without GTID")]
    Anonymous,
    /// The file's size is not what it was when the segment was finished.
    #[error("segment has {has} bytes and had {had}")]
    Length {
        /// Bytes now.
        has: u64,
        /// Bytes then.
        had: u64,
    },
    /// The segment's previous GTIDs are not what the segments before it hold.
    #[error("segment does not go on where the one before it ended")]
    Previous,
}

impl Error {
    /// What a person can do about it; `None` where the text says all there is.
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Locked { .. } => "end the other process, or give this one a folder of its own".into(),
            Self::Foreign { key, .. } => {
                format!("correct the {key}'s name or `relay.dir`; a log is never taken over by another {key}")
            }
            Self::Format { .. } => "run the version of the program that wrote it, or a later one".into(),
            Self::File { .. } | Self::Corrupt { .. } | Self::MissingSegment { .. } => {
                "see what is damaged with `twinlog log check`; `twinlog log repair` fetches it from the \
                 source again, if the source still has it"
                    .into()
            }
            Self::NoSpace { path, .. } => format!(
                "make room on the file system of {}; pulling goes on by itself then",
                path.parent().unwrap_or(path).display()
            ),
            Self::SyncFailed { .. } | Self::Poisoned => {
                "look for disk errors in the system's log, then start the relay again: it verifies what is \
                 on the disk and fetches the rest from the source"
                    .into()
            }
            Self::Io { path, .. } | Self::Index { path, .. } => {
                format!("check that {} can be read and written by this user", path.display())
            }
            Self::Known(_) | Self::Diverged { .. } => {
                "the source may have been restored, or have lost transactions in a crash: compare its \
                 `gtid_executed` with the relay's before anything else; a new beginning needs an empty \
                 `relay.dir`"
                    .into()
            }
            Self::Anonymous { .. } => "set `gtid_mode=ON` at the source, then start again after it".into(),
            Self::PurgedUnread { .. } => {
                "raise `relay.retain`, or make the downstream a link, which purging waits for".into()
            }
            Self::Sequence { source, .. } => return source.remedy().map(Into::into),
            Self::NoSourceFile | Self::Unfinished | Self::NotEmpty => return None,
        })
    }

    /// Wraps a failure of the file system: no room is an error of its own.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::NoSpace { path, source }
            }
            _ => Self::Io { action, path, source },
        }
    }

    /// A small file that is not what it should be.
    pub(crate) fn file(path: &Path, what: impl Into<FileDamage>) -> Self {
        Self::File { path: path.to_path_buf(), what: what.into() }
    }

    /// Damage in a segment.
    pub(crate) fn corrupt(segment: u64, offset: u64, what: impl Into<Damage>) -> Self {
        Self::Corrupt { at: LogPosition { segment, offset }, what: what.into() }
    }
}

/// Why a reader can't begin where it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum SeekError {
    /// Transactions that the reader lacks are no longer in the log.
    #[error("transactions are no longer in the relay log: {missing}")]
    Purged {
        /// The transactions.
        missing: GtidSet,
    },
    /// The reader has transactions, of sequences the log knows, that the log does not have (yet).
    #[error("reader is ahead of the relay log by {beyond}")]
    Ahead {
        /// The transactions.
        beyond: GtidSet,
    },
    /// No segment holds this place of a source file.
    #[error("relay log does not hold position {position} of source file {file}")]
    UnknownPosition {
        /// The source's file.
        file: String,
        /// The position in it.
        position: u64,
    },
    /// The place lies inside an event.
    #[error("position {position} of source file {file} is not where an event begins")]
    NotAnEvent {
        /// The source's file.
        file: String,
        /// The position in it.
        position: u64,
    },
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] Error),
}
