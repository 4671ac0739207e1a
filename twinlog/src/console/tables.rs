//! What tables a region has, and how one is made: for the form of a new link.

use serde_json::{Value, json};
use twinlog::config::{File, names, verify_config};
use wire::{Connection, RowRef};

use super::actions::Refusal;
use crate::failure::Failure;

/// A server with more has its tables picked by patterns, by hand.
const MOST: usize = 2000;

/// The tables of a region's server, those of MySQL itself and of Twinlog left out.
pub(super) async fn list(file: &File, region: &str) -> Result<Value, Refusal> {
    let mut server = connect(file, region).await?;
    let query = format!(
        "SELECT TABLE_SCHEMA AS d, TABLE_NAME AS t, IFNULL(TABLE_ROWS, 0) AS n, IFNULL(DATA_LENGTH + INDEX_LENGTH, 0) AS b \
         FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA NOT IN \
         ('mysql', 'sys', 'information_schema', 'performance_schema', '{}') ORDER BY 1, 2 LIMIT {MOST}",
        file.sync.meta_schema.replace('\'', "''")
    );
    let rows = server.query_rows(query).await.map_err(|e| refused(region, &e))?;
    let table = |row: RowRef<'_>| -> Result<Value, wire::Error> {
        let (database, table) = (row.text("d")?, row.text("t")?);
        let (rows, bytes): (u64, u64) = (row.parse("n")?, row.parse("b")?);
        let in_step = file.sync.tables.matches(&database, &table);
        Ok(
            json!({ "table": format!("{database}.{table}"), "rows": rows, "bytes": bytes, "in_step": in_step }),
        )
    };
    let tables: Result<Vec<Value>, _> = rows.iter().map(table).collect();
    server.close().await;
    Ok(json!({ "tables": tables.map_err(|e| refused(region, &e))? }))
}

/// How a table of `from` is made in `to`, under the name that a link between them gives it; with what is there already.
pub(super) async fn structure(file: &File, from: &str, to: &str, table: &str) -> Result<Value, Refusal> {
    let name = |full: &str| full.split_once('.').map(|(d, t)| (d.to_owned(), t.to_owned()));
    let source = name(table).ok_or_else(|| Refusal::bad(format!("write database.table, not {table}")))?;
    let link = file.links.values().find(|l| l.from == from && l.to == to);
    let renamed = link.and_then(|link| names(link).there(&source.0, &source.1));
    let target = renamed.unwrap_or_else(|| source.clone());
    let made = show_create(file, from, &source).await?;
    let made = made.ok_or_else(|| Refusal::bad(format!("region {from} has no table {table}")))?;
    let create = match made.split_once(&quoted(&source.1)) {
        Some((before, after)) => format!("{before}{}.{}{after}", quoted(&target.0), quoted(&target.1)),
        None => made,
    };
    let existing = if file.regions.contains_key(to) { show_create(file, to, &target).await? } else { None };
    Ok(json!({ "create": create, "existing": existing }))
}

async fn show_create(
    file: &File,
    region: &str,
    (database, table): &(String, String),
) -> Result<Option<String>, Refusal> {
    let mut server = connect(file, region).await?;
    let asked = format!("SHOW CREATE TABLE {}.{}", quoted(database), quoted(table));
    let rows = match server.query_rows(asked).await {
        Ok(rows) => rows,
        // No such table, no such database.
        Err(error) if matches!(error.code(), Some(1146 | 1049)) => return Ok(None),
        Err(error) => return Err(refused(region, &error)),
    };
    let text = rows.first().map(|row| row.text("Create Table")).transpose();
    server.close().await;
    text.map_err(|e| refused(region, &e))
}

async fn connect(file: &File, region: &str) -> Result<Connection, Refusal> {
    let config = verify_config(file, Some(region))?;
    let mut last = None;
    for options in config.regions.get(region).into_iter().flatten() {
        match Connection::connect(options).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        Some(error) => refused(region, &error),
        None => Refusal::bad(format!("region {region} has no address")),
    })
}

fn refused(region: &str, error: &wire::Error) -> Refusal {
    Failure::from_error(&format!("region {region} can't be asked"), error).into()
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
