//! Keys in doubt, between the one who reads the target's log, those who copy, and the one who applies.
//!
//! Which keys they are follows from the target's log alone: its own writes and the copy's progress, in their order. So the
//! one who reads that log notes them here. Cheap to clone; locks are held for a few instructions only.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use super::order::SortKey;
use super::ranges::{Part, Ranges};
use super::table::SourceTable;
use crate::conflict::key::Key;
use crate::verify::key::KeyValue;

/// A key in doubt.
#[derive(Clone, Debug)]
pub(crate) struct Doubt {
    /// As SQL tells it.
    pub(crate) value: KeyValue,
    /// As the conflict window knows it.
    pub(crate) key: Key,
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
    /// Folded keys, for a quick look.
    folded: HashSet<u128>,
    /// Indexes with a key that can't be folded.
    any: HashSet<u64>,
    buckets: HashSet<u64>,
}

/// Keys of a table in doubt.
type Known = Vec<(SortKey, Doubt)>;

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
    pub(crate) fn written(&self, table: usize, keys: Vec<(SortKey, Doubt)>) {
        self.with(|inner| {
            for (key, doubt) in keys {
                let of = &inner.tables[table];
                if of.arrived.part_of(Some(&key)) != Part::Done {
                    inner.insert(table, key, doubt);
                }
            }
        });
    }

    /// Changes to these keys were passed over although rows of them stood there.
    pub(crate) fn passed_over(&self, table: usize, keys: Vec<(SortKey, Doubt)>) {
        self.with(|inner| keys.into_iter().for_each(|(key, doubt)| inner.insert(table, key, doubt)));
    }

    /// A chunk arrived.
    pub(crate) fn arrived(&self, table: usize, after: Option<SortKey>, upto: Option<SortKey>) {
        self.with(|inner| inner.tables[table].arrived.add(after, upto, Part::Done));
    }

    /// These keys are settled.
    pub(crate) fn settled(&self, table: usize, keys: &[SortKey]) {
        self.with(|inner| {
            keys.iter().for_each(|key| _ = inner.tables[table].keys.remove(key));
            inner.index();
        });
    }

    /// Which of these keys are in doubt.
    pub(crate) fn among(&self, table: usize, keys: &[SortKey]) -> Vec<bool> {
        self.with(|inner| keys.iter().map(|key| inner.tables[table].keys.contains_key(key)).collect())
    }

    /// May this key be in doubt? Texts that fold alike are taken for the same.
    pub(crate) fn may_have(&self, key: &Key) -> bool {
        self.with(|inner| {
            inner.buckets.contains(&key.bucket)
                && (key.any || inner.any.contains(&key.bucket) || inner.folded.contains(&key.folded))
        })
    }

    /// Is any key of these indexes in doubt?
    pub(crate) fn has_any_of(&self, mut buckets: impl Iterator<Item = u64>) -> bool {
        self.with(|inner| !inner.buckets.is_empty() && buckets.any(|bucket| inner.buckets.contains(&bucket)))
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
        self.note(&doubt.key);
        self.tables[table].keys.insert(key, doubt);
    }

    fn note(&mut self, key: &Key) {
        self.buckets.insert(key.bucket);
        if key.any {
            self.any.insert(key.bucket);
        } else {
            self.folded.insert(key.folded);
        }
    }

    /// Builds the quick look anew.
    fn index(&mut self) {
        (self.folded, self.any, self.buckets) = (HashSet::new(), HashSet::new(), HashSet::new());
        let keys: Vec<Key> =
            self.tables.iter().flat_map(|t| t.keys.values().map(|d| d.key.clone())).collect();
        keys.iter().for_each(|key| self.note(key));
    }
}
