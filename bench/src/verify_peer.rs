//! How pt-table-checksum compares a table: chunk after chunk in one thread, each as
//! `REPLACE INTO checksums SELECT …, COUNT(*), BIT_XOR(CRC32(…))` on the source, which the replica runs too when the
//! statement arrives there, beside the source's next chunk. Chunks grow or shrink to take half a second.
//!
//! The replica gets its statements from here instead of from a binary log, at once: that favours the peer a little.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::stage::{PASSWORD, USER, connect};

/// What a chunk should take, and how many rows it has at first: the tool's own defaults.
const CHUNK_TIME: Duration = Duration::from_millis(500);
const FIRST_ROWS: f64 = 1000.0;
/// The weight of the newest chunk in the rate of rows.
const WEIGHT: f64 = 0.25;

/// What it found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) rows: u64,
    pub(crate) chunks: u64,
    pub(crate) different: u64,
}

/// Compares `sbtest.t1` on two servers.
pub(crate) async fn run(source: u16, replica: u16) -> Result<Found> {
    let mut conn = session(source).await?;
    let mut there = session(replica).await?;
    let (to_replica, mut statements) = mpsc::unbounded_channel::<String>();
    let mut replaying = JoinSet::new();
    replaying.spawn(async move {
        while let Some(statement) = statements.recv().await {
            there.query_drop(statement).await?;
        }
        anyhow::Ok(there)
    });
    let (mut chunk, mut lower, mut rate) = (1_u64, 0_i64, FIRST_ROWS / CHUNK_TIME.as_secs_f64());
    loop {
        let rows = (rate * CHUNK_TIME.as_secs_f64()).max(1.0).round();
        // The last key of this chunk and the first of the next.
        let bounds: Vec<i64> = conn
            .query(format!(
                "SELECT id FROM sbtest.t1 FORCE INDEX (PRIMARY) WHERE id >= {lower} ORDER BY id LIMIT {}, 2",
                rows - 1.0
            ))
            .await?;
        let within = match bounds.first() {
            Some(upper) => format!("id >= {lower} AND id <= {upper}"),
            None => format!("id >= {lower}"),
        };
        let statement = checksum(chunk, &within);
        let began = Instant::now();
        conn.query_drop(&statement).await?;
        let took = began.elapsed().as_secs_f64();
        to_replica.send(statement).context("the replica's task has ended")?;
        let of = format!("WHERE db = 'sbtest' AND tbl = 't1' AND chunk = {chunk}");
        let (count, crc): (u64, String) = conn
            .query_first(format!("SELECT this_cnt, this_crc FROM percona.checksums {of}"))
            .await?
            .context("no checksum")?;
        let note = format!(
            "UPDATE percona.checksums SET chunk_time = {took}, master_crc = '{crc}', master_cnt = {count} {of}"
        );
        conn.query_drop(&note).await?;
        to_replica.send(note).context("the replica's task has ended")?;
        let Some(next) = bounds.get(1) else { break };
        #[allow(clippy::cast_precision_loss, reason = "a rate")]
        let newest = count as f64 / took.max(1e-6);
        rate = newest.mul_add(WEIGHT, rate * (1.0 - WEIGHT));
        lower = *next;
        chunk += 1;
    }
    drop(to_replica);
    let mut there = replaying.join_next().await.context("no task")???;
    let (rows, chunks, different) = there
        .query_first(
            "SELECT CAST(SUM(master_cnt) AS UNSIGNED), COUNT(*), \
             CAST(SUM(this_crc <> master_crc OR this_cnt <> master_cnt) AS UNSIGNED) FROM percona.checksums",
        )
        .await?
        .context("no checksums")?;
    for session in [conn, there] {
        session.disconnect().await?;
    }
    Ok(Found { rows, chunks, different })
}

fn checksum(chunk: u64, within: &str) -> String {
    format!(
        "REPLACE INTO percona.checksums (db, tbl, chunk, chunk_index, lower_boundary, upper_boundary, this_cnt, this_crc) \
         SELECT 'sbtest', 't1', {chunk}, 'PRIMARY', '', '', COUNT(*), COALESCE(LOWER(CONV(BIT_XOR(CAST(CRC32(\
         CONCAT_WS('#', id, k, c, pad)) AS UNSIGNED)), 10, 16)), 0) \
         FROM sbtest.t1 FORCE INDEX (PRIMARY) WHERE ({within})"
    )
}

/// A session as the tool has it, and its table anew.
async fn session(port: u16) -> Result<Conn> {
    let mut conn = connect(port, USER, Some(PASSWORD)).await?;
    for statement in [
        "SET SESSION binlog_format = STATEMENT",
        "SET SESSION transaction_isolation = 'REPEATABLE-READ'",
        "SET SESSION innodb_lock_wait_timeout = 1",
        "CREATE DATABASE IF NOT EXISTS percona",
        "DROP TABLE IF EXISTS percona.checksums",
        "CREATE TABLE percona.checksums (db CHAR(64) NOT NULL, tbl CHAR(64) NOT NULL, chunk INT NOT NULL, \
         chunk_time FLOAT NULL, chunk_index VARCHAR(200) NULL, lower_boundary TEXT NULL, upper_boundary TEXT NULL, \
         this_crc CHAR(40) NOT NULL, this_cnt INT NOT NULL, master_crc CHAR(40) NULL, master_cnt INT NULL, \
         ts TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, \
         PRIMARY KEY (db, tbl, chunk), INDEX ts_db_tbl (ts, db, tbl)) ENGINE = InnoDB DEFAULT CHARSET = utf8",
    ] {
        conn.query_drop(statement).await.with_context(|| statement.to_owned())?;
    }
    Ok(conn)
}
