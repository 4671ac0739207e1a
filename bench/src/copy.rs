//! The initial copy of tables and rows: `mysqldump | mysql`, and mydumper with myloader of Debian, against `twinlog`. One after the
//! other from the same source, each into a new server, with the servers' settings as they are; what arrived is held against
//! the source by checksums.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::json;
use twinlog::local_mysql::{Server, debian_packages};

use crate::stage::{self, Stage};
use crate::sync::Sync;

/// How long a copy may take before it counts as broken.
const WITHIN: Duration = Duration::from_secs(3 * 3600);
/// Between two looks at how far a copy is.
const LOOK: Duration = Duration::from_millis(20);
/// Rows written by one statement when the source is filled.
const BATCH: u64 = 50_000;
/// What copies side by side: Twinlog's own default, and given to mydumper and myloader too.
const THREADS: &str = "8";

#[derive(Args)]
pub(crate) struct Options {
    /// Rows, of all tables together.
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(100..))]
    rows: u64,
    /// Tables.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    tables: u64,
    /// Runs of each.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Further lines of the link, with `;` between them.
    #[arg(long, default_value = "")]
    link: String,
    /// Twinlog alone: to hold settings against each other.
    #[arg(long)]
    alone: bool,
    /// The outcome as JSON alone.
    #[arg(long)]
    json: bool,
}

/// Who copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Mysqldump,
    Mydumper,
    Twinlog,
}

impl Way {
    const ALL: [Self; 3] = [Self::Mysqldump, Self::Mydumper, Self::Twinlog];

    fn name(self) -> &'static str {
        match self {
            Self::Mysqldump => "mysqldump | mysql",
            Self::Mydumper => "mydumper, myloader",
            Self::Twinlog => "twinlog",
        }
    }
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let stage = Stage::new()?;
    let tools = Tools::fetch()?;
    let source = stage.start("source", 1)?;
    stage::make_account(&source).await?;
    fill(&mut stage::root(&source).await?, &options).await?;
    let expected = stage::checksums(&source, "sbtest").await?;
    let mut seconds = Way::ALL.map(|_| Vec::new());
    for round in 0..options.runs.max(1) {
        for (way, seconds) in Way::ALL.into_iter().zip(&mut seconds) {
            if options.alone && way != Way::Twinlog {
                continue;
            }
            let name = format!("{way:?}-{round}");
            let mut target = stage.start(&name, 2)?;
            stage::make_account(&target).await?;
            let took = match way {
                Way::Mysqldump => mysqldump(&source, &target)?,
                Way::Mydumper => tools.copy(&source, &target, &stage.path(&format!("{name}-dump")))?,
                Way::Twinlog => {
                    twinlog(&stage.path(&format!("{name}-sync")), &source, &target, &options.link).await?
                }
            };
            ensure!(
                stage::checksums(&target, "sbtest").await? == expected,
                "what {} copied is not what the source has",
                way.name()
            );
            target.stop();
            std::fs::remove_dir_all(stage.path(&name))?;
            if !options.json {
                println!("{:20} {took:9.2} s {:>11.0} rows/s", way.name(), rate(options.rows, took));
            }
            seconds.push(took);
        }
    }
    report(&options, &seconds);
    Ok(())
}

/// Prints the ratios, and all of it as a line of JSON.
fn report(options: &Options, seconds: &[Vec<f64>; 3]) {
    if options.alone {
        println!("{}", json!({ "bench": "copy", "rows": options.rows, "twinlog_seconds": seconds[2] }));
        return;
    }
    let [dump, mydumper, own] = seconds.each_ref().map(|all| median(all));
    let (ratio, ratio_of_mydumper) = (dump / own, mydumper / own);
    if !options.json {
        println!(
            "twinlog is {ratio:.2} times as fast as mysqldump | mysql, {ratio_of_mydumper:.2} times as mydumper and myloader"
        );
    }
    println!(
        "{}",
        json!({
            "bench": "copy", "rows": options.rows, "tables": options.tables,
            "ratio_mysqldump": ratio, "ratio_mydumper": ratio_of_mydumper,
            "ratio_faster_of_them": ratio.min(ratio_of_mydumper),
            "mysqldump_seconds": seconds[0], "mydumper_seconds": seconds[1], "twinlog_seconds": seconds[2],
        })
    );
}

#[allow(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(rows: u64, seconds: f64) -> f64 {
    rows as f64 / seconds
}

fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// sysbench's tables with their index, filled in the order of their keys.
async fn fill(conn: &mut Conn, options: &Options) -> Result<()> {
    conn.query_drop("CREATE DATABASE sbtest").await?;
    conn.query_drop("CREATE TEMPORARY TABLE sbtest.n (i INT PRIMARY KEY)").await?;
    conn.query_drop(format!("SET cte_max_recursion_depth = {BATCH}")).await?;
    conn.query_drop(format!(
        "INSERT INTO sbtest.n WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {BATCH}) SELECT i FROM n"
    ))
    .await?;
    let rows = options.rows / options.tables;
    for table in 1..=options.tables {
        conn.query_drop(format!(
            "CREATE TABLE sbtest.t{table} (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL DEFAULT 0, \
             c CHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT '', KEY (k))"
        ))
        .await?;
        for first in (0..rows).step_by(usize::try_from(BATCH)?) {
            conn.query_drop(format!(
                "INSERT INTO sbtest.t{table} SELECT {first} + i, CRC32(i + {first}) DIV 2, \
                 LEFT(SHA2({first} + i, 512), 119), LEFT(SHA2(i, 256), 59) FROM sbtest.n WHERE {first} + i <= {rows}"
            ))
            .await?;
        }
    }
    // What the index statistics say is what each of them plans by.
    for table in 1..=options.tables {
        conn.query_drop(format!("ANALYZE TABLE sbtest.t{table}")).await?;
    }
    Ok(())
}

/// As its manual has it: one thread on either side, and a pipe between.
fn mysqldump(source: &Server, target: &Server) -> Result<f64> {
    let began = Instant::now();
    let mut dump = source
        .client("mysqldump")
        .args(["--single-transaction", "--set-gtid-purged=OFF", "--databases", "sbtest"])
        .stdout(Stdio::piped())
        .spawn()
        .context("mysqldump")?;
    let output = dump.stdout.take().context("mysqldump has no output")?;
    let loaded = target.client("mysql").stdin(output).status().context("mysql")?;
    ensure!(dump.wait()?.success() && loaded.success(), "mysqldump | mysql failed");
    Ok(began.elapsed().as_secs_f64())
}

/// mydumper and myloader.
struct Tools {
    folder: PathBuf,
    /// Where they have their libraries.
    libraries: [PathBuf; 2],
}

impl Tools {
    fn fetch() -> Result<Self> {
        let folder = debian_packages("debian-mydumper", &["mydumper"], &["libc6_", "libc-bin_", "perl"])?;
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let libraries = ["usr/lib", "lib"].map(|lib| folder.join(lib).join(&triplet));
        Ok(Self { folder, libraries })
    }

    fn run(&self, name: &str, server: &Server, folder: &Path, more: &[&str]) -> Result<()> {
        let mut command = Command::new(self.folder.join("usr/bin").join(name));
        command
            .env("LD_LIBRARY_PATH", std::env::join_paths(&self.libraries)?)
            .env("MARIADB_PLUGIN_DIR", self.libraries[0].join("libmariadb3/plugin"))
            .args(["--user", "root", "--threads", THREADS])
            .arg("--socket")
            .arg(server.socket())
            .arg(if name == "mydumper" { "--outputdir" } else { "--directory" })
            .arg(folder)
            .args(more);
        let output = command.output().with_context(|| name.to_owned())?;
        ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn copy(&self, source: &Server, target: &Server, folder: &Path) -> Result<f64> {
        let began = Instant::now();
        let options = ["--database", "sbtest", "--trx-consistency-only", "--rows", "100000"];
        self.run("mydumper", source, folder, &options)?;
        // Without it what it loads is not in the target's binary log, and no replica of it would have it.
        self.run("myloader", target, folder, &["--enable-binlog"])?;
        let took = began.elapsed().as_secs_f64();
        std::fs::remove_dir_all(folder)?;
        Ok(took)
    }
}

/// From the start of its processes until the copy says that it is done.
async fn twinlog(folder: &Path, source: &Server, target: &Server, link: &str) -> Result<f64> {
    let mut sync = Sync::new(folder, source.port(), Some(target.port()), "now", false)?;
    sync.add_to_link(&format!("detect = \"key\";initial = \"structure+data\";{link}"))?;
    let mut conn = stage::root(target).await?;
    let began = Instant::now();
    sync.start_relay()?;
    sync.start_applier()?;
    while began.elapsed() < WITHIN {
        sync.check_alive()?;
        let query = "SELECT state FROM twinlog.`load` WHERE database_name = ''";
        // The table comes with the link.
        let state: Option<String> = conn.query_first(query).await.unwrap_or_default();
        if state.as_deref() == Some("done") {
            let took = began.elapsed().as_secs_f64();
            sync.stop();
            return Ok(took);
        }
        tokio::time::sleep(LOOK).await;
    }
    bail!("the copy is not done within {WITHIN:?}")
}
