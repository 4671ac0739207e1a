//! The target's row of a key, in SQL.

use binlog::row::{Column, ColumnType, Image, TableMap, Value};

use super::readable;
use crate::catalog::TargetTable;
use crate::collations::Collations;
use crate::sql;

/// The question for the row with the key of `image`, which locks it; `None` where rows have no name.
pub(super) fn question(
    collations: &Collations,
    table: &TargetTable,
    map: &TableMap,
    image: &Image<'_>,
) -> Option<Vec<u8>> {
    let condition = condition(collations, table, map, image)?;
    let table = sql::table(&table.database, &table.table);
    let selected = readable::selected(map);
    Some(format!("SELECT {selected} FROM {table} WHERE {condition} FOR UPDATE").into_bytes())
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
