//! A table's unique keys, as the target tells them.

use wire::Connection;

use crate::conflict::key::{Part, UniqueKey};
use crate::{Error, sql};

/// The unique keys of a table: the primary key first, then those without NULLs. One with an expression in it is left
/// out: its values are not in row images.
pub(crate) async fn read(
    connection: &mut Connection,
    database: &str,
    table: &str,
) -> Result<Vec<UniqueKey>, Error> {
    let failed = Error::target("reading a table's keys");
    let query = format!(
        "SELECT INDEX_NAME AS name, COLUMN_NAME AS part, SUB_PART AS prefix, NULLABLE AS nullable \
         FROM information_schema.STATISTICS WHERE NON_UNIQUE = 0 AND TABLE_SCHEMA = {} AND TABLE_NAME = {} \
         ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX",
        sql::text(database),
        sql::text(table)
    );
    let rows = connection.query_rows(query).await.map_err(&failed)?;
    let mut keys: Vec<UniqueKey> = Vec::new();
    let mut functional: Vec<String> = Vec::new();
    for row in rows.iter() {
        let name = row.text("name").map_err(&failed)?;
        let Some(column) = row.optional_text("part").map_err(&failed)? else {
            functional.push(name);
            continue;
        };
        let prefix = row.optional_text("prefix").map_err(&failed)?.and_then(|n| n.parse().ok());
        let part = Part { column: column.to_lowercase(), prefix };
        let nullable = row.optional_text("nullable").map_err(&failed)?.is_some_and(|n| n == "YES");
        match keys.last_mut().filter(|key| key.name == name) {
            Some(key) => {
                key.parts.push(part);
                key.nullable |= nullable;
            }
            None => keys.push(UniqueKey { name, parts: vec![part], nullable }),
        }
    }
    keys.retain(|key| !functional.contains(&key.name));
    keys.sort_by_key(|key| key.nullable);
    Ok(keys)
}
