//! Who is ahead of a relay waits while the relay is behind its source, however long ago it had caught up; who has what
//! nobody has is told so.

use std::time::Duration;

use harness::{LoneRelay, Proxy, Region, RegionOptions, Slot, Sources, Workload, take_slot};
use tempfile::TempDir;
use wire::{DumpFlags, EventStream};

use crate::wire_group::replica;

const SOON: Duration = Duration::from_secs(30);
/// Longer than a relay takes to make sure.
const A_WHILE: Duration = Duration::from_secs(6);

struct Stage {
    relay: LoneRelay,
    proxy: Proxy,
    source: Region,
    folder: TempDir,
    _slot: Slot,
}

/// A relay that runs and has everything, behind a proxy.
async fn stage() -> Stage {
    let slot = take_slot().await;
    let [source] = Region::start_all([RegionOptions { name: "eu", server_id: 1, extra_args: Vec::new() }]);
    Workload::prepare_in(&source).await;
    Sources::servers(&[&source]).await;
    let proxy = Proxy::start(source.address().to_owned()).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sources = Sources::at(&[proxy.address()]);
    let mut relay = LoneRelay::new(folder.path(), "relay", &sources, &[r#"relay.start = "oldest""#]);
    relay.start_and_wait().await;
    relay.wait_durable(&source.executed().await).await;
    Stage { relay, proxy, source, folder, _slot: slot }
}

async fn dump(relay: &LoneRelay, has: &binlog::GtidSet) -> EventStream {
    let mut connection = relay.connect().await;
    connection.register_replica(&replica()).await.unwrap_or_else(|e| panic!("{e}"));
    connection.dump_gtid(&has.to_wire(), DumpFlags::default()).await.unwrap_or_else(|e| panic!("{e}"))
}

/// Until an event of this code comes.
async fn until_event(stream: &mut EventStream, code: u8) {
    let comes =
        async { while stream.next().await.unwrap_or_else(|e| panic!("{e}")).event.get(4) != Some(&code) {} };
    tokio::time::timeout(SOON, comes).await.expect("the event comes");
}

/// What a dump is told for a while: signs of life, and no refusal.
async fn only_waits(stream: &mut EventStream) {
    let ends = async {
        loop {
            if let Err(error) = stream.next().await {
                return error;
            }
        }
    };
    if let Ok(error) = tokio::time::timeout(A_WHILE, ends).await {
        panic!("it is not to be refused: {error}");
    }
}

const XID: u8 = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_ahead_of_a_relay_that_had_caught_up_long_ago_waits_for_what_is_on_its_way() {
    let Stage { relay, proxy, source, folder, _slot } = stage().await;
    // The middle one is behind, and so is the one that reads it, though that one has all the middle one has.
    let chained = Sources::relay(&relay);
    let mut second = LoneRelay::new(
        folder.path(),
        "second",
        &chained,
        &[r#"relay.start = "oldest""#, "relay.server_id = 4302"],
    );
    second.start_and_wait().await;
    second.wait_durable(&source.executed().await).await;

    proxy.hold();
    source.run("INSERT INTO shop.tape VALUES (7, 1)").await;
    let ahead = source.executed().await;
    let (mut first, mut behind) = (dump(&relay, &ahead).await, dump(&second, &ahead).await);
    tokio::join!(only_waits(&mut first), only_waits(&mut behind));
    proxy.release();
    source.run("INSERT INTO shop.tape VALUES (7, 2)").await;
    tokio::join!(until_event(&mut first, XID), until_event(&mut behind, XID));

    // Nothing of an earlier connection counts either.
    proxy.cut();
    relay.wait_state("waiting").await;
    source.run("INSERT INTO shop.tape VALUES (7, 3)").await;
    let mut third = dump(&relay, &source.executed().await).await;
    only_waits(&mut third).await;
    proxy.mend();
    source.run("INSERT INTO shop.tape VALUES (7, 4)").await;
    until_event(&mut third, XID).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_has_what_nobody_has_is_refused_by_1236_with_what_is_beyond() {
    let Stage { relay, source, proxy: _proxy, folder: _folder, _slot } = stage().await;
    let uuid: String = source.row("SELECT @@server_uuid").await;
    let mut has = source.executed().await;
    let beyond: binlog::GtidSet = format!("{uuid}:900000-900001").parse().expect("a GTID set");
    has.union_with(&beyond);
    let mut stream = dump(&relay, &has).await;
    let refused = async {
        loop {
            if let Err(error) = stream.next().await {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(SOON, refused).await.expect("it is refused");
    assert_eq!(error.code(), Some(1236), "{error}");
    assert!(error.to_string().contains(&beyond.to_string()), "{error}");
}
