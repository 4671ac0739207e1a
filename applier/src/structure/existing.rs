//! What is in the target already, held against what is to be made.
//!
//! With `existing = "error"` a table may be there if it is empty and defined alike; anything else stops the link before
//! a thing is made, and all of it is listed. With `"keep"` what is there stays, as long as rows fit.

use std::collections::HashSet;

use wire::{Connection, RowRef};

use super::plan::Making;
use super::read::Kind;
use crate::Existing;
use crate::catalog::without_counter;
use crate::names::Name;
use crate::remap::{ColumnFacts, rows_fit};
use crate::{Config, Error, Names, ddl, sql, target};

/// Takes out of the plan what is there and stays. `stay`: tables of the source that do, whatever is there.
pub(super) async fn settle(
    target: &mut Connection,
    config: &Config,
    stay: &[Name],
    plan: &mut Vec<Making>,
) -> Result<(), Error> {
    let there = Present::read(target).await?;
    let (mut in_the_way, mut kept) = (Vec::new(), HashSet::new());
    for (i, making) in plan.iter().enumerate() {
        if !there.has(making) {
            continue;
        }
        kept.insert(i);
        let why = match (making.kind, config.load.existing) {
            (Kind::Table, _) if stay.contains(&making.of) => None,
            (Kind::Table, Existing::Error) => refused(target, making).await?,
            (Kind::Table, Existing::Keep) => unfit(target, config, making).await?,
            (Kind::View, Existing::Error) if !is_same_view(target, making).await? => {
                Some("is there with another query".to_owned())
            }
            (Kind::Function | Kind::Procedure | Kind::Trigger | Kind::Event, Existing::Error) => {
                Some("is there".to_owned())
            }
            _ => None,
        };
        in_the_way.extend(why.map(|why| format!("{} {why}", making.object())));
    }
    if !in_the_way.is_empty() {
        return Err(Error::InTheWay { objects: in_the_way, keep: config.load.existing == Existing::Keep });
    }
    let mut at = 0..;
    plan.retain(|_| at.next().is_none_or(|i| !kept.contains(&i)));
    Ok(())
}

/// Every object of the target that this account can see, by kind.
struct Present(HashSet<(Kind, String, String)>);

impl Present {
    async fn read(connection: &mut Connection) -> Result<Self, Error> {
        let failed = Error::target("looking for what is there");
        // A name is taken by a table or view alike.
        let query = "SELECT 'database' AS kind, SCHEMA_NAME AS d, SCHEMA_NAME AS t FROM information_schema.SCHEMATA \
            UNION ALL SELECT IF(TABLE_TYPE = 'VIEW', 'view', 'table'), TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES \
            UNION ALL SELECT LOWER(ROUTINE_TYPE), ROUTINE_SCHEMA, ROUTINE_NAME FROM information_schema.ROUTINES \
            UNION ALL SELECT 'trigger', TRIGGER_SCHEMA, TRIGGER_NAME FROM information_schema.TRIGGERS \
            UNION ALL SELECT 'event', EVENT_SCHEMA, EVENT_NAME FROM information_schema.EVENTS";
        let rows = connection.query_rows(query).await.map_err(&failed)?;
        let read = |row: RowRef<'_>| {
            let kind = match row.text("kind")?.as_str() {
                "database" => Kind::Database,
                "view" => Kind::View,
                "table" => Kind::Table,
                "function" => Kind::Function,
                "procedure" => Kind::Procedure,
                "trigger" => Kind::Trigger,
                _ => Kind::Event,
            };
            Ok((kind, row.text("d")?, row.text("t")?))
        };
        rows.iter().map(read).collect::<Result<_, wire::Error>>().map(Self).map_err(failed)
    }

    fn has(&self, making: &Making) -> bool {
        let is = |kind: Kind| self.0.contains(&(kind, making.database.clone(), making.name.clone()));
        match making.kind {
            Kind::Table | Kind::View => is(Kind::Table) || is(Kind::View),
            kind => is(kind),
        }
    }
}

/// Why a table that is there is in the way, if it is.
async fn refused(target: &mut Connection, making: &Making) -> Result<Option<String>, Error> {
    let failed = Error::target("looking for what is there");
    let name = sql::table(&making.database, &making.name);
    let there = target.query_rows(format!("SHOW CREATE TABLE {name}")).await.map_err(&failed)?;
    let there = there.first().map(|row| row.text_at(1)).transpose().map_err(&failed)?.unwrap_or_default();
    let wanted = without_counter(&String::from_utf8_lossy(&making.statement));
    let there = ddl::qualified(&without_counter(&there), &making.database, &Names::default());
    if there.as_ref() != Ok(&wanted) {
        let there = there.unwrap_or_else(|why| why);
        return Ok(Some(format!("is there with another definition\n  wanted: {wanted}\n  there:  {there}")));
    }
    let rows = target.query_rows(format!("SELECT 1 FROM {name} LIMIT 1")).await.map_err(&failed)?;
    Ok((!rows.rows.is_empty()).then(|| "is there and holds rows".into()))
}

/// Why rows of the source would not fit a table that is there, if they would not.
async fn unfit(target: &mut Connection, config: &Config, making: &Making) -> Result<Option<String>, Error> {
    let mut source = target::connect_source(&config.source_servers).await?;
    let (from, to) = (&making.of, (&making.database, &making.name));
    let wanted =
        columns(&mut source, &from.0, &from.1).await.map_err(Error::source("reading definitions"))?;
    let there = columns(target, to.0, to.1).await.map_err(Error::target("reading definitions"))?;
    source.close().await;
    Ok(rows_fit(&wanted, &there).err().map(|difference| {
        let (wanted, there) = (describe(&wanted), describe(&there));
        format!("does not fit: {difference}\n  source: {wanted}\n  target: {there}")
    }))
}

fn describe(columns: &[ColumnFacts]) -> String {
    columns.iter().map(|c| format!("{} {}", c.name, c.column_type)).collect::<Vec<_>>().join(", ")
}

async fn columns(
    connection: &mut Connection,
    database: &str,
    table: &str,
) -> Result<Vec<ColumnFacts>, wire::Error> {
    let query = format!(
        "SELECT COLUMN_NAME AS name, COLUMN_TYPE AS kind, CHARACTER_OCTET_LENGTH AS octets, \
         CHARACTER_MAXIMUM_LENGTH AS characters, CHARACTER_SET_NAME AS charset, IS_NULLABLE AS nullable, \
         COLUMN_DEFAULT AS value, EXTRA AS extra, COLUMN_KEY AS in_key \
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} ORDER BY ORDINAL_POSITION",
        sql::text(database),
        sql::text(table)
    );
    let rows = connection.query_rows(query).await?;
    let facts = |row: RowRef<'_>| {
        let number = |name: &str| Ok::<_, wire::Error>(row.optional_text(name)?.and_then(|n| n.parse().ok()));
        Ok(ColumnFacts {
            name: row.text("name")?,
            column_type: row.text("kind")?,
            octets: number("octets")?,
            characters: number("characters")?,
            charset: row.optional_text("charset")?,
            collation: None,
            nullable: row.text("nullable")? == "YES",
            has_default: row.text("extra")?.contains("GENERATED") || row.bytes("value")?.is_some(),
            in_primary_key: row.text("in_key")? == "PRI",
        })
    };
    rows.iter().map(facts).collect()
}

/// Is a view there with this query? Whoever defined it.
async fn is_same_view(target: &mut Connection, making: &Making) -> Result<bool, Error> {
    let failed = Error::target("looking for what is there");
    let query = format!("SHOW CREATE VIEW {}", sql::table(&making.database, &making.name));
    let shown = match target.query_rows(query).await {
        Ok(rows) => rows.first().map(|row| row.text_at(1)).transpose().map_err(&failed)?,
        // A table of that name; or this account may not see what it is.
        Err(wire::Error::Server(_)) => None,
        Err(error) => return Err(failed(error)),
    };
    let query_of = |text: &str| text.split_once(" VIEW ").map(|(_, query)| query.to_owned());
    let there = shown.and_then(|text| ddl::qualified(&text, &making.database, &Names::default()).ok());
    let wanted = String::from_utf8_lossy(&making.statement).into_owned();
    Ok(there.is_some_and(|there| query_of(&there) == query_of(&wanted)))
}
