//! Foreign keys by which a change of one row changes others with it.
//!
//! A source since 9.6 writes the rows that cascade into its binary log, before the row that they follow. What is left
//! when that row is applied are rows of the target alone; the server takes them along, without a word in its own
//! binary log. They are looked up first, and written into the conflict table.

use binlog::row::{Image, RowsEvent, TableMap};
use binlog::{Event, EventKind};
use wire::Connection;

use crate::catalog::TargetTable;
use crate::collations::Collations;
use crate::conflict::literal;
use crate::{Error, sql};

/// In a row event: foreign keys are not to be looked at.
const NO_FOREIGN_KEYS: u16 = 2;
/// In a row event: what cascades is in the log.
const LOGS_CASCADES: u16 = 16;
/// As deep as InnoDB goes.
const DEEPEST: usize = 15;

/// A foreign key that refers to a table, and has a rule that changes rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cascade {
    pub(crate) name: String,
    /// The table that refers.
    pub(crate) child: (String, String),
    /// Its columns, each with that of the parent.
    columns: Vec<(String, String)>,
    on_delete: Option<Rule>,
    on_update: Option<Rule>,
}

/// What happens to rows that refer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Cascade,
    SetNull,
}

/// Rows that would be taken along.
pub(crate) struct Taken<'c> {
    pub(crate) cascade: &'c Cascade,
    /// They are deleted, or changed.
    pub(crate) deleted: bool,
    /// The condition that finds them.
    pub(crate) condition: String,
}

/// The foreign keys that refer to a table and change rows.
pub(crate) async fn read(
    connection: &mut Connection,
    database: &str,
    table: &str,
) -> Result<Vec<Cascade>, Error> {
    let failed = Error::target("reading the foreign keys that refer to a table");
    let query = format!(
        "SELECT k.CONSTRAINT_NAME AS name, k.TABLE_SCHEMA AS db, k.TABLE_NAME AS tab, k.COLUMN_NAME AS child, \
         k.REFERENCED_COLUMN_NAME AS parent, r.DELETE_RULE AS on_delete, r.UPDATE_RULE AS on_update \
         FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r \
         ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME \
         AND r.TABLE_NAME = k.TABLE_NAME \
         WHERE k.REFERENCED_TABLE_SCHEMA = {} AND k.REFERENCED_TABLE_NAME = {} \
         ORDER BY k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION",
        sql::text(database),
        sql::text(table)
    );
    let rows = connection.query_rows(query).await.map_err(&failed)?;
    let rule = |text: String| match text.as_str() {
        "CASCADE" => Some(Rule::Cascade),
        "SET NULL" => Some(Rule::SetNull),
        _ => None,
    };
    let mut all: Vec<Cascade> = Vec::new();
    for row in rows.iter() {
        let text = |name: &str| row.text(name).map_err(&failed);
        let (name, child) = (text("name")?, (text("db")?, text("tab")?));
        let column = (text("child")?, text("parent")?);
        match all.last_mut().filter(|last| (&last.name, &last.child) == (&name, &child)) {
            Some(last) => last.columns.push(column),
            None => all.push(Cascade {
                name,
                child,
                columns: vec![column],
                on_delete: rule(text("on_delete")?),
                on_update: rule(text("on_update")?),
            }),
        }
    }
    all.retain(|one| one.on_delete.is_some() || one.on_update.is_some());
    Ok(all)
}

impl Cascade {
    fn child_name(&self) -> String {
        sql::table(&self.child.0, &self.child.1)
    }

    fn tuple(names: impl Iterator<Item = impl AsRef<str>>) -> String {
        format!("({})", names.map(|name| sql::name(name.as_ref())).collect::<Vec<_>>().join(", "))
    }

    /// The condition for rows that refer to one that a condition on the parent finds.
    fn below(&self, parent: &str, condition: &str) -> String {
        format!(
            "{} IN (SELECT {} FROM {parent} WHERE {condition})",
            Self::tuple(self.columns.iter().map(|(child, _)| child)),
            self.columns.iter().map(|(_, parent)| sql::name(parent)).collect::<Vec<_>>().join(", ")
        )
    }

    /// The values by which rows refer to this one; `None` where none can.
    fn values(&self, collations: &Collations, map: &TableMap, image: &Image<'_>) -> Option<Vec<String>> {
        let value = |(_, parent): &(String, String)| {
            let at = map.columns.iter().position(|column| column.name.eq_ignore_ascii_case(parent))?;
            literal(collations, &map.columns[at], image.get(at)?)
        };
        self.columns.iter().map(value).collect()
    }
}

/// Does a row event let foreign keys cascade, and does its source write down what does?
pub(crate) fn may_cascade(event: &Event) -> bool {
    let flags = RowsEvent::flags_of(event).unwrap_or_default();
    let changes = !matches!(event.kind(), EventKind::WriteRows | EventKind::WriteRowsV1);
    event.kind().is_rows() && changes && flags & NO_FOREIGN_KEYS == 0 && flags & LOGS_CASCADES != 0
}

/// What the rows of an event would take along, by foreign key: the rows that still refer when it is applied.
pub(crate) fn taken<'c>(
    table: &'c TargetTable,
    map: &TableMap,
    event: &Event,
    collations: &Collations,
) -> Result<Vec<Taken<'c>>, binlog::EventError> {
    let mut all = Vec::new();
    if table.cascades.is_empty() || !may_cascade(event) {
        return Ok(all);
    }
    let rows = RowsEvent::parse(event, map)?;
    for cascade in &table.cascades {
        let mut tuples = Vec::new();
        let mut rule = None;
        for change in rows.changes() {
            let change = change?;
            let Some(before) = &change.before else { continue };
            let values = |image: &Image<'_>| cascade.values(collations, map, image);
            let (of_row, from) = match &change.after {
                None => (cascade.on_delete, values(before)),
                Some(after) => {
                    (cascade.on_update, values(before).filter(|from| values(after).as_ref() != Some(from)))
                }
            };
            if let (Some(of_row), Some(from)) = (of_row, from) {
                rule = Some((of_row, change.after.is_none()));
                tuples.push(format!("({})", from.join(", ")));
            }
        }
        let Some((rule, of_delete)) = rule else { continue };
        let columns = Cascade::tuple(cascade.columns.iter().map(|(child, _)| child));
        all.push(Taken {
            cascade,
            deleted: of_delete && rule == Rule::Cascade,
            condition: format!("{columns} IN ({})", tuples.join(", ")),
        });
    }
    Ok(all)
}

/// The question whether any row would be taken along, that is not among those whose keys are `touched` before.
/// Locks what it finds, and the parents first, so that nobody adds one meanwhile.
pub(crate) fn question(parent: &TargetTable, taken: &Taken<'_>, touched: &Touched) -> String {
    let cascade = taken.cascade;
    let parents =
        format!("{} AS p, {} AS c", sql::table(&parent.database, &parent.table), cascade.child_name());
    let on = cascade
        .columns
        .iter()
        .map(|(child, parent)| format!("p.{} = c.{}", sql::name(parent), sql::name(child)));
    let on = on.collect::<Vec<_>>().join(" AND ");
    let columns = cascade.columns.iter().map(|(child, _)| format!("c.{}", sql::name(child)));
    let tuple = format!("({})", columns.collect::<Vec<_>>().join(", "));
    // The condition begins with the child's columns, without a table's name before them.
    let values = taken.condition.split_once(" IN ").map_or("", |(_, values)| values);
    let others = match touched {
        Touched::Rows(columns, keys) if !keys.is_empty() => {
            let columns = columns.iter().map(|name| format!("c.{}", sql::name(name)));
            format!(" AND ({}) NOT IN ({})", columns.collect::<Vec<_>>().join(", "), keys.join(", "))
        }
        _ => String::new(),
    };
    format!("SELECT 1 FROM {parents} WHERE {on} AND {tuple} IN {values}{others} LIMIT 1 FOR UPDATE")
}

/// Rows that are changed by row events of their own.
pub(crate) enum Touched {
    /// By the columns that name them, and their values in brackets.
    Rows(Vec<String>, Vec<String>),
    /// They have no names, or there are none.
    Unknown,
}

/// A row that is taken along: its table, what becomes of it, its key and itself as JSON, and by which foreign key.
#[derive(Clone, Debug)]
pub(crate) struct TakenRow {
    pub(crate) table: (String, String),
    pub(crate) deleted: bool,
    pub(crate) key: serde_json::Value,
    pub(crate) row: serde_json::Value,
    pub(crate) by: String,
}

/// Reads and locks what a row would take along, and what that would.
pub(crate) async fn rows(
    connection: &mut Connection,
    taken: &Taken<'_>,
) -> Result<Result<Vec<TakenRow>, wire::ServerError>, Error> {
    let mut all = Vec::new();
    let mut next = vec![(taken.cascade.clone(), taken.deleted, taken.condition.clone(), 0)];
    while let Some((cascade, deleted, condition, depth)) = next.pop() {
        let found = match of_one(connection, &cascade, deleted, &condition).await? {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        // A row that refers to itself is no news.
        let new = |row: &TakenRow| {
            !all.iter().any(|known: &TakenRow| (&known.table, &known.key) == (&row.table, &row.key))
        };
        let found: Vec<TakenRow> = found.into_iter().filter(new).collect();
        if deleted && !found.is_empty() && depth < DEEPEST {
            let below = read(connection, &cascade.child.0, &cascade.child.1).await?;
            for one in below.into_iter().filter(|one| one.on_delete.is_some()) {
                let condition = one.below(&cascade.child_name(), &condition);
                let deletes = one.on_delete == Some(Rule::Cascade);
                next.push((one, deletes, condition, depth + 1));
            }
        }
        all.extend(found);
    }
    Ok(Ok(all))
}

async fn of_one(
    connection: &mut Connection,
    cascade: &Cascade,
    deleted: bool,
    condition: &str,
) -> Result<Result<Vec<TakenRow>, wire::ServerError>, Error> {
    let failed = Error::target("looking up what a foreign key takes along");
    let (database, table) = &cascade.child;
    let columns = format!(
        "SELECT COLUMN_NAME AS name, DATA_TYPE AS kind, COLUMN_KEY AS part FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} ORDER BY ORDINAL_POSITION",
        sql::text(database),
        sql::text(table)
    );
    let columns = connection.query_rows(columns).await.map_err(&failed)?;
    let (mut row, mut key) = (Vec::new(), Vec::new());
    for column in columns.iter() {
        let text = |name: &str| column.text(name).map_err(&failed);
        let pair = format!("{}, {}", sql::text(&text("name")?), readable(&text("name")?, &text("kind")?));
        if text("part")? == "PRI" {
            key.push(pair.clone());
        }
        row.push(pair);
    }
    let key = if key.is_empty() { &row } else { &key };
    let query = format!(
        "SELECT JSON_OBJECT({}) AS k, JSON_OBJECT({}) AS r FROM {} WHERE {condition} FOR UPDATE",
        key.join(", "),
        row.join(", "),
        cascade.child_name()
    );
    let rows = match connection.query_rows(query).await {
        Ok(rows) => rows,
        Err(wire::Error::Server(error)) => return Ok(Err(error)),
        Err(error) => return Err(failed(error)),
    };
    let json = |text: String| serde_json::from_str(&text).unwrap_or_default();
    let mut all = Vec::new();
    for found in rows.iter() {
        all.push(TakenRow {
            table: cascade.child.clone(),
            deleted,
            key: json(found.text("k").map_err(&failed)?),
            row: json(found.text("r").map_err(&failed)?),
            by: cascade.name.clone(),
        });
    }
    Ok(Ok(all))
}

/// A column as the conflict table has values: numbers are numbers, JSON is itself, the rest are texts, and bytes are
/// `{"base64": …}`.
fn readable(name: &str, kind: &str) -> String {
    let name = sql::name(name);
    match kind {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "float" | "double" | "year" | "json" => {
            name
        }
        "bit" => format!("CAST({name} AS UNSIGNED)"),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "vector" | "geometry"
        | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
        | "geomcollection" | "geometrycollection" => {
            format!("IF({name} IS NULL, NULL, JSON_OBJECT('base64', REPLACE(TO_BASE64({name}), '\\n', '')))")
        }
        _ => format!("CONVERT({name} USING utf8mb4)"),
    }
}
