//! What the target's log tells of an initial copy into it: which keys were written here before their chunk arrived, which
//! the copy and the applier put in doubt, and which are settled.

use std::collections::HashMap;
use std::sync::Arc;

use binlog::row::{Image, RowsEvent, TableMap, Value};
use binlog::stamp::Stamp;
use binlog::{Event, EventKind, Gtid};

use super::follow::TargetLog;
use super::key::TableKeys;
use crate::Error;
use crate::copy::{Doubts, KeyRange, Known, LOAD_TABLE, Named, SourceTable, sort_key};
use crate::verify::key::KeyValue;

/// Columns of the table `load`.
const DATABASE: usize = 1;
const TABLE: usize = 2;
const CHUNK: usize = 3;
const STATE: usize = 4;
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
        let Some(doubts) = self.doubts.clone() else { return Ok(()) };
        if doubts.are_over() {
            self.doubts = None;
            return Ok(());
        }
        let link = &self.rules.link;
        if stamps.iter().any(|stamp| stamp.link == link.copy_text() || stamp.link == link.text()) {
            return self.note_progress(&doubts, gtid, events).await;
        }
        if is_written_here { self.note_writes(&doubts, gtid, events).await } else { Ok(()) }
    }

    /// What this link noted in the table `load`.
    async fn note_progress(&mut self, doubts: &Doubts, gtid: &Gtid, events: &[Event]) -> Result<(), Error> {
        let malformed = |source| Error::Event { gtid: gtid.to_string(), source };
        let mut map = None;
        for event in events {
            if event.kind() == EventKind::TableMap {
                let names = TableMap::names_of(event).map_err(malformed)?;
                let is_load = names == (self.rules.meta_schema.as_str(), LOAD_TABLE);
                map = if is_load { Some(TableMap::parse(event).map_err(malformed)?) } else { None };
                continue;
            }
            let Some(map) = map.as_ref().filter(|map| TableMap::id_of(event) == Some(map.table_id)) else {
                continue;
            };
            for change in RowsEvent::parse(event, map).map_err(malformed)?.changes() {
                let change = change.map_err(malformed)?;
                if let (None, Some(row)) = (&change.before, &change.after) {
                    self.note_range(doubts, row).await?;
                }
            }
        }
        Ok(())
    }

    /// A row that was put into the table `load`: a chunk that arrived with it, or keys.
    async fn note_range(&mut self, doubts: &Doubts, row: &Image<'_>) -> Result<(), Error> {
        let is_of_table = matches!(row.get(CHUNK), Some(Value::Unsigned(0)));
        let table = doubts.table_there(&text(row, DATABASE), &text(row, TABLE)).filter(|_| !is_of_table);
        let Some(table) = table else { return Ok(()) };
        match KeyRange::read(&text(row, RANGE)) {
            Some(KeyRange::Between(range)) => {
                let after = sort_key(&mut self.catalog, &table, range.after.as_ref()).await?;
                let upto = sort_key(&mut self.catalog, &table, range.upto.as_ref()).await?;
                doubts.arrived(table.index, after, upto);
            }
            Some(KeyRange::Keys(keys)) if text(row, STATE) == "doubt" => {
                let known = self.named(&table, &keys).await?;
                doubts.passed_over(table.index, known);
            }
            // Settled, or told to the other link of the pair, which settles them.
            Some(KeyRange::Keys(keys)) => {
                let mut settled = Vec::with_capacity(keys.len());
                for key in &keys {
                    settled.extend(sort_key(&mut self.catalog, &table, Some(key)).await?);
                }
                doubts.settled(table.index, &settled);
            }
            None => {}
        }
        Ok(())
    }

    async fn named(&mut self, table: &Arc<SourceTable>, values: &[KeyValue]) -> Result<Known, Error> {
        let keys = self.table_keys(&table.map).await?;
        let named = values.iter().filter_map(|value| Named::of_value(table, &keys, value)).collect();
        Named::weigh(table, named, &mut self.weights, &mut self.catalog).await
    }

    async fn note_writes(&mut self, doubts: &Doubts, gtid: &Gtid, events: &[Event]) -> Result<(), Error> {
        let malformed = |source| Error::Event { gtid: gtid.to_string(), source };
        let mut maps: HashMap<u64, (TableMap, Arc<SourceTable>, TableKeys)> = HashMap::new();
        for event in events {
            let id = TableMap::id_of(event).unwrap_or(u64::MAX);
            if event.kind() == EventKind::TableMap {
                let (database, table) = TableMap::names_of(event).map_err(malformed)?;
                maps.remove(&id);
                if let Some(source) = doubts.table_here(database, table) {
                    let map = TableMap::parse(event).map_err(malformed)?;
                    let keys = self.table_keys(&map).await?;
                    maps.insert(id, (map, source, keys));
                }
                continue;
            }
            let Some((map, source, keys)) = maps.get(&id) else { continue };
            let mut written = Vec::new();
            for change in RowsEvent::parse(event, map).map_err(malformed)?.changes() {
                let change = change.map_err(malformed)?;
                let images = [&change.before, &change.after].into_iter().flatten();
                written.extend(images.filter_map(|image| Named::of(source, keys, map, image)));
            }
            let known = Named::weigh(source, written, &mut self.weights, &mut self.catalog).await?;
            doubts.written(source.index, known);
        }
        Ok(())
    }
}

fn text(row: &Image<'_>, column: usize) -> String {
    match row.get(column) {
        Some(Value::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}
