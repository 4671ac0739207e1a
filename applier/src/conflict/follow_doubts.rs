//! What the target's log tells of an initial copy into it: which keys were written here before their chunk arrived.

use std::collections::HashMap;
use std::sync::Arc;

use binlog::row::{Image, RowsEvent, TableMap, Value};
use binlog::stamp::Stamp;
use binlog::{Event, EventKind, Gtid};

use super::follow::TargetLog;
use super::key::TableKeys;
use crate::Error;
use crate::copy::{Doubt, KeyRange, LOAD_TABLE, SortKey, SourceTable, sort_key, text_of};
use crate::verify::key::KeyValue;

/// Columns of the table `load`.
const DATABASE: usize = 1;
const TABLE: usize = 2;
const CHUNK: usize = 3;
const RANGE: usize = 5;

impl TargetLog {
    /// Takes a transaction. `is_written_here`: it is no work of this link.
    pub(super) async fn note_doubts(
        &mut self,
        gtid: &Gtid,
        events: &[Event],
        stamps: &[Stamp],
        is_written_here: bool,
    ) -> Result<(), Error> {
        if self.doubts.is_none() {
            return Ok(());
        }
        if stamps.iter().any(|stamp| stamp.link == self.rules.link.copy_text()) {
            return self.note_progress(gtid, events).await;
        }
        if is_written_here { self.note_writes(gtid, events).await } else { Ok(()) }
    }

    /// What of the copy arrived with this transaction, or was settled.
    async fn note_progress(&mut self, gtid: &Gtid, events: &[Event]) -> Result<(), Error> {
        let malformed = |source| Error::Event { gtid: gtid.to_string(), source };
        let Some(doubts) = self.doubts.clone() else { return Ok(()) };
        let mut map = None;
        for event in events {
            if event.kind() == EventKind::TableMap {
                let is_load = TableMap::names_of(event).map_err(malformed)?
                    == (self.rules.meta_schema.as_str(), LOAD_TABLE);
                map = if is_load { Some(TableMap::parse(event).map_err(malformed)?) } else { None };
                continue;
            }
            let Some(map) = map.as_ref().filter(|map| TableMap::id_of(event) == Some(map.table_id)) else {
                continue;
            };
            for change in RowsEvent::parse(event, map).map_err(malformed)?.changes() {
                let change = change.map_err(malformed)?;
                let (None, Some(row)) = (&change.before, &change.after) else { continue };
                let Some(table) = doubts.table_there(&text(row, DATABASE), &text(row, TABLE)) else {
                    continue;
                };
                if matches!(row.get(CHUNK), Some(Value::Unsigned(0))) {
                    continue;
                }
                match KeyRange::read(&text(row, RANGE)) {
                    Some(KeyRange::Between(range)) => {
                        let after = sort_key(&mut self.catalog, &table, range.after.as_ref()).await?;
                        let upto = sort_key(&mut self.catalog, &table, range.upto.as_ref()).await?;
                        doubts.arrived(table.index, after, upto);
                    }
                    Some(KeyRange::Keys(keys)) => {
                        let mut settled = Vec::with_capacity(keys.len());
                        for key in &keys {
                            settled.extend(sort_key(&mut self.catalog, &table, Some(key)).await?);
                        }
                        doubts.settled(table.index, &settled);
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }

    async fn note_writes(&mut self, gtid: &Gtid, events: &[Event]) -> Result<(), Error> {
        let malformed = |source| Error::Event { gtid: gtid.to_string(), source };
        let Some(doubts) = self.doubts.clone() else { return Ok(()) };
        let mut maps: HashMap<u64, (TableMap, Arc<SourceTable>, TableKeys)> = HashMap::new();
        for event in events {
            let id = TableMap::id_of(event).unwrap_or(u64::MAX);
            if event.kind() == EventKind::TableMap {
                let (database, table) = TableMap::names_of(event).map_err(malformed)?;
                if let Some(source) = doubts.table_here(database, table) {
                    let map = TableMap::parse(event).map_err(malformed)?;
                    let keys = self.table_keys(&map).await?;
                    maps.insert(id, (map, source, keys));
                } else {
                    maps.remove(&id);
                }
                continue;
            }
            let Some((map, source, keys)) = maps.get(&id) else { continue };
            let mut written = Vec::new();
            for change in RowsEvent::parse(event, map).map_err(malformed)?.changes() {
                let change = change.map_err(malformed)?;
                for image in [&change.before, &change.after].into_iter().flatten() {
                    written.extend(doubt_of(source, keys, image));
                }
            }
            let shape = source.key.as_ref().map(|key| &key.shape).filter(|shape| shape.has_texts());
            let (mut sort_keys, values): (Vec<SortKey>, Vec<Doubt>) = written.into_iter().unzip();
            if let Some(shape) = shape {
                shape.weigh(&mut self.catalog, &mut sort_keys).await?;
            }
            doubts.written(source.index, sort_keys.into_iter().zip(values).collect());
        }
        Ok(())
    }
}

/// A row's key, turned, not yet weighed, and as SQL and the window know it. `None` where nothing names it.
pub(crate) fn doubt_of(table: &SourceTable, keys: &TableKeys, image: &Image<'_>) -> Option<(SortKey, Doubt)> {
    let key = table.key.as_ref()?;
    let sort_key = key.shape.of(image)?;
    let part = |part: &crate::copy::KeyPart| text_of(&part.column, image.get(part.position)?);
    let value = KeyValue(key.shape.parts.iter().map(part).collect::<Option<_>>()?);
    Some((sort_key, Doubt { value, key: keys.identity_of(image)? }))
}

fn text(row: &Image<'_>, column: usize) -> String {
    match row.get(column) {
        Some(Value::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}
