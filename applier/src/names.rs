//! What a table of a link's `from` is called in its `to`, and back: `rename` of databases and of single tables.
//!
//! A table's own entry comes before that of its database. A name that another one takes is *shadowed*: with
//! `{ "shop.a" = "store.b" }` the table `store.b` of `from` has no place in `to`, and is not in step. So the two
//! directions are each other's inverse whatever the entries are, which is what two-way sync rests on.

use std::collections::BTreeMap;

use binlog::Event;
use binlog::event::EventError;
use binlog::row::TableMap;

/// `database`, `table`.
pub(crate) type Name = (String, String);

/// Names on both ends of a link. Empty: they are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    there: Entries,
    back: Entries,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entries {
    databases: BTreeMap<String, String>,
    tables: BTreeMap<Name, Name>,
}

impl Entries {
    fn of(&self, database: &str, table: &str) -> Name {
        let name = (database.to_owned(), table.to_owned());
        if let Some(there) = self.tables.get(&name) {
            return there.clone();
        }
        match self.databases.get(database) {
            Some(there) => (there.clone(), name.1),
            None => name,
        }
    }
}

impl Names {
    /// Of entries `database = database` and `database.table = database.table`. The values must differ.
    pub fn new(rename: &BTreeMap<String, String>) -> Self {
        let mut names = Self::default();
        for (from, to) in rename {
            match (split(from), split(to)) {
                (Some(from), Some(to)) => {
                    names.back.tables.insert(to.clone(), from.clone());
                    names.there.tables.insert(from, to);
                }
                _ => {
                    names.back.databases.insert(to.clone(), from.clone());
                    names.there.databases.insert(from.clone(), to.clone());
                }
            }
        }
        names
    }

    /// As [`Names::new`] takes them.
    pub(crate) fn entries(&self) -> BTreeMap<String, String> {
        let whole = |(name, there): &(&Name, &Name)| {
            (format!("{}.{}", name.0, name.1), format!("{}.{}", there.0, there.1))
        };
        let databases = self.there.databases.iter().map(|(name, there)| (name.clone(), there.clone()));
        databases.chain(self.there.tables.iter().map(|entry| whole(&entry))).collect()
    }

    /// Is every name the same on both ends?
    pub fn is_empty(&self) -> bool {
        self.there == Entries::default()
    }

    /// Seen from the other end: the way back.
    pub fn inverse(&self) -> Self {
        Self { there: self.back.clone(), back: self.there.clone() }
    }

    /// What a table of `from` is called in `to`; `None` when its name there belongs to another.
    pub fn there(&self, database: &str, table: &str) -> Option<(String, String)> {
        across(&self.there, &self.back, database, table)
    }

    /// What a table of `to` is called in `from`; `None` when its name there belongs to another.
    pub fn back(&self, database: &str, table: &str) -> Option<(String, String)> {
        across(&self.back, &self.there, database, table)
    }

    /// Where the tables of a database of `from` go that have no entry of their own.
    pub fn database_there<'a>(&'a self, database: &'a str) -> &'a str {
        self.there.databases.get(database).map_or(database, String::as_str)
    }

    /// Every database of `to` that tables of this one of `from` may be in.
    pub(crate) fn databases_there<'a>(&'a self, database: &'a str) -> impl Iterator<Item = &'a str> {
        let single = self.there.tables.iter().filter(move |((from, _), _)| from == database);
        std::iter::once(self.database_there(database)).chain(single.map(|(_, (to, _))| to.as_str()))
    }

    /// Is this what a database or table with an entry is called in `from`? Whatever its case.
    pub(crate) fn renames(&self, word: &str) -> bool {
        let is = |name: &str| name.eq_ignore_ascii_case(word);
        self.there.databases.keys().any(|name| is(name)) || self.there.tables.keys().any(|(_, name)| is(name))
    }

    /// Do a database of `from` and its counterpart hold the same tables? Not if one of them goes elsewhere, or comes
    /// from elsewhere.
    pub(crate) fn is_whole(&self, database: &str) -> bool {
        let there = self.database_there(database);
        let strays = |((from, _), (to, _)): (&Name, &Name)| (from == database) != (to == there);
        let shadowed = self.back.databases.get(there).map_or(there, String::as_str) != database;
        !shadowed && !self.there.tables.iter().any(strays)
    }

    /// A table map of `from` as it would be had the table its name of `to`.
    pub(crate) fn rename_map(&self, event: &Event) -> Result<Event, EventError> {
        let (database, table) = TableMap::names_of(event)?;
        match self.there(database, table) {
            Some(there) if (there.0.as_str(), there.1.as_str()) != (database, table) => {
                TableMap::renamed(event, &there.0, &there.1)
            }
            _ => Ok(event.clone()),
        }
    }
}

/// Mapped, if mapping back leads here again.
fn across(there: &Entries, back: &Entries, database: &str, table: &str) -> Option<Name> {
    let name = there.of(database, table);
    let home = back.of(&name.0, &name.1);
    (home.0 == database && home.1 == table).then_some(name)
}

fn split(name: &str) -> Option<Name> {
    name.split_once('.').map(|(database, table)| (database.into(), table.into()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::Names;

    fn names(entries: &[(&str, &str)]) -> Names {
        Names::new(&entries.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
    }

    fn there(names: &Names, name: &str) -> Option<String> {
        let (database, table) = name.split_once('.').unwrap();
        names.there(database, table).map(|(d, t)| format!("{d}.{t}"))
    }

    #[test]
    fn a_tables_own_entry_comes_before_its_databases() {
        let names = names(&[("shop", "store"), ("shop.a", "other.b")]);
        assert_eq!(there(&names, "shop.x").as_deref(), Some("store.x"));
        assert_eq!(there(&names, "shop.a").as_deref(), Some("other.b"));
        assert_eq!(there(&names, "blog.a").as_deref(), Some("blog.a"));
        assert_eq!(names.databases_there("shop").collect::<Vec<_>>(), ["store", "other"]);
        assert!(!names.is_whole("shop") && names.is_whole("blog") && !names.is_whole("other"));
    }

    #[test]
    fn a_name_that_another_takes_has_no_place() {
        let renamed = names(&[("shop.a", "store.b")]);
        assert_eq!(there(&renamed, "store.b"), None);
        assert_eq!(there(&renamed.inverse(), "shop.a"), None, "and none of that name comes back");
        assert_eq!(there(&names(&[("shop", "store")]), "store.b"), None);
        let swapped = names(&[("shop.a", "shop.b"), ("shop.b", "shop.a")]);
        assert_eq!(there(&swapped, "shop.a").as_deref(), Some("shop.b"));
        assert!(swapped.is_whole("shop"));
        assert!(!names(&[("shop", "store")]).is_whole("store"));
    }

    proptest! {
        #[test]
        fn what_goes_there_comes_back(
            entries in prop::collection::btree_map("[ab](\\.[xy])?", "[abc](\\.[xyz])?", 0..4),
            database in "[abc]", table in "[xyz]",
        ) {
            let alike = |(from, to): &(String, String)| from.contains('.') == to.contains('.');
            let mut entries: BTreeMap<String, String> = entries.into_iter().filter(alike).collect();
            let mut taken = Vec::new();
            entries.retain(|_, to| { let new = !taken.contains(to); taken.push(to.clone()); new });
            let names = Names::new(&entries);
            prop_assert_eq!(&Names::new(&names.entries()), &names);
            if let Some((d, t)) = names.there(&database, &table) {
                prop_assert_eq!(names.back(&d, &t), Some((database.clone(), table.clone())));
                prop_assert_eq!(names.inverse().there(&d, &t), Some((database, table)));
            }
        }
    }
}
