//! What a real binary log holds beside rows: XA over restarts of everything, mixed engines, sessions that set their own
//! images, and events that nobody can apply.

use std::path::{Path, PathBuf};
use std::time::Duration;

use binlog::event::{FLAG_IGNORABLE, HEADER_LENGTH, Header, MAGIC};
use binlog::{Event, EventKind};
use bytes::Bytes;
use harness::{Pair, PairOptions, Process, until};

const SOON: Duration = Duration::from_secs(60);
const APPLIER: Process = Process::Applier("eu-us");
const RELAY: Process = Process::Relay("eu");

async fn pair() -> Pair {
    let pair = Pair::one_way(PairOptions::default()).await;
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&[
                "CREATE DATABASE shop",
                "CREATE TABLE shop.t (id INT PRIMARY KEY, a INT, b LONGBLOB, j JSON)",
                "CREATE TABLE shop.u (x INT NOT NULL UNIQUE, y VARCHAR(20))",
                "CREATE TABLE shop.bag (x INT, y TEXT)",
            ])
            .await;
    }
    pair.start_one(RELAY);
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "running", SOON).await;
    pair
}

/// One that is prepared when everything is killed is neither applied nor lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_transaction_outlives_every_process_and_both_servers() {
    let pair = pair().await;
    for (xid, id) in [("'kept'", 1), ("'undone'", 2), ("X'00ff', 'b', 7", 3)] {
        pair.eu
            .run_all(&[
                format!("XA START {xid}"),
                format!("INSERT INTO shop.t VALUES ({id}, {id}, REPEAT('x', 1000), NULL)"),
                format!("XA END {xid}"),
                format!("XA PREPARE {xid}"),
            ])
            .await;
    }
    pair.eu.run("INSERT INTO shop.t VALUES (10, 10, '', NULL)").await;
    until("what came behind is there", SOON, async || {
        match pair.us.rows::<i32>("SELECT id FROM shop.t").await {
            ids if ids == [10] => Ok(()),
            ids => Err(format!("{ids:?}")),
        }
    })
    .await;
    pair.kill9(APPLIER);
    pair.kill9(RELAY);
    pair.eu.kill9();
    pair.us.kill9();
    pair.eu.restart();
    pair.us.restart();
    pair.start_one(RELAY);
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "running", SOON).await;
    assert_eq!(pair.us.rows::<i32>("SELECT id FROM shop.t").await, [10]);
    pair.eu.run_all(&["XA COMMIT 'kept'", "XA ROLLBACK 'undone'"]).await;
    // And between the two halves of the last.
    pair.kill9(APPLIER);
    pair.start_one(APPLIER);
    pair.eu.run("XA COMMIT X'00ff', 'b', 7").await;
    pair.wait_applied("eu-us", SOON).await;
    pair.wait_in_step(SOON).await;
    assert_eq!(pair.us.rows::<i32>("SELECT id FROM shop.t ORDER BY id").await, [1, 3, 10]);
}

/// Images that lack columns are applied by the key, as the server itself does; events around rows matter to nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_log_in_their_own_way_arrive_exactly() {
    let pair = pair().await;
    let writes = |first: u32| {
        let json = "JSON_OBJECT('k', JSON_ARRAY(1, 2), 'n', 1)";
        vec![
            format!(
                "INSERT INTO shop.t VALUES ({first}, 1, REPEAT('x', 50), {json}), ({}, 2, NULL, NULL)",
                first + 1
            ),
            format!("UPDATE shop.t SET a = a + 1 WHERE id >= {first}"),
            format!("UPDATE shop.t SET j = JSON_SET(j, '$.n', 2, '$.k[0]', 'é') WHERE id = {first}"),
            format!("UPDATE shop.t SET id = id + 5000, b = 'new' WHERE id = {first}"),
            format!("INSERT INTO shop.u (x) VALUES ({first})"),
            format!("UPDATE shop.u SET y = 'y' WHERE x = {first}"),
            format!("UPDATE shop.u SET x = x + 5000 WHERE x = {first}"),
            format!("INSERT INTO shop.bag VALUES ({first}, 'a'), ({first}, 'a'), (NULL, NULL)"),
            format!("UPDATE shop.bag SET y = 'b' WHERE x = {first} LIMIT 1"),
            "DELETE FROM shop.bag WHERE x IS NULL".to_owned(),
            format!("DELETE FROM shop.t WHERE id = {}", first + 1),
        ]
    };
    let settings = [
        "binlog_row_image = MINIMAL",
        "binlog_row_image = NOBLOB",
        "binlog_row_value_options = PARTIAL_JSON",
        "binlog_row_image = MINIMAL, binlog_row_value_options = PARTIAL_JSON, binlog_transaction_compression = ON",
        "binlog_rows_query_log_events = ON",
        "binlog_transaction_compression = ON",
    ];
    for (n, setting) in (1..).zip(settings) {
        let mut session = vec![format!("SET SESSION {setting}")];
        session.extend(writes(n * 100));
        session.extend(["FLUSH BINARY LOGS".to_owned(), "BEGIN".to_owned()]);
        session.extend(writes(n * 100 + 50));
        session.push("COMMIT".into());
        pair.eu.run_all(&session).await;
    }
    pair.wait_applied("eu-us", SOON).await;
    pair.wait_in_step(SOON).await;
    assert!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.t").await >= 12);
}

/// A table without transactions inside a transaction, rolled back: its rows stay in eu, and nobody can undo them in us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_that_are_mixed_stop_the_link_before_anything_is_half_done() {
    let pair = pair().await;
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&["SET sql_log_bin = 0", "CREATE TABLE shop.old (id INT PRIMARY KEY) ENGINE = MyISAM"])
            .await;
    }
    pair.eu.run("INSERT INTO shop.t (id) VALUES (1)").await;
    // The server refuses the other order: 1785.
    pair.eu.run_all(&["SET sql_log_bin = 1", "INSERT INTO shop.old VALUES (1)"]).await;
    pair.eu.run("INSERT INTO shop.t (id) VALUES (2)").await;
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    assert!(status.last_error().contains("shop.old"), "{}", status.last_error());
    assert_eq!(pair.us.rows::<i32>("SELECT id FROM shop.t").await, [1], "all before it, and nothing behind");
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.old").await, 0);
}

/// Anonymous transactions have no name by which they could be asked for again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_anonymous_transaction_stops_the_way_and_names_the_remedy() {
    let pair = pair().await;
    pair.eu.run("INSERT INTO shop.t (id) VALUES (1)").await;
    pair.wait_applied("eu-us", SOON).await;
    pair.eu
        .run_all(&[
            "SET GLOBAL gtid_mode = ON_PERMISSIVE",
            "SET gtid_next = 'ANONYMOUS'",
            "INSERT INTO shop.t (id) VALUES (2)",
            "SET gtid_next = 'AUTOMATIC'",
            "INSERT INTO shop.t (id) VALUES (3)",
        ])
        .await;
    until("somebody says why it does not go on", SOON, async || {
        let said = pair.log(RELAY) + &pair.log(APPLIER);
        if said.contains("gtid_mode") { Ok(()) } else { Err(said) }
    })
    .await;
    assert_eq!(pair.us.rows::<i32>("SELECT id FROM shop.t").await, [1]);
}

/// Changes that the source made and could not log: its statement cache was too small for a row of a table without
/// transactions. Whoever reads its log is told so in place of the rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_stops_the_link_until_a_person_has_compared_and_skips_it() {
    let pair = pair().await;
    pair.eu.run("INSERT INTO shop.t (id) VALUES (1)").await;
    pair.eu
        .run_all(&[
            "SET sql_log_bin = 0",
            "CREATE DATABASE old",
            "CREATE TABLE old.t (id INT PRIMARY KEY, b LONGTEXT) ENGINE = MyISAM",
            "SET GLOBAL max_binlog_stmt_cache_size = 4096, GLOBAL binlog_stmt_cache_size = 4096",
        ])
        .await;
    let refused = pair.eu.run_failing("INSERT INTO old.t VALUES (1, REPEAT('x', 20000))").await;
    assert!(matches!(refused, 1026 | 3022 | 1705), "{refused}");
    pair.eu.run("INSERT INTO shop.t (id) VALUES (2)").await;
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    for word in ["incident", "twinlog verify", "skip --gtid"] {
        assert!(status.last_error().contains(word), "{word}: {}", status.last_error());
    }
    // Nor does a new start pass it over, and the relay has it and goes on.
    pair.stop_one(APPLIER).await;
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "failed", SOON).await;
    assert_eq!(pair.us.rows::<i32>("SELECT id FROM shop.t").await, [1]);
    pair.skip_failed("eu-us").await;
    pair.wait_applied("eu-us", SOON).await;
    assert_eq!(pair.us.rows::<i32>("SELECT id FROM shop.t ORDER BY id").await, [1, 2]);
}

/// An event as a server to come may write it.
fn of_unknown_type(event: &Event, flags: u16) -> Event {
    Event::build(&Header { kind: EventKind::Other(99), flags, ..event.header() }, event.body())
}

/// Writes one row with its query in the log; gives the file that holds both and is closed.
async fn write_with_query(pair: &Pair, id: u32) -> PathBuf {
    pair.eu.run("FLUSH BINARY LOGS").await;
    let file: (String, u64, String) = pair.eu.rows("SHOW BINARY LOGS").await.pop().expect("a log");
    let insert = format!("INSERT INTO shop.t (id) VALUES ({id})");
    pair.eu.run_all(&["SET binlog_rows_query_log_events = ON", &insert, "FLUSH BINARY LOGS"]).await;
    pair.eu.datadir().join(file.0)
}

/// Puts other events in the place of those of a closed file; how many were changed.
fn rewrite(file: &Path, change: impl Fn(&Event) -> Vec<Event>) -> usize {
    let text = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let (mut rest, mut out, mut changed) = (Bytes::from(text).slice(MAGIC.len()..), MAGIC.to_vec(), 0);
    while rest.len() > HEADER_LENGTH {
        let size = u32::from_le_bytes([rest[9], rest[10], rest[11], rest[12]]) as usize;
        let event = Event::new(rest.split_to(size)).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let events = change(&event);
        changed += usize::from(events != [event]);
        events.iter().for_each(|event| out.extend_from_slice(event.bytes()));
    }
    std::fs::write(file, out).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    changed
}

/// What a file has before it ends: a rotate event, with an event of an unknown type before it.
fn unknown_before_the_end(event: &Event, flags: u16) -> Vec<Event> {
    let mut unknown = of_unknown_type(event, flags);
    let grown = event.with_header(|h| h.log_pos += unknown.size());
    unknown = unknown.with_header(|h| h.log_pos = grown.log_pos() - event.size());
    vec![unknown, grown]
}

/// Types of events that no server of today writes: those that say so are passed over, no other is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_an_unknown_type_passes_where_it_says_so_and_stops_the_way_elsewhere() {
    let pair = pair().await;
    for process in [APPLIER, RELAY] {
        pair.stop_one(process).await;
    }
    let changed = rewrite(&write_with_query(&pair, 1).await, |event| match event.kind() {
        EventKind::RowsQuery => vec![of_unknown_type(event, FLAG_IGNORABLE)],
        EventKind::Rotate => unknown_before_the_end(event, FLAG_IGNORABLE),
        _ => vec![event.clone()],
    });
    assert_eq!(changed, 2, "one in a transaction, one between two");
    let inside = write_with_query(&pair, 2).await;
    rewrite(&inside, |event| match event.kind() {
        EventKind::RowsQuery => vec![of_unknown_type(event, 0)],
        _ => vec![event.clone()],
    });
    pair.start_one(RELAY);
    pair.start_one(APPLIER);
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    assert!(status.last_error().contains("not understood: Other(99)"), "{}", status.last_error());
    assert_eq!(pair.us.rows::<i32>("SELECT id FROM shop.t").await, [1]);
    // Between two transactions there is none that could be skipped: the relay does not take it.
    pair.stop_one(RELAY).await;
    rewrite(&write_with_query(&pair, 3).await, |event| match event.kind() {
        EventKind::Rotate => unknown_before_the_end(event, 0),
        _ => vec![event.clone()],
    });
    for _ in 0..2 {
        let relay = pair.run_to_failure(RELAY, pair.config()).await;
        relay.assert_failed(1, &["unknown type 99", "upgrade"]);
    }
}

/// A transaction packed as a server to come may pack it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_packed_in_an_unknown_way_stops_the_link() {
    let pair = pair().await;
    for process in [APPLIER, RELAY] {
        pair.stop_one(process).await;
    }
    pair.eu.run("SET GLOBAL binlog_transaction_compression = ON").await;
    let changed = rewrite(&write_with_query(&pair, 1).await, |event| {
        let mut body = event.body().to_vec();
        // Field 2, one byte long, is how it is packed: 0 is zstd.
        let field = body.windows(3).position(|bytes| bytes == [2, 1, 0]);
        if event.kind() == EventKind::TransactionPayload {
            body[field.expect("it tells how it is packed") + 2] = 7;
        }
        vec![Event::build(&event.header(), &body)]
    });
    assert_eq!(changed, 1);
    pair.start_one(RELAY);
    pair.start_one(APPLIER);
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    assert!(status.last_error().contains("unknown algorithm: 7"), "{}", status.last_error());
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.t").await, 0);
}
