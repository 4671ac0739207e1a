//! What each region's writers know they committed, and whether the end is explained by it.
//!
//! Of every row the last write of each region is known, and what that writer had seen of the other region when it
//! committed. One of the two stands at the end. The other has lost to it: then both regions' conflict tables say so, row
//! by row; or the winner had seen it, and nobody has lost anything.

use std::collections::BTreeMap;
use std::time::Duration;

use binlog::{Gtid, GtidSet};
use harness::{Pair, Region, until};
use rand::Rng;
use rand::rngs::StdRng;
use wire::{ConnectOptions, Connection, Secret, TlsOptions};

const SOON: Duration = Duration::from_secs(60);

/// A row without its key: `code`, `n`; `None`: it is not there.
pub(super) type Row = Option<(String, u64)>;

/// What a transaction left of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) gtid: Gtid,
    pub(super) id: u32,
    pub(super) row: Row,
    /// What the region had applied of the other one: all that had touched the row before, at least.
    pub(super) seen: GtidSet,
}

/// A writer's session.
pub(super) struct Writer {
    session: Connection,
    checkpoints: String,
}

impl Writer {
    pub(super) async fn open(region: &Region) -> Self {
        let options = ConnectOptions {
            address: region.address().to_owned(),
            user: "root".into(),
            password: Secret::default(),
            tls: TlsOptions::default(),
            connect_timeout: Duration::from_secs(10),
        };
        let mut session = Connection::connect(&options).await.expect("a connection");
        // Under READ COMMITTED the checkpoint is read as it is once the rows are locked.
        let settings = "SET SESSION session_track_gtids = OWN_GTID, transaction_isolation = 'READ-COMMITTED', \
            innodb_lock_wait_timeout = 2";
        session.execute(settings).await.expect("the session's settings");
        let other = if region.name() == "eu" { "us" } else { "eu" };
        let checkpoints = format!("SELECT gtid_set FROM twinlog.checkpoint WHERE origin = '{other}'");
        Self { session, checkpoints }
    }

    /// One transaction of a few statements on rows below `rows`: what it has committed, if anything.
    pub(super) async fn transaction(&mut self, rng: &mut StdRng, rows: u32) -> Vec<Write> {
        let mut left: BTreeMap<u32, Row> = BTreeMap::new();
        self.session.execute("BEGIN").await.expect("a transaction");
        for _ in 0..rng.random_range(1..4) {
            let (id, row, statement) = statement(rng, rows);
            // The same row twice, a row that is gone, a deadlock: all of that is life.
            match self.session.execute(&statement).await {
                Ok(done) if done.affected_rows == 1 => _ = row.map(|row| left.insert(id, row)),
                Ok(_) => {}
                // It has rolled everything back.
                Err(error) if error.code() == Some(1213) => return Vec::new(),
                Err(error) => {
                    assert!(error.code().is_some(), "{error}: {statement}");
                    break;
                }
            }
        }
        let mut seen = GtidSet::new();
        let checkpoints = self.session.query_rows(&self.checkpoints).await.expect("the checkpoints");
        for row in checkpoints.iter() {
            let text = row.text("gtid_set").expect("a column");
            seen.union_with(&text.parse().expect("a GTID set"));
        }
        self.session.take_own_gtids();
        self.session.execute("COMMIT").await.expect("a commit");
        let Some(gtid) = self.session.take_own_gtids().pop() else { return Vec::new() };
        let gtid: Gtid = gtid.parse().expect("one GTID");
        let write = |(id, row)| Write { gtid: gtid.clone(), id, row, seen: seen.clone() };
        left.into_iter().map(write).collect()
    }
}

/// A statement on one row, and what it makes of it if it changes one; nothing where it writes what is there.
fn statement(rng: &mut StdRng, rows: u32) -> (u32, Option<Row>, String) {
    let (id, n) = (rng.random_range(0..rows), rng.random_range(0..1_000_000_000_000u64));
    // One key to the server, in many ways.
    let code = format!("{}-{id}", ["Code", "cODE", "Códe", "côde"][rng.random_range(0..4)]);
    let row = Some((code.clone(), n));
    match rng.random_range(0..10) {
        0..4 => (id, Some(row), format!("INSERT INTO shop.hot VALUES ({id}, '{code}', {n})")),
        4..7 => (id, Some(row), format!("UPDATE shop.hot SET n = {n}, code = '{code}' WHERE id = {id}")),
        7 => (id, None, format!("UPDATE shop.hot SET n = n WHERE id = {id}")),
        _ => (id, Some(None), format!("DELETE FROM shop.hot WHERE id = {id}")),
    }
}

/// A row of a conflict table.
struct Recorded {
    gtid: Gtid,
    id: u32,
    winner: String,
    unseen: GtidSet,
}

async fn recorded(region: &Region) -> Vec<Recorded> {
    let query = "SELECT gtid, CAST(row_key->'$.id' AS UNSIGNED), winner, unseen FROM twinlog.conflict";
    let rows = region.rows::<(String, u32, String, String)>(query).await;
    let read = |(gtid, id, winner, unseen): (String, u32, String, String)| Recorded {
        gtid: gtid.parse().expect("a GTID"),
        id,
        winner,
        unseen: unseen.parse().expect("a GTID set"),
    };
    rows.into_iter().map(read).collect()
}

/// Waits until a region has decided about all that was written in the other: regions may be equal before.
async fn wait_passed(region: &Region, origin: &str, written: &[Write]) {
    let wanted: GtidSet = written.iter().map(|write| write.gtid.clone()).collect();
    until(&format!("{} has passed what {origin} wrote", region.name()), SOON, async || {
        let query = format!("SELECT gtid_set FROM twinlog.checkpoint WHERE origin = '{origin}'");
        let mut passed = GtidSet::new();
        for text in region.rows::<String>(&query).await {
            passed.union_with(&text.parse().expect("a GTID set"));
        }
        let lacking = wanted.minus(&passed);
        if lacking.is_empty() { Ok(()) } else { Err(lacking.to_string()) }
    })
    .await;
}

/// Holds the rows at the end against what was written. `overwrites`: the region whose rows win whenever neither had seen
/// the other. Gives how many last writes stand, were seen by the winner, and have lost.
pub(super) async fn explain(
    pair: &Pair,
    written: [Vec<Write>; 2],
    rows: u32,
    overwrites: Option<&str>,
) -> [usize; 3] {
    wait_passed(&pair.us, "eu", &written[0]).await;
    wait_passed(&pair.eu, "us", &written[1]).await;
    let conflicts = [recorded(&pair.eu).await, recorded(&pair.us).await];
    let all = pair.eu.rows::<(u32, String, u64)>("SELECT id, code, n FROM shop.hot").await;
    let at_end: BTreeMap<u32, (String, u64)> = all.into_iter().map(|(id, code, n)| (id, (code, n))).collect();
    let mut counts = [0; 3];
    for id in 0..rows {
        let last = |region: usize| {
            let of_row = written[region].iter().filter(|write| write.id == id);
            of_row.max_by_key(|write| write.gtid.gno)
        };
        let (end, last) = (at_end.get(&id).cloned(), [last(0), last(1)]);
        if last == [None, None] {
            assert_eq!(end, None, "row {id}: nobody wrote it");
            continue;
        }
        let stands = |write: &&Write| write.row == end;
        assert!(last.iter().flatten().any(stands), "row {id}: nobody's last write is {end:?}: {last:?}");
        for (region, other) in [(0, 1), (1, 0)] {
            let Some(write) = last[region] else { continue };
            let winner = last[other];
            if write.row == end {
                counts[0] += 1;
            } else if winner.is_some_and(|winner| winner.seen.contains(&write.gtid)) {
                counts[1] += 1;
            } else {
                counts[2] += 1;
                // Where it was incoming, and where the winner was.
                let there = conflicts[other]
                    .iter()
                    .any(|c| c.id == id && c.gtid == write.gtid && c.winner == "target");
                assert!(
                    there,
                    "row {id}: {write:?} lost to {winner:?}, which the other region did not record"
                );
                let here = conflicts[region]
                    .iter()
                    .any(|c| c.id == id && c.winner == "source" && c.unseen.contains(&write.gtid));
                assert!(here, "row {id}: {write:?} lost to {winner:?}, which its own region did not record");
            }
        }
        check_winner(id, &end, last, overwrites);
    }
    counts
}

/// Of two last writes that had not seen each other, that of the region that overwrites stands.
fn check_winner(id: u32, end: &Row, last: [Option<&Write>; 2], overwrites: Option<&str>) {
    let ([Some(eu), Some(us)], Some(overwrites)) = (last, overwrites) else { return };
    if !eu.seen.contains(&us.gtid) && !us.seen.contains(&eu.gtid) {
        let winner = if overwrites == "eu" { eu } else { us };
        assert_eq!(winner.row, *end, "row {id}: {overwrites} overwrites: {last:?}");
    }
}
