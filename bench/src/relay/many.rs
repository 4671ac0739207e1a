//! Memory while many downstreams are served from the disk at once, some of which take nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use binlog::GtidSet;
use serde_json::json;
use tokio::task::JoinSet;
use wire::DumpFlags;

use super::process::{cpu, resident};
use super::report::{Report, rate, rounded};
use super::{Filled, ingest, reader};
use crate::stage::Stage;

/// What each of those that read takes.
const EACH: u64 = 64 << 20;
/// One in so many takes nothing.
const STUCK_OF: usize = 5;

pub(super) async fn run(stage: &Stage, source: &Filled, downstreams: usize, report: &Report) -> Result<()> {
    let (mut pulled, _) = ingest::pull(stage, source).await?;
    let (alone, _) = resident(pulled.pid)?;
    let options = reader::options(pulled.sync.relay_port, "link", false);
    let each = EACH.min(source.bytes / 2);
    let (mut stuck, mut fast, mut readers) = (Vec::new(), Vec::new(), JoinSet::new());
    for n in 0..downstreams {
        let stream = reader::dump(&options, &GtidSet::new(), DumpFlags::default()).await?;
        if n % STUCK_OF == 0 { stuck.push(stream) } else { fast.push(stream) }
    }
    let began = (std::time::Instant::now(), cpu(pulled.pid)?);
    for mut stream in fast {
        readers.spawn(async move {
            reader::read_bytes(&mut stream, each).await?;
            anyhow::Ok(stream)
        });
    }
    let (read, mut most) = (readers.len() as u64 * each, 0);
    let mut done = Vec::new();
    loop {
        most = most.max(resident(pulled.pid)?.0);
        match tokio::time::timeout(Duration::from_millis(20), readers.join_next()).await {
            Ok(Some(stream)) => done.push(stream??),
            Ok(None) => break,
            Err(_) => pulled.sync.check_alive()?,
        }
    }
    let seconds = began.0.elapsed().as_secs_f64();
    let used = cpu(pulled.pid)? - began.1;
    ensure!(stuck.len() + done.len() == downstreams, "all are attached to the end");
    let name = source.shape.name();
    report.result(
        &format!(
            "{downstreams} downstreams, {name} transactions: {} of them take nothing, the others 64 MiB each at {:.0} MB/s \
             in all; the relay's memory {most} MiB at most, {alone} MiB before; CPU seconds a GB {:.2}",
            stuck.len(),
            rate(read, seconds),
            used / rate(read, 1000.0),
        ),
        &json!({
            "bench": "relay_many_downstreams", "shape": name, "downstreams": downstreams, "stuck": stuck.len(),
            "mb_s": rate(read, seconds).round(), "resident_mib_before": alone, "resident_mib_most": most,
            "cpu_s_per_gb": rounded(used / rate(read, 1000.0)),
        }),
    );
    Ok(())
}
