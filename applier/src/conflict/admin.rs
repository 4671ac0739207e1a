//! The conflict table, read and answered by people: what `twinlog conflicts` does.

use serde::Serialize;
use serde_json::Value as Json;
use wire::{ConnectOptions, Connection, RowRef};

use super::record::TABLE;
use crate::{Error, sql, target};

/// A recorded conflict.
#[derive(Clone, Debug, Serialize)]
pub struct Recorded {
    /// `region/number`.
    pub id: String,
    /// When it was decided, or reported; UTC.
    pub decided_at: String,
    /// The link's key: `sync/from/to`.
    pub link: String,
    /// The incoming transaction.
    pub gtid: String,
    /// When its source committed it; UTC.
    pub committed_at: String,
    /// `database.table`.
    pub table: String,
    /// The row's key.
    pub key: Json,
    /// `insert`, `update` or `delete`.
    pub operation: String,
    /// `exists`, `missing`, `changed`, `unique`, `parent`, `json`, `other`.
    pub kind: String,
    /// What the link's policy was.
    pub policy: String,
    /// `source`, `target`, or `nobody` while a person is asked.
    pub winner: String,
    /// What the server said, or why it is drift.
    pub detail: String,
    /// The target's transactions that the source had not seen.
    pub unseen: String,
    /// The incoming row before.
    pub incoming_before: Option<Json>,
    /// The incoming row after.
    pub incoming_after: Option<Json>,
    /// The target's row.
    pub local_row: Option<Json>,
    /// What a person said: `source`, `target`, `skip`; `by hand` when the row was mended instead.
    pub resolution: Option<String>,
    /// When the link went on after it; UTC.
    pub resolved_at: Option<String>,
    /// When the loser was made the winner; UTC.
    pub flipped_at: Option<String>,
    #[serde(skip)]
    number: u64,
}

impl Recorded {
    /// Does its link wait for a person?
    pub fn is_open(&self) -> bool {
        self.winner == "nobody" && self.resolved_at.is_none()
    }

    /// Its number in its region.
    pub fn number(&self) -> u64 {
        self.number
    }
}

/// Which conflicts are wanted; the default is all.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this link: its key.
    pub link: Option<String>,
    /// On this table: `database.table`.
    pub table: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// Only those that wait for a person.
    pub open: bool,
    /// Recorded in the last so many seconds.
    pub within: Option<u64>,
    /// Behind this number.
    pub after: Option<u64>,
    /// This one.
    pub number: Option<u64>,
    /// The last so many.
    pub limit: Option<u64>,
}

/// A region's conflict table.
pub struct ConflictTable {
    pub(super) connection: Connection,
    pub(super) region: String,
    pub(super) schema: String,
}

/// What a person says about a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// The incoming row.
    Source,
    /// The row that is there.
    Target,
    /// Neither: the incoming transaction is passed over whole.
    Skip,
}

impl ConflictTable {
    /// Connects to the first of a region's servers that answers.
    ///
    /// # Errors
    ///
    /// What keeps it from connecting.
    pub async fn open(region: &str, servers: &[ConnectOptions], meta_schema: &str) -> Result<Self, Error> {
        let mut connection = target::connect(servers).await?;
        let session = "SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES', autocommit = ON, \
            character_set_client = utf8mb4, collation_connection = utf8mb4_0900_ai_ci, character_set_results = utf8mb4";
        connection.execute(session).await.map_err(Error::target("preparing its session"))?;
        Ok(Self { connection, region: region.into(), schema: meta_schema.into() })
    }

    /// The conflicts that are wanted, oldest first.
    ///
    /// # Errors
    ///
    /// What the server says. A region that no link has written into yet has no conflicts.
    pub async fn list(&mut self, wanted: &Wanted) -> Result<Vec<Recorded>, Error> {
        let failed = Error::target("reading the conflict table");
        let newest_first = format!(
            "SELECT * FROM {} WHERE {} ORDER BY id DESC LIMIT {}",
            self.table(),
            condition(wanted),
            wanted.limit.unwrap_or(u64::MAX)
        );
        let rows = match self.connection.query_rows(newest_first).await {
            Ok(rows) => rows,
            // No such table; no such database.
            Err(error) if matches!(error.code(), Some(1146 | 1049)) => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut all: Vec<Recorded> =
            rows.iter().map(|row| read(&self.region, row).map_err(&failed)).collect::<Result<_, _>>()?;
        all.reverse();
        Ok(all)
    }

    /// Answers a conflict that waits: its link goes on within a second. `false` when it does not wait.
    ///
    /// # Errors
    ///
    /// What the server says.
    pub async fn resolve(&mut self, number: u64, take: Take) -> Result<bool, Error> {
        let word = match take {
            Take::Source => "source",
            Take::Target => "target",
            Take::Skip => "skip",
        };
        let update = format!(
            "UPDATE {} SET resolution = '{word}' WHERE id = {number} AND winner = 'nobody' AND resolved_at IS NULL",
            self.table()
        );
        let done = self.connection.execute(update).await.map_err(Error::target("answering a conflict"))?;
        // An answer given before is no change.
        let waits = format!("SELECT 1 FROM {} WHERE id = {number} AND resolution = '{word}'", self.table());
        let same = self.connection.query_rows(waits).await.map_err(Error::target("answering a conflict"))?;
        Ok(done.affected_rows == 1 || !same.rows.is_empty())
    }

    pub(super) fn table(&self) -> String {
        sql::table(&self.schema, TABLE)
    }
}

fn condition(wanted: &Wanted) -> String {
    let mut all = vec!["TRUE".to_owned()];
    let mut add = |text: String| all.push(text);
    if let Some(link) = &wanted.link {
        add(format!("link = {}", sql::text(link)));
    }
    if let Some(table) = &wanted.table {
        add(format!("CONCAT(database_name, '.', table_name) = {}", sql::text(table)));
    }
    if let Some(kind) = &wanted.kind {
        add(format!("kind = {}", sql::text(kind)));
    }
    if wanted.open {
        add("winner = 'nobody' AND resolved_at IS NULL".into());
    }
    if let Some(seconds) = wanted.within {
        add(format!("decided_at >= NOW(6) - INTERVAL {seconds} SECOND"));
    }
    if let Some(number) = wanted.after {
        add(format!("id > {number}"));
    }
    if let Some(number) = wanted.number {
        add(format!("id = {number}"));
    }
    all.join(" AND ")
}

fn read(region: &str, row: RowRef<'_>) -> Result<Recorded, wire::Error> {
    let json = |name: &str| -> Result<Option<Json>, wire::Error> {
        let bad = |_| wire::Error::Invalid { what: format!("the conflict table has a malformed {name}") };
        row.optional_text(name)?.map(|text| serde_json::from_str(&text).map_err(bad)).transpose()
    };
    let number: u64 = row.parse("id")?;
    Ok(Recorded {
        id: format!("{region}/{number}"),
        decided_at: row.text("decided_at")?,
        link: row.text("link")?,
        gtid: row.text("gtid")?,
        committed_at: row.text("committed_at")?,
        table: format!("{}.{}", row.text("database_name")?, row.text("table_name")?),
        key: json("row_key")?.unwrap_or_default(),
        operation: row.text("operation")?,
        kind: row.text("kind")?,
        policy: row.text("policy")?,
        winner: row.text("winner")?,
        detail: row.text("detail")?,
        unseen: row.text("unseen")?,
        incoming_before: json("incoming_before")?,
        incoming_after: json("incoming_after")?,
        local_row: json("local_row")?,
        resolution: row.optional_text("resolution")?,
        resolved_at: row.optional_text("resolved_at")?,
        flipped_at: row.optional_text("flipped_at")?,
        number,
    })
}
