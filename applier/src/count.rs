//! How many rows a transaction changes.

use std::collections::HashMap;

use binlog::row::{RowsEvent, TableMap};
use binlog::{Event, EventError, EventKind};

/// Table maps that are kept, at most.
const KEPT: usize = 4096;

/// Counts rows. The same table map is read once, however many transactions begin with it.
#[derive(Debug, Default)]
pub(crate) struct RowCounter {
    /// By table id; the map's bytes are its own, for an event keeps the buffer alive that it was read into.
    maps: HashMap<u64, (Vec<u8>, TableMap)>,
}

impl RowCounter {
    /// The rows that these events change.
    pub(crate) fn count(&mut self, events: &[Event]) -> Result<u64, EventError> {
        let mut rows = 0;
        for event in events {
            let id = TableMap::id_of(event).unwrap_or(u64::MAX);
            if event.kind() == EventKind::TableMap {
                self.learn(id, event)?;
            } else if let Some((_, map)) = self.maps.get(&id) {
                rows += RowsEvent::parse(event, map)?.count()? as u64;
            }
        }
        Ok(rows)
    }

    fn learn(&mut self, id: u64, event: &Event) -> Result<(), EventError> {
        if self.maps.get(&id).is_some_and(|(body, _)| body == event.body()) {
            return Ok(());
        }
        if self.maps.len() >= KEPT {
            self.maps.clear();
        }
        self.maps.insert(id, (event.body().to_vec(), TableMap::parse(event)?));
        Ok(())
    }
}
