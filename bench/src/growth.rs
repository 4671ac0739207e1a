//! How the time to catch up grows with the backlog, with the width of rows, with the number of tables, and with the links that one
//! relay serves; and what memory it takes. Draws what it measured: `bench/growth-….svg`, one file for each of the four.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use binlog::GtidSet;
use clap::Args;
use mysql_async::prelude::Queryable;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::task::JoinSet;
use twinlog::local_mysql::Server;

use crate::duo::WITHIN;
use crate::relay::process;
use crate::stage::{self, PASSWORD, Stage, USER};
use crate::sync::{Sync, wait_applied};

#[derive(Args)]
pub(crate) struct Options {
    /// Bytes of rows in the backlog, MiB.
    #[arg(long, default_values_t = [100, 1000, 5000], value_delimiter = ',')]
    backlog: Vec<u64>,
    /// Bytes of a row, in a backlog of `--fixed` MiB.
    #[arg(long, default_values_t = [100, 1000, 10_000, 100_000], value_delimiter = ',')]
    width: Vec<u64>,
    /// Tables, in a backlog of `--fixed` MiB.
    #[arg(long, default_values_t = [1, 10, 100, 1000, 10_000], value_delimiter = ',')]
    tables: Vec<u64>,
    /// Links of one relay, each with `--fixed` MiB into a target of its own.
    #[arg(long, default_values_t = [1, 2, 4, 8], value_delimiter = ',')]
    links: Vec<u64>,
    /// MiB where something else varies.
    #[arg(long, default_value_t = 50)]
    fixed: u64,
    /// Where the drawings go.
    #[arg(long, default_value = "bench")]
    folder: PathBuf,
}

/// A backlog of inserts.
#[derive(Clone, Copy)]
struct Backlog {
    mib: u64,
    width: u64,
    tables: u64,
    links: u64,
}

/// What catching up took.
struct Took {
    seconds: f64,
    /// The most memory that the relay, and the largest applier, had at any time.
    relay_mib: u64,
    applier_mib: u64,
}

/// Makes another backlog of one.
type Vary = fn(Backlog, u64) -> Backlog;

pub(crate) async fn run(options: Options) -> Result<()> {
    let fixed = Backlog { mib: options.fixed, width: 1000, tables: 1, links: 1 };
    let series: [(&str, &str, &[u64], Vary); 4] = [
        ("backlog", "MiB of rows", &options.backlog, |b, mib| Backlog { mib, ..b }),
        ("width", "bytes a row", &options.width, |b, width| Backlog { width, ..b }),
        ("tables", "tables", &options.tables, |b, tables| Backlog { tables, ..b }),
        ("links", "links", &options.links, |b, links| Backlog { links, ..b }),
    ];
    for (name, axis, values, vary) in series {
        let mut points = Vec::new();
        for value in values {
            let took = catch_up(vary(fixed, *value)).await?;
            let Took { seconds, relay_mib, applier_mib } = took;
            println!(
                "growth/{name:10} {value:8} {axis:12} {seconds:8.2} s, relay {relay_mib} MiB, applier {applier_mib} MiB"
            );
            println!(
                "{}",
                json!({
                    "bench": format!("growth/{name}={value}"), "seconds": seconds,
                    "relay_mib": relay_mib, "applier_mib": applier_mib
                })
            );
            points.push((*value as f64, seconds));
        }
        if points.len() > 1 {
            let path = options.folder.join(format!("growth-{name}.svg"));
            std::fs::write(&path, draw(axis, &points)).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// From the start of relay and appliers until every target has all of it.
async fn catch_up(backlog: Backlog) -> Result<Took> {
    let stage = Stage::new()?;
    let mut source = stage.start("source", 1)?;
    stage::make_account(&source).await?;
    let mut conn = stage::root(&source).await?;
    conn.query_drop("CREATE DATABASE sbtest").await?;
    for table in 1..=backlog.tables {
        conn.query_drop(format!("CREATE TABLE sbtest.t{table} (id BIGINT PRIMARY KEY, v LONGBLOB NOT NULL)"))
            .await?;
    }
    let before = stage::executed(&mut conn).await?;
    conn.disconnect().await?;
    source.stop();
    let names: Vec<String> = (0..backlog.links).map(|at| format!("target{at}")).collect();
    for name in &names {
        stage.copy("source", name)?;
    }
    let source = stage.start("source", 1)?;
    let targets: Vec<Server> =
        names.iter().zip(3..).map(|(name, id)| stage.start(name, id)).collect::<Result<_>>()?;
    let ports: Vec<u16> = targets.iter().map(Server::port).collect();
    // What links make for themselves at birth is not measured.
    let mut birth = Sync::fan(&stage.path("birth"), source.port(), &ports, &before)?;
    run_all(&mut birth, &targets, &before.parse()?).await?;
    birth.stop();
    fill(source.port(), backlog).await?;
    let wanted: GtidSet = stage::executed(&mut stage::root(&source).await?).await?.parse()?;
    let mut sync = Sync::fan(&stage.path("sync"), source.port(), &ports, &before)?;
    let took = run_all(&mut sync, &targets, &wanted).await?;
    let sums = stage::checksums(&source, "sbtest").await?;
    for target in &targets {
        ensure!(stage::checksums(target, "sbtest").await? == sums, "{} differs", target.port());
    }
    sync.stop();
    Ok(took)
}

/// Starts everything, and waits until every target has all that is wanted.
async fn run_all(sync: &mut Sync, targets: &[Server], wanted: &GtidSet) -> Result<Took> {
    let began = Instant::now();
    let relay = sync.start_relay()?;
    let appliers = (0..targets.len()).map(|at| sync.start_link(at)).collect::<Result<Vec<_>>>()?;
    for target in targets {
        wait_applied(target, wanted, WITHIN).await?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let most = |pids: &[u32]| -> Result<u64> {
        pids.iter().try_fold(0, |most, pid| Ok(process::resident(*pid)?.1.max(most)))
    };
    Ok(Took { seconds, relay_mib: most(&[relay])?, applier_mib: most(&appliers)? })
}

/// Transactions of ten rows, each in one table; written by eight sessions, for the backlog is what is measured, not the
/// writing of it.
async fn fill(port: u16, backlog: Backlog) -> Result<()> {
    const SESSIONS: u64 = 8;
    let mut sessions = JoinSet::new();
    for session in 0..SESSIONS {
        sessions.spawn(fill_part(port, backlog, (backlog.mib << 20) / SESSIONS, session));
    }
    while let Some(done) = sessions.join_next().await {
        done??;
    }
    Ok(())
}

/// One session's `bytes` of it, with ids of its own.
async fn fill_part(port: u16, backlog: Backlog, bytes: u64, session: u64) -> Result<()> {
    const ROWS: u64 = 10;
    let mut conn = stage::connect(port, USER, Some(PASSWORD)).await?;
    let mut rng = StdRng::seed_from_u64(1 + session);
    let (mut written, mut id) = (0, session << 32);
    while written < bytes {
        let table = rng.random_range(1..=backlog.tables);
        let rows: Vec<String> = (0..ROWS)
            .map(|_| {
                id += 1;
                format!("({id}, REPEAT(CHAR({}), {}))", 65 + id % 26, backlog.width)
            })
            .collect();
        conn.query_drop(format!("INSERT INTO sbtest.t{table} VALUES {}", rows.join(","))).await?;
        written += ROWS * backlog.width;
    }
    Ok(conn.disconnect().await?)
}

/// A drawing: both axes logarithmic, and dashed, what would be in proportion to the first point.
fn draw(axis: &str, points: &[(f64, f64)]) -> String {
    const WIDTH: f64 = 480.0;
    const HEIGHT: f64 = 300.0;
    const LEFT: f64 = 60.0;
    const BOTTOM: f64 = 40.0;
    let ends = |of: fn(&(f64, f64)) -> f64| {
        let all = || points.iter().map(of);
        (all().fold(f64::INFINITY, f64::min).log10(), all().fold(f64::NEG_INFINITY, f64::max).log10())
    };
    let ((x0, x1), (y0, y1)) = (ends(|p| p.0), ends(|p| p.1));
    let y1 = y1.max(y0 + 0.5);
    let x = |value: f64| LEFT + (value.log10() - x0) / (x1 - x0).max(0.1) * (WIDTH - LEFT - 20.0);
    let y = |value: f64| (HEIGHT - BOTTOM) - (value.log10() - y0) / (y1 - y0) * (HEIGHT - BOTTOM - 20.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let line = |from: f64| {
        points
            .iter()
            .map(|p| format!("{:.1},{:.1}", x(p.0), y(if from > 0.0 { from * p.0 } else { p.1 })))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let slope = points[0].1 / points[0].0;
    // Writing to a string can't fail.
    _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#999\" stroke-dasharray=\"4 4\"/>",
        line(slope)
    );
    _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#06c\" stroke-width=\"2\"/>",
        line(0.0)
    );
    for (at, seconds) in points {
        _ = writeln!(out, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"#06c\"/>", x(*at), y(*seconds));
        _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{at}</text>",
            x(*at),
            HEIGHT - BOTTOM + 16.0
        );
        _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{seconds:.1} s</text>",
            x(*at) - 6.0,
            y(*seconds) - 6.0
        );
    }
    _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{axis}</text>",
        WIDTH / 2.0,
        HEIGHT - 6.0
    );
    out.push_str("</svg>\n");
    out
}
