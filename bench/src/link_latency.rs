//! How soon after its commit at the source a transaction is committed in the target, with conflicts found by rows
//! against by keys.
//!
//! Two links of one source run side by side into two targets: the same transactions, at the same moments. Each is written
//! at its own time, whatever became of those before it. It has arrived when a reader of the target's binary log has it,
//! so the target's own flush is in every figure. With `--local` both targets are written by others too: then the link by
//! rows waits for its window.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use binlog::row::{RowsEvent, TableMap, Value};
use binlog::{Event, EventKind, GtidSet};
use clap::Args;
use mysql_async::prelude::Queryable;
use tokio::task::JoinSet;
use twinlog::local_mysql::Server;
use uuid::Uuid;
use wire::{ConnectOptions, Connection, DumpFlags, EventStream, ReplicaOptions, Secret, TlsOptions};

use crate::stage::{self, PASSWORD, Stage, USER, connect};
use crate::sync::{Sync, wait_applied};

/// Longer than what is on its way at the end takes.
const GRACE: Duration = Duration::from_secs(30);

#[derive(Args)]
pub(crate) struct Options {
    /// Transactions a second; may be repeated.
    #[arg(long, default_values_t = [200, 1000])]
    rate: Vec<u64>,
    /// Seconds at each rate.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Sessions that write.
    #[arg(long, default_value_t = 8)]
    sessions: u64,
    /// Transactions a second of others in each target, on rows that do not collide.
    #[arg(long, default_value_t = 0)]
    local: u64,
}

/// When each transaction was committed at the source.
type Commits = Arc<Mutex<HashMap<u64, Instant>>>;

/// A target and its link.
struct Side {
    target: Server,
    sync: Sync,
    stream: EventStream,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let stage = Stage::new()?;
    let mut source = stage.start("source", 1)?;
    stage::make_account(&source).await?;
    let mut conn = stage::root(&source).await?;
    conn.query_drop("CREATE DATABASE sbtest").await?;
    let table = "(id BIGINT PRIMARY KEY, k INT NOT NULL, c VARCHAR(120) NOT NULL)";
    conn.query_drop(format!("CREATE TABLE sbtest.t {table}")).await?;
    conn.query_drop(format!("CREATE TABLE sbtest.others {table}")).await?;
    drop(conn);
    source.stop();
    stage.copy("source", "target-key")?;
    stage.copy("source", "target-row")?;
    source = stage.start("source", 1)?;
    let mut key = side(&stage, &source, "key").await?;
    let mut row = side(&stage, &source, "row").await?;
    let mut first = 1;
    for rate in &options.rate {
        first = measure(&options, *rate, first, &source, [&mut key, &mut row]).await?;
    }
    for side in [&mut key, &mut row] {
        side.sync.check_alive()?;
        side.sync.stop();
    }
    Ok(())
}

async fn side(stage: &Stage, source: &Server, detect: &str) -> Result<Side> {
    let target = stage.start(&format!("target-{detect}"), if detect == "row" { 3 } else { 2 })?;
    let has = stage::executed(&mut stage::root(source).await?).await?;
    let folder = stage.path(&format!("sync-{detect}"));
    let mut sync = match detect {
        "row" => Sync::by_rows(&folder, source.port(), target.port(), &has)?,
        _ => Sync::new(&folder, source.port(), Some(target.port()), &has, false)?,
    };
    sync.start_relay()?;
    if detect == "row" {
        sync.start_target_relay()?;
    }
    sync.start_applier()?;
    wait_applied(&target, &has.parse()?, Duration::from_secs(60)).await?;
    let executed = stage::executed(&mut stage::root(&target).await?).await?;
    Ok(Side { stream: dump(&target, &executed.parse()?).await?, target, sync })
}

async fn dump(server: &Server, has: &GtidSet) -> Result<EventStream> {
    let options = ConnectOptions {
        address: server.address(),
        user: USER.into(),
        password: Secret::new(PASSWORD),
        tls: TlsOptions::default(),
        connect_timeout: Duration::from_secs(5),
    };
    let mut connection = Connection::connect(&options).await?;
    let replica = ReplicaOptions {
        server_id: 4998,
        uuid: Uuid::new_v4(),
        report_host: String::new(),
        report_port: 0,
        heartbeat_period: Duration::from_secs(30),
        semi_sync: false,
        user_variables: Vec::new(),
    };
    connection.register_replica(&replica).await?;
    Ok(connection.dump_gtid(&has.to_wire(), DumpFlags::default()).await?)
}

/// Writes at this rate, and tells how long each transaction took on both sides. Gives the next number.
async fn measure(
    options: &Options,
    rate: u64,
    first: u64,
    source: &Server,
    [key, row]: [&mut Side; 2],
) -> Result<u64> {
    let count = rate * options.seconds;
    let commits = Commits::default();
    let mut writers = JoinSet::new();
    let begin = Instant::now() + Duration::from_millis(200);
    for session in 0..options.sessions {
        let numbers: Vec<u64> = (0..count).filter(|n| n % options.sessions == session).collect();
        writers.spawn(write(source.port(), begin, rate, first, numbers, commits.clone()));
    }
    for target in [&key.target, &row.target] {
        if options.local > 0 {
            let local = options.local * options.seconds;
            writers.spawn(write_others(target.port(), begin, options.local, first, local));
        }
    }
    let written = async {
        while let Some(done) = writers.join_next().await {
            done??;
        }
        anyhow::Ok(())
    };
    let within = Duration::from_secs(options.seconds) + GRACE;
    let arrived = async {
        tokio::try_join!(arrivals(&mut key.stream, count), arrivals(&mut row.stream, count), written)
    };
    let (by_key, by_row, ()) =
        tokio::time::timeout(within, arrived).await.context("a link did not keep up")??;
    let commits = commits.lock().map_err(|_| anyhow::anyhow!("a writer panicked"))?;
    let took = |arrivals: &[(u64, Instant)]| -> Vec<u128> {
        let since =
            |(n, at): &(u64, Instant)| Some(at.saturating_duration_since(*commits.get(n)?).as_micros());
        let mut all: Vec<u128> = arrivals.iter().filter_map(since).collect();
        all.sort_unstable();
        all
    };
    let (by_key, by_row) = (took(&by_key), took(&by_row));
    ensure!(
        by_key.len() as u64 == count && by_row.len() as u64 == count,
        "not every transaction has arrived"
    );
    for percent in [50, 99] {
        let at = |sorted: &[u128]| sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)];
        let (key, row) = (at(&by_key), at(&by_row));
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a short run")]
        let ratio = row as f64 / key as f64;
        println!(
            "link_latency/rate={rate}/local={}: p{percent} by keys {key} µs, by rows {row} µs, ratio {ratio:.2}",
            options.local
        );
    }
    Ok(first + count)
}

/// Writes these transactions, each at its time.
async fn write(
    port: u16,
    begin: Instant,
    rate: u64,
    first: u64,
    numbers: Vec<u64>,
    commits: Commits,
) -> Result<()> {
    let mut conn = connect(port, USER, Some(PASSWORD)).await?;
    for n in numbers {
        tokio::time::sleep_until((begin + Duration::from_micros(n * 1_000_000 / rate)).into()).await;
        let id = first + n;
        conn.query_drop(format!("INSERT INTO sbtest.t VALUES ({id}, {n}, REPEAT('c', 100))")).await?;
        let at = Instant::now();
        commits.lock().map_err(|_| anyhow::anyhow!("a writer panicked"))?.insert(id, at);
    }
    Ok(conn.disconnect().await?)
}

/// Writes of others in a target.
async fn write_others(port: u16, begin: Instant, rate: u64, first: u64, count: u64) -> Result<()> {
    let mut conn = connect(port, USER, Some(PASSWORD)).await?;
    for n in 0..count {
        tokio::time::sleep_until((begin + Duration::from_micros(n * 1_000_000 / rate)).into()).await;
        let id = first + n;
        let insert =
            format!("INSERT INTO sbtest.others VALUES ({id}, 1, 'x') ON DUPLICATE KEY UPDATE k = k + 1");
        conn.query_drop(insert).await?;
    }
    Ok(conn.disconnect().await?)
}

/// When each of so many rows arrived.
async fn arrivals(stream: &mut EventStream, count: u64) -> Result<Vec<(u64, Instant)>> {
    let (mut arrived, mut maps, mut pending) = (Vec::new(), HashMap::new(), Vec::new());
    while (arrived.len() as u64) < count {
        let event = Event::new(stream.next().await?.event)?;
        let id = TableMap::id_of(&event);
        match event.kind() {
            EventKind::TableMap => {
                let map = TableMap::parse(&event)?;
                maps.retain(|known, _| Some(*known) != id);
                if map.table == "t" && map.database == "sbtest" {
                    maps.extend(id.map(|id| (id, map)));
                }
            }
            EventKind::WriteRows => {
                let Some(map) = id.and_then(|id| maps.get(&id)) else { continue };
                for change in RowsEvent::parse(&event, map)?.changes() {
                    if let Some(Value::Signed(id)) = change?.after.as_ref().and_then(|image| image.get(0)) {
                        pending.push(u64::try_from(*id)?);
                    }
                }
            }
            EventKind::Xid => {
                let now = Instant::now();
                arrived.extend(pending.drain(..).map(|id| (id, now)));
            }
            _ => {}
        }
    }
    Ok(arrived)
}
