//! Statements of the source that rename, alter or drop tables while they are copied.

use super::weave::Weaver;
use crate::ddl::{Change, Clause, ObjectName};
use crate::names::Names;

impl Weaver {
    /// Is one of these, by their names at the source, on its way? What a statement makes of it is found by a new round.
    pub(crate) fn has_unfinished(&self, changes: &[Change], names: &Names) -> Option<String> {
        let is_unfinished = |database: &str, table: Option<&str>| {
            let is = |d: &str, t: &str| d == database && table.is_none_or(|table| t == table);
            let copied = self.tables.iter().any(|c| !c.done && is(&c.source.database, &c.source.table));
            let back = self.gone.iter().filter_map(|(d, t)| names.back(d, t));
            copied || back.into_iter().any(|(d, t)| is(&d, &t))
        };
        let named = |name: &ObjectName| {
            is_unfinished(&name.database, Some(&name.name))
                .then(|| format!("{}.{}", name.database, name.name))
        };
        changes.iter().find_map(|change| match change {
            Change::Drops(name) | Change::Renames(name, _) => named(name),
            // Its columns may be others.
            Change::Alters(name, clauses) if clauses.iter().any(|c| *c != Clause::Harmless) => named(name),
            Change::DropsDatabase(database) => is_unfinished(database, None).then(|| format!("{database}.*")),
            Change::Creates(_) | Change::Empties(_) | Change::Alters(..) => None,
        })
    }

    /// What notes that, with the statement.
    pub(crate) fn notes_of(&self, changes: &[Change]) -> Vec<String> {
        changes.iter().flat_map(|change| self.load.follow(change)).collect()
    }
}
