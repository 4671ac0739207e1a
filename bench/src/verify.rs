//! Are two copies of a large table equal? pt-table-checksum's way against `twinlog verify`, one after the other on the
//! same two servers, with a few rows that differ.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

use crate::stage::{self, Stage};
use crate::sync::Sync;
use crate::verify_peer;

/// Rows that are made to differ, spread over the table.
const DIFFERENT: u64 = 3;
/// Rows written by one statement.
const BATCH: u64 = 100_000;

#[derive(Args)]
pub(crate) struct Options {
    /// Rows of the table.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(100..))]
    rows: u64,
    /// Runs of each.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// The outcome as JSON alone.
    #[arg(long)]
    json: bool,
}

/// How a run went.
struct Run {
    seconds: f64,
    chunks: u64,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let stage = Stage::new()?;
    let rows = options.rows;
    let mut source = stage.start("source", 1)?;
    stage::make_account(&source).await?;
    fill(&mut stage::root(&source).await?, rows).await?;
    source.stop();
    stage.copy("source", "target")?;
    source.restart()?;
    let target = stage.start("target", 2)?;
    let mut there = stage::root(&target).await?;
    there.query_drop("SET sql_log_bin = 0").await?;
    for n in 1..=DIFFERENT {
        let id = rows * n / (DIFFERENT + 1);
        there.query_drop(format!("UPDATE sbtest.t1 SET pad = UPPER(pad) WHERE id = {id}")).await?;
    }
    there.disconnect().await?;
    let sync = Sync::new(&stage.path("sync"), source.port(), Some(target.port()), "now", false)?;

    let (mut peers, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..options.runs.max(1) {
        let began = Instant::now();
        let found = verify_peer::run(source.port(), target.port()).await?;
        ensure!(found.rows == rows, "the peer read {} of {rows} rows", found.rows);
        ensure!(found.different == DIFFERENT, "the peer found {} chunks that differ", found.different);
        peers.push(Run { seconds: began.elapsed().as_secs_f64(), chunks: found.chunks });
        show(&options, "pt-table-checksum style", &peers, rows);
        ours.push(verify(&sync, rows)?);
        show(&options, "twinlog verify", &ours, rows);
    }
    let list = |runs: &[Run]| -> Vec<Value> {
        runs.iter().map(|r| json!({ "seconds": r.seconds, "chunks": r.chunks })).collect()
    };
    let (peer, own) = (median(&peers), median(&ours));
    println!(
        "{}",
        json!({
            "bench": "verify", "rows": rows, "median_ratio": peer / own,
            "peer_rows_per_second": rate(rows, peer), "twinlog_rows_per_second": rate(rows, own),
            "peer": list(&peers), "twinlog": list(&ours),
        })
    );
    Ok(())
}

fn show(options: &Options, what: &str, runs: &[Run], rows: u64) {
    if let Some(run) = runs.last().filter(|_| !options.json) {
        println!(
            "{what:24} {:8.2} s  {:>10.0} rows/s  {} chunks",
            run.seconds,
            rate(rows, run.seconds),
            run.chunks
        );
    }
}

#[allow(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(rows: u64, seconds: f64) -> f64 {
    (rows as f64 / seconds).round()
}

fn median(runs: &[Run]) -> f64 {
    let mut seconds: Vec<f64> = runs.iter().map(|r| r.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}

/// sysbench's table, without what neither of them reads.
async fn fill(conn: &mut Conn, rows: u64) -> Result<()> {
    conn.query_drop("SET sql_log_bin = 0").await?;
    conn.query_drop("CREATE DATABASE sbtest").await?;
    conn.query_drop(
        "CREATE TABLE sbtest.t1 (id INT NOT NULL PRIMARY KEY, k INT NOT NULL DEFAULT 0, \
         c CHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT '')",
    )
    .await?;
    conn.query_drop("CREATE TEMPORARY TABLE sbtest.n (i INT PRIMARY KEY)").await?;
    conn.query_drop(format!("SET cte_max_recursion_depth = {BATCH}")).await?;
    conn.query_drop(format!(
        "INSERT INTO sbtest.n WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {BATCH}) SELECT i FROM n"
    ))
    .await?;
    for first in (0..rows).step_by(usize::try_from(BATCH)?) {
        conn.query_drop(format!(
            "INSERT INTO sbtest.t1 SELECT {first} + i, CRC32(i + {first}) DIV 2, LEFT(SHA2({first} + i, 512), 119), \
             LEFT(SHA2(i, 256), 59) FROM sbtest.n WHERE {first} + i <= {rows}"
        ))
        .await?;
    }
    Ok(())
}

/// Runs `twinlog verify` as a user does, and reads what it says.
fn verify(sync: &Sync, rows: u64) -> Result<Run> {
    let mut command = Command::new(stage::twinlog()?);
    command.args(["verify", "--json", "-c"]).arg(sync.config());
    let began = Instant::now();
    let output = command.output().context("twinlog verify")?;
    let seconds = began.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr);
    let outcome: Value =
        serde_json::from_slice(&output.stdout).with_context(|| format!("twinlog verify: {said}"))?;
    let table = &outcome["tables"][0];
    ensure!(outcome["rows"] == rows, "twinlog read {} of {rows} rows: {said}", outcome["rows"]);
    let found = table["differences"].as_array().map_or(0, Vec::len);
    ensure!(found as u64 == DIFFERENT, "twinlog found {found} rows that differ: {said}");
    Ok(Run { seconds, chunks: table["chunks"].as_u64().unwrap_or_default() })
}
