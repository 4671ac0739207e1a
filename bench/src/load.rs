//! What the source is made to do.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::stage::{PASSWORD, USER, connect};

/// The shape of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// sysbench's: two updates, a delete and an insert of random rows.
    OltpWriteOnly,
    /// One inserted row.
    SingleInsert,
    /// One update of 20 rows.
    MultiRowUpdate,
    /// One inserted row of 4 KiB.
    WideRow,
    /// As `oltp-write-only`, over 100 tables.
    HundredTables,
}

impl Shape {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OltpWriteOnly => "oltp_write_only",
            Self::SingleInsert => "single_insert",
            Self::MultiRowUpdate => "multi_row_update",
            Self::WideRow => "wide_row",
            Self::HundredTables => "hundred_tables",
        }
    }

    fn tables(self) -> u32 {
        if self == Self::HundredTables { 100 } else { 1 }
    }

    fn rows(self) -> u32 {
        if self == Self::HundredTables { 1_000 } else { 100_000 }
    }

    /// Makes and fills the tables of schema `sbtest`.
    pub(crate) async fn prepare(self, conn: &mut Conn) -> Result<()> {
        conn.query_drop("CREATE DATABASE sbtest").await?;
        for table in 1..=self.tables() {
            make_table(conn, table, self.rows()).await?;
        }
        Ok(())
    }

    /// The statements of one transaction.
    fn transaction(self, rng: &mut StdRng) -> Vec<String> {
        let table = rng.random_range(1..=self.tables());
        let id = rng.random_range(1..=self.rows());
        match self {
            Self::OltpWriteOnly | Self::HundredTables => oltp(table, self.rows(), rng),
            Self::SingleInsert => vec![format!("INSERT INTO sbtest.t1 (k, c, pad) VALUES ({id}, 'c', 'p')")],
            Self::MultiRowUpdate => {
                let last = id + 19;
                vec![format!("UPDATE sbtest.t1 SET k = k + 1 WHERE id BETWEEN {id} AND {last}")]
            }
            Self::WideRow => {
                vec![format!(
                    "INSERT INTO sbtest.t1 (k, b) VALUES ({id}, REPEAT(CHAR(65 + {id} % 26), 4096))"
                )]
            }
        }
    }
}

/// A table of 100,000 rows, for loads at a pace.
#[derive(Clone, Copy)]
pub(crate) struct Table(pub(crate) u32);

impl Table {
    /// Makes and fills it.
    pub(crate) async fn prepare(self, conn: &mut Conn) -> Result<()> {
        make_table(conn, self.0, Shape::OltpWriteOnly.rows()).await
    }

    /// Runs `oltp_write_only` transactions for so long, so many a second in all; 0: as many as can be. Gives how many.
    pub(crate) async fn write(
        self,
        port: u16,
        rate: u64,
        during: Duration,
        sessions: u64,
        seed: u64,
    ) -> Result<u64> {
        let mut writers = JoinSet::new();
        let end = Instant::now() + during;
        for session in 0..sessions {
            writers.spawn(async move {
                let mut conn = connect(port, USER, Some(PASSWORD)).await?;
                let mut rng = StdRng::seed_from_u64(seed ^ session);
                let every = Duration::from_secs(1) * u32::try_from(sessions)? / u32::try_from(rate.max(1))?;
                let mut next = Instant::now() + every * u32::try_from(session)? / u32::try_from(sessions)?;
                let mut written = 0;
                while Instant::now() < end {
                    if rate > 0 {
                        tokio::time::sleep_until(next).await;
                        next += every;
                    }
                    let statements = oltp(self.0, Shape::OltpWriteOnly.rows(), &mut rng);
                    commit(&mut conn, &statements).await?;
                    written += 1;
                }
                conn.disconnect().await?;
                anyhow::Ok(written)
            });
        }
        let mut written = 0;
        while let Some(done) = writers.join_next().await {
            written += done??;
        }
        Ok(written)
    }
}

async fn make_table(conn: &mut Conn, table: u32, rows: u32) -> Result<()> {
    conn.query_drop(format!(
        "CREATE TABLE sbtest.t{table} (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL DEFAULT 0, \
         c CHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT '', b MEDIUMBLOB, KEY k (k))"
    ))
    .await?;
    let mut first = 1;
    while first <= rows {
        let last = (first + 999).min(rows);
        let row = |id| format!("({id}, {id}, REPEAT('c', 119), REPEAT('p', 59), NULL)");
        let all: Vec<String> = (first..=last).map(row).collect();
        conn.query_drop(format!("INSERT INTO sbtest.t{table} VALUES {}", all.join(","))).await?;
        first = last + 1;
    }
    Ok(())
}

/// The statements of sysbench's `oltp_write_only`.
fn oltp(table: u32, rows: u32, rng: &mut StdRng) -> Vec<String> {
    let mut row = || rng.random_range(1..=rows);
    let (id, other, third) = (row(), row(), row());
    let text: u64 = rng.random();
    vec![
        format!("UPDATE sbtest.t{table} SET k = k + 1 WHERE id = {id}"),
        format!("UPDATE sbtest.t{table} SET c = '{text:0>119}' WHERE id = {other}"),
        format!("DELETE FROM sbtest.t{table} WHERE id = {third}"),
        format!(
            "INSERT INTO sbtest.t{table} (id, k, c, pad) VALUES ({third}, {id}, '{text:0>119}', '{text:0>59}') \
             ON DUPLICATE KEY UPDATE k = k + 1"
        ),
    ]
}

/// Runs so many transactions from so many sessions at once.
pub(crate) async fn run(port: u16, shape: Shape, transactions: u64, sessions: u64, seed: u64) -> Result<()> {
    let mut writers = JoinSet::new();
    for session in 0..sessions {
        let share = transactions / sessions + u64::from(session < transactions % sessions);
        writers.spawn(async move {
            let mut conn = connect(port, USER, Some(PASSWORD)).await?;
            let mut rng = StdRng::seed_from_u64(seed ^ session);
            for _ in 0..share {
                transaction(&mut conn, shape, &mut rng).await?;
            }
            anyhow::Ok(conn.disconnect().await?)
        });
    }
    while let Some(done) = writers.join_next().await {
        done??;
    }
    Ok(())
}

/// One transaction; a deadlock between sessions is tried again, as applications do.
async fn transaction(conn: &mut Conn, shape: Shape, rng: &mut StdRng) -> Result<()> {
    commit(conn, &shape.transaction(rng)).await
}

async fn commit(conn: &mut Conn, statements: &[String]) -> Result<()> {
    let text = format!("BEGIN; {}; COMMIT", statements.join("; "));
    loop {
        match conn.query_drop(&text).await {
            Ok(()) => return Ok(()),
            Err(mysql_async::Error::Server(error)) if matches!(error.code, 1213 | 1205) => {
                conn.query_drop("ROLLBACK").await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
