//! What metrics are made of, beside the status: counted where it happens, bounded in number.

use std::collections::BTreeMap;

use measure::Histogram;

/// Tables that are counted by name; rows of further ones are counted together, under `other`.
const MOST_TABLES: usize = 200;

/// The name of those.
const OTHER: &str = "other";

/// Row changes by table and operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowCounts(BTreeMap<String, [u64; 3]>);

/// What a link has done since its process started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measures {
    /// Rows applied, by table of the target.
    pub rows: RowCounts,
    /// Conflicts by kind and policy.
    pub conflicts: BTreeMap<(String, String), u64>,
    /// COMMIT of a group, from when it was sent until its OK.
    pub commit: Histogram,
    /// From a transaction's commit at its source until its commit in the target.
    pub latency: Histogram,
}

impl RowCounts {
    /// The operations, in the order of the counts.
    pub const OPERATIONS: [&str; 3] = ["insert", "update", "delete"];

    /// Adds rows of a table.
    pub(crate) fn add(&mut self, table: &str, operation: usize, rows: u64) {
        let known = self.0.contains_key(table) || self.0.len() < MOST_TABLES;
        let name = if known { table } else { OTHER };
        if let Some(counts) = self.0.get_mut(name) {
            counts[operation] += rows;
            return;
        }
        let mut counts = [0; 3];
        counts[operation] = rows;
        self.0.insert(name.to_owned(), counts);
    }

    /// One row less: it was not applied after all.
    pub(crate) fn take(&mut self, table: &str, operation: &str) {
        let at = Self::OPERATIONS.iter().position(|known| *known == operation);
        let counts = self.0.get_mut(table).and_then(|counts| counts.get_mut(at?));
        if let Some(rows) = counts {
            *rows = rows.saturating_sub(1);
        }
    }

    /// Rows of all tables together.
    pub fn total(&self) -> u64 {
        self.0.values().flatten().sum()
    }

    /// Each table with its operations' counts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u64; 3])> {
        self.0.iter().map(|(table, counts)| (table.as_str(), counts))
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_TABLES, OTHER, RowCounts};

    #[test]
    fn tables_beyond_the_limit_are_counted_together_and_no_row_is_lost() {
        let mut counts = RowCounts::default();
        for table in 0..2 * MOST_TABLES {
            counts.add(&format!("shop.t{table:04}"), table % 3, 2);
        }
        assert_eq!(counts.total(), 4 * MOST_TABLES as u64);
        assert!(counts.iter().count() <= MOST_TABLES + 1 && counts.iter().any(|(table, _)| table == OTHER));
        counts.take("shop.t0000", "insert");
        counts.take("shop.none", "insert");
        assert_eq!(counts.total(), 4 * MOST_TABLES as u64 - 1);
    }
}
