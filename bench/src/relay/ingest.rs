//! Pulling: a source's binary log into the relay's durable log, against `mysqlbinlog --raw`.

use std::time::Instant;

use anyhow::{Result, bail};
use binlog::GtidSet;
use serde_json::json;

use super::process::{Measured, cpu, warm};
use super::report::{Report, median, rate, rounded};
use super::{Filled, WITHIN, peer, reader};
use crate::stage::{Stage, USER};
use crate::sync::Sync;

/// One round: nobody, the peer, the relay.
#[derive(Default)]
struct Round {
    /// A reader that keeps nothing: what the source can send.
    nobody: f64,
    peer: Measured,
    relay: Measured,
    source_cpu: [f64; 2],
}

pub(super) async fn run(stage: &Stage, source: &Filled, pairs: usize, report: &Report) -> Result<()> {
    let mut rounds = Vec::new();
    for n in 0..pairs {
        let mut round = Round::default();
        warm(stage.folder.path(), source.bytes)?;
        round.nobody = reader::read_all(&reader::options(source.server.port(), USER, source.tls)).await?;
        // Turn by turn, lest one always finds the machine as the other left it.
        for relay in if n % 2 == 0 { [false, true] } else { [true, false] } {
            warm(stage.folder.path(), source.bytes)?;
            let before = source_cpu(source)?;
            if relay {
                round.relay = pull(stage, source).await?.1;
            } else {
                let from = peer::From { port: source.server.port(), user: USER, tls: source.tls };
                round.peer = tokio::task::block_in_place(|| peer::read(stage, &from))?;
            }
            round.source_cpu[usize::from(relay)] = source_cpu(source)? - before;
        }
        report.say(&format!(
            "  source alone {:.2} s   mysqlbinlog --raw {:.2} s ({:.2} s CPU)   relay {:.2} s ({:.2} s CPU)   {:.2} times",
            round.nobody,
            round.peer.seconds,
            round.peer.cpu,
            round.relay.seconds,
            round.relay.cpu,
            round.peer.seconds / round.relay.seconds,
        ));
        rounds.push(round);
    }
    tell(source, &rounds, report);
    Ok(())
}

fn source_cpu(source: &Filled) -> Result<f64> {
    source.server.pid().map_or(Ok(0.0), cpu)
}

/// Starts a relay with an empty log and waits until it has everything durable. The relay goes on, with its folder.
pub(super) async fn pull(stage: &Stage, source: &Filled) -> Result<(Pulled, Measured)> {
    let folder = stage.path("relay");
    let mut sync = Sync::new(&folder, source.server.port(), None, "oldest", source.tls)?;
    let began = Instant::now();
    let pid = sync.start_relay()?;
    wait_durable(&mut sync, &source.gtids).await?;
    let measured = Measured { seconds: began.elapsed().as_secs_f64(), cpu: cpu(pid)? };
    Ok((Pulled { sync, pid }, measured))
}

/// A relay that has everything; ends, and its folder goes, when it is dropped.
pub(super) struct Pulled {
    pub(super) sync: Sync,
    pub(super) pid: u32,
}

impl Drop for Pulled {
    fn drop(&mut self) {
        self.sync.stop();
        // The stage's folder goes in any case.
        _ = std::fs::remove_dir_all(&self.sync.folder);
    }
}

/// Waits until the relay says that all of it is durable.
pub(super) async fn wait_durable(sync: &mut Sync, wanted: &GtidSet) -> Result<()> {
    let options = reader::options(sync.relay_port, "link", false);
    let deadline = Instant::now() + WITHIN;
    while Instant::now() < deadline {
        sync.check_alive()?;
        if let Ok(mut relay) = wire::Connection::connect(&options).await {
            while let Ok(rows) = relay.query_rows("SELECT @@GLOBAL.gtid_executed").await {
                if rows.single_text()?.parse::<GtidSet>()?.contains_all(wanted) {
                    return Ok(());
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    bail!("the relay has not pulled everything")
}

fn tell(source: &Filled, rounds: &[Round], report: &Report) {
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    let ratio = of(|round| round.peer.seconds / round.relay.seconds);
    let mb = |seconds: f64| rate(source.bytes, seconds);
    let (alone, peer, relay) = (of(|r| r.nobody), of(|r| r.peer.seconds), of(|r| r.relay.seconds));
    let per_gb = |cpu: f64| cpu / rate(source.bytes, 1000.0);
    let name = source.shape.name();
    report.result(
        &format!(
            "ingest, {name} transactions: {ratio:.2} times mysqlbinlog --raw (median of {} pairs): {:.0} MB/s against \
             {:.0} MB/s; what the source sends to nobody: {:.0} MB/s; CPU seconds a GB: relay {:.2}, mysqlbinlog {:.2}, \
             the source for them {:.2} and {:.2}",
            rounds.len(),
            mb(relay),
            mb(peer),
            mb(alone),
            per_gb(of(|r| r.relay.cpu)),
            per_gb(of(|r| r.peer.cpu)),
            per_gb(of(|r| r.source_cpu[1])),
            per_gb(of(|r| r.source_cpu[0])),
        ),
        &json!({
            "bench": "relay_ingest", "shape": name, "tls": source.tls, "bytes": source.bytes, "pairs": rounds.len(),
            "median_ratio": rounded(ratio),
            "relay_mb_s": mb(relay).round(), "peer_mb_s": mb(peer).round(), "source_alone_mb_s": mb(alone).round(),
            "relay_cpu_s_per_gb": rounded(per_gb(of(|r| r.relay.cpu))),
            "peer_cpu_s_per_gb": rounded(per_gb(of(|r| r.peer.cpu))),
            "ratios": rounds.iter().map(|r| rounded(r.peer.seconds / r.relay.seconds)).collect::<Vec<_>>(),
        }),
    );
}
