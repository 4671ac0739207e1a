//! Reads the tables in step of a server, by a handful of questions however many tables there are.

use std::collections::BTreeSet;

use twinlog::config::File;
use wire::{Connection, RowRef};

use super::schema::{Column, ForeignKey, Key, Name, Schema, Table, in_step};
use super::sql;

/// Only which tables there are, and their engines.
pub(crate) async fn engines(
    connection: &mut Connection,
    file: &File,
    region: &str,
) -> Result<Schema, wire::Error> {
    let mut schema = Schema::default();
    let query = "SELECT TABLE_SCHEMA AS d, TABLE_NAME AS t, ENGINE AS engine FROM information_schema.TABLES \
        WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')";
    for row in connection.query_rows(query).await?.iter() {
        let name = name(&row)?;
        if in_step(file, region, &name.0, &name.1) {
            let engine = row.optional_text("engine")?.unwrap_or_default();
            schema.tables.insert(name, Table { engine, ..Table::default() });
        }
    }
    Ok(schema)
}

/// Reads what is in step, as this session sees it.
pub(crate) async fn read(
    connection: &mut Connection,
    file: &File,
    region: &str,
) -> Result<Schema, wire::Error> {
    let mut schema = engines(connection, file, region).await?;
    let databases: BTreeSet<String> = schema.tables.keys().map(|(database, _)| database.clone()).collect();
    if databases.is_empty() {
        return Ok(schema);
    }
    let list = sql::list(databases.iter().map(String::as_str));
    columns(connection, &list, &mut schema).await?;
    keys(connection, &list, &mut schema).await?;
    foreign_keys(connection, &list, &mut schema).await?;
    schema.triggers = triggers(connection, &databases, &list, &schema).await?;
    schema.events = events(connection, &databases).await?;
    Ok(schema)
}

fn name(row: &RowRef<'_>) -> Result<Name, wire::Error> {
    Ok((row.text("d")?, row.text("t")?))
}

async fn columns(connection: &mut Connection, list: &str, schema: &mut Schema) -> Result<(), wire::Error> {
    let query = format!(
        "SELECT TABLE_SCHEMA AS d, TABLE_NAME AS t, COLUMN_NAME AS name, COLUMN_TYPE AS type, DATA_TYPE AS base, \
         CHARACTER_OCTET_LENGTH AS octets, CHARACTER_MAXIMUM_LENGTH AS characters, CHARACTER_SET_NAME AS charset, COLLATION_NAME AS collation, \
         IS_NULLABLE AS nullable, COLUMN_DEFAULT AS value, EXTRA AS extra, GENERATION_EXPRESSION AS expression \
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA IN ({list}) ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION"
    );
    for row in connection.query_rows(query).await?.iter() {
        let Some(table) = schema.tables.get_mut(&name(&row)?) else { continue };
        let (name, column_type) = (row.text("name")?, row.text("type")?);
        let octets = row.optional_text("octets")?.and_then(|n| n.parse().ok());
        table.columns.push(Column {
            column_type,
            base_type: row.text("base")?.to_lowercase(),
            octets,
            characters: row.optional_text("characters")?.and_then(|n| n.parse().ok()),
            charset: row.optional_text("charset")?,
            collation: row.optional_text("collation")?,
            nullable: row.text("nullable")? == "YES",
            default: row.optional_text("value")?,
            extra: row.text("extra")?,
            generated: row.optional_text("expression")?.unwrap_or_default(),
            name,
        });
    }
    Ok(())
}

async fn keys(connection: &mut Connection, list: &str, schema: &mut Schema) -> Result<(), wire::Error> {
    let query = format!(
        "SELECT TABLE_SCHEMA AS d, TABLE_NAME AS t, INDEX_NAME AS name, COLUMN_NAME AS part, SUB_PART AS prefix, \
         NULLABLE AS nullable, EXPRESSION AS expression FROM information_schema.STATISTICS \
         WHERE NON_UNIQUE = 0 AND TABLE_SCHEMA IN ({list}) ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"
    );
    for row in connection.query_rows(query).await?.iter() {
        let Some(table) = schema.tables.get_mut(&name(&row)?) else { continue };
        let key = row.text("name")?;
        let expression = row.optional_text("expression")?;
        let column = row.optional_text("part")?;
        let functional = column.is_none();
        let mut part = column.or(expression).unwrap_or_default();
        if let Some(prefix) = row.optional_text("prefix")? {
            part = format!("{part}({prefix})");
        }
        let nullable = row.optional_text("nullable")?.is_some_and(|n| n == "YES");
        match table.keys.last_mut().filter(|last| last.name == key) {
            Some(last) => {
                last.parts.push(part);
                last.nullable |= nullable;
                last.functional |= functional;
            }
            None => table.keys.push(Key { name: key, parts: vec![part], nullable, functional }),
        }
    }
    Ok(())
}

async fn foreign_keys(
    connection: &mut Connection,
    list: &str,
    schema: &mut Schema,
) -> Result<(), wire::Error> {
    let query = format!(
        "SELECT CONSTRAINT_SCHEMA AS d, TABLE_NAME AS t, CONSTRAINT_NAME AS name, UNIQUE_CONSTRAINT_SCHEMA AS parent_d, \
         REFERENCED_TABLE_NAME AS parent_t, UPDATE_RULE AS on_update, DELETE_RULE AS on_delete \
         FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA IN ({list})"
    );
    for row in connection.query_rows(query).await?.iter() {
        let Some(table) = schema.tables.get_mut(&name(&row)?) else { continue };
        table.foreign_keys.push(ForeignKey {
            name: row.text("name")?,
            parent: (row.text("parent_d")?, row.text("parent_t")?),
            on_update: row.text("on_update")?,
            on_delete: row.text("on_delete")?,
        });
    }
    Ok(())
}

/// Triggers are seen with the TRIGGER privilege, and without it there just seem to be none: so this is the one
/// place where grants are read.
async fn triggers(
    connection: &mut Connection,
    databases: &BTreeSet<String>,
    list: &str,
    schema: &Schema,
) -> Result<Option<Vec<(Name, String)>>, wire::Error> {
    let grants = connection.query_rows("SHOW GRANTS").await?;
    let grants: Vec<String> = (0..grants.rows.len())
        .filter_map(|i| String::from_utf8(grants.rows[i].first()?.as_ref()?.to_vec()).ok())
        .collect();
    if !databases.iter().all(|database| may_see_triggers(&grants, database)) {
        return Ok(None);
    }
    let query = format!(
        "SELECT EVENT_OBJECT_SCHEMA AS d, EVENT_OBJECT_TABLE AS t, TRIGGER_NAME AS name \
         FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA IN ({list})"
    );
    let mut triggers = Vec::new();
    for row in connection.query_rows(query).await?.iter() {
        let table = name(&row)?;
        if schema.tables.contains_key(&table) {
            triggers.push((table, row.text("name")?));
        }
    }
    Ok(Some(triggers))
}

/// Does one of the grants give TRIGGER on the whole database?
fn may_see_triggers(grants: &[String], database: &str) -> bool {
    let places = ["*.*".to_owned(), format!("{}.*", sql::name(database))];
    grants.iter().any(|grant| {
        let Some((privileges, rest)) = grant.strip_prefix("GRANT ").and_then(|g| g.split_once(" ON ")) else {
            return false;
        };
        let gives = privileges.split(", ").any(|p| p == "TRIGGER" || p == "ALL PRIVILEGES");
        gives && places.iter().any(|place| rest.starts_with(&format!("{place} ")))
    })
}

/// Enabled events; without the EVENT privilege the server refuses to show them.
async fn events(
    connection: &mut Connection,
    databases: &BTreeSet<String>,
) -> Result<Option<Vec<String>>, wire::Error> {
    let mut events = Vec::new();
    for database in databases {
        let rows = match connection.query_rows(format!("SHOW EVENTS FROM {}", sql::name(database))).await {
            Ok(rows) => rows,
            Err(wire::Error::Server(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        for row in rows.iter() {
            if row.text("Status")? == "ENABLED" {
                events.push(format!("{database}.{}", row.text("Name")?));
            }
        }
    }
    Ok(Some(events))
}

#[cfg(test)]
mod tests {
    use super::may_see_triggers;

    #[test]
    fn a_grant_on_all_or_on_the_database_shows_triggers_and_one_on_another_does_not() {
        let grants = |text: &str| vec![text.to_owned()];
        assert!(may_see_triggers(&grants("GRANT ALL PRIVILEGES ON `shop`.* TO `w`@`%`"), "shop"));
        assert!(may_see_triggers(
            &grants("GRANT SELECT, TRIGGER ON *.* TO `w`@`%` WITH GRANT OPTION"),
            "shop"
        ));
        assert!(!may_see_triggers(&grants("GRANT SELECT, TRIGGER ON `store`.* TO `w`@`%`"), "shop"));
        assert!(!may_see_triggers(&grants("GRANT SELECT ON `shop`.* TO `w`@`%`"), "shop"));
    }
}
