//! What is in step on a link: which tables, which row operations of them, and what the tables are called in `to`.

use std::collections::BTreeMap;

use binlog::EventKind;

use crate::{Names, TablePatterns};

/// The objects of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// Which tables.
    pub tables: TablePatterns,
    /// What they are called in `to`.
    pub names: Names,
    /// The patterns are in the names of `to`: the link's names are derived from those of the way back.
    pub patterns_are_of_target: bool,
    /// Which row operations cross.
    pub operations: Operations,
    /// Where single tables differ, by `database.table` in the names of `from`.
    pub table_operations: BTreeMap<String, Operations>,
}

/// Row operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operations {
    /// INSERT.
    pub insert: bool,
    /// UPDATE.
    pub update: bool,
    /// DELETE.
    pub delete: bool,
}

impl Default for Operations {
    fn default() -> Self {
        Self { insert: true, update: true, delete: true }
    }
}

impl Operations {
    /// Do the rows of such an event cross?
    pub(crate) fn has(self, kind: EventKind) -> bool {
        match kind {
            EventKind::WriteRows | EventKind::WriteRowsV1 => self.insert,
            EventKind::DeleteRows | EventKind::DeleteRowsV1 => self.delete,
            _ => self.update,
        }
    }
}

impl Objects {
    /// Is this table of `from` in step?
    pub fn has(&self, database: &str, table: &str) -> bool {
        if self.names.is_empty() {
            return self.tables.matches(database, table);
        }
        self.names.there(database, table).is_some_and(|(there, its_name)| {
            if self.patterns_are_of_target {
                self.tables.matches(&there, &its_name)
            } else {
                self.tables.matches(database, table)
            }
        })
    }

    /// What this table of `from` is called in `to`; `None` where it is not in step.
    pub(crate) fn place_of(&self, database: &str, table: &str) -> Option<(String, String)> {
        self.has(database, table).then(|| self.names.there(database, table)).flatten()
    }

    /// The same, but for these tables of `from`.
    pub(crate) fn without(&self, tables: &[(String, String)]) -> Self {
        let mut patterns = self.tables.clone();
        for (database, table) in tables {
            let there = if self.patterns_are_of_target { self.names.there(database, table) } else { None };
            let (database, table) = there.unwrap_or_else(|| (database.clone(), table.clone()));
            patterns.exclude(&database, &table);
        }
        Self { tables: patterns, ..self.clone() }
    }

    /// Is this table of `to` in step?
    pub fn has_there(&self, database: &str, table: &str) -> bool {
        self.names.back(database, table).is_some_and(|(here, its_name)| self.has(&here, &its_name))
    }

    /// Could any table of this database of `from` be in step?
    pub(crate) fn touches_database(&self, database: &str) -> bool {
        if self.patterns_are_of_target {
            self.names.databases_there(database).any(|there| self.tables.touches_database(there))
        } else {
            self.tables.touches_database(database)
        }
    }

    /// Databases of `to` that the patterns name without a wildcard.
    pub fn named_databases_there(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for database in self.tables.named_databases() {
            if self.patterns_are_of_target {
                all.push(database.to_owned());
            } else {
                all.extend(self.names.databases_there(database).map(str::to_owned));
            }
        }
        all.sort();
        all.dedup();
        all
    }

    /// Databases of `from` that the patterns name without a wildcard.
    pub fn named_databases_here(&self) -> Vec<String> {
        let inverse = Self {
            names: self.names.inverse(),
            patterns_are_of_target: !self.patterns_are_of_target,
            tables: self.tables.clone(),
            ..Self::default()
        };
        inverse.named_databases_there()
    }

    /// The operations of a table of `from` that cross.
    pub(crate) fn operations_of(&self, database: &str, table: &str) -> Operations {
        if self.table_operations.is_empty() {
            return self.operations;
        }
        self.table_operations.get(&format!("{database}.{table}")).copied().unwrap_or(self.operations)
    }
}

#[cfg(test)]
mod tests {
    use super::Objects;
    use crate::{Names, TablePatterns};

    #[test]
    fn the_way_back_has_what_the_way_there_has() {
        let tables = TablePatterns::parse(&["shop.*", "!shop.tmp_*"]).unwrap();
        let rename = [("shop.a", "store.b"), ("shop.tmp_x", "store.x")];
        let names = Names::new(&rename.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect());
        let there = Objects { tables: tables.clone(), names: names.clone(), ..Objects::default() };
        let back =
            Objects { tables, names: names.inverse(), patterns_are_of_target: true, ..Objects::default() };
        for (here, in_step) in [("shop.a", true), ("shop.c", true), ("shop.tmp_x", false), ("store.b", false)]
        {
            let (database, table) = here.split_once('.').unwrap();
            assert_eq!(
                (there.has(database, table), back.has_there(database, table)),
                (in_step, in_step),
                "{here}"
            );
        }
        for (far, in_step) in [("store.b", true), ("store.x", false), ("shop.c", true), ("shop.a", false)] {
            let (database, table) = far.split_once('.').unwrap();
            assert_eq!(
                (back.has(database, table), there.has_there(database, table)),
                (in_step, in_step),
                "{far}"
            );
        }
        assert!(back.touches_database("store") && !there.touches_database("store"));
        for (objects, table) in [(&there, ("shop", "a")), (&back, ("store", "b"))] {
            let without = objects.without(&[(table.0.into(), table.1.into())]);
            assert!(objects.has(table.0, table.1) && !without.has(table.0, table.1));
            assert!(without.has("shop", "c"));
        }
    }
}
