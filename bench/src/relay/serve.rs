//! Serving: what is on disk, and what comes in at the same time, against `mysqlbinlog` reading the source itself.

use std::time::Instant;

use anyhow::Result;
use binlog::GtidSet;
use serde_json::json;
use wire::DumpFlags;

use super::process::warm;
use super::report::{Report, median, rate, rounded};
use super::{Filled, WITHIN, ingest, peer, reader};
use crate::stage::{Stage, USER};
use crate::sync::Sync;

/// From the log's files: to `mysqlbinlog --raw`, and to a reader that keeps nothing.
pub(super) async fn from_disk(stage: &Stage, source: &Filled, pairs: usize, report: &Report) -> Result<()> {
    let (pulled, _) = ingest::pull(stage, source).await?;
    let relay_port = pulled.sync.relay_port;
    let (mut pairs_of, mut relay_sends, mut source_sends) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..pairs {
        let mut pair = [0.0; 2];
        for relay in if n % 2 == 0 { [false, true] } else { [true, false] } {
            warm(stage.folder.path(), source.bytes)?;
            let from = match relay {
                true => peer::From { port: relay_port, user: "link", tls: false },
                false => peer::From { port: source.server.port(), user: USER, tls: source.tls },
            };
            pair[usize::from(relay)] = tokio::task::block_in_place(|| peer::read(stage, &from))?.seconds;
        }
        pairs_of.push(pair);
        relay_sends.push(reader::read_all(&reader::options(relay_port, "link", false)).await?);
        source_sends.push(reader::read_all(&reader::options(source.server.port(), USER, source.tls)).await?);
    }
    let mb = |seconds: Vec<f64>| rate(source.bytes, median(seconds));
    let ratio = median(pairs_of.iter().map(|[source, relay]| source / relay).collect());
    let peer_source = mb(pairs_of.iter().map(|[source, _]| *source).collect());
    let peer_relay = mb(pairs_of.iter().map(|[_, relay]| *relay).collect());
    let (relay, server) = (mb(relay_sends), mb(source_sends));
    let name = source.shape.name();
    report.result(
        &format!(
            "serve from disk, {name} transactions: mysqlbinlog --raw reads the relay at {peer_relay:.0} MB/s, the source \
             at {peer_source:.0} MB/s ({ratio:.2} times); a reader that keeps nothing: {relay:.0} and {server:.0} MB/s"
        ),
        &json!({
            "bench": "relay_serve_from_disk", "shape": name, "pairs": pairs, "median_ratio": rounded(ratio),
            "peer_reads_relay_mb_s": peer_relay.round(), "peer_reads_source_mb_s": peer_source.round(),
            "relay_sends_mb_s": relay.round(), "source_sends_mb_s": server.round(),
        }),
    );
    Ok(())
}

/// While the relay pulls: the downstream is there before the first event is.
pub(super) async fn live_tail(stage: &Stage, source: &Filled, pairs: usize, report: &Report) -> Result<()> {
    let mut pairs_of = Vec::new();
    for n in 0..pairs {
        let mut pair = [0.0; 2];
        for relay in if n % 2 == 0 { [false, true] } else { [true, false] } {
            warm(stage.folder.path(), source.bytes)?;
            pair[usize::from(relay)] = if relay {
                tokio::time::timeout(WITHIN, follow(stage, source)).await??
            } else {
                let from = peer::From { port: source.server.port(), user: USER, tls: source.tls };
                tokio::task::block_in_place(|| peer::read(stage, &from))?.seconds
            };
        }
        pairs_of.push(pair);
    }
    let ratio = median(pairs_of.iter().map(|[source, relay]| source / relay).collect());
    let mb = |which: usize| rate(source.bytes, median(pairs_of.iter().map(|pair| pair[which]).collect()));
    let name = source.shape.name();
    report.result(
        &format!(
            "serve the live tail, {name} transactions: {:.0} MB/s from the source through the durable log to a \
             downstream; mysqlbinlog --raw reading the source: {:.0} MB/s ({ratio:.2} times)",
            mb(1),
            mb(0),
        ),
        &json!({
            "bench": "relay_serve_live_tail", "shape": name, "pairs": pairs, "median_ratio": rounded(ratio),
            "relay_mb_s": mb(1).round(), "peer_reads_source_mb_s": mb(0).round(),
        }),
    );
    Ok(())
}

/// From the relay's start until a downstream has everything; seconds.
async fn follow(stage: &Stage, source: &Filled) -> Result<f64> {
    let folder = stage.path("relay");
    let mut sync = Sync::new(&folder, source.server.port(), None, "oldest", source.tls)?;
    let began = Instant::now();
    sync.start_relay()?;
    let options = reader::options(sync.relay_port, "link", false);
    let mut stream = loop {
        match reader::dump(&options, &GtidSet::new(), DumpFlags::default()).await {
            Ok(stream) => break stream,
            Err(_) => sync.check_alive()?,
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    };
    // All events but what begins the files; of those a stock server's log has few.
    reader::read_bytes(&mut stream, source.bytes - HEADS).await?;
    let took = began.elapsed().as_secs_f64();
    sync.stop();
    std::fs::remove_dir_all(&folder)?;
    Ok(took)
}

/// Magic numbers, format descriptions, previous GTIDs and rotate events of the source's files: not all is sent, and
/// it is not counted which.
const HEADS: u64 = 4096;
