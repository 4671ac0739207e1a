//! Rows in flight: they were written in one region before it ran a statement that the other has run already.
//!
//! Where they were written the statement came after them. So that both regions end equal they are applied here as if
//! they had come before it too: rows of a table emptied or dropped since are void, rows of a table renamed since go
//! where it has gone, columns dropped or renamed since go with it. Pure; which statements are unseen is known from the
//! conflict window.

use std::collections::BTreeMap;
use std::sync::Arc;

use binlog::Gtid;

use super::alter::Clause;
use super::change::Change;

/// A statement that the target has run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alteration {
    pub(crate) gtid: Gtid,
    /// Its text, for people, cut.
    pub(crate) statement: String,
    pub(crate) changes: Vec<Change>,
}

/// What became of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its rows are here now.
    Here(Place),
    /// All rows it had are gone.
    Void(Arc<Alteration>),
    /// Some of its rows are gone, nobody knows which.
    Unclear(Arc<Alteration>),
}

/// Where a table's rows go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) database: String,
    pub(crate) table: String,
    /// Columns by their names in the row, folded: what they are called now; `None` for one that is gone.
    pub(crate) columns: BTreeMap<String, Option<String>>,
}

/// Follows a table through statements its rows have not seen, in the order they were run in.
pub(crate) fn fate(database: &str, table: &str, unseen: &[Arc<Alteration>]) -> Fate {
    let mut place = Place::new(database, table);
    for alteration in unseen {
        for change in &alteration.changes {
            match change {
                Change::Empties(name) | Change::Drops(name) if place.is(name) => {
                    return Fate::Void(alteration.clone());
                }
                Change::DropsDatabase(name) if *name == place.database => {
                    return Fate::Void(alteration.clone());
                }
                Change::Renames(old, new) if place.is(old) => {
                    (place.database, place.table) = (new.database.clone(), new.name.clone());
                }
                Change::Alters(name, clauses) if place.is(name) => {
                    if clauses.contains(&Clause::ChangesRows) || clauses.contains(&Clause::Unknown) {
                        return Fate::Unclear(alteration.clone());
                    }
                    place.alter(clauses);
                }
                _ => {}
            }
        }
    }
    Fate::Here(place)
}

impl Place {
    /// Where a table is that nobody has altered.
    pub(crate) fn new(database: &str, table: &str) -> Self {
        Self { database: database.into(), table: table.into(), columns: BTreeMap::new() }
    }

    fn is(&self, name: &super::ObjectName) -> bool {
        self.database == name.database && self.table == name.name
    }

    /// All clauses of a statement speak of the columns as they were before it.
    fn alter(&mut self, clauses: &[Clause]) {
        let before = self.columns.clone();
        let called = |name: &String| {
            let known = before.iter().find(|(_, now)| now.as_ref() == Some(name)).map(|(old, _)| old.clone());
            known.or_else(|| (!before.contains_key(name)).then(|| name.clone()))
        };
        for clause in clauses {
            let (column, now) = match clause {
                Clause::DropsColumn(column) => (column, None),
                Clause::RenamesColumn(column, new) => (column, Some(new.clone())),
                _ => continue,
            };
            if let Some(original) = called(column) {
                self.columns.insert(original, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::{Alteration, Fate, fate};
    use crate::ddl::changes;

    fn ran(statements: &[&str]) -> Vec<Arc<Alteration>> {
        let one = |(n, sql): (u64, &&str)| {
            let gtid = binlog::Gtid::new(Uuid::from_u128(1), n);
            Arc::new(Alteration { gtid, statement: (*sql).into(), changes: changes(sql, "shop", false) })
        };
        (1..).zip(statements).map(one).collect()
    }

    fn here(statements: &[&str]) -> String {
        match fate("shop", "t", &ran(statements)) {
            Fate::Here(place) => {
                let columns = place
                    .columns
                    .iter()
                    .map(|(old, new)| format!(" {old}>{}", new.as_deref().unwrap_or("-")));
                format!("{}.{}{}", place.database, place.table, columns.collect::<String>())
            }
            Fate::Void(by) => format!("void by {}", by.statement),
            Fate::Unclear(by) => format!("unclear by {}", by.statement),
        }
    }

    #[test]
    fn rows_go_where_their_table_has_gone() {
        assert_eq!(here(&["ALTER TABLE other ADD x INT", "TRUNCATE TABLE u"]), "shop.t");
        assert_eq!(here(&["RENAME TABLE t TO _t_del, _t_gho TO t"]), "shop._t_del");
        assert_eq!(
            here(&["RENAME TABLE t TO a, a TO archive.b", "ALTER TABLE archive.b RENAME TO c.d"]),
            "c.d"
        );
        assert_eq!(here(&["ALTER TABLE t RENAME TO u, DROP COLUMN a"]), "shop.u a>-");
    }

    #[test]
    fn rows_of_a_table_emptied_or_dropped_since_are_void() {
        assert_eq!(here(&["TRUNCATE t"]), "void by TRUNCATE t");
        assert_eq!(here(&["DROP TABLE x, t", "CREATE TABLE t (id INT)"]), "void by DROP TABLE x, t");
        assert_eq!(here(&["DROP DATABASE shop"]), "void by DROP DATABASE shop");
        assert_eq!(here(&["RENAME TABLE t TO u", "TRUNCATE t"]), "shop.u");
        assert_eq!(here(&["RENAME TABLE t TO u", "TRUNCATE u"]), "void by TRUNCATE u");
    }

    #[test]
    fn which_rows_of_a_dropped_partition_are_gone_is_not_guessed() {
        for statement in
            ["ALTER TABLE t DROP PARTITION p0, p1", "ALTER TABLE x EXCHANGE PARTITION p WITH TABLE t"]
        {
            assert_eq!(here(&[statement]), format!("unclear by {statement}"));
        }
        assert_eq!(here(&["ALTER TABLE t ADD PARTITION (PARTITION p2 VALUES LESS THAN (30))"]), "shop.t");
    }

    #[test]
    fn columns_go_by_the_names_they_have_now() {
        assert_eq!(
            here(&["ALTER TABLE t DROP a, CHANGE b c INT, RENAME COLUMN c TO b"]),
            "shop.t a>- b>c c>b"
        );
        assert_eq!(
            here(&["ALTER TABLE t RENAME COLUMN a TO b", "ALTER TABLE t RENAME COLUMN B TO c"]),
            "shop.t a>c"
        );
        assert_eq!(here(&["ALTER TABLE t CHANGE a b INT", "ALTER TABLE t DROP b, ADD b INT"]), "shop.t a>-");
        // One that was added since is none of the row's.
        assert_eq!(
            here(&["ALTER TABLE t DROP a", "ALTER TABLE t ADD a INT", "ALTER TABLE t RENAME COLUMN a TO z"]),
            "shop.t a>-"
        );
        assert_eq!(here(&["ALTER TABLE t MODIFY a BIGINT, ADD (x INT, y INT), DROP KEY k"]), "shop.t");
    }
}
