//! Changes that leave nothing in the target's log by themselves, written down there all the same: only where further regions
//! write into the target too.
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
use binlog::stamp::TRACE_TABLE;
use binlog::{Event, EventError};
use bytes::Bytes;
use tokio::time::Instant;

use super::redo::Redo;
use super::row::MOST_BYTES;
use crate::Error;
use crate::apply::Applier;
use crate::group::{Group, Member};
use crate::sql;

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
/// Of more bytes or rows it takes long to be done row by row: it is held longer.
const LARGE: (usize, u64) = (8 << 20, 1000);
const LONG_PATIENCE: Duration = Duration::from_secs(10);
/// How often a long wait looks around.
const LOOK: Duration = Duration::from_millis(200);

/// Holds transactions that come early.
#[derive(Debug)]
pub(crate) struct Early {
    /// Further regions that write into the target: what was seen of others never comes there.
    others: Vec<String>,
    /// Until then little is waited for.
    impatient_until: Instant,
}

impl Early {
    /// `None`: nobody else writes into the target.
    pub(crate) fn new(others: Vec<String>) -> Option<Self> {
        (!others.is_empty()).then(|| Self { others, impatient_until: Instant::now() })
    }
}

impl Applier {
    /// Does a transaction come before something that its region had seen?
    pub(super) fn is_early(&self, member: &Member) -> bool {
        let (Some(window), Some(early)) = (&self.window, &self.early) else { return false };
        member.tables.iter().any(|table| self.is_watched(table))
            && !window.has_applied(&member.saw, &early.others)
    }

    /// Waits a little for what the group's regions had seen. One that can't be done row by row is held as long as it
    /// takes.
    pub(crate) async fn wait_for_seen(&mut self, group: &Group) -> Result<(), Error> {
        for member in group.members() {
            if !self.is_early(member) {
                continue;
            }
            if member.bytes() > MOST_BYTES || member.largest_event() > self.largest_event {
                self.hold(member, None).await?;
                continue;
            }
            let Some(early) = &self.early else { return Ok(()) };
            if early.impatient_until > Instant::now() {
                continue;
            }
            let is_large = member.bytes() > LARGE.0 || member.rows.total() > LARGE.1;
            let patience = if is_large { LONG_PATIENCE } else { PATIENCE };
            if !self.hold(member, Some(patience)).await?
                && let Some(early) = &mut self.early
            {
                early.impatient_until = Instant::now() + if is_large { LONG_PATIENCE } else { IMPATIENCE };
            }
        }
        Ok(())
    }

    /// Holds a transaction that nobody can decide until it is not early any more: what it lacks may be on its way. Has it
    /// all now?
    pub(super) async fn hold_undecided(&mut self, member: &Member) -> Result<bool, Error> {
        if self.is_early(member) { self.hold(member, Some(LONG_PATIENCE)).await } else { Ok(false) }
    }

    /// Waits, holding no locks, until the target has all that a transaction's region had seen; `false` when it takes longer.
    async fn hold(&mut self, member: &Member, within: Option<Duration>) -> Result<bool, Error> {
        let (Some(window), Some(early)) = (self.window.clone(), &self.early) else { return Ok(true) };
        let others = early.others.clone();
        let until = within.map(|within| Instant::now() + within);
        let mut says = false;
        let has_all = loop {
            let left = until.map_or(LOOK, |until| LOOK.min(until.duration_since(Instant::now())));
            if window.applies(&member.saw, &others, left).await {
                break true;
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                break false;
            }
            if self.stop.is_cancelled() {
                return Err(Error::Stopped);
            }
            says = true;
            let gtid = &member.gtid;
            self.progress.waits_for(Some(format!(
                "transaction {gtid} waits for what its region had seen of {}",
                others.join(", ")
            )));
            self.let_go(&window).await?;
        };
        if says {
            self.progress.waits_for(None);
        }
        Ok(has_all)
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
        let (table, link) = (sql::table(&self.schema, TRACE_TABLE), sql::text(&self.link.text()));
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
