//! The outcome of a comparison, as `--json` tells it.

use applier::verify::{Difference, RepairReport, Shown, TableReport, Unsettled};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// One comparison and what was repaired.
pub(super) struct Outcome {
    pub(super) sync: String,
    pub(super) seconds: f64,
    pub(super) tables: Vec<TableReport>,
    pub(super) repair: Option<RepairReport>,
}

impl Outcome {
    /// Is everything equal, at first or after the repair?
    pub(super) fn is_equal(&self) -> bool {
        match &self.repair {
            None => self.tables.iter().all(TableReport::is_equal),
            Some(repair) => {
                let rest = |t: &TableReport| t.definition.is_empty() && t.unsettled.is_empty();
                repair.is_equal() && self.tables.iter().all(rest)
            }
        }
    }

    /// `equal`, `different`, or `unsettled`: nothing differs for certain, and something could not be decided.
    pub(super) fn word(&self) -> &'static str {
        if self.is_equal() {
            return "equal";
        }
        let differs = |t: &TableReport| {
            !t.definition.is_empty()
                || self.repair.is_none() && (!t.differences.is_empty() || t.unnamed_chunks > 0)
        };
        let not_repaired =
            self.repair.as_ref().is_some_and(|r| !r.unrepaired.is_empty() || !r.differences.is_empty());
        if not_repaired || self.tables.iter().any(differs) { "different" } else { "unsettled" }
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "sync": self.sync,
            "result": self.word(),
            "seconds": self.seconds,
            "rows": self.tables.iter().map(|t| t.rows).sum::<u64>(),
            "tables": self.tables.iter().map(table).collect::<Vec<_>>(),
            "repair": self.repair.as_ref().map(repair),
        })
    }
}

fn table(table: &TableReport) -> Value {
    json!({
        "table": table.table,
        "regions": [table.left, table.right],
        "result": table.result(),
        "rows": table.rows,
        "chunks": table.chunks,
        "rechecked": table.rechecked,
        "definition": table.definition,
        "differences": table.differences.iter().map(difference).collect::<Vec<_>>(),
        "unsettled": table.unsettled.iter().map(unsettled).collect::<Vec<_>>(),
        "unnamed_chunks": table.unnamed_chunks,
    })
}

fn difference(row: &Difference) -> Value {
    let mut columns = Map::new();
    for column in &row.columns {
        let mut values = Map::new();
        let sides = [(&row.left, row.count.0, &column.left), (&row.right, row.count.1, &column.right)];
        for (region, count, value) in sides {
            if count > 0 {
                values.insert(region.clone(), shown(value));
            }
        }
        columns.insert(column.name.clone(), values.into());
    }
    let counts =
        Map::from_iter([(row.left.clone(), json!(row.count.0)), (row.right.clone(), json!(row.count.1))]);
    json!({ "table": row.table, "key": key(&row.key), "rows": counts, "columns": columns })
}

fn unsettled(row: &Unsettled) -> Value {
    json!({ "key": key(&row.key), "why": row.why })
}

fn repair(repair: &RepairReport) -> Value {
    let left = repair
        .unrepaired
        .iter()
        .map(|row| json!({ "table": row.table, "region": row.region, "key": key(&row.key), "why": row.why }));
    json!({
        "inserted": repair.inserted,
        "updated": repair.updated,
        "deleted": repair.deleted,
        "unrepaired": left.collect::<Vec<_>>(),
        "differences": repair.differences.iter().map(difference).collect::<Vec<_>>(),
        "unsettled": repair.unsettled.iter().map(unsettled).collect::<Vec<_>>(),
    })
}

fn key(key: &[(String, String)]) -> Value {
    Value::Object(key.iter().map(|(name, value)| (name.clone(), json!(value))).collect())
}

fn shown(value: &impl Serialize) -> Value {
    // Strings, numbers and objects of them: nothing that JSON does not have.
    serde_json::to_value(value).unwrap_or_default()
}

/// A value for people, on one line.
pub(super) fn text(value: &Shown) -> String {
    match value {
        Shown::Nothing => "NULL".into(),
        Shown::Text(text) => format!("{text:?}"),
        Shown::Base64 { base64 } => format!("base64:{base64}"),
        Shown::Cut { begins, bytes, sha256 } => {
            let begins: String = begins.chars().take(40).collect();
            format!("{begins:?}… ({bytes} bytes, sha256 {sha256})")
        }
    }
}

#[cfg(test)]
mod tests {
    use applier::verify::Shown;

    use super::text;

    #[test]
    fn values_are_told_apart_by_what_is_shown_of_them() {
        assert_eq!(text(&Shown::Nothing), "NULL");
        assert_eq!(text(&Shown::Text("NULL".into())), "\"NULL\"");
        assert_eq!(text(&Shown::Text("a \n".into())), r#""a \n""#);
        assert_eq!(text(&Shown::Base64 { base64: "AA==".into() }), "base64:AA==");
        let cut = Shown::Cut { begins: "x".repeat(100), bytes: 70_000, sha256: "ab".into() };
        assert!(text(&cut).ends_with("… (70000 bytes, sha256 ab)") && text(&cut).len() < 90);
    }
}
