//! Changes that leave nothing in the target's log by themselves, written down there all the same: only where three regions
//! or more write.
//!
//! A deletion of a row that is gone, or a row that comes to what stands there already, changes nothing, so the server
//! logs nothing. Yet it was decided: what is older and comes later, from a third region, must find that it was. With two
//! regions nothing can come later. So a transaction done row by row inserts the events of the rows that it took into
//! this table and deletes them again: both are in the log, and the table stays empty.
//!
//! Such a change can be one that met a writer unseen; or one that comes **early**, before something that its region had
//! seen. Of all others the rows are in the target what they were at the source, and a change there is a change here.
//! `model_tests.rs` shows that both are needed, and that all regions end equal then.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use binlog::row::{RowsEvent, TableMap, Value};
use binlog::{Event, EventError};
use bytes::Bytes;
use tokio::time::Instant;

use super::redo::Redo;
use crate::Error;
use crate::apply::Applier;
use crate::group::{Group, Member};
use crate::sql;

/// The table's name in the meta schema.
pub(crate) const TABLE: &str = "trace";

/// Its columns.
pub(crate) const COLUMNS: &str = "\
  link VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  number INT UNSIGNED NOT NULL,
  events LONGBLOB NOT NULL,
  PRIMARY KEY (link, number)";

/// Where the events stand in a row of it.
const EVENTS: usize = 2;
/// Bytes of events in one row of it, but for a single one that is larger.
const TOGETHER: usize = 256 << 10;
/// Where the size of an event stands in it.
const SIZE: std::ops::Range<usize> = 9..13;

/// How long a transaction is held for what its region had seen: others bring it, mostly at the same time.
const PATIENCE: Duration = Duration::from_millis(20);
/// After one that was waited for in vain, others are not for so long.
const IMPATIENCE: Duration = Duration::from_secs(1);
/// Bytes of a transaction that is waited for as long as it takes: it is too large to be done row by row.
const LARGE: usize = 8 << 20;

/// Holds transactions that come early.
#[derive(Debug)]
pub(crate) struct Early {
    /// Until then nothing is waited for.
    impatient_until: Instant,
}

impl Default for Early {
    fn default() -> Self {
        Self { impatient_until: Instant::now() }
    }
}

impl Applier {
    /// Does a transaction come before something that its region had seen?
    pub(super) fn is_early(&self, member: &Member) -> bool {
        let Some(window) = self.window.as_ref().filter(|_| self.early.is_some()) else { return false };
        member.tables.iter().any(|table| self.is_watched(table))
            && !window.has_applied(&member.seen, &self.link.to)
    }

    /// Waits a little for what the group's regions had seen; a large transaction as long as it takes.
    pub(crate) async fn wait_for_seen(&mut self, group: &Group) -> Result<(), Error> {
        let Some(window) = self.window.clone() else { return Ok(()) };
        for member in group.members() {
            if !self.is_early(member) {
                continue;
            }
            let is_large = member.spilled.is_some() || member.bytes() > LARGE;
            while is_large && !window.applies(&member.seen, &self.link.to, IMPATIENCE).await {
                if self.stop.is_cancelled() {
                    return Err(Error::Stopped);
                }
                self.progress.waits_for(Some(format!(
                    "transaction {} waits for what its region had seen of the others",
                    member.gtid
                )));
            }
            if is_large {
                self.progress.waits_for(None);
                continue;
            }
            let Some(early) = &mut self.early else { return Ok(()) };
            if early.impatient_until <= Instant::now()
                && !window.applies(&member.seen, &self.link.to, PATIENCE).await
            {
                early.impatient_until = Instant::now() + IMPATIENCE;
            }
        }
        Ok(())
    }

    /// The statements that write down the rows which were taken; none where two regions write.
    pub(super) fn traces(&self, redo: &Redo<'_>) -> Vec<String> {
        if self.early.is_none() || redo.taken.is_empty() {
            return Vec::new();
        }
        let mut pieces = vec![Vec::new()];
        for row in redo.taken.iter().filter_map(|i| redo.rows.get(*i)) {
            let bytes = [row.map_event.bytes().as_ref(), row.event.bytes().as_ref()].concat();
            match pieces.last_mut() {
                Some(last) if last.is_empty() || last.len() + bytes.len() <= TOGETHER => last.extend(bytes),
                _ => pieces.push(bytes),
            }
        }
        let (table, link) = (sql::table(&self.schema, TABLE), sql::text(&self.link.text()));
        let insert = |(number, events): (usize, &Vec<u8>)| {
            format!(
                "INSERT INTO {table} VALUES ({link}, {number}, FROM_BASE64('{}'))",
                STANDARD.encode(events)
            )
        };
        let mut statements: Vec<String> = pieces.iter().enumerate().map(insert).collect();
        statements.push(format!("DELETE FROM {table} WHERE link = {link}"));
        statements
    }
}

/// The events that this one of the table holds: none where it takes them away.
pub(super) fn read(event: &Event, map: &TableMap) -> Result<Vec<Event>, EventError> {
    let mut events = Vec::new();
    for change in RowsEvent::parse(event, map)?.changes() {
        let Some(after) = change?.after else { continue };
        let Some(Value::Bytes(bytes)) = after.get(EVENTS) else { continue };
        let mut bytes: &[u8] = bytes;
        while !bytes.is_empty() {
            let size = bytes.get(SIZE).and_then(|size| size.try_into().ok()).map_or(0, u32::from_le_bytes);
            // What is cut short is an error of the event's own.
            let (one, rest) = bytes.split_at(usize::try_from(size).unwrap_or(0).clamp(1, bytes.len()));
            events.push(Event::new(Bytes::copy_from_slice(one))?);
            bytes = rest;
        }
    }
    Ok(events)
}
