//! The target's row of a key, read and locked.

use binlog::row::{Column, ColumnType, Image, TableMap, Value};
use serde_json::Value as Json;
use wire::{Connection, ServerError};

use super::readable;
use crate::catalog::TargetTable;
use crate::collations::Collations;
use crate::{Error, sql};

/// Reads the row with the key of `image`, and locks it; where there is none, locks the gap, so that nobody inserts it
/// meanwhile (the transaction runs REPEATABLE READ). The inner error is the server's own.
pub(super) async fn lock(
    connection: &mut Connection,
    collations: &Collations,
    table: &TargetTable,
    map: &TableMap,
    image: &Image<'_>,
) -> Result<Result<Option<Json>, ServerError>, Error> {
    let Some(condition) = condition(collations, table, map, image) else { return Ok(Ok(None)) };
    let query = format!(
        "SELECT {} FROM {} WHERE {condition} FOR UPDATE",
        readable::selected(map),
        sql::table(&table.database, &table.table)
    );
    match connection.query_rows(query).await {
        Ok(rows) => Ok(Ok(rows.first().map(|row| readable::local(map, row)))),
        Err(wire::Error::Server(error)) => Ok(Err(error)),
        Err(error) => Err(Error::target("locking a row")(error)),
    }
}

/// The condition that finds the row; `None` where rows have no name.
pub(crate) fn condition(
    collations: &Collations,
    table: &TargetTable,
    map: &TableMap,
    image: &Image<'_>,
) -> Option<String> {
    let parts = table.keys.identity_columns();
    let each = |(position, prefix): (usize, Option<usize>)| {
        let column = map.columns.get(position)?;
        let value = literal(collations, column, image.get(position)?)?;
        let name = sql::name(&column.name);
        Some(match prefix {
            None => format!("{name} = {value}"),
            Some(n) => format!("LEFT({name}, {n}) = LEFT({value}, {n})"),
        })
    };
    let parts: Vec<String> = parts.into_iter().map(each).collect::<Option<_>>()?;
    (!parts.is_empty()).then(|| parts.join(" AND "))
}

/// A value as the server takes it back, equal to the column's own.
pub(crate) fn literal(collations: &Collations, column: &Column, value: &Value<'_>) -> Option<String> {
    Some(match value {
        Value::Null | Value::Json(_) | Value::JsonDiff(_) => return None,
        Value::Signed(n) => n.to_string(),
        Value::Unsigned(n) => n.to_string(),
        // A FLOAT column is compared as a DOUBLE: its own value, all digits.
        Value::Float(n) => format!("{:?}", f64::from(*n)),
        Value::Double(n) => format!("{n:?}"),
        Value::Text(text) => sql::text(text),
        Value::Timestamp(0, 0) => "'0000-00-00 00:00:00'".into(),
        Value::Timestamp(seconds, micros) => format!("FROM_UNIXTIME({seconds}.{micros:06})"),
        Value::Bytes(bytes) => match column.kind {
            ColumnType::Bit { .. } => format!("CAST({} AS UNSIGNED)", sql::bytes(bytes)),
            _ => match column.collation.and_then(|id| collations.get(id)) {
                Some(collation) if collation.charset != "binary" => {
                    format!("_{} {}", collation.charset, sql::bytes(bytes))
                }
                _ => sql::bytes(bytes),
            },
        },
    })
}
