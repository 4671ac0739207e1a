//! The relay against `mysqlbinlog`: pulling into a durable log (which `mysqlbinlog --raw` does not flush), and
//! serving from it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use binlog::GtidSet;
use clap::Args;
use mysql_async::prelude::Queryable;
use twinlog::local_mysql::Server;

use crate::ratio::{self, Pair};
use crate::stage::{self, PASSWORD, Stage, USER};
use crate::sync::Sync;

#[derive(Args)]
pub(crate) struct Options {
    /// Bytes of binary log, MiB.
    #[arg(long, default_value_t = 1024)]
    size: u64,
    /// Pairs of runs.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let stage = Stage::new()?;
    let source = stage.start("source", 1)?;
    stage::make_account(&source).await?;
    let bytes = fill(&source, options.size << 20).await?;
    let wanted: GtidSet = stage::executed(&mut stage::root(&source).await?).await?.parse()?;
    println!("{} MiB of binary log", bytes >> 20);
    let (mut ingest, mut serve) = (Vec::new(), Vec::new());
    for run in 0..options.pairs {
        let raw = mysqlbinlog(&stage, source.port(), USER, &format!("raw-{run}"))?;
        let folder = stage.path(&format!("sync-{run}"));
        let mut sync = Sync::new(&folder, source.port(), None, "oldest")?;
        let began = Instant::now();
        sync.start_relay()?;
        wait_durable(&mut sync, &wanted).await?;
        let pair = Pair { peer: raw, twinlog: began.elapsed().as_secs_f64() };
        ratio::show("relay_ingest", &pair);
        ingest.push(pair);
        let served = mysqlbinlog(&stage, sync.relay_port, "link", &format!("served-{run}"))?;
        let pair = Pair { peer: raw, twinlog: served };
        ratio::show("relay_serve_from_disk", &pair);
        serve.push(pair);
        sync.stop();
        for name in [format!("raw-{run}"), format!("served-{run}"), format!("sync-{run}")] {
            std::fs::remove_dir_all(stage.path(&name))?;
        }
    }
    ratio::report("relay_ingest", &ingest)?;
    ratio::report("relay_serve_from_disk", &serve)
}

/// Fills the source's binary log with transactions of some 64 KiB; gives its size.
async fn fill(source: &Server, wanted: u64) -> Result<u64> {
    let mut conn = stage::root(source).await?;
    conn.query_drop("CREATE DATABASE sbtest").await?;
    conn.query_drop("CREATE TABLE sbtest.t1 (id INT AUTO_INCREMENT PRIMARY KEY, c VARBINARY(1000))").await?;
    conn.query_drop("SET GLOBAL sync_binlog = 0, GLOBAL innodb_flush_log_at_trx_commit = 2").await?;
    let rows = vec!["(RANDOM_BYTES(1000))"; 64].join(",");
    let insert = format!("INSERT INTO sbtest.t1 (c) VALUES {rows}");
    loop {
        for _ in 0..200 {
            conn.query_drop(&insert).await?;
        }
        let logs: Vec<(String, u64, String)> = conn.query("SHOW BINARY LOGS").await?;
        let size = logs.iter().map(|(_, size, _)| size).sum();
        if size >= wanted {
            conn.disconnect().await?;
            return Ok(size);
        }
    }
}

/// Reads everything with `mysqlbinlog --raw`; seconds.
fn mysqlbinlog(stage: &Stage, port: u16, user: &str, folder: &str) -> Result<f64> {
    let folder = stage.path(folder);
    std::fs::create_dir_all(&folder)?;
    let mut command: Command = stage.installation().client("mysqlbinlog");
    command
        .args(["--read-from-remote-source=BINLOG-DUMP-GTIDS", "--raw", "--to-last-log"])
        .args(["--host=127.0.0.1", &format!("--port={port}"), &format!("--user={user}")])
        .args([&format!("--password={PASSWORD}"), "--get-server-public-key"])
        .arg(format!("--result-file={}/", folder.display()))
        .arg(first_file(port)?)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let began = Instant::now();
    let output = command.output().context("mysqlbinlog")?;
    let took = began.elapsed().as_secs_f64();
    ensure!(output.status.success(), "mysqlbinlog: {}", String::from_utf8_lossy(&output.stderr));
    Ok(took)
}

/// Stock servers of a run begin with this file.
fn first_file(_port: u16) -> Result<&'static str> {
    Ok("binlog.000001")
}

/// Waits until the relay at this port says that everything is durable.
async fn wait_durable(sync: &mut Sync, wanted: &GtidSet) -> Result<()> {
    let options = wire::ConnectOptions {
        address: format!("127.0.0.1:{}", sync.relay_port),
        user: "link".into(),
        password: wire::Secret::new(PASSWORD),
        tls: wire::TlsOptions::default(),
        connect_timeout: Duration::from_secs(5),
    };
    let deadline = Instant::now() + Duration::from_secs(600);
    while Instant::now() < deadline {
        sync.check_alive()?;
        if let Ok(mut relay) = wire::Connection::connect(&options).await {
            while let Ok(rows) = relay.query_rows("SELECT @@GLOBAL.gtid_executed").await {
                if rows.single_text()?.parse::<GtidSet>()?.contains_all(wanted) {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bail!("the relay has not pulled everything")
}
