//! What the tables are.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// A column, as far as values need it.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// `COLUMN_TYPE`.
    pub(super) kind: String,
    pub(super) nullable: bool,
    pub(super) generated: bool,
    pub(super) auto_increment: bool,
    /// It is part of the primary key.
    pub(super) primary: bool,
}

/// A table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Quoted, with its schema.
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    pub(super) partitioned: bool,
}

impl Table {
    /// Columns that a statement may give values to.
    pub(super) fn written(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|c| !c.generated)
    }

    /// Columns of the primary key.
    pub(super) fn key(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|c| c.primary)
    }
}

/// All tables.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) schemas: Vec<String>,
    tables: Vec<Table>,
    /// For names that were never used.
    next: u64,
}

impl Model {
    pub(super) fn new(schemas: &[String]) -> Self {
        Self { schemas: schemas.to_vec(), tables: Vec::new(), next: 0 }
    }

    /// A number for a new name.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn len(&self) -> usize {
        self.tables.len()
    }

    pub(super) fn schema(&self, rng: &mut StdRng) -> String {
        self.schemas.choose(rng).expect("there is a schema").clone()
    }

    pub(super) fn table(&self, rng: &mut StdRng) -> Option<Table> {
        self.tables.choose(rng).cloned()
    }

    /// Reads them anew: a definition may have done something else than it was asked for.
    pub(super) async fn read(&mut self, connection: &mut Conn) {
        let list: Vec<String> = self.schemas.iter().map(|s| format!("'{s}'")).collect();
        let query = format!(
            "SELECT CONCAT('`', c.table_schema, '`.`', c.table_name, '`'), c.column_name, CAST(c.column_type AS CHAR), \
             c.is_nullable = 'YES', c.extra LIKE '%GENERATED%' AND c.extra NOT LIKE 'DEFAULT%', \
             c.extra LIKE '%auto_increment%', c.column_key = 'PRI', t.create_options LIKE '%partitioned%' \
             FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name) \
             WHERE c.table_schema IN ({}) AND t.table_type = 'BASE TABLE' \
             ORDER BY c.table_schema, c.table_name, c.ordinal_position",
            list.join(", ")
        );
        type Read = (String, String, String, bool, bool, bool, bool, Option<bool>);
        let Ok(rows) = connection.query::<Read, _>(&query).await else { return };
        self.tables.clear();
        for (table, name, kind, nullable, generated, auto_increment, primary, partitioned) in rows {
            if self.tables.last().is_none_or(|last| last.name != table) {
                let partitioned = partitioned.unwrap_or(false);
                self.tables.push(Table { name: table, columns: Vec::new(), partitioned });
            }
            let column = Column { name, kind, nullable, generated, auto_increment, primary };
            self.tables.last_mut().expect("it was just pushed").columns.push(column);
        }
    }
}
