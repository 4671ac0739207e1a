//! A table with every column type: what is written in one region is exactly that in the other, and after the way back.

use std::time::Duration;

use harness::{Pair, PairOptions, Region};
use mysql_async::prelude::Queryable;
use mysql_async::{Row, Value};

use crate::column_values::{ROWS, SESSION, tables};

const IN_STEP: Duration = Duration::from_secs(30);

/// Every value of every table as the binary protocol gives it, so that a FLOAT is not rounded by printing it.
pub(crate) async fn snapshot(region: &Region) -> Vec<(String, Vec<Vec<Value>>)> {
    let mut session = region.connect().await;
    session.query_drop("SET character_set_results = binary, time_zone = '+00:00'").await.expect("settings");
    let tables: Vec<String> = session
        .query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'shop' ORDER BY 1")
        .await
        .expect("tables");
    let mut all = Vec::new();
    for table in tables {
        let columns: String = session
            .exec_first(
                "SELECT CAST(GROUP_CONCAT(CONCAT('`', column_name, '`') ORDER BY ordinal_position) AS CHAR) \
                 FROM information_schema.columns WHERE table_schema = 'shop' AND table_name = ? \
                 AND column_name <> 'touched'",
                (&table,),
            )
            .await
            .expect("columns")
            .expect("a table has columns");
        let query = format!("SELECT {columns} FROM shop.`{table}` ORDER BY id");
        let rows: Vec<Row> = session.exec(query, ()).await.unwrap_or_else(|e| panic!("{table}: {e}"));
        all.push((table, rows.into_iter().map(Row::unwrap).collect()));
    }
    all
}

pub(crate) fn assert_same(
    what: &str,
    left: &[(String, Vec<Vec<Value>>)],
    right: &[(String, Vec<Vec<Value>>)],
) {
    assert_eq!(left.len(), right.len(), "{what}: number of tables");
    for ((table, left), (_, right)) in left.iter().zip(right) {
        assert_eq!(left.len(), right.len(), "{what}: rows of {table}");
        for (left, right) in left.iter().zip(right) {
            for (column, (left, right)) in left.iter().zip(right).enumerate() {
                assert_eq!(left, right, "{what}: {table}, column {column}");
            }
        }
    }
}

pub(crate) async fn write<S: AsRef<str>>(region: &Region, statements: &[S]) {
    let mut session = region.connect().await;
    for statement in SESSION.into_iter().chain(statements.iter().map(AsRef::as_ref)) {
        let done = session.query_drop(statement).await;
        done.unwrap_or_else(|e| panic!("{e}: {statement}"));
    }
}

/// Rows written in eu come to us, are changed there in another column, come back, and are what they were.
async fn there_and_back(server_args: &[&str], relays: bool) {
    let server_args = server_args.iter().map(|&a| a.to_owned()).collect();
    let pair = Pair::new(PairOptions { server_args, relays, ..PairOptions::default() }).await;
    for region in [&pair.eu, &pair.us] {
        write(region, &tables()).await;
    }
    pair.start().await;
    write(&pair.eu, ROWS).await;
    let written = snapshot(&pair.eu).await;
    assert!(written.iter().all(|(_, rows)| !rows.is_empty()), "a table without a row shows nothing");
    pair.wait_in_step(IN_STEP).await;
    assert_same("there", &written, &snapshot(&pair.us).await);

    let touch: Vec<String> =
        written.iter().map(|(table, _)| format!("UPDATE shop.`{table}` SET touched = touched + 1")).collect();
    write(&pair.us, &touch).await;
    pair.wait_in_step(IN_STEP).await;
    let touched = "SELECT CAST(MIN(touched) AS SIGNED) FROM shop.numbers";
    harness::until("the rows have come back", IN_STEP, async || match pair.eu.row::<i64>(touched).await {
        1 => Ok(()),
        other => Err(format!("touched {other} times")),
    })
    .await;
    pair.wait_in_step(IN_STEP).await;
    assert_same("back", &written, &snapshot(&pair.eu).await);
    assert_same("back at us", &written, &snapshot(&pair.us).await);

    let delete: Vec<String> =
        written.iter().map(|(table, _)| format!("DELETE FROM shop.`{table}`")).collect();
    write(&pair.us, &delete).await;
    pair.wait_in_step(IN_STEP).await;
    pair.assert_alive();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_column_type_survives_there_and_back() {
    there_and_back(&[], true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_column_type_survives_with_partial_json_compression_and_the_query_in_the_log() {
    let server_args = [
        "--binlog-row-value-options=PARTIAL_JSON",
        "--binlog-transaction-compression=ON",
        "--binlog-rows-query-log-events=ON",
    ];
    there_and_back(&server_args, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_column_type_survives_with_minimal_row_images() {
    // A relay asks for full images; the applier itself does not depend on them.
    there_and_back(&["--binlog-row-image=MINIMAL", "--binlog-row-value-options=PARTIAL_JSON"], false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_compared_to_the_last_bit() {
    // The scenario's own tables and rows run on a server at all, and its comparison tells one row from another.
    let _slot = harness::take_slot().await;
    let [eu] =
        Region::start_all([harness::RegionOptions { name: "eu", server_id: 1, extra_args: Vec::new() }]);
    write(&eu, &tables()).await;
    write(&eu, ROWS).await;
    let written = snapshot(&eu).await;
    assert_same("itself", &written, &snapshot(&eu).await);
    eu.run("UPDATE shop.numbers SET f = 1.2345679 WHERE id = 3").await;
    assert_ne!(written, snapshot(&eu).await);
}
