//! Generated columns that a server computes by the session that writes: each ends in the target as the source has it, or
//! stops the link.

use std::time::Duration;

use harness::{Pair, PairOptions, Process, Region, RegionOptions, replica_state, replicate, until};
use mysql_async::prelude::Queryable;

const SOON: Duration = Duration::from_secs(60);
const APPLIER: Process = Process::Applier("eu-us");

/// Stored columns, one before the time that it is made of, one unique, and a check. (An index on a virtual one of them breaks in the server that is written
/// under several zones: it looks for entries where another zone put them.)
const TABLE: &str = "CREATE TABLE shop.visit (id INT PRIMARY KEY, day DATE AS (DATE(at)) STORED, at TIMESTAMP(3) NULL, \
    note INT, shown INT AS (HOUR(at)), hour INT AS (shown + 100) STORED, \
    who VARCHAR(40) AS (CONCAT(id, ' at ', at)) STORED UNIQUE, \
    CHECK (YEAR(at) > 1999))";
const PLAIN: &str = "CREATE TABLE shop.plain (id INT PRIMARY KEY, n INT)";
const ROWS: &str =
    "SELECT id, CAST(at AS CHAR), note, hour, CAST(day AS CHAR), who FROM shop.visit ORDER BY id";

type Visit = (i32, Option<String>, Option<i32>, Option<i32>, Option<String>, Option<String>);

async fn rows(region: &Region) -> Vec<Visit> {
    let mut session = region.connect().await;
    session.query_drop("SET time_zone = '+00:00'").await.expect("a setting");
    session.query(ROWS).await.expect("rows")
}

/// What sessions under several zones write: rows of each, rows that another changes without touching the time, a zone that
/// changes within a transaction, one whose first statement tells none, moves, deletes.
fn writes(base: i32) -> Vec<String> {
    let mut all = Vec::new();
    for (n, zone) in ["+05:00", "-09:30", "SYSTEM", "+05:45", "+00:00"].into_iter().enumerate() {
        let id = base + 10 * i32::try_from(n).expect("few zones");
        let at = |id: i32| format!("({id}, '2024-02-29 23:{:02}:07.125', {id})", id % 60);
        all.extend([
            format!("SET time_zone = '{zone}'"),
            format!("INSERT INTO shop.visit (id, at, note) VALUES {}, {}", at(id), at(id + 1)),
            // BEGIN is logged with its first statement, which does not use the zone.
            "BEGIN".into(),
            format!("INSERT INTO shop.plain VALUES ({id}, 1)"),
            format!("INSERT INTO shop.visit (id, at, note) VALUES {}", at(id + 2)),
            "SET time_zone = '-03:15'".into(),
            format!("INSERT INTO shop.visit (id, at, note) VALUES {}, ({}, NULL, 1)", at(id + 3), id + 4),
            "COMMIT".into(),
            // Its hour stays what the first session computed.
            format!("UPDATE shop.visit SET note = -1 WHERE id = {id}"),
            format!("UPDATE shop.visit SET at = at + INTERVAL 1 DAY WHERE id = {}", id + 1),
            format!("UPDATE shop.visit SET id = {} WHERE id = {}", id + 5, id + 2),
            format!("XA START 'x{id}'"),
            format!("INSERT INTO shop.visit (id, at, note) VALUES {}", at(id + 6)),
            format!("XA END 'x{id}'"),
            format!("XA PREPARE 'x{id}'"),
            format!("XA COMMIT 'x{id}'"),
            format!("INSERT INTO shop.visit (id, at, note) VALUES {}", at(id + 7)),
            format!("DELETE FROM shop.visit WHERE id = {}", id + 7),
        ]);
    }
    all
}

async fn define(region: &Region) {
    region.run_all(&["SET sql_log_bin = 0", "CREATE DATABASE shop", TABLE, PLAIN]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sessions_under_many_zones_computed_is_in_the_target_as_they_computed_it() {
    for image in ["FULL", "MINIMAL"] {
        // A relay asks for full images; the applier itself does not depend on them.
        let server_args = vec![format!("--binlog-row-image={image}")];
        let pair = Pair::new(PairOptions { server_args, relays: false, ..PairOptions::default() }).await;
        for region in [&pair.eu, &pair.us] {
            define(region).await;
        }
        pair.start().await;
        pair.eu.run_all(&writes(0)).await;
        pair.us.run_all(&writes(100)).await;
        pair.wait_in_step(SOON).await;
        let (eu, us) = (rows(&pair.eu).await, rows(&pair.us).await);
        assert_eq!(eu.len(), 60, "{image}: what is compared is there");
        assert_eq!(eu, us, "{image}");
        let hours = "SELECT COUNT(DISTINCT hour) FROM shop.visit";
        assert!(pair.eu.row::<i64>(hours).await > 3, "{image}: the zones make a difference");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_s_own_replica_keeps_what_it_computes_itself() {
    let _slot = harness::take_slot().await;
    let options = |name, server_id| RegionOptions { name, server_id, extra_args: Vec::new() };
    let [eu, replica] = Region::start_all([options("eu", 1), options("replica", 2)]);
    eu.run("CREATE USER copier@'127.0.0.1' IDENTIFIED BY 'x'").await;
    eu.run("GRANT REPLICATION SLAVE ON *.* TO copier@'127.0.0.1'").await;
    replicate(&replica, eu.port(), "copier", "x", "GET_SOURCE_PUBLIC_KEY = 1").await;
    eu.run_all(&["CREATE DATABASE shop", TABLE, PLAIN]).await;
    eu.run_all(&writes(0)).await;
    let executed = eu.executed().await;
    until("the replica has all", SOON, async || {
        if replica.executed().await.contains_all(&executed) {
            Ok(())
        } else {
            Err(replica_state(&replica).await)
        }
    })
    .await;
    let (ours, theirs) = (rows(&eu).await, rows(&replica).await);
    let differ = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs).count();
    assert!(differ > 0, "docs/limits.md says that it does");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_conflicts_and_what_is_copied_keeps_its_computed_values_too() {
    let mut pair = Pair::new(PairOptions::default()).await;
    for region in [&pair.eu, &pair.us] {
        define(region).await;
    }
    pair.configure(|file| {
        file.add_to_link("eu-us", "initial = \"data\"");
        file.add_to_link("eu-us", "on_conflict = \"overwrite\"");
        file.add_to_link("us-eu", "on_conflict = \"ignore\"");
    });
    pair.eu.run_all(&writes(0)).await;
    pair.start().await;
    pair.wait_in_step(SOON).await;
    assert_eq!(rows(&pair.eu).await, rows(&pair.us).await, "copied");

    pair.signal(APPLIER, "STOP");
    pair.us.run_all(&["SET time_zone = '+01:00'", "UPDATE shop.visit SET note = 7, at = NOW(3)"]).await;
    pair.eu.run_all(&["SET time_zone = '-06:00'", "UPDATE shop.visit SET note = 8, at = NOW(3)"]).await;
    pair.signal(APPLIER, "CONT");
    pair.wait_in_step(SOON).await;
    let (eu, us) = (rows(&pair.eu).await, rows(&pair.us).await);
    assert!(eu.iter().all(|row| row.2 == Some(8)), "eu wins: {eu:?}");
    assert_eq!(eu, us, "decided");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_no_time_zone_gives_stops_the_link_and_can_be_skipped() {
    let pair = Pair::one_way(PairOptions::default()).await;
    let table = "CREATE TABLE shop.day (id INT PRIMARY KEY, d DATE, name VARCHAR(20) AS (DAYNAME(d)) STORED)";
    for region in [&pair.eu, &pair.us] {
        region.run_all(&["SET sql_log_bin = 0", "CREATE DATABASE shop", table]).await;
    }
    pair.start_one(Process::Relay("eu"));
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "running", SOON).await;
    let insert = |id: i32| format!("INSERT INTO shop.day (id, d) VALUES ({id}, '2024-02-29')");
    pair.eu.run(&insert(1)).await;
    pair.eu.run_all(&["SET lc_time_names = 'de_DE'".to_owned(), insert(2)]).await;
    pair.eu.run(&insert(3)).await;
    let failed = pair.wait_state("eu-us", "failed", SOON).await;
    for word in ["shop.day (name)", "no time zone", "setting of the session"] {
        assert!(failed.last_error().contains(word), "{word:?}: {}", failed.last_error());
    }
    let ids = "SELECT id FROM shop.day ORDER BY id";
    assert_eq!(pair.us.rows::<i32>(ids).await, [1], "what stands before it is committed");
    pair.skip_failed("eu-us").await;
    until("the link goes on", SOON, async || {
        let found = pair.us.rows::<i32>(ids).await;
        if found == [1, 3] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}
