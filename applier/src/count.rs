//! How many rows a transaction changes.

use std::collections::HashMap;
use std::sync::Arc;

use binlog::row::{RowsEvent, TableMap};
use binlog::{Event, EventError, EventKind};

/// Table maps that are kept, at most.
const KEPT: usize = 4096;

/// Rows that a transaction changes: runs of one table and one operation.
#[derive(Debug, Default)]
pub(crate) struct Rows(Vec<Run>);

/// The table, which of the operations, how many.
type Run = (Arc<str>, usize, u64);

impl Rows {
    /// All of them.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|(.., rows)| rows).sum()
    }

    /// By table and operation.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (&str, usize, u64)> {
        self.0.iter().map(|(table, operation, rows)| (table.as_ref(), *operation, *rows))
    }

    fn add(&mut self, table: &Arc<str>, operation: usize, rows: u64) {
        match self.0.last_mut() {
            Some((last, of, sum)) if Arc::ptr_eq(last, table) && *of == operation => *sum += rows,
            _ => self.0.push((table.clone(), operation, rows)),
        }
    }
}

/// Counts rows. The same table map is read once, however many transactions begin with it.
#[derive(Debug, Default)]
pub(crate) struct RowCounter {
    /// By table id; the map's bytes are its own, for an event keeps the buffer alive that it was read into.
    maps: HashMap<u64, (Vec<u8>, TableMap, Arc<str>)>,
}

impl RowCounter {
    /// Counts the rows that these events change, and adds them.
    pub(crate) fn count(&mut self, events: &[Event], rows: &mut Rows) -> Result<(), EventError> {
        for event in events {
            let id = TableMap::id_of(event).unwrap_or(u64::MAX);
            if event.kind() == EventKind::TableMap {
                self.learn(id, event)?;
            } else if let Some((_, map, table)) = self.maps.get(&id) {
                rows.add(table, operation(event.kind()), RowsEvent::parse(event, map)?.count()? as u64);
            }
        }
        Ok(())
    }

    fn learn(&mut self, id: u64, event: &Event) -> Result<(), EventError> {
        if self.maps.get(&id).is_some_and(|(body, ..)| body == event.body()) {
            return Ok(());
        }
        if self.maps.len() >= KEPT {
            self.maps.clear();
        }
        let map = TableMap::parse(event)?;
        let table = format!("{}.{}", map.database, map.table).into();
        self.maps.insert(id, (event.body().to_vec(), map, table));
        Ok(())
    }
}

/// Which of [`crate::RowCounts::OPERATIONS`] a row event is.
fn operation(kind: EventKind) -> usize {
    match kind {
        EventKind::WriteRowsV1 | EventKind::WriteRows => 0,
        EventKind::DeleteRowsV1 | EventKind::DeleteRows => 2,
        _ => 1,
    }
}
