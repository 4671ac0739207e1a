//! What tables a region has, and how one is made in another: for the form of a new link.

use hyper::Method;
use serde_json::{Value, json};
use twinlog::config::{File, names};

use super::actions::Refusal;
use super::peers::{about, step};
use crate::admin::client::{ORDER_TIMEOUT, Refused, first};

/// The tables of a region's server.
pub(super) async fn list(file: &File, region: &str) -> Result<Value, Refusal> {
    Ok(ask(file, region, &format!("/api/v1/tables/{}", step(region))).await?)
}

/// How a table of `from` is made in `to`, under the name that a link between them gives it; with what is there already.
pub(super) async fn structure(file: &File, from: &str, to: &str, table: &str) -> Result<Value, Refusal> {
    let (database, name) =
        table.split_once('.').ok_or_else(|| Refusal::bad(format!("write database.table, not {table}")))?;
    let link = file.links.values().find(|l| l.from == from && l.to == to);
    let renamed = link.and_then(|link| names(link).there(database, name));
    let target = renamed.unwrap_or_else(|| (database.to_owned(), name.to_owned()));
    let made = definition(file, from, table).await?;
    let made = made.ok_or_else(|| Refusal::bad(format!("region {from} has no table {table}")))?;
    let create = match made.split_once(&quoted(name)) {
        Some((before, after)) => format!("{before}{}.{}{after}", quoted(&target.0), quoted(&target.1)),
        None => made,
    };
    // What stands in the target is worth a word; that nobody can be asked about it is not worth an error.
    let existing = match file.regions.contains_key(to) {
        true => definition(file, to, &format!("{}.{}", target.0, target.1)).await.unwrap_or_default(),
        false => None,
    };
    Ok(json!({ "create": create, "existing": existing }))
}

async fn definition(file: &File, region: &str, table: &str) -> Result<Option<String>, Refusal> {
    let answer = ask(file, region, &format!("/api/v1/tables/{}/{}", step(region), step(table))).await?;
    Ok(answer["create"].as_str().map(str::to_owned))
}

async fn ask(file: &File, region: &str, path: &str) -> Result<Value, Refused> {
    first(&about(file, region), (Method::GET, path), &Value::Null, ORDER_TIMEOUT).await
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
