//! The target's table definitions, read when a table is first met and kept.
//!
//! A kept definition is never trusted alone: each group asks for the table's `SHOW CREATE TABLE` once more
//! under its own metadata locks, before it commits, and is rolled back when it is not the text kept here.

use std::collections::HashMap;
use std::sync::Arc;

use binlog::row::{Column, TableMap};
use binlog::{Event, Gtid};
use wire::{Answer, Connection, ResultSet};

use crate::collations::Collations;
use crate::conflict::key::TableKeys;
use crate::definition::{Shape, describe, difference};
use crate::{Error, sql, unique_keys};

/// A table of the target, as a group was checked against it.
#[derive(Debug)]
pub(crate) struct TargetTable {
    pub(crate) database: String,
    pub(crate) table: String,
    /// `SHOW CREATE TABLE`, without its `AUTO_INCREMENT`.
    pub(crate) create: String,
    /// Its unique keys, as they lie in row images.
    pub(crate) keys: TableKeys,
    shapes: Vec<Shape>,
}

impl TargetTable {
    /// `database.table`, for people.
    pub(crate) fn display_name(&self) -> String {
        format!("{}.{}", self.database, self.table)
    }
}

/// Definitions by name, each with the last table map that was found to fit.
pub(crate) struct Catalog {
    connection: Connection,
    collations: Arc<Collations>,
    tables: HashMap<(String, String), Entry>,
}

struct Entry {
    target: Arc<TargetTable>,
    /// The body behind the table id: the same bytes fit again.
    fits: Vec<u8>,
}

/// How often a definition that changes while it is read is read again.
const ATTEMPTS: usize = 5;

impl Catalog {
    /// Takes a connection of its own to the target.
    pub(crate) fn new(connection: Connection, collations: Arc<Collations>) -> Self {
        Self { connection, collations, tables: HashMap::new() }
    }

    /// The target's table for a table map, if it fits.
    pub(crate) async fn fitting(&mut self, event: &Event, gtid: &Gtid) -> Result<Arc<TargetTable>, Error> {
        let malformed = |source| Error::Event { gtid: gtid.to_string(), source };
        let (database, table) = TableMap::names_of(event).map_err(malformed)?;
        let key = (database.to_owned(), table.to_owned());
        if let Some(entry) = self.tables.get(&key).filter(|entry| entry.fits == event.body()[6..]) {
            return Ok(entry.target.clone());
        }
        let map = TableMap::parse(event).map_err(malformed)?;
        let kept = self.tables.remove(&key).map(|entry| entry.target);
        let target = match kept {
            Some(target) if self.compare(&map, &target, gtid).await.is_ok() => target,
            // Unknown, or kept from before the table was altered.
            _ => {
                let target = Arc::new(self.read(&map, gtid).await?);
                self.compare(&map, &target, gtid).await?;
                target
            }
        };
        let entry = Entry { target: target.clone(), fits: event.body()[6..].to_vec() };
        self.tables.insert(key, entry);
        Ok(target)
    }

    /// The target's table for rows of a table that the source defines so. `None` if it is not like that.
    pub(crate) async fn like(
        &mut self,
        database: &str,
        table: &str,
        source: &[Shape],
    ) -> Result<Option<Arc<TargetTable>>, Error> {
        let key = (database.to_owned(), table.to_owned());
        if let Some(entry) = self.tables.get(&key).filter(|e| difference(source, &e.target.shapes).is_none())
        {
            return Ok(Some(entry.target.clone()));
        }
        let Some(target) = self.define(database, table).await? else { return Ok(None) };
        if difference(source, &target.shapes).is_some() {
            return Ok(None);
        }
        let target = Arc::new(target);
        // No table map was held against it yet.
        self.tables.insert(key, Entry { target: target.clone(), fits: Vec::new() });
        Ok(Some(target))
    }

    /// Its session, for questions that only a server can answer.
    pub(crate) fn session(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Forgets what it knows: a DDL was run.
    pub(crate) fn forget(&mut self) {
        self.tables.clear();
    }

    async fn compare(&mut self, map: &TableMap, target: &TargetTable, gtid: &Gtid) -> Result<(), Error> {
        if !map.has_names {
            return Err(Error::NotApplicable {
                gtid: gtid.to_string(),
                what: format!("its table map of {}.{} has no column names", map.database, map.table),
                remedy: "SET PERSIST binlog_row_metadata = FULL at the source; skip what was written before"
                    .into(),
            });
        }
        let mut source = Vec::with_capacity(map.columns.len());
        for column in &map.columns {
            let charset = column.collation.and_then(|id| self.collations.charset(id)).map(str::to_owned);
            let members = self.members(column, charset.as_deref()).await?;
            source.push(Shape::of_source(column, charset.as_deref(), members));
        }
        match difference(&source, &target.shapes) {
            None => Ok(()),
            Some(difference) => Err(Error::TableDiffers {
                gtid: gtid.clone(),
                table: target.display_name(),
                difference,
                source_definition: describe(&source),
                target_definition: describe(&target.shapes),
            }),
        }
    }

    /// The members of an `ENUM` or `SET` as text. The server itself converts what is not plain.
    async fn members(&mut self, column: &Column, charset: Option<&str>) -> Result<Vec<String>, Error> {
        let mut out = Vec::with_capacity(column.members.len());
        for member in &column.members {
            let plain = member.is_ascii()
                && !charset.is_some_and(|c| matches!(c, "ucs2" | "utf16" | "utf16le" | "utf32"));
            let unicode = charset.is_some_and(|c| c.starts_with("utf8"));
            if plain || unicode {
                out.push(String::from_utf8_lossy(member).into_owned());
                continue;
            }
            let hex: String = member.iter().map(|b| format!("{b:02x}")).collect();
            let convert = format!("SELECT CONVERT(_{} X'{hex}' USING utf8mb4)", charset.unwrap_or("binary"));
            let rows =
                self.connection.query_rows(convert).await.map_err(Error::target("converting a text"))?;
            out.push(rows.rows.first().and_then(|row| text(row, 0)).unwrap_or_default());
        }
        Ok(out)
    }

    async fn read(&mut self, map: &TableMap, gtid: &Gtid) -> Result<TargetTable, Error> {
        let missing =
            || Error::NoTable { gtid: gtid.clone(), table: format!("{}.{}", map.database, map.table) };
        self.define(&map.database, &map.table).await?.ok_or_else(missing)
    }

    /// Reads a definition; `None` when there is no such table.
    async fn define(&mut self, database: &str, table: &str) -> Result<Option<TargetTable>, Error> {
        let mut create = show_create(&mut self.connection, database, table).await?;
        for _ in 0..ATTEMPTS {
            let (shapes, columns) = self.read_shapes(database, table).await?;
            let keys = unique_keys::read(&mut self.connection, database, table).await?;
            let again = show_create(&mut self.connection, database, table).await?;
            if create == again {
                let Some(create) = create else { return Ok(None) };
                let keys = TableKeys::new((database, table), &keys, |name| columns.get(name).copied());
                let (database, table) = (database.into(), table.into());
                return Ok(Some(TargetTable { database, table, create, keys, shapes }));
            }
            create = again;
        }
        Err(Error::DefinitionChanged { table: format!("{database}.{table}") })
    }

    /// The columns, and where each is with the collation that its texts are compared by.
    async fn read_shapes(
        &mut self,
        database: &str,
        table: &str,
    ) -> Result<(Vec<Shape>, HashMap<String, (usize, Option<u32>)>), Error> {
        let query = format!(
            "SELECT COLUMN_NAME, COLUMN_TYPE, CHARACTER_OCTET_LENGTH, CHARACTER_SET_NAME, COLLATION_NAME \
             FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} \
             ORDER BY ORDINAL_POSITION",
            sql::text(database),
            sql::text(table)
        );
        let rows: ResultSet =
            self.connection.query_rows(query).await.map_err(Error::target("reading a table's definition"))?;
        let shape = |row: &Row| {
            let octets = text(row, 2).and_then(|n| n.parse().ok());
            Some(Shape::of_target(&text(row, 0)?, &text(row, 1)?, octets, text(row, 3).as_deref()))
        };
        let place = |(i, row): (usize, &Row)| {
            let collation = text(row, 4).and_then(|name| self.collations.compared(&name));
            Some((text(row, 0)?.to_lowercase(), (i, collation)))
        };
        let places = rows.rows.iter().enumerate().filter_map(place).collect();
        Ok((rows.rows.iter().filter_map(shape).collect(), places))
    }
}

type Row = wire::Row;

fn text(row: &Row, column: usize) -> Option<String> {
    let value = row.get(column)?.as_ref()?;
    String::from_utf8(value.to_vec()).ok()
}

/// `SHOW CREATE TABLE`, without its `AUTO_INCREMENT`, which moves with every insert; `None` when there is no
/// such table.
pub(crate) async fn show_create(
    connection: &mut Connection,
    database: &str,
    table: &str,
) -> Result<Option<String>, Error> {
    let query = format!("SHOW CREATE TABLE {}", sql::table(database, table));
    match connection.query_rows(query).await {
        Ok(rows) => Ok(rows.rows.first().and_then(|row| text(row, 1)).map(|create| without_counter(&create))),
        // No such table; no such database.
        Err(error) if matches!(error.code(), Some(1146 | 1049)) => Ok(None),
        Err(error) => Err(Error::target("reading a table's definition")(error)),
    }
}

/// The definition in the answer to `SHOW CREATE TABLE`, as [`show_create`] gives it.
pub(crate) fn definition_in(answer: &Answer) -> Option<String> {
    let Answer::Rows(rows) = answer else { return None };
    rows.rows.first().and_then(|row| text(row, 1)).map(|create| without_counter(&create))
}

fn without_counter(create: &str) -> String {
    // The option is the first behind the engine, before the table's own comment; the column list ends in a line
    // of its own, for line breaks inside a text are escaped.
    const OPTION: &str = " AUTO_INCREMENT=";
    let options = create.find("\n) ENGINE=").unwrap_or_default();
    let Some(at) = create[options..].find(OPTION).map(|at| options + at) else { return create.into() };
    let rest = create[at + OPTION.len()..].trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{}{rest}", &create[..at])
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_auto_increment_counter_is_no_part_of_a_definition() {
        let create = "CREATE TABLE `t` (\n  `id` int NOT NULL AUTO_INCREMENT\n) ENGINE=InnoDB AUTO_INCREMENT=17 DEFAULT CHARSET=utf8mb4";
        let bare =
            "CREATE TABLE `t` (\n  `id` int NOT NULL AUTO_INCREMENT\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";
        assert_eq!(super::without_counter(create), bare);
        assert_eq!(super::without_counter(bare), bare);
        let comments = |counter: &str| {
            format!(
                "CREATE TABLE `t` (\n  `id` int NOT NULL COMMENT ' AUTO_INCREMENT=1'\n) ENGINE=InnoDB{counter} \
                 COMMENT='from AUTO_INCREMENT=5 on'"
            )
        };
        assert_eq!(super::without_counter(&comments(" AUTO_INCREMENT=17")), comments(""));
    }
}
