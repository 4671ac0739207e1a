//! Are both regions equal: `CHECKSUM TABLE` of every table, side by side.

use std::fmt::Write;

use mysql_async::prelude::Queryable;

use super::shop::TABLES;
use super::stage::{self, REGIONS, Stage};
use crate::failure::Failure;

/// A table, and for each region its checksum and number of rows.
pub(super) type Checksums = Vec<(&'static str, Vec<(u64, u64)>)>;

/// Reads the checksums of both regions.
pub(super) async fn checksums(stage: &Stage) -> Result<Checksums, Failure> {
    let mut tables: Checksums = TABLES.iter().map(|t| (*t, Vec::new())).collect();
    for (_, server) in stage.regions() {
        let mut conn = stage::connect(server).await?;
        for (table, found) in &mut tables {
            let failed = |e: mysql_async::Error| stage::sql_failed(server, &e);
            let checksum: Option<(String, u64)> =
                conn.query_first(format!("CHECKSUM TABLE shop.{table}")).await.map_err(failed)?;
            let rows: Option<u64> =
                conn.query_first(format!("SELECT COUNT(*) FROM shop.{table}")).await.map_err(failed)?;
            found.push((checksum.map_or(0, |(_, c)| c), rows.unwrap_or(0)));
        }
        conn.disconnect().await.map_err(|e| stage::sql_failed(server, &e))?;
    }
    Ok(tables)
}

/// Has every table the same checksum and number of rows everywhere?
pub(super) fn all_equal(tables: &Checksums) -> bool {
    tables.iter().all(|(_, found)| same(found))
}

fn same(found: &[(u64, u64)]) -> bool {
    found.windows(2).all(|pair| pair[0] == pair[1])
}

/// The table for people.
pub(super) fn render(tables: &Checksums) -> String {
    let mut text = format!("{:<12}", "TABLE");
    for region in REGIONS {
        // Writing to a string does not fail.
        let _ = write!(text, "  {:>10} {:>12}", format!("ROWS {region}"), format!("CHECKSUM {region}"));
    }
    for (table, found) in tables {
        let _ = write!(text, "\n{table:<12}");
        for (checksum, rows) in found {
            let _ = write!(text, "  {rows:>10} {checksum:>12}");
        }
        text += if same(found) { "  equal" } else { "  DIFFERENT" };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{all_equal, render};

    #[test]
    fn one_different_table_is_told_and_counts() {
        let equal = vec![("stock", vec![(7, 3), (7, 3)])];
        assert!(all_equal(&equal) && render(&equal).contains("equal"));
        let mut differ = equal;
        differ.push(("orders", vec![(7, 3), (8, 3)]));
        assert!(!all_equal(&differ) && render(&differ).contains("DIFFERENT"));
    }
}
