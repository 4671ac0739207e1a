//! Are definitions equal, not only rows?

use std::collections::BTreeMap;

use mysql_async::prelude::Queryable;

use crate::Region;

/// The definition of every table, view and database of these schemas, by name; the next `AUTO_INCREMENT` is left out.
///
/// A server shows of a column's character set and collation what it was told, or remembers to have been: a source and its own
/// replica show one column as `CHARACTER SET latin1` and as `CHARACTER SET latin1 COLLATE latin1_swedish_ci`. So the
/// collation that each column has stands behind the definition, in place of the words for it.
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
            let query = format!(
                "SELECT CONCAT(column_name, ' ', collation_name) FROM information_schema.columns WHERE table_schema = '{schema}' \
                 AND table_name = '{name}' AND collation_name IS NOT NULL ORDER BY ordinal_position"
            );
            let collations: Vec<String> = session.query(&query).await.expect("a server tells collations");
            let text = without_collations(&without_counter(&without_definer(&text)));
            all.insert(format!("{what} {schema}.{name}"), format!("{text}\n{}", collations.join(", ")));
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

/// Without the character sets and collations of columns. Those within expressions are written small.
fn without_collations(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for line in lines.iter_mut().filter(|line| line.starts_with("  `")) {
        for words in [" CHARACTER SET ", " COLLATE "] {
            let Some(at) = line.find(words) else { continue };
            let name = at + words.len();
            let end = line[name..].find([' ', ',']).map_or(line.len(), |end| name + end);
            line.replace_range(at..end, "");
        }
    }
    lines.join("\n")
}

fn without_definer(text: &str) -> String {
    let Some(at) = text.find(" DEFINER=") else { return text.into() };
    let end = text[at + 1..].find(' ').map_or(text.len(), |end| at + 1 + end);
    format!("{}{}", &text[..at], &text[end..])
}

#[cfg(test)]
mod tests {
    use super::without_collations;

    #[test]
    fn words_for_a_columns_collation_are_left_out_and_nothing_else() {
        let text = "CREATE TABLE `t` (\n  `a` char(8) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL,\n  \
                    `b` text COLLATE utf8mb4_bin,\n  `c` int DEFAULT NULL,\n  KEY `k` (`a`)\n) DEFAULT CHARSET=latin1 COLLATE=latin1_bin";
        let left = "CREATE TABLE `t` (\n  `a` char(8) NOT NULL,\n  `b` text,\n  `c` int DEFAULT NULL,\n  KEY `k` (`a`)\n) \
                    DEFAULT CHARSET=latin1 COLLATE=latin1_bin";
        assert_eq!(without_collations(text), left);
    }
}
