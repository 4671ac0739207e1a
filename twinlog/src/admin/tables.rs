//! `/api/v1/tables/REGION`: the tables of a region's server, and how one is made. Asked by who draws up a new link on a
//! host that does not reach the server.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use twinlog::config::{File, region_servers};
use wire::{ConnectOptions, Connection, RowRef};

use super::call::Call;
use super::reply::Reply;
use super::site::Site;
use super::text_of;
use crate::failure::Failure;

/// A server with more has its tables picked by patterns, by hand.
const MOST: usize = 2000;

pub(super) async fn answer(site: &Site, call: &Call, rest: &[&str]) -> Result<Reply, Reply> {
    call.only(&Method::GET, "GET")?;
    call.knows(&[])?;
    let (region, table) = match *rest {
        [region] => (region, None),
        [region, table] => (region, Some(table)),
        _ => return Err(Reply::not_found("name the region: /api/v1/tables/REGION")),
    };
    let file = site.file();
    if !file.regions.contains_key(region) {
        return Err(Reply::not_found("no such region in the file"));
    }
    let name = match table.map(|table| (table, table.split_once('.'))) {
        None => None,
        Some((_, Some(name))) => Some(name),
        Some((table, None)) => {
            return Err(Reply::bad(&format!("write database.table, not {}", text_of(table))));
        }
    };
    let servers = region_servers(&file, region).map_err(|faults| failed(&Failure::from(faults)))?;
    let mut server = connect(region, &servers).await?;
    let answer = match name {
        None => list(&file, &mut server).await,
        Some(name) => definition(&mut server, name).await,
    };
    let answer = answer.map_err(|error| match error.code() {
        // Who asks may not know whether it is there. Another process's account may see it.
        Some(1142 | 1044) => Reply::error(
            StatusCode::NOT_FOUND,
            &format!("the account in region {region} sees no such table: {error}"),
            Some("grant SELECT on it to the account, or correct the name"),
        ),
        _ => refused(region, &error),
    })?;
    server.close().await;
    Ok(Reply::json(&answer))
}

/// Its tables, those of MySQL itself and of Twinlog left out.
async fn list(file: &File, server: &mut Connection) -> Result<Value, wire::Error> {
    let query = format!(
        "SELECT TABLE_SCHEMA AS d, TABLE_NAME AS t, IFNULL(TABLE_ROWS, 0) AS n, IFNULL(DATA_LENGTH + INDEX_LENGTH, 0) AS b \
         FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA NOT IN \
         ('mysql', 'sys', 'information_schema', 'performance_schema', '{}') ORDER BY 1, 2 LIMIT {MOST}",
        file.sync.meta_schema.replace('\'', "''")
    );
    let table = |row: RowRef<'_>| -> Result<Value, wire::Error> {
        let (database, table) = (row.text("d")?, row.text("t")?);
        let (rows, bytes): (u64, u64) = (row.parse("n")?, row.parse("b")?);
        let in_step = file.sync.tables.matches(&database, &table);
        let name = format!("{database}.{table}");
        Ok(json!({ "table": name, "rows": rows, "bytes": bytes, "in_step": in_step }))
    };
    let rows = server.query_rows(query).await?;
    let tables = rows.iter().map(table).collect::<Result<Vec<Value>, _>>()?;
    Ok(json!({ "tables": tables }))
}

/// The statement that makes it; `null` when there is no such table.
async fn definition(server: &mut Connection, (database, table): (&str, &str)) -> Result<Value, wire::Error> {
    let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
    let asked = format!("SHOW CREATE TABLE {}.{}", quoted(database), quoted(table));
    let create = match server.query_rows(asked).await {
        // A view has no such column.
        Ok(rows) => rows.first().and_then(|row| row.text("Create Table").ok()),
        // No such table, no such database; a name that is none.
        Err(error) if matches!(error.code(), Some(1146 | 1049 | 1102 | 1103 | 1059)) => None,
        Err(error) => return Err(error),
    };
    Ok(json!({ "table": format!("{database}.{table}"), "create": create }))
}

async fn connect(region: &str, servers: &[ConnectOptions]) -> Result<Connection, Reply> {
    let mut last = Reply::not_found("the region has no address");
    for options in servers {
        match Connection::connect(options).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = refused(region, &error),
        }
    }
    Err(last)
}

fn refused(region: &str, error: &wire::Error) -> Reply {
    failed(&Failure::from_error(&format!("region {region} can't be asked"), error))
}

fn failed(failure: &Failure) -> Reply {
    Reply::failure(StatusCode::BAD_GATEWAY, failure)
}
