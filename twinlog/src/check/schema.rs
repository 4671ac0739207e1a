//! The tables in step as one server has them, as far as items look at them.

use std::collections::BTreeMap;

use applier::ColumnFacts;
use twinlog::config::{self, File};

/// Schemas that are each server's own, whatever the patterns say.
const OWN: [&str; 4] = ["mysql", "sys", "information_schema", "performance_schema"];

/// `database`, `table`.
pub(crate) type Name = (String, String);

/// What a server has of what is in step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schema {
    pub(crate) tables: BTreeMap<Name, Table>,
    /// Enabled events of the databases in step; `None` where the account may not see them.
    pub(crate) events: Option<Vec<String>>,
    /// Triggers on tables in step; `None` where the account may not see them.
    pub(crate) triggers: Option<Vec<(Name, String)>>,
}

/// One table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) engine: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) keys: Vec<Key>,
    pub(crate) foreign_keys: Vec<ForeignKey>,
}

/// A column, as far as items look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) column_type: String,
    pub(crate) base_type: String,
    pub(crate) octets: Option<u64>,
    pub(crate) characters: Option<u64>,
    pub(crate) charset: Option<String>,
    pub(crate) collation: Option<String>,
    pub(crate) nullable: bool,
    pub(crate) default: Option<String>,
    pub(crate) extra: String,
    pub(crate) generated: String,
}

/// An index that is unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) name: String,
    /// Columns, or what stands for one in a functional index; a prefix with its length.
    pub(crate) parts: Vec<String>,
    pub(crate) nullable: bool,
    pub(crate) functional: bool,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ForeignKey {
    pub(crate) name: String,
    pub(crate) parent: Name,
    pub(crate) on_update: String,
    pub(crate) on_delete: String,
}

impl ForeignKey {
    /// It changes rows by itself.
    pub(crate) fn cascades(&self) -> bool {
        let acts = |rule: &str| !matches!(rule, "NO ACTION" | "RESTRICT");
        acts(&self.on_update) || acts(&self.on_delete)
    }
}

impl Table {
    /// The columns, as an applier holds rows against them.
    pub(crate) fn facts(&self) -> Vec<ColumnFacts> {
        let primary = self.keys.iter().find(|key| key.name == "PRIMARY");
        let of = |column: &Column| ColumnFacts {
            name: column.name.clone(),
            column_type: column.column_type.clone(),
            octets: column.octets,
            characters: column.characters,
            charset: column.charset.clone(),
            collation: None,
            nullable: column.nullable,
            has_default: column.default.is_some() || column.extra.contains("GENERATED"),
            in_primary_key: primary.is_some_and(|key| key.parts.contains(&column.name)),
        };
        self.columns.iter().map(of).collect()
    }

    /// The key that rows are found by: the primary, else the first unique one without NULLs.
    pub(crate) fn key(&self) -> Option<&Key> {
        let whole = |key: &&Key| !key.nullable && !key.functional;
        let primary = self.keys.iter().find(|key| key.name == "PRIMARY");
        primary.or_else(|| self.keys.iter().find(whole))
    }

    /// The column that counts by itself.
    pub(crate) fn auto_increment(&self) -> Option<&str> {
        let counting = self.columns.iter().find(|c| c.extra.contains("auto_increment"));
        counting.map(|c| c.name.as_str())
    }

    /// The server made the primary key itself, and hides it.
    pub(crate) fn has_generated_key(&self) -> bool {
        let hidden = |c: &Column| c.name == "my_row_id" && c.extra.contains("INVISIBLE");
        self.columns.iter().any(hidden) && self.key().is_some_and(|key| key.parts == ["my_row_id"])
    }
}

/// `database.table`, for people.
pub(crate) fn shown(name: &Name) -> String {
    format!("{}.{}", name.0, name.1)
}

/// Is this table of a region in step, on any of its links? A region without links has what the patterns say.
pub(crate) fn in_step(file: &File, region: &str, database: &str, table: &str) -> bool {
    let own = database == file.sync.meta_schema || OWN.iter().any(|own| database.eq_ignore_ascii_case(own));
    if own {
        return false;
    }
    let mut linked = false;
    for link in file.links.values() {
        let objects = config::objects(file, link);
        let here = link.from == region && objects.has(database, table);
        if here || link.to == region && objects.has_there(database, table) {
            return true;
        }
        linked |= link.from == region || link.to == region;
    }
    !linked && file.sync.tables.matches(database, table)
}

#[cfg(test)]
mod tests {
    use super::{Key, Table};

    #[test]
    fn rows_are_found_by_the_primary_key_or_by_a_unique_one_that_holds_no_null() {
        let key = |name: &str, nullable, functional| Key {
            name: name.into(),
            parts: vec!["a".into()],
            nullable,
            functional,
        };
        let table = |keys: Vec<Key>| Table { keys, ..Table::default() };
        let found = |keys| table(keys).key().map(|k| k.name.clone());
        assert_eq!(found(vec![key("u", false, false), key("PRIMARY", false, false)]), Some("PRIMARY".into()));
        assert_eq!(found(vec![key("n", true, false), key("u", false, false)]), Some("u".into()));
        assert_eq!(found(vec![key("n", true, false), key("f", false, true)]), None);
        assert_eq!(found(vec![]), None);
    }
}
