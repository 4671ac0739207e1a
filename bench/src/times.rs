//! How long after its commit a transaction was committed on the other side: by the times that the servers themselves write
//! into their logs.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use binlog::event::GtidEvent;
use binlog::row::TableMap;
use binlog::stamp::{self, CHECKPOINT_TABLE, Change};
use binlog::{Event, EventKind, Gtid, GtidSet};
use wire::{Connection, DumpFlags, ReplicaOptions};

use crate::by_hand::options;

/// When each transaction was committed, microseconds since 1970.
pub(crate) type Times = HashMap<Gtid, u64>;

/// When a server committed what it has behind `before`, up to `wanted`: each transaction under its own GTID, and those that
/// a link applied in a group under the GTIDs they came with; a group's own GTID is nobody's transaction.
pub(crate) async fn read(port: u16, before: &GtidSet, wanted: &GtidSet) -> Result<Times> {
    let mut connection = Connection::connect(&options(port)).await?;
    let replica = ReplicaOptions {
        server_id: 78,
        uuid: uuid::Uuid::new_v4(),
        report_host: String::new(),
        report_port: 0,
        heartbeat_period: Duration::from_secs(5),
        semi_sync: false,
        user_variables: Vec::new(),
    };
    connection.register_replica(&replica).await?;
    let mut stream = connection.dump_gtid(&before.to_wire(), DumpFlags::NONE).await?;
    let (mut times, mut has, mut maps) = (Times::new(), before.clone(), HashMap::new());
    let (mut now, mut applied, mut current) = (0, None, None);
    while !has.contains_all(wanted) || now == 0 {
        let event = Event::new(stream.next().await?.event)?;
        if event.kind().is_gtid() {
            let begin = GtidEvent::parse(&event)?;
            let gtid = begin.gtid.context("a transaction without GTID")?;
            now = begin.immediate_commit_timestamp;
            has.insert(&gtid);
            times.insert(gtid.clone(), now);
            current = Some(gtid);
        } else if event.kind() == EventKind::TableMap && TableMap::names_of(&event)?.1 == CHECKPOINT_TABLE {
            let map = TableMap::parse(&event)?;
            maps.insert(map.table_id, map);
        } else if let Some(map) =
            event.kind().is_rows().then(|| TableMap::id_of(&event)).flatten().and_then(|id| maps.get(&id))
        {
            for stamp in stamp::read(&event, map)? {
                current.take().map(|group| times.remove(&group));
                note(&mut times, &mut applied, &stamp.change, now)?;
            }
        }
    }
    // The last one's stamp stands behind its GTID.
    for _ in 0..6 {
        let next = tokio::time::timeout(Duration::from_millis(200), stream.next()).await;
        let Ok(Ok(incoming)) = next else { break };
        let event = Event::new(incoming.event)?;
        let id = TableMap::id_of(&event).filter(|_| event.kind().is_rows());
        if let Some(map) = id.and_then(|id| maps.get(&id)) {
            for stamp in stamp::read(&event, map)? {
                current.take().map(|group| times.remove(&group));
                note(&mut times, &mut applied, &stamp.change, now)?;
            }
        }
    }
    Ok(times)
}

/// Notes what a checkpoint covers that the one before did not.
fn note(times: &mut Times, applied: &mut Option<GtidSet>, change: &Change, now: u64) -> Result<()> {
    let Change::Update { gtid_set: Some(text), .. } = change else { return Ok(()) };
    let set: GtidSet = text.parse()?;
    if let Some(known) = applied {
        for (sequence, runs) in set.minus(known).sequences() {
            for (start, end) in runs.runs() {
                for gno in *start..*end {
                    times.entry(Gtid { sequence: sequence.clone(), gno }).or_insert(now);
                }
            }
        }
    }
    *applied = Some(set);
    Ok(())
}

/// The latencies of those that both know, ascending, microseconds.
pub(crate) fn latencies(committed: &Times, applied: &Times, of: &GtidSet) -> Vec<u64> {
    let each = committed.iter().filter(|(gtid, _)| of.contains(gtid));
    let mut all: Vec<u64> =
        each.filter_map(|(gtid, at)| Some(applied.get(gtid)?.saturating_sub(*at))).collect();
    all.sort_unstable();
    all
}

/// Seconds from the first commit of these until the last of them was applied.
pub(crate) fn took(committed: &Times, applied: &Times, of: &GtidSet) -> f64 {
    let of = |times: &Times| times.iter().filter(|(gtid, _)| of.contains(gtid)).map(|(_, at)| *at).collect();
    let (committed, applied): (Vec<u64>, Vec<u64>) = (of(committed), of(applied));
    let span = committed.iter().min().zip(applied.iter().max()).map_or(0, |(first, last)| last - first);
    Duration::from_micros(span).as_secs_f64()
}

/// The value that so many of a thousand are not above.
pub(crate) fn permille(sorted: &[u64], n: usize) -> u64 {
    sorted.get((sorted.len() * n / 1000).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}
