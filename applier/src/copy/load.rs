//! The table `<meta schema>.load`: how far a link's copy is.
//!
//! | `database_name`, `table_name`, `chunk` | a row of |
//! |---|---|
//! | empty, empty, 0 | the link: `copying`; `copied`, where the other link of its pair settles; `done` |
//! | a table's names at the source, 0 | the table: `waiting`, `copying` by which key, `done` |
//! | the same, a number | a chunk that is copied: its range of keys, rows and bytes; gone when its table is done. Or keys: `settled`, or in `doubt` |
//!
//! Numbers of chunks rise with their keys. A chunk's row commits with its rows. Which tables are copied is settled when
//! the copy begins: one that a statement makes later comes with the stream, from its first row on. A copy that is over is
//! opened again, with rows of its own, for tables that join.

use std::collections::BTreeMap;

use binlog::GtidSet;
use serde::{Deserialize, Serialize};
use wire::{Connection, RowRef};

use super::table::SourceTable;
use crate::ddl::Change;
use crate::names::Name;
use crate::origin::LinkKey;
use crate::verify::key::{KeyValue, Range};
use crate::{Error, sql};

/// Its name in the meta schema.
pub(crate) const TABLE: &str = "load";

/// Its columns.
pub(crate) const COLUMNS: &str = "\
  link VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  database_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  table_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  chunk BIGINT UNSIGNED NOT NULL,
  state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  key_range LONGTEXT CHARACTER SET ascii COLLATE ascii_bin NULL,
  rows_done BIGINT UNSIGNED NOT NULL,
  bytes_done BIGINT UNSIGNED NOT NULL,
  updated_at TIMESTAMP(6) NOT NULL,
  PRIMARY KEY (link, database_name, table_name, chunk)";

/// A chunk that is copied.
#[derive(Clone, Debug)]
pub(crate) struct DoneChunk {
    pub(crate) number: u64,
    pub(crate) range: Range,
}

/// How far a table is.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableState {
    /// The target has not been looked at yet.
    pub(crate) waits: bool,
    pub(crate) done: bool,
    /// The key by whose values its chunks are cut, as [`SourceTable::key_text`] has it; none was noted where it is `None`.
    pub(crate) key: Option<String>,
    /// By number, which is the order of their keys.
    pub(crate) chunks: Vec<DoneChunk>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// Statements on the rows of one link.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    table: String,
    link: String,
}

/// What a key range is kept as.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<KeyValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upto: Option<KeyValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<KeyValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    begun: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// A copy that has begun, and not ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Open {
    /// Of a copy that was opened again, in a pair: behind what of the target's log keys may be in doubt.
    pub(crate) begun: Option<GtidSet>,
    /// Every table that it copies, by its name at the source.
    pub(crate) tables: BTreeMap<Name, TableState>,
}

/// Which keys a row of the table stands for.
#[derive(Clone, Debug)]
pub(crate) enum KeyRange {
    Between(Range),
    Keys(Vec<KeyValue>),
}

impl KeyRange {
    /// Reads the column `key_range`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let Kept { after, upto, keys, key: None, .. } = serde_json::from_str(text).ok()? else { return None };
        Some(keys.map_or(Self::Between(Range { after, upto }), Self::Keys))
    }
}

impl Load {
    pub(crate) fn new(schema: &str, link: &LinkKey) -> Self {
        Self { table: sql::table(schema, TABLE), link: sql::text(&link.text()) }
    }

    /// The link's key, quoted.
    pub(crate) fn link_text(&self) -> &str {
        &self.link
    }

    #[expect(clippy::too_many_arguments, reason = "the columns of a row")]
    fn insert(
        &self,
        database: &str,
        table: &str,
        chunk: u64,
        state: &str,
        range: &str,
        rows: u64,
        bytes: u64,
    ) -> String {
        format!(
            "INSERT INTO {} VALUES ({}, {}, {}, {chunk}, '{state}', {range}, {rows}, {bytes}, NOW(6))",
            self.table,
            self.link,
            sql::text(database),
            sql::text(table)
        )
    }

    /// The statements with which a copy of these tables begins. Nothing of an earlier one stays. `begun`: see
    /// [`Open::begun`].
    pub(crate) fn open(&self, tables: &[Name], begun: Option<&GtidSet>) -> Vec<String> {
        let kept = Kept { begun: begun.map(GtidSet::to_string), ..Kept::default() };
        let begun = begun.map_or("NULL".into(), |_| sql::text(&json(&kept)));
        let mut statements = vec![
            format!("DELETE FROM {} WHERE link = {}", self.table, self.link),
            self.insert("", "", 0, "copying", &begun, 0, 0),
        ];
        statements.extend(self.add(tables));
        statements
    }

    /// The statements with which these tables are added to a copy that is not over.
    pub(crate) fn add(&self, tables: &[Name]) -> Vec<String> {
        let one = |(database, table): &Name| {
            [self.forget(database, table), self.insert(database, table, 0, "waiting", "NULL", 0, 0)]
        };
        tables.iter().flat_map(one).collect()
    }

    /// Begins a table.
    pub(crate) fn begin_table(&self, table: &SourceTable) -> String {
        let kept = Kept { key: Some(table.key_text()), ..Kept::default() };
        format!(
            "UPDATE {} SET state = 'copying', key_range = {}, updated_at = NOW(6) WHERE {} AND chunk = 0",
            self.table,
            sql::text(&json(&kept)),
            self.of(&table.database, &table.table)
        )
    }

    /// A table is not copied any more.
    pub(crate) fn forget(&self, database: &str, table: &str) -> String {
        format!("DELETE FROM {} WHERE {}", self.table, self.of(database, table))
    }

    /// What a statement of the source does to tables that are copied.
    pub(crate) fn follow(&self, change: &Change) -> Vec<String> {
        match change {
            Change::Drops(name) => vec![self.forget(&name.database, &name.name)],
            Change::DropsDatabase(database) => vec![format!(
                "DELETE FROM {} WHERE link = {} AND database_name = {}",
                self.table,
                self.link,
                sql::text(database)
            )],
            Change::Renames(old, new) => {
                let renamed = format!(
                    "UPDATE {} SET database_name = {}, table_name = {} WHERE {}",
                    self.table,
                    sql::text(&new.database),
                    sql::text(&new.name),
                    self.of(&old.database, &old.name)
                );
                vec![self.forget(&new.database, &new.name), renamed]
            }
            Change::Creates(_) | Change::Empties(_) | Change::Alters(..) => Vec::new(),
        }
    }

    /// The condition of being a row of this table.
    fn of(&self, database: &str, table: &str) -> String {
        format!(
            "link = {} AND database_name = {} AND table_name = {}",
            self.link,
            sql::text(database),
            sql::text(table)
        )
    }

    /// Notes a chunk.
    pub(crate) fn chunk(
        &self,
        table: &SourceTable,
        number: u64,
        range: &Range,
        rows: u64,
        bytes: u64,
    ) -> String {
        let kept = Kept { after: range.after.clone(), upto: range.upto.clone(), ..Kept::default() };
        self.insert(&table.database, &table.table, number, "done", &sql::text(&json(&kept)), rows, bytes)
    }

    /// Notes keys that are settled, or in doubt.
    pub(crate) fn keys(&self, table: &SourceTable, number: u64, state: &str, keys: Vec<KeyValue>) -> String {
        let kept = Kept { keys: Some(keys), ..Kept::default() };
        self.insert(&table.database, &table.table, number, state, &sql::text(&json(&kept)), 0, 0)
    }

    /// Ends a table: its own row takes the place of those of its chunks.
    pub(crate) fn end_table(&self, table: &SourceTable, rows: u64, bytes: u64) -> [String; 2] {
        let of = self.of(&table.database, &table.table);
        [
            format!(
                "UPDATE {} SET state = 'done', rows_done = {rows}, bytes_done = {bytes}, updated_at = NOW(6) \
                 WHERE {of} AND chunk = 0",
                self.table
            ),
            format!("DELETE FROM {} WHERE {of} AND chunk > 0", self.table),
        ]
    }

    /// Ends the copy.
    pub(crate) fn end(&self) -> [String; 2] {
        [
            format!("DELETE FROM {} WHERE link = {} AND chunk > 0", self.table, self.link),
            self.link_state("done"),
        ]
    }

    /// How far the link is.
    pub(crate) fn link_state(&self, state: &str) -> String {
        format!(
            "UPDATE {} SET state = '{state}', updated_at = NOW(6) WHERE link = {} AND database_name = '' \
             AND table_name = '' AND chunk = 0",
            self.table, self.link
        )
    }

    /// How far the link is; `None`: it has not begun.
    pub(crate) async fn state(&self, connection: &mut Connection) -> Result<Option<String>, Error> {
        let failed = Error::target("reading how far the copy is");
        let query = format!(
            "SELECT state FROM {} WHERE link = {} AND database_name = '' AND chunk = 0",
            self.table, self.link
        );
        match connection.query_rows(query).await {
            Ok(rows) => rows.first().map(|row| row.text("state").map_err(&failed)).transpose(),
            // There is no meta schema yet.
            Err(wire::Error::Server(error)) if matches!(error.code, 1146 | 1049) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// What the link copies now; `None`: it has not begun.
    pub(crate) async fn copies(&self, connection: &mut Connection) -> Result<Option<Vec<Name>>, Error> {
        let Some(state) = self.state(connection).await? else { return Ok(None) };
        if state == "done" {
            return Ok(Some(Vec::new()));
        }
        let failed = Error::target("reading how far the copy is");
        let query = format!(
            "SELECT database_name, table_name FROM {} WHERE link = {} AND database_name <> '' AND chunk = 0",
            self.table, self.link
        );
        let rows = connection.query_rows(query).await.map_err(&failed)?;
        let name = |row: RowRef<'_>| Ok((row.text("database_name")?, row.text("table_name")?));
        let names: Result<_, wire::Error> = rows.iter().map(name).collect();
        names.map(Some).map_err(failed)
    }

    /// The link's copy, if it has begun and not ended.
    pub(crate) async fn read(&self, connection: &mut Connection) -> Result<Option<Open>, Error> {
        let failed = Error::target("reading how far the copy is");
        let query = format!(
            "SELECT database_name, table_name, chunk, state, key_range, rows_done, bytes_done FROM {} WHERE link = {} \
             ORDER BY database_name, table_name, chunk",
            self.table, self.link
        );
        let rows = connection.query_rows(query).await.map_err(&failed)?;
        let (mut open, mut is_open) = (Open::default(), false);
        for row in rows.iter() {
            let text = |name: &str| row.text(name).map_err(&failed);
            let number = |name: &str| row.parse::<u64>(name).map_err(&failed);
            let malformed =
                |what: &str, text: &str| failed(wire::Error::Invalid { what: format!("no {what}: {text}") });
            let name = (text("database_name")?, text("table_name")?);
            let (chunk, state) = (number("chunk")?, text("state")?);
            let range = row.optional_text("key_range").map_err(&failed)?.unwrap_or_default();
            if name.0.is_empty() {
                is_open = state != "done";
                let begun = begun(&range).map_err(|()| malformed("GTID set", &range))?;
                open.begun = begun;
                continue;
            }
            let table = open.tables.entry(name).or_default();
            table.rows += number("rows_done")?;
            table.bytes += number("bytes_done")?;
            if chunk == 0 {
                (table.waits, table.done) = (state == "waiting", state == "done");
                table.key = serde_json::from_str::<Kept>(&range).ok().and_then(|kept| kept.key);
                continue;
            }
            let read = KeyRange::read(&range).ok_or_else(|| malformed("range of keys", &range))?;
            if let KeyRange::Between(range) = read {
                table.chunks.push(DoneChunk { number: chunk, range });
            }
        }
        Ok(is_open.then_some(open))
    }
}

fn json(kept: &Kept) -> String {
    serde_json::to_string(kept).expect("texts can always be written")
}

/// Where keys in doubt begin, in the link's own row.
fn begun(text: &str) -> Result<Option<GtidSet>, ()> {
    if text.is_empty() {
        return Ok(None);
    }
    let kept: Kept = serde_json::from_str(text).map_err(drop)?;
    kept.begun.map(|set| set.parse().map_err(drop)).transpose()
}
