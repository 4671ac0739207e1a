//! A transaction's rows, one by one, each ready to be applied, looked up and shown by itself.

use std::sync::Arc;

use binlog::row::{RawRow, RowsEvent, TableMap};
use binlog::{Event, EventKind};
use serde_json::Value as Json;

use super::key::ChangeKeys;
use crate::Error;
use crate::catalog::TargetTable;
use crate::config::TableRules;
use crate::group::{Member, binlog_statement};

/// A transaction is held in memory, several times over, while it is decided row by row.
pub(super) const MOST_BYTES: usize = 128 << 20;

/// One row's change.
pub(super) struct Row {
    pub(super) table: Arc<TargetTable>,
    pub(super) map: Arc<TableMap>,
    pub(super) map_event: Event,
    /// The change as an event of its own.
    pub(super) event: Event,
    pub(super) keys: ChangeKeys,
    pub(super) rules: TableRules,
}

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Insert,
    Update,
    Delete,
}

impl Operation {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl Row {
    /// All rows of a transaction, in order. `splits_moves`: an update that gives a row another key is two changes, so that
    /// each key can be decided about by itself.
    pub(super) fn all_of(
        member: &Member,
        splits_moves: bool,
        rules: impl Fn(&TargetTable) -> TableRules,
    ) -> Result<Vec<Self>, Error> {
        if member.bytes() > MOST_BYTES {
            return Err(Error::NotApplicable {
                gtid: member.gtid.to_string(),
                what: format!(
                    "it meets rows that changed unseen, and its {} bytes are too many to decide row by row (at most \
                     {MOST_BYTES})",
                    member.bytes()
                ),
                remedy:
                    "skip it with twinlog link skip --gtid, then compare and repair its tables with twinlog \
                         verify --repair"
                        .into(),
            });
        }
        let mut rows = Vec::new();
        for batch in member.batches() {
            Self::add_all(member, &batch?, splits_moves, &rules, &mut rows)?;
        }
        Ok(rows)
    }

    fn add_all(
        member: &Member,
        events: &[Event],
        splits_moves: bool,
        rules: impl Fn(&TargetTable) -> TableRules,
        rows: &mut Vec<Self>,
    ) -> Result<(), Error> {
        let malformed = |source| Error::Event { gtid: member.gtid.to_string(), source };
        let mut maps: Vec<(Event, Arc<TableMap>, Arc<TargetTable>)> = Vec::new();
        for event in events {
            let id = TableMap::id_of(event);
            if event.kind() == EventKind::TableMap {
                let map = TableMap::parse(event).map_err(malformed)?;
                let table = member.table(&map.database, &map.table).cloned();
                maps.retain(|(known, ..)| TableMap::id_of(known) != id);
                maps.extend(table.map(|table| (event.clone(), Arc::new(map), table)));
                continue;
            }
            let Some((map_event, map, table)) = maps.iter().find(|(map, ..)| TableMap::id_of(map) == id)
            else {
                continue;
            };
            let all = RowsEvent::parse(event, map).map_err(malformed)?;
            for (one, change) in all.split().map_err(malformed)?.into_iter().zip(all.changes()) {
                let row = Self {
                    keys: table.keys.of(&change.map_err(malformed)?),
                    table: table.clone(),
                    map: map.clone(),
                    map_event: map_event.clone(),
                    event: one,
                    rules: rules(table),
                };
                if splits_moves && row.keys.identity.len() > 1 {
                    rows.extend(row.split_move().map_err(malformed)?);
                } else {
                    rows.push(row);
                }
            }
        }
        Ok(())
    }

    /// A row that gets another key, as one that goes and one that comes. What is told by a part of a JSON document stays.
    fn split_move(self) -> Result<Vec<Self>, binlog::EventError> {
        let raw = RawRow::of(&self.event, &self.map, &self.table.lacking)?;
        let (Some(old), Some(new)) = (&raw.before, &raw.after) else { return Ok(vec![self]) };
        let halves = [raw.delete(&self.event, &self.map, old), raw.insert(&self.event, &self.map, new)];
        let mut rows = Vec::with_capacity(2);
        for event in halves {
            let keys = match RowsEvent::parse(&event, &self.map)?.changes().next().transpose()? {
                Some(change) => self.table.keys.of(&change),
                None => continue,
            };
            rows.push(Self {
                keys,
                table: self.table.clone(),
                map: self.map.clone(),
                map_event: self.map_event.clone(),
                event,
                rules: self.rules,
            });
        }
        Ok(rows)
    }

    pub(super) fn operation(&self) -> Operation {
        match self.event.kind() {
            EventKind::WriteRows | EventKind::WriteRowsV1 => Operation::Insert,
            EventKind::DeleteRows | EventKind::DeleteRowsV1 => Operation::Delete,
            _ => Operation::Update,
        }
    }

    /// The statement that applies this event under the row's table map.
    pub(super) fn statement(&self, event: &Event) -> Vec<u8> {
        binlog_statement(&[self.map_event.bytes().as_ref(), event.bytes().as_ref()].concat())
    }

    /// The events that bring the incoming row about, whatever stands there. `before` and `after`: is there a row with
    /// the key before, and one with the key after? An update finds its row by its key alone, so an image of what is
    /// to be serves for what is there.
    pub(super) fn forced(&self, before: bool, after: bool) -> Result<Vec<Event>, binlog::EventError> {
        let raw = RawRow::of(&self.event, &self.map, &self.table.lacking)?;
        let (like, map) = (&self.event, &*self.map);
        let moves = self.keys.identity.len() > 1;
        Ok(match (self.operation(), &raw.before, &raw.after) {
            (Operation::Insert, _, Some(new)) if after => vec![raw.update(like, map, new, new)],
            (Operation::Insert, ..) => vec![like.clone()],
            (Operation::Delete, ..) if before => vec![like.clone()],
            (Operation::Delete, ..) => Vec::new(),
            (Operation::Update, _, Some(_)) if before => vec![like.clone()],
            (Operation::Update, _, Some(new)) if moves && after => vec![raw.update(like, map, new, new)],
            (Operation::Update, _, Some(new)) => vec![raw.insert(like, map, new)],
            // Told by what changed inside a JSON document: the row before is put there first.
            (Operation::Update, Some(old), None) if before => {
                vec![raw.update(like, map, old, old), like.clone()]
            }
            (Operation::Update, Some(old), None) => vec![raw.insert(like, map, old), like.clone()],
            (Operation::Update, None, None) => vec![like.clone()],
        })
    }

    /// The key as JSON, out of a row as JSON: its identity's columns; all where it has none.
    pub(super) fn key_of(&self, row: Option<&Json>) -> Json {
        let columns = self.table.keys.identity_columns();
        let named = columns.iter().filter_map(|(i, _)| self.map.columns.get(*i));
        let Some(Json::Object(all)) = row else { return Json::Null };
        let key: serde_json::Map<String, Json> =
            named.filter_map(|c| Some((c.name.clone(), all.get(&c.name)?.clone()))).collect();
        if key.is_empty() { Json::Object(all.clone()) } else { Json::Object(key) }
    }
}
