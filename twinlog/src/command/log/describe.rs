//! What an event says, for people: its kind, its table and how many rows, its statement. Row values, and statements
//! that carry them, only when they are asked for.

use std::collections::HashMap;

use binlog::event::XaPrepare;
use binlog::row::{RowsEvent, TableMap};
use binlog::{Event, EventKind, event::Query, payload};
use serde::Serialize;
use serde_json::{Map, Value};

use super::values::row;

/// A compressed transaction is unpacked up to this size; a larger one is only named.
const LARGEST_EVENT: usize = 1 << 30;

/// An event, described. What does not apply is absent.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Described {
    pub(super) kind: String,
    /// It stands inside a compressed event.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) compressed: bool,
    /// `database.table`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) table: Option<String>,
    /// How many rows it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rows: Option<usize>,
    /// The statement's default database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) database: Option<String>,
    /// The statement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sql: Option<String>,
    /// The XA transaction's identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) xid: Option<String>,
    /// What could not be read of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
    /// The rows, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) values: Option<Vec<RowValues>>,
}

/// One row's values by column name.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RowValues {
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_map")]
    pub(super) before: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_map")]
    pub(super) after: Option<Named>,
}

/// Values in the order of the columns.
pub(super) type Named = Vec<(String, Value)>;

fn as_map<S: serde::Serializer>(values: &Option<Named>, to: S) -> Result<S::Ok, S::Error> {
    values.as_ref().map(|values| values.iter().cloned().collect::<Map<_, _>>()).serialize(to)
}

/// Describes the events of one transaction after the other.
pub(super) struct Describer {
    maps: HashMap<u64, TableMap>,
    with_rows: bool,
    is_open: bool,
}

impl Describer {
    pub(super) fn new(with_rows: bool) -> Self {
        Self { maps: HashMap::new(), with_rows, is_open: false }
    }

    /// A transaction begins.
    pub(super) fn begin(&mut self) {
        self.maps.clear();
        self.is_open = false;
    }

    /// The event, and behind it those that it holds compressed.
    pub(super) fn describe(&mut self, event: &Event) -> Vec<Described> {
        let mut all = vec![self.one(event)];
        if event.kind() != EventKind::TransactionPayload {
            return all;
        }
        let inside = payload::open(event, LARGEST_EVENT).and_then(|mut inside| {
            inside.try_for_each(|e| {
                all.push(Described { compressed: true, ..self.one(&e?) });
                Ok(())
            })
        });
        if let Err(e) = inside {
            all[0].problem = Some(e.to_string());
        }
        all
    }

    fn one(&mut self, event: &Event) -> Described {
        let kind = event.kind();
        let mut described = Described { kind: name(kind), ..Described::default() };
        let problem = match kind {
            EventKind::TableMap => self.table_map(event, &mut described),
            EventKind::Query => self.query(event, &mut described),
            EventKind::RowsQuery if self.with_rows => {
                // A length byte that is cut off at 255, then the text.
                described.sql = event.body().get(1..).map(text);
                None
            }
            EventKind::XaPrepare => match XaPrepare::parse(event) {
                Ok(prepare) => {
                    described.xid = Some(prepare.xid);
                    None
                }
                Err(e) => Some(e.to_string()),
            },
            kind if kind.is_rows() => self.rows(event, &mut described),
            _ => None,
        };
        described.problem = problem;
        described
    }

    fn table_map(&mut self, event: &Event, described: &mut Described) -> Option<String> {
        match TableMap::parse(event) {
            Ok(map) => {
                described.table = Some(table(&map));
                self.maps.insert(map.table_id, map);
                None
            }
            Err(e) => Some(e.to_string()),
        }
    }

    fn rows(&self, event: &Event, described: &mut Described) -> Option<String> {
        let map = TableMap::id_of(event).and_then(|id| self.maps.get(&id));
        let Some(map) = map else { return Some("no table map before it".into()) };
        described.table = Some(table(map));
        let rows = match RowsEvent::parse(event, map) {
            Ok(rows) => rows,
            Err(e) => return Some(e.to_string()),
        };
        if !self.with_rows {
            return match rows.count() {
                Ok(count) => {
                    described.rows = Some(count);
                    None
                }
                Err(e) => Some(e.to_string()),
            };
        }
        let mut values = Vec::new();
        let mut problem = None;
        for change in rows.changes() {
            match change {
                Ok(change) => values.push(RowValues {
                    before: change.before.map(|image| row(map, &image)),
                    after: change.after.map(|image| row(map, &image)),
                }),
                Err(e) => problem = Some(e.to_string()),
            }
        }
        described.rows = Some(values.len());
        described.values = Some(values);
        problem
    }

    fn query(&mut self, event: &Event, described: &mut Described) -> Option<String> {
        let query = match Query::parse(event) {
            Ok(query) => query,
            Err(e) => return Some(e.to_string()),
        };
        let sql = text(query.sql);
        let controls = ["BEGIN", "COMMIT", "ROLLBACK", "XA ", "SAVEPOINT"];
        let is_control = controls.iter().any(|word| query.starts_with(word));
        described.sql = Some(match () {
            () if self.with_rows || is_control => sql,
            // A statement inside a transaction changes rows, by the values in its text.
            () if self.is_open => first_word(&sql),
            () => without_secret(sql),
        });
        if !is_control && !query.database.is_empty() {
            described.database = Some(text(query.database));
        }
        self.is_open |= query.is("BEGIN") || query.starts_with("XA START");
        None
    }
}

fn table(map: &TableMap) -> String {
    format!("{}.{}", map.database, map.table)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn first_word(sql: &str) -> String {
    format!("{} …", sql.split_whitespace().next().unwrap_or_default())
}

/// An account's statement, up to where its password stands.
fn without_secret(sql: String) -> String {
    let upper = sql.to_ascii_uppercase();
    let secrets = ["IDENTIFIED", "PASSWORD", " SECRET", "SOURCE_PASSWORD"];
    let is_account = ["CREATE USER", "ALTER USER", "GRANT", "SET PASSWORD", "CREATE SERVER", "ALTER SERVER"];
    if !is_account.iter().any(|words| upper.trim_start().starts_with(words)) {
        return sql;
    }
    let at = secrets.iter().filter_map(|word| upper.find(word).map(|at| at + word.len())).min();
    at.map_or(sql.clone(), |at| format!("{} …", &sql[..at]))
}

/// The kind in the words of MySQL's manual: `write_rows`, `table_map`.
fn name(kind: EventKind) -> String {
    let mut name = String::new();
    for c in format!("{kind:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use binlog::EventKind;

    use super::{first_word, name, without_secret};

    #[test]
    fn kinds_have_the_manuals_names() {
        assert_eq!(name(EventKind::WriteRows), "write_rows");
        assert_eq!(name(EventKind::PartialUpdateRows), "partial_update_rows");
        assert_eq!(name(EventKind::Other(99)), "other(99)");
    }

    #[test]
    fn passwords_and_values_are_not_shown() {
        let hidden = without_secret("create user 'a'@'b' identified with 'x' as '$A$005$'".into());
        assert_eq!(hidden, "create user 'a'@'b' identified …");
        assert_eq!(without_secret("CREATE TABLE t (password INT)".into()), "CREATE TABLE t (password INT)");
        assert_eq!(first_word("INSERT INTO t VALUES (1)"), "INSERT …");
    }
}
