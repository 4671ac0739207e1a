//! The loser of a decision made the winner: an ordinary change in the region that decided, which its links carry to
//! the others like any other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};

use super::admin::{ConflictTable, Recorded};
use crate::{Error, sql};

/// What a flip did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flipped {
    /// The loser's row is there now.
    Written,
    /// The loser had no row, and there is none now.
    Deleted,
}

impl ConflictTable {
    /// Puts the loser's row in the winner's place, and notes it, in one transaction.
    ///
    /// # Errors
    ///
    /// [`Error::NotApplicable`] where nobody has won yet, it was flipped before, or the row was too large to be kept
    /// whole; what the server says. Nothing is changed then.
    pub async fn flip(&mut self, conflict: &Recorded) -> Result<Flipped, Error> {
        let loser = match conflict.winner.as_str() {
            "source" => &conflict.local_row,
            "target" => &conflict.incoming_after,
            _ => {
                return Err(refuse(
                    conflict,
                    "nobody has won it yet",
                    "twinlog conflicts resolve decides it",
                ));
            }
        };
        if conflict.flipped_at.is_some() {
            return Err(refuse(conflict, "it was flipped before", "change the row itself"));
        }
        let Some((database, table)) = conflict.table.split_once('.') else {
            return Err(refuse(conflict, "its table has no name", "change the row itself"));
        };
        let columns = self.columns(database, table).await?;
        let name = sql::table(database, table);
        let key = self.condition(conflict, &columns)?;
        let statement = match loser {
            None => format!("DELETE FROM {name} WHERE {key}"),
            Some(Json::Object(row)) => {
                let values = self.values(conflict, &columns, row)?;
                let is_there = self.is_there(&name, &key).await?;
                let set: Vec<String> =
                    values.iter().map(|(c, v)| format!("{} = {v}", sql::name(c))).collect();
                if is_there {
                    format!("UPDATE {name} SET {} WHERE {key}", set.join(", "))
                } else {
                    format!("INSERT INTO {name} SET {}", set.join(", "))
                }
            }
            Some(_) => return Err(refuse(conflict, "its row can't be read", "change the row itself")),
        };
        let note =
            format!("UPDATE {} SET flipped_at = NOW(6) WHERE id = {}", self.table(), conflict.number());
        let failed = Error::target("flipping a conflict");
        self.connection.execute("BEGIN").await.map_err(&failed)?;
        for step in [&statement, &note] {
            if let Err(error) = self.connection.execute(step).await {
                if let wire::Error::Server(_) = &error {
                    self.connection.execute("ROLLBACK").await.map_err(&failed)?;
                }
                return Err(failed(error));
            }
        }
        self.connection.execute("COMMIT").await.map_err(&failed)?;
        Ok(if loser.is_some() { Flipped::Written } else { Flipped::Deleted })
    }

    /// The columns that can be written, by name, with their types.
    async fn columns(&mut self, database: &str, table: &str) -> Result<Vec<(String, String)>, Error> {
        let failed = Error::target("reading a table's columns");
        let query = format!(
            "SELECT COLUMN_NAME AS name, DATA_TYPE AS kind FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} AND GENERATION_EXPRESSION = '' ORDER BY ORDINAL_POSITION",
            sql::text(database),
            sql::text(table)
        );
        let rows = self.connection.query_rows(query).await.map_err(&failed)?;
        let column = |row: wire::RowRef<'_>| Ok((row.text("name")?, row.text("kind")?));
        rows.iter().map(|row| column(row).map_err(&failed)).collect()
    }

    fn condition(&self, conflict: &Recorded, columns: &[(String, String)]) -> Result<String, Error> {
        let Json::Object(key) = &conflict.key else {
            return Err(refuse(conflict, "its row has no key", "change the row itself"));
        };
        let values = self.values(conflict, columns, key)?;
        let equal = |(column, value): &(String, String)| format!("{} <=> {value}", sql::name(column));
        Ok(values.iter().map(equal).collect::<Vec<_>>().join(" AND "))
    }

    /// Columns with their values as literals.
    fn values(
        &self,
        conflict: &Recorded,
        columns: &[(String, String)],
        row: &Map<String, Json>,
    ) -> Result<Vec<(String, String)>, Error> {
        let known = columns.iter().filter_map(|(name, kind)| Some((name, kind, row.get(name)?)));
        let literal = |(name, kind, value): (&String, &String, &Json)| {
            let text = literal(kind, value);
            let lost = || {
                refuse(conflict, &format!("column {name} was too large to be kept"), "change the row itself")
            };
            Ok((name.clone(), text.ok_or_else(lost)?))
        };
        known.map(literal).collect()
    }

    async fn is_there(&mut self, table: &str, key: &str) -> Result<bool, Error> {
        let query = format!("SELECT 1 FROM {table} WHERE {key} LIMIT 1");
        let rows = self.connection.query_rows(query).await.map_err(Error::target("looking for a row"))?;
        Ok(!rows.rows.is_empty())
    }
}

/// A recorded value as SQL; `None` where it was not kept whole.
fn literal(kind: &str, value: &Json) -> Option<String> {
    Some(match value {
        Json::Null => "NULL".into(),
        _ if kind == "json" => match value {
            Json::Object(tagged) if tagged.contains_key("omitted_bytes") => return None,
            document => format!("CAST({} AS JSON)", sql::text(&document.to_string())),
        },
        Json::Object(tagged) => {
            let encoded = tagged.get("base64")?.as_str()?;
            sql::bytes(&STANDARD.decode(encoded).ok()?)
        }
        Json::String(text) => sql::text(text),
        Json::Number(number) => number.to_string(),
        Json::Bool(_) | Json::Array(_) => return None,
    })
}

fn refuse(conflict: &Recorded, what: &str, remedy: &str) -> Error {
    Error::NotApplicable {
        gtid: conflict.gtid.clone(),
        what: format!("conflict {} can't be flipped: {what}", conflict.id),
        remedy: remedy.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::literal;

    #[test]
    fn recorded_values_become_the_values_they_were() {
        assert_eq!(literal("int", &json!(-5)).as_deref(), Some("-5"));
        assert_eq!(literal("varchar", &json!("it's \\")).as_deref(), Some(r"'it''s \\'"));
        assert_eq!(literal("blob", &json!({"base64": "AP8="})).as_deref(), Some("X'00ff'"));
        assert_eq!(
            literal("json", &json!({"base64": 1})).as_deref(),
            Some(r#"CAST('{"base64":1}' AS JSON)"#)
        );
        assert_eq!(literal("text", &json!({"omitted_bytes": 9})), None);
        assert_eq!(literal("int", &json!(null)).as_deref(), Some("NULL"));
    }
}
