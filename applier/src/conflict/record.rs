//! The conflict table: every decision, written in the transaction that decides; and what waits for a person.
//!
//! A row with `winner = 'nobody'` stopped its link. `twinlog conflicts resolve` writes its `resolution`; the link, which
//! looks for it, goes on and says in `resolved_at` that it has.

use binlog::Gtid;
use serde_json::Value as Json;
use wire::Connection;

use super::rules::{Kind, Policy, Winner};
use crate::origin::LinkKey;
use crate::{Error, sql};

/// The table's name in the meta schema.
pub(crate) const TABLE: &str = "conflict";

/// Its columns.
pub(crate) const COLUMNS: &str = "\
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  decided_at TIMESTAMP(6) NOT NULL,
  link VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  gtid VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  committed_at TIMESTAMP(6) NOT NULL,
  database_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  table_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  row_key JSON NOT NULL,
  operation VARCHAR(6) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  kind VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  policy VARCHAR(9) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  winner VARCHAR(6) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  detail TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  unseen VARCHAR(1000) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  incoming_before JSON NULL,
  incoming_after JSON NULL,
  local_row JSON NULL,
  resolution VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NULL,
  resolved_at TIMESTAMP(6) NULL,
  flipped_at TIMESTAMP(6) NULL,
  KEY by_transaction (link, gtid),
  KEY by_time (decided_at)";

/// A conflict, and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Conflict {
    pub(crate) gtid: Gtid,
    /// Commit time at the source, microseconds since 1970.
    pub(crate) committed_at: u64,
    pub(crate) database: String,
    pub(crate) table: String,
    pub(crate) key: Json,
    pub(crate) operation: &'static str,
    pub(crate) kind: Kind,
    pub(crate) policy: Policy,
    pub(crate) winner: Winner,
    pub(crate) detail: String,
    /// The target's transactions that the incoming one's region had not seen.
    pub(crate) unseen: String,
    pub(crate) before: Option<Json>,
    pub(crate) after: Option<Json>,
    pub(crate) local: Option<Json>,
}

impl Conflict {
    /// The statement that writes it down.
    pub(super) fn insert(&self, schema: &str, link: &LinkKey) -> String {
        let json = |value: &Option<Json>| value.as_ref().map_or("NULL".into(), |v| sql::text(&v.to_string()));
        format!(
            "INSERT INTO {} (decided_at, link, gtid, committed_at, database_name, table_name, row_key, operation, \
             kind, policy, winner, detail, unseen, incoming_before, incoming_after, local_row) VALUES \
             (SYSDATE(6), {}, '{}', FROM_UNIXTIME({}.{:06}), {}, {}, {}, '{}', '{}', '{}', '{}', {}, {}, {}, {}, {})",
            sql::table(schema, TABLE),
            sql::text(&link.text()),
            self.gtid,
            self.committed_at / 1_000_000,
            self.committed_at % 1_000_000,
            sql::text(&self.database),
            sql::text(&self.table),
            sql::text(&self.key.to_string()),
            self.operation,
            word(self.kind),
            word(self.policy),
            word(self.winner),
            sql::text(&self.detail),
            sql::text(&self.unseen),
            json(&self.before),
            json(&self.after),
            json(&self.local)
        )
    }
}

/// A word as the table, the configuration and the command line have it.
pub(crate) fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A conflict of a transaction that waits for a person, or has an answer.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) id: u64,
    database: String,
    table: String,
    key: Json,
    kind: String,
    pub(super) resolution: Option<String>,
}

impl Open {
    /// Is it this one?
    pub(super) fn is(&self, conflict: &Conflict) -> bool {
        (self.database.as_str(), self.table.as_str()) == (conflict.database.as_str(), conflict.table.as_str())
            && self.key == conflict.key
            && self.kind == word(conflict.kind)
    }

    /// The statement that says it is done with.
    pub(super) fn close(&self, schema: &str) -> String {
        format!(
            "UPDATE {} SET resolved_at = SYSDATE(6), resolution = COALESCE(resolution, 'by hand'), \
             winner = CASE resolution WHEN 'source' THEN 'source' WHEN 'target' THEN 'target' ELSE winner END \
             WHERE id = {}",
            sql::table(schema, TABLE),
            self.id
        )
    }
}

/// The open conflicts of a link: all, or those of one transaction.
pub(crate) async fn open(
    connection: &mut Connection,
    schema: &str,
    link: &LinkKey,
    gtid: Option<&Gtid>,
) -> Result<Vec<(Gtid, Open)>, Error> {
    let failed = Error::target("reading the conflict table");
    let only = gtid.map_or(String::new(), |gtid| format!(" AND gtid = '{gtid}'"));
    let query = format!(
        "SELECT id, gtid, database_name, table_name, row_key, kind, resolution FROM {} \
         WHERE link = {} AND winner = 'nobody' AND resolved_at IS NULL{only} ORDER BY id",
        sql::table(schema, TABLE),
        sql::text(&link.text())
    );
    let rows = connection.query_rows(query).await.map_err(&failed)?;
    let read = |row: wire::RowRef<'_>| -> Result<(Gtid, Open), wire::Error> {
        let bad =
            |what: &str| wire::Error::Invalid { what: format!("the conflict table has a malformed {what}") };
        let gtid = row.text("gtid")?.parse().map_err(|_| bad("gtid"))?;
        let key = serde_json::from_str(&row.text("row_key")?).map_err(|_| bad("row_key"))?;
        let open = Open {
            id: row.parse("id")?,
            database: row.text("database_name")?,
            table: row.text("table_name")?,
            key,
            kind: row.text("kind")?,
            resolution: row.optional_text("resolution")?,
        };
        Ok((gtid, open))
    };
    rows.iter().map(|row| read(row).map_err(&failed)).collect()
}

/// Is a conflict still without an answer? One that was deleted has none to wait for.
pub(crate) async fn is_waiting(connection: &mut Connection, schema: &str, id: u64) -> Result<bool, Error> {
    let query = format!(
        "SELECT 1 FROM {} WHERE id = {id} AND resolution IS NULL AND resolved_at IS NULL",
        sql::table(schema, TABLE)
    );
    let rows = connection.query_rows(query).await.map_err(Error::target("reading the conflict table"))?;
    Ok(!rows.rows.is_empty())
}
