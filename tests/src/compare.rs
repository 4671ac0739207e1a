//! Are two regions equal? And where not, which rows differ.

use std::collections::BTreeMap;

use mysql_async::{Row, Value};

use crate::Region;

/// Rows of a differing table that are shown for each side.
const SHOWN: usize = 4;

/// The base tables of these schemas, as `schema`.`table` ready for SQL.
pub async fn tables_in_step(region: &Region, schemas: &[String]) -> Vec<String> {
    let schemas: Vec<String> = schemas.iter().map(|s| format!("'{s}'")).collect();
    let query = format!(
        "SELECT CONCAT('`', table_schema, '`.`', REPLACE(table_name, '`', '``'), '`') FROM information_schema.tables \
         WHERE table_type = 'BASE TABLE' AND table_schema IN ({}) ORDER BY 1",
        schemas.join(", ")
    );
    region.rows(&query).await
}

/// `Ok` when both regions hold the same tables with the same checksums, else a text that shows what differs.
pub async fn difference(a: &Region, b: &Region, schemas: &[String]) -> Result<(), String> {
    let (tables_a, tables_b) =
        tokio::join!(Box::pin(tables_in_step(a, schemas)), Box::pin(tables_in_step(b, schemas)));
    if tables_a != tables_b {
        return Err(format!("tables: {}: {tables_a:?}, {}: {tables_b:?}", a.name(), b.name()));
    }
    if tables_a.is_empty() {
        return Ok(());
    }
    let query = format!("CHECKSUM TABLE {}", tables_a.join(", "));
    let (sums_a, sums_b) = tokio::join!(Box::pin(checksums(a, &query)), Box::pin(checksums(b, &query)));
    let mut text = String::new();
    for (table, (sum_a, sum_b)) in tables_a.iter().zip(sums_a.iter().zip(&sums_b)) {
        if sum_a != sum_b {
            text += &differing_rows(a, b, table).await;
        }
    }
    if text.is_empty() { Ok(()) } else { Err(text) }
}

async fn checksums(region: &Region, query: &str) -> Vec<Option<u64>> {
    region.rows::<(String, Option<u64>)>(query).await.into_iter().map(|(_, sum)| sum).collect()
}

async fn differing_rows(a: &Region, b: &Region, table: &str) -> String {
    let query = format!("SELECT * FROM {table}");
    let (rows_a, rows_b) = tokio::join!(Box::pin(counted(a, &query)), Box::pin(counted(b, &query)));
    let total = |rows: &BTreeMap<String, usize>| rows.values().sum::<usize>();
    let mut text = format!(
        "\n{table} differs: {} rows in {}, {} rows in {}",
        total(&rows_a),
        a.name(),
        total(&rows_b),
        b.name()
    );
    for (name, mine, other) in [(a.name(), &rows_a, &rows_b), (b.name(), &rows_b, &rows_a)] {
        let only = mine.iter().filter(|(row, count)| other.get(*row) != Some(count));
        let shown: Vec<String> =
            only.take(SHOWN).map(|(row, count)| format!("\n    {count} x {row}")).collect();
        text += &format!("\n  in {name} only:{}", shown.concat());
    }
    text
}

/// Every row as text, and how often it is there.
async fn counted(region: &Region, query: &str) -> BTreeMap<String, usize> {
    let mut rows = BTreeMap::new();
    for row in region.rows::<Row>(query).await {
        let values: Vec<String> = row.unwrap().iter().map(shown).collect();
        *rows.entry(values.join(", ")).or_default() += 1;
    }
    rows
}

fn shown(value: &Value) -> String {
    let text = value.as_sql(true);
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…({} bytes)", &text[..end], text.len()),
        None => text,
    }
}
