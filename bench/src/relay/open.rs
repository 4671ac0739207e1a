//! Opening a large log: after an orderly end, after a kill, and with its index lost.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use binlog::event::{Header, MAGIC};
use binlog::{Event, EventKind, FormatDescription};
use bytes::Bytes;
use serde_json::json;
use storage::{LogWriter, Options, RelayLog, SourceFile};
use uuid::Uuid;

use super::report::Report;
use crate::stage::Stage;

/// A file that a server wrote; its first transaction is written over and over.
const GOLDEN: &[u8] = include_bytes!("../../../binlog/golden/tagged-and-ddl.binlog");
/// Bytes added to each transaction: as large as those of a busy application with wide rows.
const PADDING: usize = 16 << 10;
/// Transactions between two flushes.
const FLUSH: u64 = 512;

pub(super) fn run(stage: &Stage, bytes: u64, report: &Report) -> Result<()> {
    let dir = stage.path("open");
    let began = Instant::now();
    let writer = write(&dir, bytes)?;
    report.say(&format!("{} MiB of relay log written in {:.1?}", bytes >> 20, began.elapsed()));
    writer.close()?;
    tell("after an orderly end", bytes, open(&dir)?, report);
    // Dropped without a close, as by a kill.
    tell("after a kill", bytes, open(&dir)?, report);
    std::fs::remove_dir_all(dir.join("index"))?;
    tell("with its index lost", bytes, open(&dir)?, report);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

fn options() -> Options {
    Options::new("bench", "eu")
}

/// Opens the log, and leaves it as a crash would; seconds.
fn open(dir: &Path) -> Result<f64> {
    let began = Instant::now();
    let (log, writer) = RelayLog::open(dir, options())?;
    let took = began.elapsed().as_secs_f64();
    drop((log, writer));
    Ok(took)
}

fn tell(what: &str, bytes: u64, seconds: f64, report: &Report) {
    let ms = (seconds * 1000.0).round();
    report.result(
        &format!("open a log of {} MiB {what}: {ms} ms", bytes >> 20),
        &json!({ "bench": "relay_log_open", "what": what, "bytes": bytes, "ms": ms }),
    );
}

/// A log of so many bytes.
fn write(dir: &Path, bytes: u64) -> Result<LogWriter> {
    let (format, transaction) = golden()?;
    let (log, mut writer) = RelayLog::open(dir, options())?;
    writer.set_start(&binlog::GtidSet::new())?;
    let server_uuid = Uuid::from_u128(7);
    writer.source_file(&SourceFile { server_uuid, file: "binlog.000001".into(), position: 4, format })?;
    let (mut at, mut written, mut count) = (4_u64, 0, 0_u64);
    while written < bytes {
        count += 1;
        for event in &transaction {
            let event = numbered(event, server_uuid, count, &mut at);
            written += u64::from(event.size());
            writer.append(&event)?;
        }
        if count.is_multiple_of(FLUSH) {
            writer.sync()?;
        }
    }
    writer.sync()?;
    drop(log);
    Ok(writer)
}

/// The format description, and a transaction made of an untagged GTID event, a BEGIN, padding and an Xid.
fn golden() -> Result<(FormatDescription, Vec<Event>)> {
    let mut rest = Bytes::from_static(GOLDEN.strip_prefix(&MAGIC).context("a binary log file")?);
    let mut events = Vec::new();
    while !rest.is_empty() {
        let size = u32::from_le_bytes(*rest[9..].first_chunk().context("a size")?);
        events.push(Event::new(rest.split_to(size as usize))?);
    }
    let format = FormatDescription::parse(events.first().context("events")?)?;
    let first = |kind: EventKind| {
        let found = events.iter().find(|event| event.kind() == kind);
        found.cloned().with_context(|| format!("{kind:?}"))
    };
    let begin =
        events.iter().find(|event| event.kind() == EventKind::Query && event.body().ends_with(b"BEGIN"));
    let rows = Header { kind: EventKind::WriteRows, ..first(EventKind::Xid)?.header() };
    let padding = Event::build(&rows, &vec![b'x'; PADDING]);
    Ok((
        format,
        vec![first(EventKind::Gtid)?, begin.context("BEGIN")?.clone(), padding, first(EventKind::Xid)?],
    ))
}

/// The event at the next place of the file; a GTID event with this number.
fn numbered(event: &Event, uuid: Uuid, number: u64, at: &mut u64) -> Event {
    *at += u64::from(event.size());
    #[expect(clippy::cast_possible_truncation, reason = "the header's field is modulo 2^32")]
    let header = Header { log_pos: *at as u32, ..event.header() };
    let mut body = event.body().to_vec();
    if event.kind() == EventKind::Gtid {
        body[1..17].copy_from_slice(uuid.as_bytes());
        body[17..25].copy_from_slice(&number.to_le_bytes());
    }
    Event::build(&header, &body)
}
