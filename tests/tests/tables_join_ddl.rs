//! Statements of the source around the place where a table joins, and while it is copied: nothing is applied twice, and
//! nothing is left out.

use harness::{Process, until};
use mysql_async::prelude::Queryable;

use crate::tables_join::{
    ALL, APPLIER, LOAD, ROWS, WITHIN, allow_structure, fill, one_way, reload, start, wait_chunks, wait_joined,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_table_went_through_before_it_joined_is_not_applied_again() {
    let lines = format!("initial = \"structure+data\"\n{LOAD}");
    let mut pair = one_way(&lines, true).await;
    allow_structure(&pair).await;
    start(&pair).await;
    // The relay has it, and the link not, when the file is changed.
    let mut held = pair.us.connect().await;
    held.query_drop("LOCK TABLES shop.t WRITE").await.expect("it locks");
    pair.eu.run("UPDATE shop.t SET v = 99 WHERE id = 1").await;
    fill(&pair.eu, "late", 300).await;
    pair.eu
        .run_all(&[
            "ALTER TABLE shop.late DROP COLUMN w",
            "ALTER TABLE shop.late ADD COLUMN w VARCHAR(30) FIRST",
            "DELETE FROM shop.late WHERE id < 50",
            "UPDATE shop.late SET v = -1 WHERE id = 60",
            "CREATE TABLE shop.late_gone (id INT PRIMARY KEY)",
            "INSERT INTO shop.late_gone VALUES (1)",
            "DROP TABLE shop.late_gone",
            // Prepared before, and committed behind.
            "XA START 'x'",
            "INSERT INTO shop.late (id, v) VALUES (8000, 1)",
            "XA END 'x'",
            "XA PREPARE 'x'",
        ])
        .await;
    pair.configure(|file| file.set_tables(ALL));
    let said = reload(&pair).await;
    assert!(said.contains("shop.late joins: it is copied"), "{said}");
    held.disconnect().await.expect("it lets go");
    until("it has joined", WITHIN, async || {
        let rows = "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'late'";
        if pair.us.row::<u64>(rows).await == 1 { Ok(()) } else { Err("not made".into()) }
    })
    .await;
    pair.wait_state("eu-us", "running", WITHIN).await;
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.late").await, 251);
    pair.eu.run("XA COMMIT 'x'").await;
    pair.eu.run("ALTER TABLE shop.late ADD COLUMN x INT").await;
    pair.eu.run("INSERT INTO shop.late (id, v, w, x) VALUES (9000, 1, 'behind', 1)").await;
    wait_joined(&pair).await;
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.late").await, 253);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_a_statement_makes_during_the_copy_is_none_of_it_after_a_restart() {
    let mut pair =
        one_way(&format!("initial = \"structure+data\"\nexisting = \"error\"\n{LOAD}"), true).await;
    allow_structure(&pair).await;
    fill(&pair.eu, "late", ROWS).await;
    pair.configure(|file| file.set_tables(ALL));
    pair.start_one(Process::Relay("eu"));
    pair.start_one(APPLIER);
    wait_chunks(&pair.us, "late", 3).await;
    fill(&pair.eu, "born", 20).await;
    until("it has come over the link", WITHIN, async || {
        let query = "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'born'";
        if pair.us.row::<u64>(query).await == 1
            && pair.us.row::<u64>("SELECT COUNT(*) FROM shop.born").await == 20
        {
            return Ok(());
        }
        Err("not there".into())
    })
    .await;
    pair.kill9(APPLIER);
    // This one comes over the link after the restart.
    fill(&pair.eu, "unborn", 30).await;
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "copying", WITHIN).await;
    let rows = "SELECT COUNT(*) FROM twinlog.load WHERE table_name LIKE '%born'";
    assert_eq!(pair.us.row::<u64>(rows).await, 0);
    wait_joined(&pair).await;
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.unborn").await, 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_renamed_or_dropped_while_it_is_copied_is_copied_to_its_end_or_not_at_all() {
    let mut pair = one_way(&format!("initial = \"structure+data\"\n{LOAD}"), true).await;
    allow_structure(&pair).await;
    fill(&pair.eu, "late", ROWS).await;
    fill(&pair.eu, "small", 150).await;
    pair.configure(|file| file.set_tables(ALL));
    pair.start_one(Process::Relay("eu"));
    pair.start_one(APPLIER);
    wait_chunks(&pair.us, "late", 5).await;
    pair.eu.run_all(&["UPDATE shop.late SET v = v + 1", "RENAME TABLE shop.late TO shop.later"]).await;
    pair.eu.run_all(&["UPDATE shop.small SET v = v + 1", "DROP TABLE shop.small"]).await;
    pair.eu.run("UPDATE shop.later SET v = v + 1 WHERE id % 3 = 0").await;
    // Chunks that are done are so under the new name.
    wait_chunks(&pair.us, "later", 8).await;
    pair.eu.run("DELETE FROM shop.later WHERE id % 10 = 0").await;
    wait_joined(&pair).await;
    let tables = "SELECT CAST(GROUP_CONCAT(table_name ORDER BY 1) AS CHAR) FROM information_schema.tables WHERE table_schema = 'shop'";
    assert_eq!(pair.us.row::<String>(tables).await, "later,t");
}
