//! Finding where a dump begins, or why it can't.
//!
//! **Promise 5** (no silent gap): who asks for what is purged, or for a place that the log does not hold, gets error
//! 1236 with MySQL's own words first. Who is ahead of the log waits while the relay is behind its source.

use binlog::GtidSet;
use storage::{LogReader, RelayLog, SeekError, SegmentInfo};

use crate::request::{From, Place};

/// What became of it.
#[derive(Debug)]
pub(crate) enum Seek {
    /// The reader of what was asked for.
    Found(Box<LogReader>),
    /// The log does not have it yet; it may come.
    NotYet,
    /// It will not come: the text for the client.
    Refused(String),
}

/// Looks for the begin of a dump. Blocks on the disk. `caught_up`: what it lacks now will not come.
pub(crate) fn seek(log: &RelayLog, from: &From, caught_up: bool) -> Seek {
    if log.is_fresh() {
        return Seek::NotYet;
    }
    match from {
        From::Gtids(has, None) => by_gtids(log, has, caught_up),
        From::Gtids(has, Some(place)) => match by_place(log, place, caught_up) {
            Seek::Found(reader) => Seek::Found(Box::new(reader.leaving_out(has))),
            // The log begins in the middle of that file: the GTIDs tell whether something is missing.
            Seek::Refused(_) if is_begin_of_oldest(log, place) => by_gtids(log, has, caught_up),
            other => other,
        },
        From::Place(place) => by_place(log, place, caught_up),
    }
}

fn by_gtids(log: &RelayLog, has: &GtidSet, caught_up: bool) -> Seek {
    match log.reader(has) {
        Ok(reader) => Seek::Found(Box::new(reader)),
        Err(SeekError::Ahead { .. }) if !caught_up => Seek::NotYet,
        Err(SeekError::Ahead { beyond }) => Seek::Refused(format!(
            "Replica has more GTIDs than the source has, using the source's SERVER_UUID. This may indicate that the \
             end of the binary log was truncated or that the last binary log file was lost. Beyond the relay log: \
             '{beyond}'"
        )),
        Err(SeekError::Purged { missing }) => Seek::Refused(format!(
            "Cannot replicate because the source purged required binary logs. Replicate the missing transactions from \
             elsewhere, or provision a new replica from backup. Consider increasing the source's binary log \
             expiration period. The GTID set sent by the replica is '{has}', and the missing transactions are \
             '{missing}'"
        )),
        Err(error) => Seek::Refused(crate::describe(&error)),
    }
}

fn by_place(log: &RelayLog, place: &Place, caught_up: bool) -> Seek {
    let segments = log.segments();
    let name = match segments.first() {
        // The oldest there is, wherever the log begins: nobody is told that it has something that it lacks.
        Some(_) if place.file.is_empty() && place.position == 4 => {
            let purged = log.gtids_purged();
            return log
                .reader_even_if_ahead(&purged)
                .map_or_else(|e| refused(&e), |r| Seek::Found(Box::new(r)));
        }
        Some(oldest) if place.file.is_empty() => &*oldest.file,
        _ => &*place.file,
    };
    match log.reader_at(name, place.position) {
        Ok(reader) => Seek::Found(Box::new(reader)),
        Err(SeekError::UnknownPosition { .. }) => match why_unknown(&segments, name, place.position) {
            Unknown::Later(_) if !caught_up => Seek::NotYet,
            Unknown::Later(text) | Unknown::Never(text) => Seek::Refused(text),
        },
        Err(SeekError::NotAnEvent { .. }) => Seek::Refused(format!(
            "log event entry not found: the relay log has no event that begins at position {} of {name}",
            place.position
        )),
        Err(error) => refused(&error),
    }
}

fn refused(error: &SeekError) -> Seek {
    Seek::Refused(crate::describe(error))
}

/// Why the log has no such place.
enum Unknown {
    /// It may have it later.
    Later(String),
    /// It has it no more, or never had.
    Never(String),
}

/// Names and positions mean something within one server: the one that was read last.
fn why_unknown(segments: &[SegmentInfo], file: &str, position: u64) -> Unknown {
    const NO_FILE: &str = "Could not find first log file name in binary log index file";
    let Some(newest) = segments.last() else {
        return Unknown::Later(format!("{NO_FILE}: the relay log is empty"));
    };
    let server = newest.server_uuid;
    let mut of_file =
        segments.iter().filter(|segment| segment.server_uuid == server && *segment.file == *file);
    match (of_file.next(), of_file.next_back()) {
        (Some(first), _) if position < first.source_begin => Unknown::Never(format!(
            "Client requested source to start replication from a position that the relay log lacks: it has {file} \
             from position {} on",
            first.source_begin
        )),
        (Some(first), last) => Unknown::Later(format!(
            "Client requested source to start replication from position > file size: the relay log has {file} up to \
             position {}",
            last.unwrap_or(first).source_end
        )),
        (None, _) => match segments.iter().find(|segment| *segment.file == *file) {
            Some(before) => Unknown::Never(format!(
                "{NO_FILE}: {file} is a file of server {}, which was the source before; now it is {server}, and \
                 positions mean its files",
                before.server_uuid
            )),
            None => {
                let oldest = segments.iter().find(|segment| segment.server_uuid == server).unwrap_or(newest);
                Unknown::Later(format!(
                    "{NO_FILE}: the relay log has no {file}; it has {} to {} of server {server}",
                    oldest.file, newest.file
                ))
            }
        },
    }
}

/// Is this the begin of the file that the log begins in, of which it does not have all?
fn is_begin_of_oldest(log: &RelayLog, place: &Place) -> bool {
    place.position == 4 && log.segments().first().is_some_and(|oldest| *oldest.file == *place.file)
}
