//! The target's table definitions, read when a table is first met and kept.
//!
//! A kept definition is never trusted alone: each group asks for the table's `SHOW CREATE TABLE` once more
//! under its own metadata locks, before it commits, and is rolled back when it is not the text kept here.

use std::collections::HashMap;
use std::sync::Arc;

use binlog::row::{Column, TableMap};
use binlog::{Event, Gtid, GtidSet};
use wire::{Answer, Connection, ResultSet, RowRef};

use crate::cascades::Cascade;
use crate::collations::{Collations, Folding};
use crate::conflict::key::TableKeys;
use crate::conflict::owned;
use crate::definition::{Shape, describe};
use crate::generated::{Described, computes_by_session, of_session};
use crate::remap::{ColumnFacts, Misfit, Plan, Remap, TargetColumn, plan};
use crate::{Error, cascades, sql, unique_keys};

/// A table of the target, as a group was checked against it.
#[derive(Clone, Debug)]
pub(crate) struct TargetTable {
    pub(crate) database: String,
    pub(crate) table: String,
    /// `SHOW CREATE TABLE`, without its `AUTO_INCREMENT`.
    pub(crate) create: String,
    /// Its unique keys, as they lie in row images.
    pub(crate) keys: TableKeys,
    /// Foreign keys by which its changes change other rows.
    pub(crate) cascades: Vec<Cascade>,
    /// Positions of columns that the images of rows do not have: the source has no such columns.
    pub(crate) lacking: Vec<usize>,
    /// Positions of stored generated columns that the target may compute otherwise than the source did.
    pub(crate) recomputed: Vec<usize>,
    /// Does writing a row compute anything by the session's time zone?
    pub(crate) zoned: bool,
    columns: Vec<TargetColumn>,
}

impl TargetTable {
    fn shapes(&self) -> Vec<Shape> {
        self.columns.iter().map(|column| column.shape.clone()).collect()
    }

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

/// What is read of a table's columns.
struct Columns {
    columns: Vec<TargetColumn>,
    /// Where each is, by its name in lower case, with how its values are folded in keys.
    places: HashMap<String, (usize, Folding)>,
    /// See [`TargetTable::recomputed`].
    recomputed: Vec<usize>,
    /// The names of those that are shown by the session's time zone, and of those made of them.
    of_session: Vec<String>,
}

struct Entry {
    target: Arc<TargetTable>,
    /// The body behind the table id: the same bytes fit again.
    fits: Vec<u8>,
    remap: Option<Arc<Remap>>,
}

/// A table map that rows can be applied under.
pub(crate) struct Fit {
    /// The target's table.
    pub(crate) target: Arc<TargetTable>,
    /// How rows are written anew for it, where its columns are others.
    pub(crate) remap: Option<Arc<Remap>>,
}

/// How often a definition that changes while it is read is read again.
const ATTEMPTS: usize = 5;

impl Catalog {
    /// Takes a connection of its own to the target.
    pub(crate) fn new(connection: Connection, collations: Arc<Collations>) -> Self {
        Self { connection, collations, tables: HashMap::new() }
    }

    /// The target's table for a table map, if it fits.
    pub(crate) async fn fitting(&mut self, event: &Event, gtid: &Gtid) -> Result<Fit, Error> {
        let malformed = |source| Error::Event { gtid: gtid.to_string(), source };
        let (database, table) = TableMap::names_of(event).map_err(malformed)?;
        let key = (database.to_owned(), table.to_owned());
        if let Some(entry) = self.tables.get(&key).filter(|entry| entry.fits == event.body()[6..]) {
            return Ok(Fit { target: entry.target.clone(), remap: entry.remap.clone() });
        }
        let map = TableMap::parse(event).map_err(malformed)?;
        let kept = self.tables.remove(&key).map(|entry| entry.target);
        // One that differs may be kept from before the table was altered.
        let unmoved = match kept {
            Some(target) if target.lacking.is_empty() => {
                matches!(self.compare(&map, &target, gtid).await, Ok(None)).then_some(target)
            }
            _ => None,
        };
        let (target, remap) = match unmoved {
            Some(target) => (target, None),
            None => {
                let mut target = self.read(&map, gtid).await?;
                let remap = self.compare(&map, &target, gtid).await?;
                let remap = remap
                    .map(|(plan, shapes)| Arc::new(Remap::new(map, shapes, plan, target.columns.clone())));
                target.lacking = remap.as_ref().map(|remap| remap.lacking()).unwrap_or_default();
                (Arc::new(target), remap)
            }
        };
        let fit = Fit { target: target.clone(), remap: remap.clone() };
        self.tables.insert(key, Entry { target, fits: event.body()[6..].to_vec(), remap });
        Ok(fit)
    }

    /// A row event as the target's table takes it.
    pub(crate) async fn remapped(
        &mut self,
        remap: &Remap,
        table: &TargetTable,
        event: &Event,
        gtid: &Gtid,
    ) -> Result<Event, Error> {
        remap.rows(event, &mut self.connection).await.map_err(|misfit| match misfit {
            Misfit::Malformed(source) => Error::Event { gtid: gtid.to_string(), source },
            Misfit::Fatal(error) => error,
            Misfit::Value(difference) => Error::TableDiffers {
                gtid: gtid.clone(),
                table: table.display_name(),
                difference,
                source_definition: describe(remap.shapes()),
                target_definition: describe(&table.shapes()),
            },
        })
    }

    /// The target's table for whole rows of a table that the source defines so, which must be defined alike.
    pub(crate) async fn like(&mut self, map: &TableMap, source: &[Shape]) -> Result<Arc<TargetTable>, Error> {
        let key = (map.database.clone(), map.table.clone());
        let source: Vec<(Shape, Column)> = source.iter().cloned().zip(map.columns.iter().cloned()).collect();
        let is_alike = |target: &TargetTable| matches!(plan(&source, &target.columns), Ok(None));
        if let Some(entry) = self.tables.get(&key).filter(|entry| is_alike(&entry.target)) {
            return Ok(entry.target.clone());
        }
        let differs = |what: String| {
            Error::Copy {
            table: format!("{}.{}", map.database, map.table),
            what,
            remedy: "make it alike in source and target, then twinlog link start; or leave it out of [sync] tables".into(),
        }
        };
        let target = self.define(&map.database, &map.table).await?;
        let target = target.ok_or_else(|| differs("the target has no such table".into()))?;
        match plan(&source, &target.columns) {
            Ok(None) => {}
            Ok(Some(_)) => return Err(differs("its columns differ between source and target".into())),
            Err(why) => return Err(differs(why)),
        }
        let target = Arc::new(target);
        // No table map was held against it yet.
        self.tables.insert(key, Entry { target: target.clone(), fits: Vec::new(), remap: None });
        Ok(target)
    }

    /// Its session, for questions that only a server can answer.
    pub(crate) fn session(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// What the target has executed by now, or is about to.
    pub(crate) async fn executed(&mut self) -> Result<GtidSet, Error> {
        owned::ask(&mut self.connection).await.map_err(Error::target("asking what it has executed"))
    }

    /// Forgets what it knows: a DDL was run.
    pub(crate) fn forget(&mut self) {
        self.tables.clear();
    }

    /// How rows of a table map are to be written for a table; `None` where they fit as they are.
    async fn compare(
        &mut self,
        map: &TableMap,
        target: &TargetTable,
        gtid: &Gtid,
    ) -> Result<Option<(Plan, Vec<Shape>)>, Error> {
        if !map.has_names {
            return Err(Error::NotApplicable {
                gtid: gtid.to_string(),
                what: format!("its table map of {}.{} has no column names", map.database, map.table),
                remedy: "SET PERSIST binlog_row_metadata = FULL at the source; skip what was written before with twinlog link skip --gtid"
                    .into(),
            });
        }
        let mut source = Vec::with_capacity(map.columns.len());
        for column in &map.columns {
            let charset = column.collation.and_then(|id| self.collations.charset(id)).map(str::to_owned);
            let members = self.members(column, charset.as_deref()).await?;
            source.push((Shape::of_source(column, charset.as_deref(), members), column.clone()));
        }
        let planned = plan(&source, &target.columns);
        let shapes: Vec<Shape> = source.into_iter().map(|(shape, _)| shape).collect();
        match planned {
            Ok(plan) => Ok(plan.map(|plan| (plan, shapes))),
            Err(difference) => Err(Error::TableDiffers {
                gtid: gtid.clone(),
                table: target.display_name(),
                difference,
                source_definition: describe(&shapes),
                target_definition: describe(&target.shapes()),
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
            let Columns { columns, places, recomputed, of_session } =
                self.read_columns(database, table).await?;
            let keys = unique_keys::read(&mut self.connection, database, table).await?;
            let cascades = cascades::read(&mut self.connection, database, table).await?;
            let again = show_create(&mut self.connection, database, table).await?;
            if create == again {
                let Some(create) = create else { return Ok(None) };
                let keys = TableKeys::new((database, table), &keys, |name| places.get(name).copied());
                let zoned = computes_by_session(&create, &of_session);
                let (database, table) = (database.into(), table.into());
                let lacking = Vec::new();
                return Ok(Some(TargetTable {
                    database,
                    table,
                    create,
                    keys,
                    cascades,
                    lacking,
                    recomputed,
                    zoned,
                    columns,
                }));
            }
            create = again;
        }
        Err(Error::DefinitionChanged { table: format!("{database}.{table}") })
    }

    async fn read_columns(&mut self, database: &str, table: &str) -> Result<Columns, Error> {
        let failed = Error::target("reading a table's definition");
        let query = format!(
            "SELECT COLUMN_NAME AS name, COLUMN_TYPE AS type, CHARACTER_OCTET_LENGTH AS octets, \
             CHARACTER_MAXIMUM_LENGTH AS characters, CHARACTER_SET_NAME AS charset, COLLATION_NAME AS collation, \
             IS_NULLABLE AS nullable, COLUMN_DEFAULT AS value, EXTRA AS extra, COLUMN_KEY AS in_key, \
             GENERATION_EXPRESSION AS expression FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} ORDER BY ORDINAL_POSITION",
            sql::text(database),
            sql::text(table)
        );
        let rows: ResultSet = self.connection.query_rows(query).await.map_err(&failed)?;
        let (mut columns, mut places) = (Vec::new(), HashMap::new());
        let mut generated = Vec::new();
        for row in rows.iter() {
            let collation = row.optional_text("collation").map_err(&failed)?;
            let facts = self.facts(&row, collation.as_deref()).map_err(&failed)?;
            let folding = collation.map_or(Folding::Bytes, |name| self.collations.folding_by_name(&name));
            places.insert(facts.name.to_lowercase(), (columns.len(), folding));
            let expression = row.optional_text("expression").map_err(&failed)?.unwrap_or_default();
            let is_stored = row.text("extra").map_err(&failed)?.contains("STORED GENERATED");
            let is_timestamp = facts.column_type.starts_with("timestamp");
            generated.push((facts.name.clone(), is_timestamp, expression, is_stored));
            columns.push(TargetColumn::new(facts));
        }
        let described: Vec<Described<'_>> = generated
            .iter()
            .map(|(name, is_timestamp, expression, _)| Described {
                name,
                is_timestamp: *is_timestamp,
                expression,
            })
            .collect();
        let of_session = of_session(&described);
        let recomputed = generated.iter().enumerate();
        let recomputed =
            recomputed.filter(|(_, (name, .., is_stored))| *is_stored && of_session.contains(name));
        let recomputed = recomputed.map(|(i, _)| i).collect();
        Ok(Columns { columns, places, recomputed, of_session })
    }

    fn facts(&self, row: &RowRef<'_>, collation: Option<&str>) -> Result<ColumnFacts, wire::Error> {
        let number = |name: &str| Ok::<_, wire::Error>(row.optional_text(name)?.and_then(|n| n.parse().ok()));
        let extra = row.text("extra")?;
        // A number of its own would be another in each region.
        let is_given = extra.contains("DEFAULT_GENERATED") || extra.contains(" GENERATED");
        Ok(ColumnFacts {
            name: row.text("name")?,
            column_type: row.text("type")?,
            octets: number("octets")?,
            characters: number("characters")?,
            charset: row.optional_text("charset")?,
            collation: collation.and_then(|name| self.collations.id(name)),
            nullable: row.text("nullable")? == "YES",
            has_default: is_given || row.bytes("value")?.is_some(),
            in_primary_key: row.text("in_key")? == "PRI",
        })
    }
}

type Row = wire::Row;

fn text(row: &Row, column: usize) -> Option<String> {
    let value = row.get(column)?.as_ref()?;
    String::from_utf8(value.to_vec()).ok()
}

/// `SHOW CREATE TABLE`, as far as rows are concerned ([`for_rows`]); `None` when there is no such table.
pub(crate) async fn show_create(
    connection: &mut Connection,
    database: &str,
    table: &str,
) -> Result<Option<String>, Error> {
    let query = format!("SHOW CREATE TABLE {}", sql::table(database, table));
    match connection.query_rows(query).await {
        Ok(rows) => Ok(rows.rows.first().and_then(|row| text(row, 1)).map(|create| for_rows(&create))),
        // No such table; no such database.
        Err(error) if matches!(error.code(), Some(1146 | 1049)) => Ok(None),
        Err(error) => Err(Error::target("reading a table's definition")(error)),
    }
}

/// The definition in the answer to `SHOW CREATE TABLE`, as [`show_create`] gives it.
pub(crate) fn definition_in(answer: &Answer) -> Option<String> {
    let Answer::Rows(rows) = answer else { return None };
    rows.rows.first().and_then(|row| text(row, 1)).map(|create| for_rows(&create))
}

/// A definition without what rows on their way need not know: the counter, which moves with every insert, and indexes that
/// are not unique, which come and go while rows are written.
fn for_rows(create: &str) -> String {
    let create = without_counter(create);
    // Each entry of the list has a line of its own: line breaks inside a text are escaped.
    // An index on an expression is worked out with each row.
    let is_of_columns =
        |line: &str| line.starts_with("  KEY `") && !line.contains("((") && !line.contains(",(");
    let lines = create.lines().filter(|line| !is_of_columns(line));
    let mut out = String::with_capacity(create.len());
    for line in lines {
        out.push_str(line.strip_suffix(',').unwrap_or(line));
        out.push('\n');
    }
    out
}

/// A definition without its `AUTO_INCREMENT`.
pub(crate) fn without_counter(create: &str) -> String {
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
    fn an_index_that_is_not_unique_is_nothing_to_rows_on_their_way() {
        let table = |keys: &str| {
            format!("CREATE TABLE `t` (\n  `a` int,\n  UNIQUE KEY `u` (`a`){keys}\n) ENGINE=InnoDB")
        };
        let with = table(",\n  KEY `k` (`a`),\n  KEY `l` (`a`) COMMENT 'x'");
        assert_eq!(super::for_rows(&with), super::for_rows(&table("")));
        for other in ["UNIQUE KEY `k` (`a`)", "KEY `k` ((`a` + 1))", "KEY `k` (`a`,(`a` + 1))"] {
            let other = table(&format!(",\n  {other}"));
            assert_ne!(super::for_rows(&other), super::for_rows(&table("")), "{other}");
        }
    }

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
