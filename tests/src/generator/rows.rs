//! Statements that change rows.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::model::{Column, Table};
use super::types;

/// A statement of any shape.
pub(super) fn change(rng: &mut StdRng, table: &Table, other: &Table) -> String {
    match rng.random_range(0..20) {
        0..=7 => insert(rng, table),
        8..=12 => update(rng, table),
        13..=14 => delete(rng, table),
        15 => update_json(rng, table),
        16 => format!("INSERT IGNORE INTO {0} SELECT * FROM {0} ORDER BY RAND() LIMIT 5", table.name),
        17 => copy(rng, table),
        18 => update_two(rng, table, other),
        _ => format!(
            "DELETE a FROM {} a JOIN {} b ON {} LIMIT_NONE",
            table.name,
            other.name,
            joined(rng, table)
        )
        .replace(" LIMIT_NONE", ""),
    }
}

fn insert(rng: &mut StdRng, table: &Table) -> String {
    let columns: Vec<&Column> = table
        .written()
        .filter(|c| !(c.auto_increment && rng.random_bool(0.8)) && (c.primary || rng.random_bool(0.9)))
        .collect();
    let names: Vec<String> = columns.iter().map(|c| format!("`{}`", c.name)).collect();
    let rows: Vec<String> = (0..rng.random_range(1..6))
        .map(|_| format!("({})", columns.iter().map(|c| cell(rng, c)).collect::<Vec<_>>().join(", ")))
        .collect();
    let verb = ["INSERT", "INSERT", "INSERT IGNORE", "REPLACE"].choose(rng).unwrap_or(&"INSERT");
    let tail = if *verb == "INSERT" && rng.random_bool(0.4) && !columns.is_empty() {
        let column = columns.choose(rng).expect("it is not empty");
        format!(" ON DUPLICATE KEY UPDATE `{}` = {}", column.name, cell(rng, column))
    } else {
        String::new()
    };
    format!("{verb} INTO {} ({}) VALUES {}{tail}", table.name, names.join(", "), rows.join(", "))
}

fn cell(rng: &mut StdRng, column: &Column) -> String {
    if column.nullable && rng.random_bool(0.15) {
        return "NULL".into();
    }
    if !column.primary && rng.random_bool(0.05) {
        return "DEFAULT".into();
    }
    types::value(rng, &column.kind)
}

/// Which rows: without LIMIT, whose choice is the server's.
fn which(rng: &mut StdRng, table: &Table) -> String {
    let Some(column) = table.columns.choose(rng) else { return "1 = 1".into() };
    match rng.random_range(0..6) {
        0 => format!("`{}` = {}", column.name, types::value(rng, &column.kind)),
        1 => format!("`{}` IS NULL", column.name),
        2 => format!("CRC32(`{}`) % 7 = {}", column.name, rng.random_range(0..7)),
        3 => format!("`{}` < {}", column.name, types::value(rng, &column.kind)),
        4 => format!("RAND() < {:.2}", rng.random_range(0.05..0.4)),
        _ => format!("CRC32(`{}`) % 31 = {}", column.name, rng.random_range(0..31)),
    }
}

fn update(rng: &mut StdRng, table: &Table) -> String {
    let columns: Vec<&Column> = table.written().collect();
    let count = rng.random_range(1..3).min(columns.len());
    let start = rng.random_range(0..columns.len().max(1));
    let some: Vec<String> = (0..count)
        .map(|n| columns[(start + n) % columns.len()])
        .map(|c| format!("`{}` = {}", c.name, cell(rng, c)))
        .collect();
    if some.is_empty() {
        return "DO 0".into();
    }
    let ignore = if rng.random_bool(0.2) { "IGNORE " } else { "" };
    format!("UPDATE {ignore}{} SET {} WHERE {}", table.name, some.join(", "), which(rng, table))
}

fn delete(rng: &mut StdRng, table: &Table) -> String {
    let order = table.key().map(|c| format!("`{}`", c.name)).collect::<Vec<_>>().join(", ");
    if order.is_empty() {
        return format!("DELETE FROM {} WHERE {}", table.name, which(rng, table));
    }
    format!(
        "DELETE FROM {} WHERE {} ORDER BY {order} LIMIT {}",
        table.name,
        which(rng, table),
        rng.random_range(1..9)
    )
}

/// A change inside a document: logged in part where the session asks for it.
fn update_json(rng: &mut StdRng, table: &Table) -> String {
    let Some(column) = table.columns.iter().find(|c| c.kind == "json") else { return update(rng, table) };
    let name = &column.name;
    let change = match rng.random_range(0..4) {
        0 => format!("JSON_SET(`{name}`, '$.n', {})", rng.random_range(0..100)),
        1 => format!("JSON_REMOVE(`{name}`, '$.k')"),
        2 => format!("JSON_REPLACE(`{name}`, '$.k', 'another', '$[0]', {})", rng.random_range(0..9)),
        _ => format!("JSON_SET(`{name}`, '$.deep', {}, '$.n', 1)", types::json(rng, 2)),
    };
    format!("UPDATE {} SET `{name}` = {change} WHERE {}", table.name, which(rng, table))
}

/// Rows of the table once more, with other keys.
fn copy(rng: &mut StdRng, table: &Table) -> String {
    let columns: Vec<&Column> = table.written().filter(|c| !c.auto_increment).collect();
    let names: Vec<String> = columns.iter().map(|c| format!("`{}`", c.name)).collect();
    let values: Vec<String> = columns
        .iter()
        .map(|c| if c.primary { types::value(rng, &c.kind) } else { format!("`{}`", c.name) })
        .collect();
    format!(
        "INSERT IGNORE INTO {0} ({1}) SELECT {2} FROM {0} LIMIT 3",
        table.name,
        names.join(", "),
        values.join(", ")
    )
}

fn update_two(rng: &mut StdRng, table: &Table, other: &Table) -> String {
    let (mine, its): (Vec<&Column>, Vec<&Column>) = (table.written().collect(), other.written().collect());
    let (Some(a), Some(b)) = (mine.choose(rng), its.choose(rng)) else { return "DO 0".into() };
    format!(
        "UPDATE IGNORE {} a JOIN {} b ON {} SET a.`{}` = {}, b.`{}` = {}",
        table.name,
        other.name,
        joined(rng, table),
        a.name,
        cell(rng, a),
        b.name,
        cell(rng, b)
    )
}

fn joined(rng: &mut StdRng, table: &Table) -> String {
    let name = table.columns.choose(rng).map_or("1", |c| c.name.as_str());
    format!("CRC32(a.`{name}`) % 23 = {}", rng.random_range(0..23))
}
