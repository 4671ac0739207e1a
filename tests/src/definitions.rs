//! Are definitions equal, not only rows?

use std::collections::BTreeMap;

use mysql_async::prelude::Queryable;

use crate::Region;

/// The definition of every table, view and database of these schemas, by name; the next `AUTO_INCREMENT` is left out.
pub async fn definitions(region: &Region, schemas: &[String]) -> BTreeMap<String, String> {
    let mut session = region.connect().await;
    let mut all = BTreeMap::new();
    for schema in schemas {
        let query = format!("SHOW CREATE DATABASE `{schema}`");
        if let Ok(Some((_, text))) = session.query_first::<(String, String), _>(&query).await {
            all.insert(format!("database {schema}"), text);
        }
        let query = format!(
            "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = '{schema}'"
        );
        let names: Vec<(String, String)> = session.query(&query).await.unwrap_or_default();
        for (name, kind) in names {
            let what = if kind == "VIEW" { "VIEW" } else { "TABLE" };
            let query = format!("SHOW CREATE {what} `{schema}`.`{name}`");
            let row: Option<mysql_async::Row> = session.query_first(&query).await.unwrap_or_default();
            // The definer of a view is the account that made it, in each region its own.
            let text = row.and_then(|row| row.get::<String, _>(1)).unwrap_or_default();
            all.insert(format!("{what} {schema}.{name}"), without_counter(&without_definer(&text)));
        }
    }
    all
}

/// `Ok` when both regions define the same, else a text that shows what differs.
pub async fn defined_alike(a: &Region, b: &Region, schemas: &[String]) -> Result<(), String> {
    let (in_a, in_b) = tokio::join!(Box::pin(definitions(a, schemas)), Box::pin(definitions(b, schemas)));
    let mut text = String::new();
    for name in in_a.keys().chain(in_b.keys().filter(|name| !in_a.contains_key(*name))) {
        let none = String::from("none");
        let (of_a, of_b) = (in_a.get(name).unwrap_or(&none), in_b.get(name).unwrap_or(&none));
        if of_a != of_b {
            text += &format!("\n{name}\n  {}: {of_a}\n  {}: {of_b}", a.name(), b.name());
        }
    }
    if text.is_empty() { Ok(()) } else { Err(text) }
}

fn without_counter(text: &str) -> String {
    const OPTION: &str = " AUTO_INCREMENT=";
    let options = text.find("\n) ENGINE=").unwrap_or(text.len());
    let Some(at) = text[options..].find(OPTION).map(|at| options + at) else { return text.into() };
    let rest = text[at + OPTION.len()..].trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{}{rest}", &text[..at])
}

fn without_definer(text: &str) -> String {
    let Some(at) = text.find(" DEFINER=") else { return text.into() };
    let end = text[at + 1..].find(' ').map_or(text.len(), |end| at + 1 + end);
    format!("{}{}", &text[..at], &text[end..])
}
