//! Definitions, as the source gives them to the account that reads.

use std::fmt;

use wire::{Connection, RowRef};

use super::Programs;
use crate::catalog::without_counter;
use crate::filter::Filter;
use crate::{Error, sql};

/// A kind of object; in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Database,
    Table,
    Function,
    Procedure,
    View,
    Trigger,
    Event,
    /// Indexes of a table that is made without them.
    Indexes,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Database => "database",
            Self::Table => "table",
            Self::Function => "function",
            Self::Procedure => "procedure",
            Self::View => "view",
            Self::Trigger => "trigger",
            Self::Event => "event",
            Self::Indexes => "indexes of",
        })
    }
}

/// An object of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Definition {
    pub(super) kind: Kind,
    pub(super) database: String,
    pub(super) name: String,
    /// The table of a trigger.
    pub(super) table: Option<String>,
    /// The statement that makes it, in the character set of `session`.
    pub(super) text: Vec<u8>,
    /// The session it was made in.
    pub(super) session: Session,
    /// Tables and views that a view reads.
    pub(super) reads: Vec<(String, String)>,
}

/// What of a session an object keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) sql_mode: String,
    pub(super) client: String,
    pub(super) collation: String,
    pub(super) time_zone: String,
}

impl Default for Session {
    /// That of databases and tables, whose definitions tell all by themselves. Not strict: a default that is not
    /// allowed any more (`0000-00-00`) was once, and is copied as it is.
    fn default() -> Self {
        Self {
            sql_mode: "NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION".into(),
            client: "utf8mb4".into(),
            collation: "utf8mb4_0900_ai_ci".into(),
            time_zone: "+00:00".into(),
        }
    }
}

/// Names in backquotes, `TIMESTAMP` defaults in UTC.
const SESSION: &str = "SET SESSION sql_mode = '', sql_quote_show_create = 1, time_zone = '+00:00', \
    character_set_client = utf8mb4, collation_connection = utf8mb4_0900_ai_ci, character_set_results = utf8mb4";

/// Is nothing defined otherwise? What only counts along, `AUTO_INCREMENT`, is no difference.
pub(super) fn are_alike(a: &[Definition], b: &[Definition]) -> bool {
    let bare = |definitions: &[Definition]| -> Vec<Definition> {
        let bare = |d: &Definition| match d.kind {
            Kind::Table => Definition {
                text: without_counter(&String::from_utf8_lossy(&d.text)).into_bytes(),
                ..d.clone()
            },
            _ => d.clone(),
        };
        definitions.iter().map(bare).collect()
    };
    bare(a) == bare(b)
}

/// Every object in step.
pub(super) async fn all(
    connection: &mut Connection,
    filter: &Filter,
    programs: Programs,
) -> Result<Vec<Definition>, Error> {
    connection.execute(SESSION).await.map_err(Error::source("preparing its session"))?;
    let mut reader = Reader { connection, filter, found: Vec::new() };
    reader.databases().await?;
    reader.tables().await?;
    if programs.routines {
        reader.routines().await?;
    }
    if programs.triggers {
        reader.triggers().await?;
    }
    if programs.events {
        reader.events().await?;
    }
    Ok(reader.found)
}

struct Reader<'a> {
    connection: &'a mut Connection,
    filter: &'a Filter,
    found: Vec<Definition>,
}

/// What an object of another than the server's own character set needs to be read as it is.
struct Charset<'a> {
    client: &'a str,
}

impl Reader<'_> {
    async fn rows(&mut self, query: &str) -> Result<wire::ResultSet, Error> {
        self.connection.query_rows(query).await.map_err(Error::source("reading definitions"))
    }

    async fn databases(&mut self) -> Result<(), Error> {
        let failed = Error::source("reading definitions");
        let query = "SELECT SCHEMA_NAME AS name, DEFAULT_CHARACTER_SET_NAME AS charset, DEFAULT_COLLATION_NAME AS collation \
            FROM information_schema.SCHEMATA ORDER BY 1";
        for row in self.rows(query).await?.iter() {
            let text = |name: &str| row.text(name).map_err(&failed);
            let name = text("name")?;
            if self.filter.touches(&name) {
                // The name is the plan's: tables may go to several.
                let create =
                    format!("DEFAULT CHARACTER SET {} COLLATE {}", text("charset")?, text("collation")?);
                self.found.push(Definition {
                    kind: Kind::Database,
                    database: name.clone(),
                    name,
                    table: None,
                    text: create.into_bytes(),
                    session: Session::default(),
                    reads: Vec::new(),
                });
            }
        }
        Ok(())
    }

    /// Tables, then views.
    async fn tables(&mut self) -> Result<(), Error> {
        let failed = Error::source("reading definitions");
        let query = "SELECT TABLE_SCHEMA AS d, TABLE_NAME AS t, TABLE_TYPE AS kind FROM information_schema.TABLES \
            WHERE TABLE_TYPE IN ('BASE TABLE', 'VIEW') ORDER BY 3, 1, 2";
        let rows = self.rows(query).await?;
        let name = |row: RowRef<'_>| Ok((row.text("d")?, row.text("t")?, row.text("kind")? == "VIEW"));
        let names: Result<Vec<_>, _> = rows.iter().map(name).collect();
        for (database, table, is_view) in names.map_err(&failed)? {
            if !self.filter.keeps(&database, &table) {
                continue;
            }
            let definition =
                if is_view { self.view(database, table).await? } else { self.table(database, table).await? };
            self.found.extend(definition);
        }
        Ok(())
    }

    async fn table(&mut self, database: String, table: String) -> Result<Option<Definition>, Error> {
        let query = format!("SHOW CREATE TABLE {}", sql::table(&database, &table));
        let Some(rows) = self.show(Kind::Table, &database, &table, &query, None).await? else {
            return Ok(None);
        };
        let text = rows
            .first()
            .map(|row| row.text_at(1))
            .transpose()
            .map_err(Error::source("reading definitions"))?;
        Ok(text.map(|text| Definition {
            kind: Kind::Table,
            database,
            name: table,
            table: None,
            text: text.into_bytes(),
            session: Session::default(),
            reads: Vec::new(),
        }))
    }

    async fn view(&mut self, database: String, view: String) -> Result<Option<Definition>, Error> {
        let of = format!("TABLE_SCHEMA = {} AND TABLE_NAME = {}", sql::text(&database), sql::text(&view));
        let charset = self.charset(&format!("information_schema.VIEWS WHERE {of}")).await?;
        let query = format!("SHOW CREATE VIEW {}", sql::table(&database, &view));
        let charset = Charset { client: &charset };
        let rows = self.show(Kind::View, &database, &view, &query, Some(charset)).await?;
        let Some(definition) = read_shown(rows.as_ref(), Kind::View, &database, &view, "Create View")? else {
            return Ok(None);
        };
        let query = format!(
            "SELECT TABLE_SCHEMA AS d, TABLE_NAME AS t FROM information_schema.VIEW_TABLE_USAGE \
             WHERE VIEW_SCHEMA = {} AND VIEW_NAME = {}",
            sql::text(&database),
            sql::text(&view)
        );
        let rows = self.rows(&query).await?;
        let reads: Result<_, wire::Error> =
            rows.iter().map(|row| Ok((row.text("d")?, row.text("t")?))).collect();
        Ok(Some(Definition { reads: reads.map_err(Error::source("reading definitions"))?, ..definition }))
    }

    async fn routines(&mut self) -> Result<(), Error> {
        let query = "SELECT ROUTINE_SCHEMA AS d, ROUTINE_NAME AS t, ROUTINE_TYPE AS kind, CHARACTER_SET_CLIENT AS client, \
            '' AS owner FROM information_schema.ROUTINES ORDER BY 1, 2";
        for (database, name, kind, client, _) in self.list(query).await? {
            let (kind, column) = match kind.as_str() {
                "FUNCTION" => (Kind::Function, "Create Function"),
                _ => (Kind::Procedure, "Create Procedure"),
            };
            if self.filter.takes_in(&database) {
                let query = format!("SHOW CREATE {kind} {}", sql::table(&database, &name));
                self.program(kind, (database, name), None, (&query, column, &client)).await?;
            }
        }
        Ok(())
    }

    async fn triggers(&mut self) -> Result<(), Error> {
        let query = "SELECT TRIGGER_SCHEMA AS d, TRIGGER_NAME AS t, '' AS kind, CHARACTER_SET_CLIENT AS client, \
            EVENT_OBJECT_TABLE AS owner FROM information_schema.TRIGGERS ORDER BY 1, EVENT_OBJECT_TABLE, ACTION_TIMING, \
            EVENT_MANIPULATION, ACTION_ORDER";
        for (database, name, _, client, table) in self.list(query).await? {
            if self.filter.keeps(&database, &table) {
                let query = format!("SHOW CREATE TRIGGER {}", sql::table(&database, &name));
                let how = (query.as_str(), "SQL Original Statement", client.as_str());
                self.program(Kind::Trigger, (database, name), Some(table), how).await?;
            }
        }
        Ok(())
    }

    async fn events(&mut self) -> Result<(), Error> {
        let query = "SELECT EVENT_SCHEMA AS d, EVENT_NAME AS t, '' AS kind, CHARACTER_SET_CLIENT AS client, '' AS owner \
            FROM information_schema.EVENTS ORDER BY 1, 2";
        for (database, name, _, client, _) in self.list(query).await? {
            if self.filter.takes_in(&database) {
                let query = format!("SHOW CREATE EVENT {}", sql::table(&database, &name));
                self.program(Kind::Event, (database, name), None, (&query, "Create Event", &client)).await?;
            }
        }
        Ok(())
    }

    async fn list(&mut self, query: &str) -> Result<Vec<(String, String, String, String, String)>, Error> {
        let rows = self.rows(query).await?;
        let read = |row: RowRef<'_>| {
            Ok((row.text("d")?, row.text("t")?, row.text("kind")?, row.text("client")?, row.text("owner")?))
        };
        rows.iter()
            .map(read)
            .collect::<Result<_, wire::Error>>()
            .map_err(Error::source("reading definitions"))
    }

    async fn program(
        &mut self,
        kind: Kind,
        (database, name): (String, String),
        table: Option<String>,
        (query, column, client): (&str, &str, &str),
    ) -> Result<(), Error> {
        let rows = self.show(kind, &database, &name, query, Some(Charset { client })).await?;
        let definition = read_shown(rows.as_ref(), kind, &database, &name, column)?;
        self.found.extend(definition.map(|definition| Definition { table, ..definition }));
        Ok(())
    }

    async fn charset(&mut self, from: &str) -> Result<String, Error> {
        let rows = self.rows(&format!("SELECT CHARACTER_SET_CLIENT FROM {from}")).await?;
        Ok(rows.single_text().unwrap_or_else(|_| "utf8mb4".into()))
    }

    /// A definition in its own character set; `None` when the object has just gone.
    async fn show(
        &mut self,
        kind: Kind,
        database: &str,
        name: &str,
        query: &str,
        charset: Option<Charset<'_>>,
    ) -> Result<Option<wire::ResultSet>, Error> {
        let failed = Error::source("reading definitions");
        let foreign = charset.filter(|charset| !charset.client.starts_with("utf8"));
        if let Some(charset) = &foreign {
            let set = format!("SET SESSION character_set_results = {}", charset.client);
            self.connection.execute(set).await.map_err(&failed)?;
        }
        let shown = match self.connection.query_rows(query).await {
            Ok(rows) => Ok(Some(rows)),
            // No such table, trigger or event; an undefined view is told below, by name.
            Err(wire::Error::Server(error)) if matches!(error.code, 1146 | 1360 | 1539) => Ok(None),
            Err(wire::Error::Server(source)) => Err(Error::Unreadable {
                object: format!("{kind} {database}.{name}"),
                needs: needs(kind),
                source,
            }),
            Err(error) => Err(failed(error)),
        };
        if foreign.is_some() {
            self.connection.execute("SET SESSION character_set_results = utf8mb4").await.map_err(&failed)?;
        }
        shown
    }
}

/// The privilege that reading such a definition takes.
fn needs(kind: Kind) -> &'static str {
    match kind {
        Kind::Database | Kind::Table | Kind::Indexes => "SELECT",
        Kind::View => "SHOW VIEW",
        Kind::Function | Kind::Procedure => "SHOW_ROUTINE",
        Kind::Trigger => "TRIGGER",
        Kind::Event => "EVENT",
    }
}

/// What `SHOW CREATE` of anything but a table gave.
fn read_shown(
    rows: Option<&wire::ResultSet>,
    kind: Kind,
    database: &str,
    name: &str,
    column: &str,
) -> Result<Option<Definition>, Error> {
    let failed = Error::source("reading definitions");
    let Some(row) = rows.and_then(|rows| rows.first()) else { return Ok(None) };
    // Who may not see a routine's text is told none.
    let Some(text) = row.bytes(column).map_err(&failed)? else {
        let source = wire::ServerError::new(1370, "42000", "its definition is not shown to this account");
        return Err(Error::Unreadable {
            object: format!("{kind} {database}.{name}"),
            needs: needs(kind),
            source,
        });
    };
    let optional = |name: &str| row.optional_text(name).ok().flatten();
    Ok(Some(Definition {
        kind,
        database: database.into(),
        name: name.into(),
        table: None,
        text: text.to_vec(),
        session: Session {
            sql_mode: optional("sql_mode").unwrap_or_default(),
            client: row.text("character_set_client").map_err(&failed)?,
            collation: row.text("collation_connection").map_err(&failed)?,
            time_zone: optional("time_zone").unwrap_or_else(|| "+00:00".into()),
        },
        reads: Vec::new(),
    }))
}
