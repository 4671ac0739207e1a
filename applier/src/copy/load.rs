//! The table `<meta schema>.load`: how far a link's copy is.
//!
//! | `database_name`, `table_name`, `chunk` | a row of |
//! |---|---|
//! | empty, empty, 0 | the link: `copying`; `copied`, where the other link of its pair settles; `done` |
//! | a table's names at the source, 0 | the table: `copying`, `done` |
//! | the same, a number | a chunk that is copied: its range of keys, rows and bytes; gone when its table is done. Or keys: `settled`, or in `doubt` |
//!
//! Numbers of chunks rise with their keys. A chunk's row commits with its rows.

use serde::{Deserialize, Serialize};
use wire::Connection;

use super::table::SourceTable;
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
    pub(crate) done: bool,
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
        let Kept { after, upto, keys } = serde_json::from_str(text).ok()?;
        Some(keys.map_or(Self::Between(Range { after, upto }), Self::Keys))
    }
}

/// The statements with which a link's copy begins, in the transaction of its birth. Nothing of an earlier one stays.
pub(crate) fn begin(schema: &str, link: &LinkKey) -> [String; 2] {
    let load = Load::new(schema, link);
    let nothing = format!("DELETE FROM {} WHERE link = {}", load.table, load.link);
    [nothing, load.insert("", "", 0, "copying", "NULL", 0, 0)]
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

    /// Begins a table.
    pub(crate) fn begin_table(&self, table: &SourceTable) -> String {
        self.insert(&table.database, &table.table, 0, "copying", "NULL", 0, 0)
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
        let kept = Kept { after: range.after.clone(), upto: range.upto.clone(), keys: None };
        let range = serde_json::to_string(&kept).expect("texts can always be written");
        self.insert(&table.database, &table.table, number, "done", &sql::text(&range), rows, bytes)
    }

    /// Notes keys that are settled, or in doubt.
    pub(crate) fn keys(&self, table: &SourceTable, number: u64, state: &str, keys: Vec<KeyValue>) -> String {
        let kept = Kept { keys: Some(keys), ..Kept::default() };
        let range = serde_json::to_string(&kept).expect("texts can always be written");
        self.insert(&table.database, &table.table, number, state, &sql::text(&range), 0, 0)
    }

    /// Ends a table: its own row takes the place of those of its chunks.
    pub(crate) fn end_table(&self, table: &SourceTable, rows: u64, bytes: u64) -> [String; 2] {
        let of = format!(
            "link = {} AND database_name = {} AND table_name = {}",
            self.link,
            sql::text(&table.database),
            sql::text(&table.table)
        );
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

    /// Has the link's copy begun, and not ended?
    pub(crate) async fn is_copying(&self, connection: &mut Connection) -> Result<bool, Error> {
        let failed = Error::target("reading how far the copy is");
        let query = format!(
            "SELECT 1 FROM {} WHERE link = {} AND database_name = '' AND chunk = 0 AND state <> 'done'",
            self.table, self.link
        );
        Ok(!connection.query_rows(query).await.map_err(failed)?.rows.is_empty())
    }

    /// How far a table is; `None`: not begun.
    pub(crate) async fn state_of(
        &self,
        connection: &mut Connection,
        table: &SourceTable,
    ) -> Result<Option<TableState>, Error> {
        let failed = Error::target("reading how far the copy is");
        let query = format!(
            "SELECT chunk, state, key_range, rows_done, bytes_done FROM {} WHERE link = {} AND database_name = {} \
             AND table_name = {} ORDER BY chunk",
            self.table,
            self.link,
            sql::text(&table.database),
            sql::text(&table.table)
        );
        let rows = connection.query_rows(query).await.map_err(&failed)?;
        let mut found = None;
        for row in rows.iter() {
            let state: &mut TableState = found.get_or_insert_default();
            let number = row.parse("chunk").map_err(&failed)?;
            state.rows += row.parse::<u64>("rows_done").map_err(&failed)?;
            state.bytes += row.parse::<u64>("bytes_done").map_err(&failed)?;
            if number == 0 {
                state.done = row.text("state").map_err(&failed)? == "done";
                continue;
            }
            let text = row.text("key_range").map_err(&failed)?;
            let malformed = || failed(wire::Error::Invalid { what: format!("no range of keys: {text}") });
            if let KeyRange::Between(range) = KeyRange::read(&text).ok_or_else(malformed)? {
                state.chunks.push(DoneChunk { number, range });
            }
        }
        Ok(found)
    }
}
