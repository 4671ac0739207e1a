//! The tables of both regions, found and held against each other before a row is read.

use std::collections::BTreeMap;

use wire::RowRef;

use super::Error;
use super::column::Column;
use super::key::Key;
use super::session::Session;
use crate::filter::Filter;
use crate::sql;

/// A table as one region defines it.
#[derive(Clone, Debug)]
struct Definition {
    columns: Vec<Column>,
    /// Unique keys without NULLs, the best first.
    keys: Vec<Index>,
}

/// A unique index: its name, and its columns with whether it goes down in each.
type Index = (String, Vec<(String, bool)>);

/// One side of a table that is compared.
#[derive(Clone, Debug)]
pub(super) struct Side {
    /// `database`.`table`, quoted.
    pub(super) quoted: String,
    /// The index of the key; without a key, none.
    pub(super) index: Option<String>,
    /// This side's columns in the order of the left side's.
    pub(super) columns: Vec<Column>,
}

impl Side {
    /// The table for reading by its key.
    pub(super) fn from(&self) -> String {
        match &self.index {
            Some(index) => format!("{} FORCE INDEX ({})", self.quoted, sql::name(index)),
            None => self.quoted.clone(),
        }
    }
}

/// A table that can be compared.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// `database.table` in the left region.
    pub(super) name: String,
    pub(super) left: Side,
    pub(super) right: Side,
    /// `None`: the table is compared as a multiset.
    pub(super) key: Option<Key>,
    /// The server's guess.
    pub(super) rows: u64,
}

/// A table in step, and whether it can be compared.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Table(Box<Table>),
    /// Its definitions differ, or one side lacks it: what differs.
    Differs {
        name: String,
        why: Vec<String>,
    },
}

impl Found {
    /// `database.table` in the left region.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Table(table) => &table.name,
            Self::Differs { name, .. } => name,
        }
    }
}

type Name = (String, String);

/// Every table in step between two regions, by name.
pub(super) async fn find(
    left: &mut Session,
    right: &mut Session,
    filter: &Filter,
) -> Result<Vec<Found>, Error> {
    let lefts = list(left).await?;
    let rights = list(right).await?;
    let mut all: BTreeMap<Name, (bool, bool, u64)> = BTreeMap::new();
    for (name, rows) in lefts {
        all.insert(name, (true, false, rows));
    }
    for (name, rows) in rights {
        // A name that has no place on the left belongs to another table there.
        let Some(home) = filter.names().back(&name.0, &name.1) else { continue };
        let entry = all.entry(home).or_insert((false, false, rows));
        entry.1 = true;
    }
    all.retain(|(database, table), _| filter.keeps(database, table));
    let mut found = Vec::new();
    for (name, (here, there, rows)) in all {
        let shown = format!("{}.{}", name.0, name.1);
        let missing = |region: &str| {
            let why = vec![format!("there is no such table in {region}, or its account can't see it")];
            Found::Differs { name: shown.clone(), why }
        };
        found.push(match (here, there) {
            (true, true) => {
                let other = filter.names().there(&name.0, &name.1).unwrap_or_else(|| name.clone());
                let (l, r) = (define(left, &name).await?, define(right, &other).await?);
                match compare(&l, &r, left.region(), right.region()) {
                    Ok(_) if l.columns.is_empty() => missing(left.region()),
                    Ok(key) => Found::Table(Box::new(join(shown, (&name, l), (&other, r), key, rows))),
                    Err(why) => Found::Differs { name: shown, why },
                }
            }
            (true, false) => missing(right.region()),
            (false, _) => missing(left.region()),
        });
    }
    Ok(found)
}

/// Every base table of a region that its account can see.
async fn list(session: &mut Session) -> Result<Vec<(Name, u64)>, Error> {
    let doing = "listing its tables";
    let query = "SELECT TABLE_SCHEMA AS d, TABLE_NAME AS t, IFNULL(TABLE_ROWS, 0) AS n \
                 FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE'";
    let rows = session.ask(doing, query).await?;
    let read = |row: RowRef<'_>| Ok(((row.text("d")?, row.text("t")?), row.parse("n")?));
    rows.iter().map(read).collect::<Result<_, _>>().map_err(Error::wire(session.region(), doing))
}

async fn define(session: &mut Session, (database, table): &Name) -> Result<Definition, Error> {
    let doing = format!("reading the definition of {database}.{table}");
    let of = format!("TABLE_SCHEMA = {} AND TABLE_NAME = {}", sql::text(database), sql::text(table));
    let query = format!(
        "SELECT COLUMN_NAME AS name, DATA_TYPE AS data_type, COLUMN_TYPE AS column_type, \
         CHARACTER_SET_NAME AS charset, COLLATION_NAME AS collation, IS_NULLABLE AS nullable, \
         GENERATION_EXPRESSION AS expression FROM information_schema.COLUMNS WHERE {of} ORDER BY ORDINAL_POSITION"
    );
    let rows = session.ask(&doing, &query).await?;
    let columns = rows.iter().map(column).collect::<Result<Vec<_>, _>>();
    let columns = columns.map_err(Error::wire(session.region(), doing.clone()))?;
    let query = format!(
        "SELECT INDEX_NAME AS name, COLUMN_NAME AS part, COLLATION AS direction, SUB_PART AS prefix, IS_VISIBLE AS visible \
         FROM information_schema.STATISTICS WHERE {of} AND NON_UNIQUE = 0 ORDER BY INDEX_NAME, SEQ_IN_INDEX"
    );
    let rows = session.ask(&doing, &query).await?;
    let keys = keys(&columns, rows.iter()).map_err(Error::wire(session.region(), doing))?;
    Ok(Definition { columns, keys })
}

fn column(row: RowRef<'_>) -> Result<Column, wire::Error> {
    let mut column = Column::new(&row.text("name")?, &row.text("data_type")?, &row.text("column_type")?);
    column.charset = row.optional_text("charset")?;
    column.collation = row.optional_text("collation")?;
    column.nullable = row.text("nullable")? == "YES";
    column.generated = row.optional_text("expression")?.is_some_and(|text| !text.is_empty());
    if let Some(charset) = &column.charset {
        column.shape += &format!(" {charset}");
    }
    Ok(column)
}

/// The keys that name every row: unique, of whole columns that are never NULL, and compared in SQL.
fn keys<'a>(columns: &[Column], rows: impl Iterator<Item = RowRef<'a>>) -> Result<Vec<Index>, wire::Error> {
    let mut indexes: BTreeMap<String, Option<Vec<(String, bool)>>> = BTreeMap::new();
    for row in rows {
        let index = indexes.entry(row.text("name")?).or_insert_with(|| Some(Vec::new()));
        let part = row.optional_text("part")?;
        let column = part.and_then(|part| columns.iter().find(|c| c.name == part));
        let fits = column.filter(|c| !c.nullable && !c.long);
        let whole = row.optional_text("prefix")?.is_none() && row.text("visible")? == "YES";
        let down = row.optional_text("direction")?.as_deref() == Some("D");
        match (fits.filter(|_| whole), index.as_mut()) {
            (Some(column), Some(parts)) => parts.push((column.name.clone(), down)),
            _ => *index = None,
        }
    }
    let mut keys: Vec<_> = indexes.into_iter().filter_map(|(name, parts)| Some((name, parts?))).collect();
    // The primary key is the table itself; then the shorter the better.
    keys.sort_by_key(|(name, parts)| (name != "PRIMARY", parts.len()));
    Ok(keys)
}

/// The key both sides have, if any; or why their rows can't be compared.
fn compare(left: &Definition, right: &Definition, here: &str, there: &str) -> Result<SharedKey, Vec<String>> {
    let mut why = Vec::new();
    for column in &left.columns {
        match right.columns.iter().find(|c| same_name(&c.name, &column.name)) {
            None => why.push(format!("there is no column {} in {there}", column.name)),
            Some(other) if other.shape != column.shape => why.push(format!(
                "column {} is {} in {here} and {} in {there}",
                column.name, column.shape, other.shape
            )),
            Some(_) => {}
        }
    }
    for column in &right.columns {
        if !left.columns.iter().any(|c| same_name(&c.name, &column.name)) {
            why.push(format!("there is no column {} in {here}", column.name));
        }
    }
    if !why.is_empty() {
        return Err(why);
    }
    let names = |parts: &[(String, bool)]| -> Vec<String> {
        parts.iter().map(|(name, _)| name.to_lowercase()).collect()
    };
    for (index, parts) in &left.keys {
        let Some((other, _)) = right.keys.iter().find(|(_, p)| names(p) == names(parts)) else { continue };
        let odd = parts.iter().find_map(|(name, _)| collation_differs(left, right, name));
        match odd {
            Some(odd) => why.push(odd),
            None => return Ok(Some((index.clone(), other.clone(), parts.clone()))),
        }
    }
    if why.is_empty() { Ok(None) } else { Err(why) }
}

/// The index in both regions, and the left one's columns.
type SharedKey = Option<(String, String, Vec<(String, bool)>)>;

/// Two orders of one key would cut the rows into different ranges.
fn collation_differs(left: &Definition, right: &Definition, name: &str) -> Option<String> {
    let of = |d: &Definition| {
        d.columns.iter().find(|c| same_name(&c.name, name)).and_then(|c| c.collation.clone())
    };
    let (here, there) = (of(left), of(right));
    let text = |c: Option<String>| c.unwrap_or_else(|| "none".into());
    (here != there).then(|| format!("key column {name} has collation {} and {}", text(here), text(there)))
}

/// Names of columns are compared without case, as the server does.
fn same_name(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

fn join(
    shown: String,
    (name, left): (&Name, Definition),
    (other, right): (&Name, Definition),
    key: SharedKey,
    rows: u64,
) -> Table {
    let right_columns = left
        .columns
        .iter()
        .filter_map(|column| right.columns.iter().find(|c| same_name(&c.name, &column.name)).cloned());
    let (left_index, right_index, parts) = match key {
        Some((here, there, parts)) => (Some(here), Some(there), Some(parts)),
        None => (None, None, None),
    };
    let key = parts.map(|parts| {
        let column = |(name, down): &(String, bool)| {
            left.columns.iter().find(|c| same_name(&c.name, name)).map(|c| (c.clone(), *down))
        };
        Key { parts: parts.iter().filter_map(column).collect() }
    });
    let right_columns = right_columns.collect();
    Table {
        name: shown,
        left: Side { quoted: sql::table(&name.0, &name.1), index: left_index, columns: left.columns },
        right: Side { quoted: sql::table(&other.0, &other.1), index: right_index, columns: right_columns },
        key,
        rows,
    }
}

#[cfg(test)]
mod tests {
    use super::{Definition, compare};
    use crate::verify::column::Column;

    fn definition(columns: &[(&str, &str)], keys: &[(&str, &[&str])]) -> Definition {
        let keys = keys
            .iter()
            .map(|(name, parts)| ((*name).into(), parts.iter().map(|p| ((*p).to_owned(), false)).collect()));
        Definition {
            columns: columns.iter().map(|(name, t)| Column::new(name, t, t)).collect(),
            keys: keys.collect(),
        }
    }

    #[test]
    fn columns_are_compared_by_name_and_the_key_is_one_both_have() {
        let left = definition(&[("id", "int"), ("a", "text")], &[("PRIMARY", &["id", "a"]), ("u", &["id"])]);
        let right = definition(&[("A", "text"), ("ID", "int")], &[("v", &["ID"])]);
        let key = compare(&left, &right, "eu", "us").unwrap().unwrap();
        assert_eq!((key.0.as_str(), key.1.as_str()), ("u", "v"));
        let unkeyed = definition(&[("a", "text"), ("id", "int")], &[]);
        assert!(compare(&left, &unkeyed, "eu", "us").unwrap().is_none());
    }

    #[test]
    fn every_difference_of_two_definitions_is_named() {
        let left = definition(&[("id", "int"), ("a", "text")], &[]);
        let right = definition(&[("id", "bigint"), ("b", "text")], &[]);
        let why = compare(&left, &right, "eu", "us").unwrap_err().join("; ");
        for part in ["column id is int in eu and bigint in us", "no column a in us", "no column b in eu"] {
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn a_key_with_another_collation_is_refused() {
        let mut left = definition(&[("k", "varchar")], &[("PRIMARY", &["k"])]);
        let mut right = left.clone();
        left.columns[0].collation = Some("utf8mb4_bin".into());
        right.columns[0].collation = Some("utf8mb4_0900_ai_ci".into());
        assert!(compare(&left, &right, "eu", "us").unwrap_err()[0].contains("key column k"));
    }
}
