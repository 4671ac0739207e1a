//! Many downstreams at once, and how soon each has what the source committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use binlog::event::GtidEvent;
use binlog::{Event, EventKind, GtidSet};
use harness::{LoneRelay, Pace, Region, RegionOptions, Slot, Sources, Workload, seed, take_slot};
use tempfile::TempDir;
use tokio::task::JoinSet;
use wire::{Connection, DumpFlags, EventStream, ReplicaOptions};

use crate::wire_group::{replica, root};

const SOON: Duration = Duration::from_secs(60);

/// Downstreams in all, and how many of them take their time, or nothing at all.
const ALL: usize = 50;
const SLOW: usize = 4;
const STUCK: usize = 4;

/// What the process may hold in memory with all of them, KiB: 16 MiB of tail, and for each who is behind a batch and a
/// buffer.
const MEMORY_KIB: u64 = 256 << 10;

struct Stage {
    relay: LoneRelay,
    source: Region,
    _folder: TempDir,
    _slot: Slot,
}

async fn stage() -> Stage {
    let slot = take_slot().await;
    let [source] = Region::start_all([RegionOptions { name: "eu", server_id: 1, extra_args: Vec::new() }]);
    Workload::prepare_in(&source).await;
    source.run("CREATE TABLE shop.large (id INT AUTO_INCREMENT PRIMARY KEY, b LONGBLOB)").await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sources = Sources::servers(&[&source]).await;
    let mut relay = LoneRelay::new(folder.path(), "relay", &sources, &[r#"relay.start = "oldest""#]);
    relay.start_and_wait().await;
    Stage { relay, source, _folder: folder, _slot: slot }
}

async fn dump(mut connection: Connection, after: &GtidSet) -> EventStream {
    let options = ReplicaOptions { heartbeat_period: Duration::from_secs(5), ..replica() };
    connection.register_replica(&options).await.unwrap_or_else(|e| panic!("{e}"));
    connection.dump_gtid(&after.to_wire(), DumpFlags::NONE).await.unwrap_or_else(|e| panic!("{e}"))
}

/// Reads transactions until it has been given all of `goal`; counts them as it goes.
async fn follow(
    mut stream: EventStream,
    goal: tokio::sync::watch::Receiver<GtidSet>,
    count: Arc<AtomicU64>,
    pause: Duration,
) {
    let mut has = GtidSet::new();
    loop {
        let incoming = stream.next().await.unwrap_or_else(|e| panic!("{e}"));
        let event = Event::new(incoming.event).unwrap_or_else(|e| panic!("{e}"));
        if event.kind().is_gtid() {
            let gtid = GtidEvent::parse(&event).ok().and_then(|begin| begin.gtid).expect("a GTID");
            assert!(has.insert(&gtid), "twice: {gtid}");
            count.fetch_add(1, Ordering::Relaxed);
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        let goal = goal.borrow();
        if !goal.is_empty() && has.contains_all(&goal) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_downstreams_slow_ones_among_them_hold_back_neither_the_source_nor_each_other() {
    let mut stage = stage().await;
    let Stage { relay, source, .. } = &mut stage;
    let alone = relay.resident_kib();
    let (goal, goals) = tokio::sync::watch::channel(GtidSet::new());
    let (mut fast, mut slow, mut stuck) = (JoinSet::new(), JoinSet::new(), Vec::new());
    let count = Arc::new(AtomicU64::new(0));
    for n in 0..ALL {
        let stream = dump(relay.connect().await, &GtidSet::new()).await;
        match n {
            0..STUCK => stuck.push(stream),
            _ if n < STUCK + SLOW => {
                slow.spawn(follow(stream, goals.clone(), Arc::default(), Duration::from_millis(20)));
            }
            _ => drop(fast.spawn(follow(stream, goals.clone(), count.clone(), Duration::ZERO))),
        }
    }
    let workload = Workload::start_in(&[source], seed(), Pace::Full);
    let (began, used) = (std::time::Instant::now(), relay.cpu_time());
    workload.wait_for_more(1500).await;
    // More than sockets and buffers of those who take nothing can hold.
    for _ in 0..20 {
        source.run("INSERT INTO shop.large (b) VALUES (REPEAT('twinlog ', 250000))").await;
    }
    let most = relay.resident_kib();
    workload.wait_for_more(500).await;
    workload.stop().await;
    let executed = source.executed().await;
    relay.wait_durable(&executed).await;
    goal.send_replace(executed.clone());
    // The fast ones have everything while others have taken little, or nothing.
    let all = async {
        while let Some(ended) = fast.join_next().await {
            ended.expect("a follower does not panic")
        }
    };
    tokio::time::timeout(SOON, all).await.expect("fast followers end soon");
    let used = relay.cpu_time() - used;
    println!(
        "{} transactions to {} followers in {:.1?}: {:.2?} of the relay's CPU; resident: {alone} KiB alone, {most} KiB, {} KiB",
        executed.count(),
        ALL - STUCK - SLOW,
        began.elapsed(),
        used,
        relay.resident_kib(),
    );
    assert!(relay.resident_kib() < MEMORY_KIB, "{} KiB", relay.resident_kib());
    let attached =
        relay.status().await.expect("a status").json()["downstreams"].as_array().map_or(0, Vec::len);
    assert!(attached >= STUCK + SLOW, "{attached} are attached");
    // One that took nothing for a while gets all of it when it begins to.
    let late = stuck.pop().expect("some are stuck");
    tokio::time::timeout(SOON, follow(late, goals, Arc::default(), Duration::ZERO))
        .await
        .expect("it catches up");
}

fn micros() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_micros()).expect("before the year 586000")
}

/// How long after its commit each transaction arrived, microseconds, in ascending order.
async fn latencies(mut stream: EventStream, n: usize) -> Vec<u64> {
    let (mut latencies, mut committed) = (Vec::new(), 0);
    while latencies.len() < n {
        let incoming = stream.next().await.unwrap_or_else(|e| panic!("{e}"));
        let event = Event::new(incoming.event).unwrap_or_else(|e| panic!("{e}"));
        if event.kind().is_gtid() {
            committed = GtidEvent::parse(&event).expect("a GTID event").immediate_commit_timestamp;
        }
        if event.kind() == EventKind::Xid {
            latencies.push(micros().saturating_sub(committed));
        }
    }
    latencies.sort_unstable();
    latencies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_committed_transaction_reaches_an_attached_downstream_soon() {
    const N: usize = 400;
    let stage = stage().await;
    let Stage { relay, source, .. } = &stage;
    let after = source.executed().await;
    relay.wait_durable(&after).await;
    let direct = dump(root(source).await, &after).await;
    let relayed = dump(relay.connect().await, &after).await;
    let write = async {
        let mut session = source.connect().await;
        for n in 0..N {
            use mysql_async::prelude::Queryable;
            session
                .query_drop(format!("INSERT INTO shop.tape VALUES (98, {n})"))
                .await
                .expect("it is written");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let (direct, relayed, ()) = tokio::time::timeout(SOON, async {
        tokio::join!(latencies(direct, N), latencies(relayed, N), write)
    })
    .await
    .expect("all arrive");
    let at = |sorted: &[u64], percent: usize| Duration::from_micros(sorted[sorted.len() * percent / 100]);
    println!(
        "from the source's commit: to its own replica p50 {:?}, p99 {:?}; through the relay's disk p50 {:?}, p99 {:?}",
        at(&direct, 50),
        at(&direct, 99),
        at(&relayed, 50),
        at(&relayed, 99)
    );
    // Far above what it is, and far below what a timer or a retry would make of it.
    assert!(at(&relayed, 50) < Duration::from_millis(100), "{:?}", at(&relayed, 50));
}
