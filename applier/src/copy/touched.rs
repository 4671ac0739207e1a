//! What the stream said of a chunk's keys between the chunk's marks: of each key, how it stands at the chunk's place.

use std::collections::HashMap;

use binlog::row::{NO_FOREIGN_KEY_CHECKS, RawRow, RowChange, RowsEvent, RowsWriter, TableMap};
use binlog::{Event, EventError, EventKind, Gtid, GtidSet};

use super::order::{KeyShape, SortKey};

/// A key that was touched.
#[derive(Clone, Debug)]
pub(crate) struct Touch {
    /// By this transaction last.
    gtid: Gtid,
    left: Left,
}

/// How a transaction left a row.
#[derive(Clone, Debug)]
pub(crate) enum Left {
    Absent,
    /// The row's image.
    Row(Vec<u8>),
    /// The image before, and the event that turns it into what is: an update told by what changed inside a JSON
    /// document.
    Changed {
        before: Vec<u8>,
        map: Event,
        update: Event,
    },
}

impl Left {
    /// How this one-row event leaves the row with its key after.
    pub(crate) fn after(event: &Event, map_event: &Event, map: &TableMap) -> Result<Self, EventError> {
        let raw = RawRow::of(event, map, &[])?;
        Ok(match (raw.before, raw.after) {
            (_, Some(after)) => Self::Row(after),
            (Some(_), None) if matches!(event.kind(), EventKind::DeleteRows | EventKind::DeleteRowsV1) => {
                Self::Absent
            }
            (Some(before), None) => {
                Self::Changed { before, map: map_event.clone(), update: RowsEvent::ending_statement(event) }
            }
            (None, None) => Self::Absent,
        })
    }
}

/// The keys of a chunk that were touched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touched(HashMap<SortKey, Touch>);

impl Touched {
    pub(crate) fn note(&mut self, key: SortKey, gtid: Gtid, left: Left) {
        self.0.insert(key, Touch { gtid, left });
    }

    /// What the read has seen for certain is in the chunk.
    pub(crate) fn forget_seen(&mut self, seen: &GtidSet) {
        self.0.retain(|_, touch| !seen.contains(&touch.gtid));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every key, and how it was left.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&SortKey, &Left)> {
        self.0.iter().map(|(key, touch)| (key, &touch.left))
    }

    pub(crate) fn has(&self, key: &SortKey) -> bool {
        self.0.contains_key(key)
    }

    /// The rows that the stream left, as events; those read of these keys are left out before. `rows` are images.
    pub(crate) fn complete<'a>(
        &self,
        map: &TableMap,
        server_id: u32,
        rows: impl Iterator<Item = &'a [u8]>,
    ) -> Vec<Event> {
        let mut writer = RowsWriter::new(map, server_id, NO_FOREIGN_KEY_CHECKS);
        rows.for_each(|row| writer.push(row));
        let mut updates = Vec::new();
        for touch in self.0.values() {
            match &touch.left {
                Left::Absent => {}
                Left::Row(image) => writer.push(image),
                Left::Changed { before, map, update } => {
                    writer.push(before);
                    updates.extend([map.clone(), update.clone()]);
                }
            }
        }
        let mut events = writer.finish();
        events.extend(updates);
        events
    }
}

/// Is it an event that [`RowsWriter`] made of rows of this table, and not one of the stream behind it?
fn is_own(event: &Event, map: &TableMap) -> bool {
    event.kind() == EventKind::WriteRows && TableMap::id_of(event) == Some(map.table_id)
}

/// The rows of events that were made by [`RowsWriter`]: each with its key, not yet weighed, and its image.
pub(crate) fn rows_of(
    events: &[Event],
    map: &TableMap,
    shape: &KeyShape,
) -> Result<(Vec<SortKey>, Vec<Vec<u8>>), EventError> {
    let (mut keys, mut images) = (Vec::new(), Vec::new());
    for event in events.iter().filter(|event| is_own(event, map)) {
        for row in RowsEvent::parse(event, map)?.raw_rows() {
            let (change, [_, after]) = row?;
            let RowChange { after: Some(values), .. } = &change else { continue };
            keys.push(shape.of(values).unwrap_or_default());
            images.push(after.unwrap_or_default().to_vec());
        }
    }
    Ok((keys, images))
}
