//! A chunk, read at the source, with the marks between which its state lies.

use std::time::{Duration, Instant};

use binlog::row::{NO_FOREIGN_KEY_CHECKS, RowsWriter};
use binlog::{Event, GtidSet};
use wire::Connection;

use super::table::SourceTable;
use super::value;
use crate::conflict::owned;
use crate::executed::executed;
use crate::progress::Progress;
use crate::{Error, sql};

/// Between two looks at transactions that are about to commit.
const LOOK: Duration = Duration::from_millis(2);
/// A commit that takes so long is told.
const LONG: Duration = Duration::from_secs(2);
/// Bytes of a table without a key, which is copied as one chunk.
const MOST_BYTES_UNKEYED: usize = 256 << 20;

/// A chunk.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// All of this the read has seen.
    pub(crate) before: GtidSet,
    /// And nothing but this.
    pub(crate) high: GtidSet,
    /// Table map and row events; nothing without rows.
    pub(crate) events: Vec<Event>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// Reads the rows of a condition on a table's key, all of `before` among them.
pub(crate) async fn read(
    source: &mut Connection,
    table: &SourceTable,
    condition: &str,
    server_id: u32,
    before: GtidSet,
) -> Result<Chunk, Error> {
    let order = table.key.as_ref().map(|key| format!(" ORDER BY {}", key.key.order())).unwrap_or_default();
    let condition = format!(" WHERE {condition}{order}");
    let (events, rows, bytes) = rows_of(source, table, &condition, server_id).await?;
    let high = seen_at_most(source).await?;
    Ok(Chunk { before, high, events, rows, bytes })
}

/// Opens a state of the database that stays, and gives its marks: all it has seen, which is `before`, and all it may have.
/// Ended by `COMMIT`.
pub(crate) async fn open_snapshot(
    source: &mut Connection,
    before: GtidSet,
) -> Result<(GtidSet, GtidSet), Error> {
    let begin = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
    source.execute(begin).await.map_err(Error::source("opening a snapshot"))?;
    Ok((before, seen_at_most(source).await?))
}

/// Reads the whole table from a snapshot that is open.
pub(crate) async fn read_whole(
    source: &mut Connection,
    table: &SourceTable,
    (before, high): (GtidSet, GtidSet),
    server_id: u32,
) -> Result<Chunk, Error> {
    let (events, rows, bytes) = rows_of(source, table, "", server_id).await?;
    Ok(Chunk { before, high, events, rows, bytes })
}

async fn rows_of(
    source: &mut Connection,
    table: &SourceTable,
    condition: &str,
    server_id: u32,
) -> Result<(Vec<Event>, u64, u64), Error> {
    let failed = Error::source("reading rows to copy");
    let query = format!("{}{condition}", table.select());
    let mut found = source.query_stream(query).await.map_err(&failed)?;
    let mut writer = RowsWriter::new(&table.map, server_id, NO_FOREIGN_KEY_CHECKS);
    let (mut image, mut room) = (Vec::new(), Vec::new());
    let (mut rows, mut bytes) = (0, 0);
    while let Some(row) = found.next().await.map_err(&failed)? {
        image.clear();
        value::put_row(&table.map.columns, &row, &mut room, &mut image).map_err(|column| Error::Copy {
            table: table.name(),
            what: format!("a value of column {} is not understood", sql::name(&table.selected[column].name)),
            remedy: "leave the table out of [sync] tables, or copy it by other means with initial = \"none\""
                .into(),
        })?;
        writer.push(&image);
        rows += 1;
        bytes += image.len();
        if table.key.is_none() && bytes > MOST_BYTES_UNKEYED {
            return Err(Error::Copy {
                table: table.name(),
                what: format!("it has no key, and more than {} MiB of rows", MOST_BYTES_UNKEYED >> 20),
                remedy: "give it a primary key: without one a table is copied in one piece".into(),
            });
        }
    }
    Ok((writer.finish(), rows, bytes as u64))
}

/// What it has executed, once all of this is. The server sends a transaction when it is in the log, and shows its rows only
/// when it is committed: a read too early would lack what the stream has passed already.
///
/// That takes a moment, or as long as a commit waits for a semi-synchronous replica. The status tells it when it is long.
pub(crate) async fn executed_with(
    source: &mut Connection,
    passed: &GtidSet,
    progress: &Progress,
) -> Result<GtidSet, Error> {
    let began = Instant::now();
    let mut told = false;
    loop {
        let executed = executed(source).await.map_err(Error::source("asking what it has executed"))?;
        let lacking = passed.minus(&executed);
        if lacking.is_empty() {
            if told {
                progress.waits_for(None);
            }
            return Ok(executed);
        }
        if !told && began.elapsed() > LONG {
            told = true;
            progress.waits_for(Some(format!(
                "the source has {lacking} in its binary log and has not committed it: the copy reads on when it has; does \
                 it wait for a semi-synchronous replica?"
            )));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// All that a read before this may have seen. A GTID that is owned may yet be given up, and would then never come: so
/// each is watched until it is executed, or gone.
async fn seen_at_most(source: &mut Connection) -> Result<GtidSet, Error> {
    let mut open: Option<GtidSet> = None;
    let mut high = GtidSet::new();
    loop {
        let both = owned::ask_both(source).await;
        let (owned, executed) = both.map_err(Error::source("asking what it has executed"))?;
        let watched = match open {
            None => {
                high = executed.clone();
                owned.minus(&executed)
            }
            Some(open) => {
                high.union_with(&open.intersection(&executed));
                // Neither executed nor owned any more: it was rolled back.
                open.minus(&executed).intersection(&owned)
            }
        };
        if watched.is_empty() {
            return Ok(high);
        }
        open = Some(watched);
        tokio::time::sleep(LOOK).await;
    }
}
