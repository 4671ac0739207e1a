//! Keys in doubt, between the one who reads the target's log, those who copy, and the one who applies.
//!
//! Which keys they are follows from the target's log alone: its own writes, the copy's progress, and what the copy and the
//! applier note there, in their order. So the one who reads that log keeps them here, and a restart that reads it again
//! from where the copy began finds the same. Cheap to clone; locks are held for a few instructions only.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use binlog::row::{Image, RowsEvent, RowsWriter, TableMap};
use wire::Connection;

use super::order::SortKey;
use super::ranges::{Part, Ranges};
use super::table::SourceTable;
use super::value::{put_row, text_of};
use crate::Error;
use crate::conflict::key::{Key, RowKey, TableKeys};
use crate::conflict::weights::Weights;
use crate::verify::key::KeyValue;

/// A key in doubt.
#[derive(Clone, Debug)]
pub(crate) struct Doubt {
    /// As SQL tells it.
    pub(crate) value: KeyValue,
    /// As the conflict window knows it.
    pub(crate) key: Key,
}

/// Keys of a table in doubt, each by its place in the key's order.
pub(crate) type Known = Vec<(SortKey, Doubt)>;

/// What names a row, out of its image: its texts are still to be weighed.
#[derive(Debug)]
pub(crate) struct Named {
    sort_key: SortKey,
    value: KeyValue,
    key: RowKey,
}

impl Named {
    /// `None` where nothing names it. `map` tells where the image has its columns.
    pub(crate) fn of(
        table: &SourceTable,
        keys: &TableKeys,
        map: &TableMap,
        image: &Image<'_>,
    ) -> Option<Self> {
        let parts = &table.key.as_ref()?.shape.parts;
        let (mut sort_key, mut value) =
            (SortKey::with_capacity(parts.len()), Vec::with_capacity(parts.len()));
        for part in parts {
            let name = &table.map.columns[part.position].name;
            let at = map.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))?;
            let stands = image.get(at)?;
            sort_key.push(part.turn(stands)?);
            value.push(text_of(&part.column, stands)?);
        }
        Some(Self { sort_key, value: KeyValue(value), key: keys.identity_of(image)? })
    }

    /// The same, out of a key's values alone.
    pub(crate) fn of_value(table: &SourceTable, keys: &TableKeys, value: &KeyValue) -> Option<Self> {
        let key = table.key.as_ref()?;
        let mut row: Vec<Option<bytes::Bytes>> = vec![None; table.map.columns.len()];
        for (part, text) in key.shape.parts.iter().zip(&value.0) {
            row[part.position] = Some(text.clone());
        }
        let mut image = Vec::new();
        put_row(&table.map.columns, &row, &mut Vec::new(), &mut image).ok()?;
        let mut writer = RowsWriter::new(&table.map, 0, 0);
        writer.push(&image);
        let events = writer.finish();
        let change = RowsEvent::parse(events.get(1)?, &table.map).ok()?.changes().next()?.ok()?;
        Self::of(table, keys, &table.map, change.after.as_ref()?)
    }

    /// Weighs the texts of rows of one table.
    pub(crate) async fn weigh(
        table: &SourceTable,
        named: Vec<Self>,
        weights: &mut Weights,
        session: &mut Connection,
    ) -> Result<Known, Error> {
        let lacking = weights.lacking(named.iter().map(|one| &one.key));
        weights.learn(session, lacking).await?;
        let doubt = |one: Self| (one.sort_key, Doubt { value: one.value, key: weights.key(&one.key) });
        let (mut sort_keys, doubts): (Vec<SortKey>, Vec<Doubt>) = named.into_iter().map(doubt).unzip();
        if let Some(key) = table.key.as_ref().filter(|key| key.shape.has_texts()) {
            key.shape.weigh(session, &mut sort_keys).await?;
        }
        Ok(sort_keys.into_iter().zip(doubts).collect())
    }
}

#[derive(Debug)]
struct Table {
    source: Arc<SourceTable>,
    /// What had arrived, at the place of the log that was read.
    arrived: Ranges,
    keys: HashMap<SortKey, Doubt>,
}

#[derive(Debug, Default)]
struct Inner {
    tables: Vec<Table>,
    /// All of them, for a quick look.
    keys: HashSet<Key>,
    /// How many there are of an index.
    buckets: HashMap<u64, usize>,
    over: bool,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Doubts(Arc<Mutex<Inner>>);

impl Doubts {
    /// Of these tables, nothing of which has arrived at the place where the log is read from.
    pub(crate) fn new(tables: impl Iterator<Item = Arc<SourceTable>>) -> Self {
        let table = |source: Arc<SourceTable>| {
            let shape = source.key.as_ref().map(|key| key.shape.clone());
            Table { source, arrived: Ranges::new(shape), keys: HashMap::new() }
        };
        let tables = tables.map(table).collect();
        Self(Arc::new(Mutex::new(Inner { tables, ..Inner::default() })))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.lock().expect("nothing panics while it is held"))
    }

    /// The table of this name in the target.
    pub(crate) fn table_here(&self, database: &str, table: &str) -> Option<Arc<SourceTable>> {
        let is_it = |t: &&Table| t.source.map.database == database && t.source.map.table == table;
        self.with(|inner| inner.tables.iter().find(is_it).map(|t| t.source.clone()))
    }

    /// The table of this name at the source.
    pub(crate) fn table_there(&self, database: &str, table: &str) -> Option<Arc<SourceTable>> {
        let is_it = |t: &&Table| t.source.database == database && t.source.table == table;
        self.with(|inner| inner.tables.iter().find(is_it).map(|t| t.source.clone()))
    }

    /// The target wrote these keys: in doubt is what had not arrived, and what was in doubt before.
    pub(crate) fn written(&self, table: usize, keys: Known) {
        self.with(|inner| {
            for (key, doubt) in keys {
                if inner.tables[table].arrived.part_of(Some(&key)) != Part::Done {
                    inner.insert(table, key, doubt);
                }
            }
        });
    }

    /// Changes to these keys were passed over although rows of them stood there.
    pub(crate) fn passed_over(&self, table: usize, keys: Known) {
        self.with(|inner| keys.into_iter().for_each(|(key, doubt)| inner.insert(table, key, doubt)));
    }

    /// A chunk arrived.
    pub(crate) fn arrived(&self, table: usize, after: Option<SortKey>, upto: Option<SortKey>) {
        self.with(|inner| inner.tables[table].arrived.add(after, upto, Part::Done));
    }

    /// Has every chunk arrived, at the place of the log that was read? Then no key is in doubt any more that is not
    /// known.
    pub(crate) fn have_all_arrived(&self) -> bool {
        self.with(|inner| inner.tables.iter().all(|table| table.arrived.is_complete()))
    }

    /// These keys are settled.
    pub(crate) fn settled(&self, table: usize, keys: &[SortKey]) {
        self.with(|inner| keys.iter().for_each(|key| inner.remove(table, key)));
    }

    /// Nothing is in doubt any more, nor will be.
    pub(crate) fn end(&self) {
        self.with(|inner| {
            inner.tables.iter_mut().for_each(|table| table.keys.clear());
            (inner.keys, inner.buckets, inner.over) = (HashSet::new(), HashMap::new(), true);
        });
    }

    /// Is it so that nothing is in doubt any more, nor will be?
    pub(crate) fn are_over(&self) -> bool {
        self.with(|inner| inner.over)
    }

    /// Which of these keys are in doubt.
    pub(crate) fn among(&self, table: usize, keys: &[SortKey]) -> Vec<bool> {
        self.with(|inner| keys.iter().map(|key| inner.tables[table].keys.contains_key(key)).collect())
    }

    /// Is this key in doubt?
    pub(crate) fn has(&self, key: &Key) -> bool {
        self.with(|inner| inner.keys.contains(key))
    }

    /// Is any key of these indexes in doubt?
    pub(crate) fn has_any_of(&self, mut buckets: impl Iterator<Item = u64>) -> bool {
        self.with(|inner| {
            !inner.buckets.is_empty() && buckets.any(|bucket| inner.buckets.contains_key(&bucket))
        })
    }

    /// Is any key of this table in doubt?
    pub(crate) fn has_any_in(&self, table: usize) -> bool {
        self.with(|inner| !inner.tables[table].keys.is_empty())
    }

    /// All keys in doubt, by table.
    pub(crate) fn all(&self) -> Vec<(Arc<SourceTable>, Known)> {
        self.with(|inner| {
            let of = |t: &Table| {
                let keys = t.keys.iter().map(|(key, doubt)| (key.clone(), doubt.clone()));
                (t.source.clone(), keys.collect::<Vec<_>>())
            };
            inner.tables.iter().filter(|t| !t.keys.is_empty()).map(of).collect()
        })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.with(|inner| inner.tables.iter().map(|t| t.keys.len()).sum())
    }
}

impl Inner {
    fn insert(&mut self, table: usize, key: SortKey, doubt: Doubt) {
        if self.over {
            return;
        }
        if self.keys.insert(doubt.key) {
            *self.buckets.entry(doubt.key.bucket).or_default() += 1;
        }
        self.tables[table].keys.insert(key, doubt);
    }

    fn remove(&mut self, table: usize, key: &SortKey) {
        let Some(doubt) = self.tables[table].keys.remove(key) else { return };
        if !self.keys.remove(&doubt.key) {
            return;
        }
        if let Some(left) = self.buckets.get_mut(&doubt.key.bucket) {
            *left -= 1;
            if *left == 0 {
                self.buckets.remove(&doubt.key.bucket);
            }
        }
    }
}
