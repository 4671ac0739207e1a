//! The source's tables as they are copied: what is selected, how it stands in a row image, and by which key.

use std::collections::BTreeMap;

use binlog::GtidSet;
use binlog::row::{Column, ColumnType, TableMap};
use wire::{ConnectOptions, Connection, RowRef};

use super::order::{KeyPart, KeyShape, Weight};
use crate::collations::Collations;
use crate::definition::Shape;
use crate::filter::Filter;
use crate::names::{Name, Names};
use crate::source::Source;
use crate::verify::column::Column as Selected;
use crate::verify::key::Key;
use crate::{Config, Error, sql, target};

/// Each has a reason: values of any age, UTC, no character set converted, every statement a state of its own, estimates
/// as they are now.
const SESSION: &str = "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', time_zone = '+00:00', \
    character_set_client = utf8mb4, collation_connection = utf8mb4_0900_ai_ci, character_set_results = NULL, \
    transaction_isolation = 'REPEATABLE-READ', autocommit = ON, max_execution_time = 0, wait_timeout = 28800, \
    net_read_timeout = 600, net_write_timeout = 600, information_schema_stats_expiry = 0";

/// How often names that change while they are read are read again.
const ATTEMPTS: usize = 20;

/// Table ids of the events made here, from this on: of no meaning beyond one statement.
const FIRST_ID: u64 = 1000;

/// A table of the source.
#[derive(Debug)]
pub(crate) struct SourceTable {
    /// Its place among the tables that are copied.
    pub(crate) index: usize,
    pub(crate) database: String,
    pub(crate) table: String,
    /// What is selected of each column.
    pub(crate) selected: Vec<Selected>,
    /// Its columns in row images; database and table are those of the target.
    pub(crate) map: TableMap,
    /// Its columns, to be held against the target's.
    pub(crate) shapes: Vec<Shape>,
    /// What names its rows; `None` where nothing does.
    pub(crate) key: Option<TableKey>,
    /// The server's guesses.
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// A unique key without NULLs.
#[derive(Debug)]
pub(crate) struct TableKey {
    pub(crate) index: String,
    pub(crate) key: Key,
    pub(crate) shape: KeyShape,
}

impl SourceTable {
    /// `database.table`, for people.
    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.database, self.table)
    }

    /// The key by whose values its chunks are cut: values of one are no values of another, or lie in another order. Empty
    /// where nothing names its rows.
    pub(crate) fn key_text(&self) -> String {
        let parts = self.key.iter().flat_map(|key| &key.key.parts);
        let part = |(column, goes_down): &(Selected, bool)| {
            let mut text = format!("{} {:?}", column.name, column.kind).to_lowercase();
            for more in [column.collation.as_deref(), goes_down.then_some("desc")].into_iter().flatten() {
                text.push(' ');
                text.push_str(more);
            }
            text
        };
        parts.map(part).collect::<Vec<_>>().join(", ")
    }

    /// Is it called so in the target?
    pub(crate) fn is_there(&self, (database, table): &Name) -> bool {
        self.map.database == *database && self.map.table == *table
    }

    /// An error of reading it; that it is not there any more, or is another, is found out about by a new round.
    pub(crate) fn unless_gone(&self, error: Error) -> Error {
        // Table, database, column.
        const UNKNOWN: [u16; 3] = [1146, 1049, 1054];
        match &error {
            Error::Wire { server: "source", source: wire::Error::Server(e), .. }
                if UNKNOWN.contains(&e.code) =>
            {
                Error::SourceMoved { table: self.name() }
            }
            _ => error,
        }
    }

    /// What is read of a row, and where; by the key's index.
    pub(crate) fn select(&self) -> String {
        let columns: Vec<String> = self.selected.iter().map(Selected::exact).collect();
        format!("SELECT {} FROM {}", columns.join(", "), self.from())
    }

    /// The table for reading by its key.
    pub(crate) fn from(&self) -> String {
        let table = sql::table(&self.database, &self.table);
        match &self.key {
            Some(key) => format!("{table} FORCE INDEX ({})", sql::name(&key.index)),
            None => table,
        }
    }
}

/// A session at the source.
pub(crate) async fn connect(addresses: &[ConnectOptions]) -> Result<Connection, Error> {
    let mut last = None;
    for options in addresses {
        match Connection::connect(options).await {
            Ok(mut connection) => {
                connection.execute(SESSION).await.map_err(Error::source("preparing a session to copy"))?;
                return Ok(connection);
            }
            Err(error) => last = Some(error),
        }
    }
    let none = || wire::Error::Invalid { what: "no address is configured".into() };
    Err(Error::source("connecting to copy")(last.unwrap_or_else(none)))
}

/// The names of every table in step that the source has.
pub(crate) async fn names(connection: &mut Connection, filter: &Filter) -> Result<Vec<Name>, Error> {
    let failed = Error::source("listing its tables");
    let query = "SELECT TABLE_SCHEMA AS d, TABLE_NAME AS t FROM information_schema.TABLES \
                 WHERE TABLE_TYPE = 'BASE TABLE' ORDER BY 1, 2";
    let rows = connection.query_rows(query).await.map_err(&failed)?;
    let name = |row: RowRef<'_>| Ok((row.text("d")?, row.text("t")?));
    let names: Result<Vec<Name>, wire::Error> = rows.iter().map(name).collect();
    let mut names = names.map_err(failed)?;
    names.retain(|(database, table)| filter.keeps(database, table));
    Ok(names)
}

/// The same, all of one moment: with what the source had executed then.
pub(crate) async fn names_now(
    config: &Config,
    filter: &Filter,
    source: &mut Source,
) -> Result<(Vec<Name>, GtidSet), Error> {
    let mut reader = target::connect_source(&config.source_servers).await?;
    let mut before = names(&mut reader, filter).await?;
    for _ in 0..ATTEMPTS {
        let executed = source.executed().await?;
        let after = names(&mut reader, filter).await?;
        if after == before {
            reader.close().await;
            return Ok((after, executed));
        }
        before = after;
    }
    Err(Error::SourceMoved { table: "of the source".into() })
}

/// The tables of these names that the source has, the largest first, so that none is left to itself at the end.
pub(crate) async fn list(
    connection: &mut Connection,
    wanted: impl Fn(&Name) -> bool,
    names: &Names,
    collations: &Collations,
) -> Result<Vec<SourceTable>, Error> {
    let failed = Error::source("listing its tables");
    let query = "SELECT TABLE_SCHEMA AS d, TABLE_NAME AS t, IFNULL(TABLE_ROWS, 0) AS n, \
                 IFNULL(DATA_LENGTH, 0) AS size FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' \
                 ORDER BY DATA_LENGTH DESC, TABLE_SCHEMA, TABLE_NAME";
    let rows = connection.query_rows(query).await.map_err(&failed)?;
    let mut tables = Vec::new();
    for row in rows.iter() {
        let name = (row.text("d").map_err(&failed)?, row.text("t").map_err(&failed)?);
        if !wanted(&name) {
            continue;
        }
        let (database, table) = name;
        let mut defined = define(connection, &database, &table, collations).await?;
        // Read under one name, written under the other.
        if let Some((database, table)) = names.there(&database, &table) {
            (defined.map.database, defined.map.table) = (database, table);
        }
        defined.index = tables.len();
        defined.map.table_id = FIRST_ID + tables.len() as u64;
        defined.rows = row.parse("n").map_err(&failed)?;
        defined.bytes = row.parse("size").map_err(&failed)?;
        tables.push(defined);
    }
    Ok(tables)
}

async fn define(
    connection: &mut Connection,
    database: &str,
    table: &str,
    collations: &Collations,
) -> Result<SourceTable, Error> {
    let failed = Error::source("reading a table's definition");
    let of = format!("TABLE_SCHEMA = {} AND TABLE_NAME = {}", sql::text(database), sql::text(table));
    let query = format!(
        "SELECT COLUMN_NAME AS name, DATA_TYPE AS data_type, COLUMN_TYPE AS column_type, \
         CHARACTER_OCTET_LENGTH AS octets, CHARACTER_MAXIMUM_LENGTH AS characters, CHARACTER_SET_NAME AS charset, \
         COLLATION_NAME AS collation, IS_NULLABLE AS nullable, NUMERIC_PRECISION AS digits, NUMERIC_SCALE AS scale, \
         DATETIME_PRECISION AS fraction FROM information_schema.COLUMNS WHERE {of} ORDER BY ORDINAL_POSITION"
    );
    let rows = connection.query_rows(query).await.map_err(&failed)?;
    let mut defined = SourceTable {
        index: 0,
        database: database.into(),
        table: table.into(),
        selected: Vec::new(),
        map: TableMap {
            table_id: FIRST_ID,
            database: database.into(),
            table: table.into(),
            columns: Vec::new(),
            primary_key: Vec::new(),
            has_names: true,
        },
        shapes: Vec::new(),
        key: None,
        rows: 0,
        bytes: 0,
    };
    let mut weights = Vec::new();
    for row in rows.iter() {
        let (selected, column, shape, weight) =
            read_column(&row, collations).map_err(&failed)?.ok_or_else(|| Error::Copy {
                table: defined.name(),
                what: format!("column {} has a type that is not known", row.text("name").unwrap_or_default()),
                remedy:
                    "leave the table out of [sync] tables, or copy it by other means with initial = \"none\""
                        .into(),
            })?;
        defined.selected.push(selected);
        defined.map.columns.push(column);
        defined.shapes.push(shape);
        weights.push(weight);
    }
    let query = format!(
        "SELECT INDEX_NAME AS name, COLUMN_NAME AS part, COLLATION AS direction, SUB_PART AS prefix, \
         IS_VISIBLE AS visible FROM information_schema.STATISTICS WHERE {of} AND NON_UNIQUE = 0 \
         ORDER BY INDEX_NAME, SEQ_IN_INDEX"
    );
    let rows = connection.query_rows(query).await.map_err(&failed)?;
    defined.key = best_key(&defined, &weights, rows.iter()).map_err(&failed)?;
    Ok(defined)
}

type Described = (Selected, Column, Shape, Option<Weight>);

/// A column as it is selected, as it stands in images, as it is compared, and how its texts are weighed.
fn read_column(row: &RowRef<'_>, collations: &Collations) -> Result<Option<Described>, wire::Error> {
    let (name, column_type) = (row.text("name")?, row.text("column_type")?);
    let data_type = row.text("data_type")?;
    let octets: Option<u64> = row.optional_text("octets")?.and_then(|n| n.parse().ok());
    let charset = row.optional_text("charset")?;
    let shape = Shape::of_target(&name, &column_type, octets, charset.as_deref());
    let number =
        |name: &str| Ok::<_, wire::Error>(row.optional_text(name)?.and_then(|n| n.parse::<u64>().ok()));
    let size = octets.unwrap_or(0);
    let kind =
        kind(&data_type, size, number("digits")?, number("scale")?, number("fraction")?, shape.members.len());
    let Some(kind) = kind else { return Ok(None) };
    let mut column = Column::new(kind, row.text("nullable")? == "YES");
    column.unsigned = column_type.contains("unsigned");
    column.name.clone_from(&name);
    let elements = column_type.strip_prefix("vector(").and_then(|rest| rest.strip_suffix(')'));
    column.dimensions = elements.and_then(|n| n.parse().ok());
    let collation = row.optional_text("collation")?;
    const BINARY: u32 = 63;
    let id = collation.as_deref().and_then(|name| collations.id(name));
    column.collation = id.or_else(|| {
        let holds_bytes =
            matches!(kind, ColumnType::Char { .. } | ColumnType::VarChar { .. } | ColumnType::Blob { .. });
        holds_bytes.then_some(BINARY)
    });
    let mut selected = Selected::new(&name, &data_type, &column_type);
    selected.charset.clone_from(&charset);
    selected.collation.clone_from(&collation);
    selected.nullable = column.nullable;
    let is_text =
        matches!(kind, ColumnType::Char { .. } | ColumnType::VarChar { .. } | ColumnType::Blob { .. });
    let weight = match (charset, collation) {
        // Bytes decide there, and nothing pads.
        (Some(_), Some(name)) if name == "utf8mb4_0900_bin" => None,
        (Some(charset), Some(collation)) if is_text => {
            let padded =
                id.is_some_and(|id| collations.pads(id)).then(|| number("characters").ok().flatten());
            Some(Weight { charset, collation, padded: padded.flatten() })
        }
        _ => None,
    };
    Ok(Some((selected, column, shape, weight)))
}

fn kind(
    data_type: &str,
    octets: u64,
    digits: Option<u64>,
    scale: Option<u64>,
    fraction: Option<u64>,
    members: usize,
) -> Option<ColumnType> {
    let small = |n: Option<u64>| u8::try_from(n?).ok();
    let max_bytes = u16::try_from(octets).ok();
    let fraction = small(fraction).unwrap_or(0);
    Some(match data_type {
        "tinyint" => ColumnType::Integer { bytes: 1 },
        "smallint" => ColumnType::Integer { bytes: 2 },
        "mediumint" => ColumnType::Integer { bytes: 3 },
        "int" => ColumnType::Integer { bytes: 4 },
        "bigint" => ColumnType::Integer { bytes: 8 },
        "float" => ColumnType::Float,
        "double" => ColumnType::Double,
        "decimal" => ColumnType::Decimal { precision: small(digits)?, scale: small(scale)? },
        "bit" => ColumnType::Bit { bits: small(digits)?.into() },
        "year" => ColumnType::Year,
        "date" => ColumnType::Date,
        "time" => ColumnType::Time { fraction },
        "datetime" => ColumnType::DateTime { fraction },
        "timestamp" => ColumnType::Timestamp { fraction },
        "char" | "binary" => ColumnType::Char { max_bytes: max_bytes? },
        "varchar" | "varbinary" => ColumnType::VarChar { max_bytes: max_bytes? },
        "enum" => ColumnType::Enum { bytes: if members > 255 { 2 } else { 1 } },
        "set" => {
            ColumnType::Set { bytes: if members > 32 { 8 } else { u8::try_from(members.div_ceil(8)).ok()? } }
        }
        "tinyblob" | "tinytext" => ColumnType::Blob { length_bytes: 1 },
        "blob" | "text" => ColumnType::Blob { length_bytes: 2 },
        "mediumblob" | "mediumtext" => ColumnType::Blob { length_bytes: 3 },
        "longblob" | "longtext" => ColumnType::Blob { length_bytes: 4 },
        "json" => ColumnType::Json { length_bytes: 4 },
        "vector" => ColumnType::Vector { length_bytes: 4 },
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geomcollection" | "geometrycollection" => {
            ColumnType::Geometry { length_bytes: 4 }
        }
        _ => return None,
    })
}

/// The key that names every row: unique, of whole columns that are never NULL; the primary one if it does, else the
/// shortest.
fn best_key<'a>(
    table: &SourceTable,
    weights: &[Option<Weight>],
    rows: impl Iterator<Item = RowRef<'a>>,
) -> Result<Option<TableKey>, wire::Error> {
    let mut indexes: BTreeMap<String, Option<Vec<(usize, bool)>>> = BTreeMap::new();
    for row in rows {
        let index = indexes.entry(row.text("name")?).or_insert_with(|| Some(Vec::new()));
        let part = row.optional_text("part")?;
        let position = part.and_then(|part| table.selected.iter().position(|c| c.name == part));
        let fits = position.filter(|i| !table.selected[*i].nullable && !table.selected[*i].long);
        let whole = row.optional_text("prefix")?.is_none() && row.text("visible")? == "YES";
        let down = row.optional_text("direction")?.as_deref() == Some("D");
        match (fits.filter(|_| whole), index.as_mut()) {
            (Some(position), Some(parts)) => parts.push((position, down)),
            _ => *index = None,
        }
    }
    let mut keys: Vec<_> = indexes.into_iter().filter_map(|(name, parts)| Some((name, parts?))).collect();
    keys.sort_by_key(|(name, parts)| (name != "PRIMARY", parts.len()));
    Ok(keys.into_iter().next().map(|(index, parts)| {
        let part = |(position, down): &(usize, bool)| KeyPart {
            position: *position,
            column: table.map.columns[*position].clone(),
            down: *down,
            weight: weights[*position].clone(),
        };
        let selected = |(position, down): &(usize, bool)| (table.selected[*position].clone(), *down);
        TableKey {
            index,
            key: Key { parts: parts.iter().map(selected).collect() },
            shape: KeyShape { parts: parts.iter().map(part).collect() },
        }
    }))
}
