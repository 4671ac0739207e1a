//! Filling a source's binary log, by procedures on the server: what is measured begins when it is full.

use anyhow::Result;
use clap::ValueEnum;
use mysql_async::prelude::Queryable;
use tokio::task::JoinSet;
use twinlog::local_mysql::Server;

use crate::stage;

/// The shape of the transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Shape {
    /// As sysbench's `oltp_write_only`: two updates, a delete and an insert; some 1.8 kB in 14 events.
    Small,
    /// An insert of 64 rows of 1000 bytes; some 65 kB in 12 events.
    Large,
}

/// Sessions that write at once, each on rows of its own.
const SESSIONS: u64 = 2;
/// Rows of a session.
const ROWS: u64 = 5000;
/// Transactions between two looks at the size.
const BATCH: u64 = 2000;

impl Shape {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
        }
    }

    fn schema(self) -> &'static [&'static str] {
        match self {
            Self::Small => &[
                "CREATE TABLE t1 (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL DEFAULT 0, \
                 c CHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT '')",
                "SET SESSION cte_max_recursion_depth = 100000",
                "INSERT INTO t1 (id, k, c, pad) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
                 WHERE i < 10000) SELECT i, i, REPEAT('c', 119), REPEAT('p', 59) FROM n",
                "CREATE PROCEDURE fill (n INT, low INT) BEGIN \
                   DECLARE a, b, d INT; \
                   WHILE n > 0 DO \
                     SET a = low + FLOOR(RAND() * 4999), b = low + FLOOR(RAND() * 4999), d = low + FLOOR(RAND() * 4999); \
                     START TRANSACTION; \
                     UPDATE t1 SET k = k + 1 WHERE id = a; \
                     UPDATE t1 SET c = REPEAT(CHAR(65 + a MOD 26), 119) WHERE id = b; \
                     DELETE FROM t1 WHERE id = d; \
                     INSERT INTO t1 (id, k, c, pad) VALUES (d, n, REPEAT('x', 119), REPEAT('y', 59)); \
                     COMMIT; \
                     SET n = n - 1; \
                   END WHILE; END",
            ],
            Self::Large => &[
                "CREATE TABLE n (i INT PRIMARY KEY)",
                "INSERT INTO n WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 64) \
                 SELECT i FROM n",
                "CREATE TABLE t1 (id INT AUTO_INCREMENT PRIMARY KEY, c VARBINARY(1000))",
                "CREATE PROCEDURE fill (n INT, low INT) BEGIN \
                   WHILE n > 0 DO \
                     INSERT INTO t1 (c) SELECT RANDOM_BYTES(1000) FROM n; \
                     SET n = n - 1; \
                   END WHILE; END",
            ],
        }
    }

    /// Transactions of a call.
    fn batch(self) -> u64 {
        match self {
            Self::Small => BATCH,
            Self::Large => BATCH / 10,
        }
    }
}

/// Fills the binary log up to `wanted` bytes; gives its size.
pub(super) async fn fill(source: &Server, shape: Shape, wanted: u64) -> Result<u64> {
    let mut conn = stage::root(source).await?;
    conn.query_drop("SET GLOBAL sync_binlog = 0, GLOBAL innodb_flush_log_at_trx_commit = 2").await?;
    conn.query_drop("CREATE DATABASE sbtest").await?;
    conn.query_drop("USE sbtest").await?;
    for statement in shape.schema() {
        conn.query_drop(*statement).await?;
    }
    while size(&mut conn).await? < wanted {
        let mut sessions = JoinSet::new();
        for session in 0..SESSIONS {
            let port = source.port();
            sessions.spawn(async move {
                let mut conn = stage::connect(port, "root", None).await?;
                let call = format!("CALL sbtest.fill({}, {})", shape.batch(), 1 + session * ROWS);
                conn.query_drop(call).await?;
                anyhow::Ok(conn.disconnect().await?)
            });
        }
        while let Some(done) = sessions.join_next().await {
            done??;
        }
    }
    let size = size(&mut conn).await?;
    conn.disconnect().await?;
    Ok(size)
}

async fn size(conn: &mut mysql_async::Conn) -> Result<u64> {
    let logs: Vec<(String, u64, String)> = conn.query("SHOW BINARY LOGS").await?;
    Ok(logs.iter().map(|(_, size, _)| size).sum())
}
