//! Links that an earlier version began: what it did not write down is taken to be as it was.

use harness::Process;

use crate::tables_join::{
    ALL, APPLIER, LOAD, ROWS, WITHIN, allow_structure, crosses, fill, one_way, reload, start, wait_chunks,
    wait_joined,
};

/// As an earlier version has left the meta schema: it did not note what is in step.
const EARLIER: &str = "DROP TABLE twinlog.objects";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_an_earlier_version_began_has_all_its_tables_in_step_and_lets_others_join() {
    let mut pair = one_way(&format!("initial = \"structure+data\"\n{LOAD}"), false).await;
    allow_structure(&pair).await;
    fill(&pair.eu, "late", 400).await;
    start(&pair).await;
    pair.stop_one(APPLIER).await;
    pair.us.run(EARLIER).await;
    pair.eu.run("UPDATE shop.t SET v = v + 1").await;
    pair.start_one(APPLIER);
    crosses(&pair, 9_000_001).await;
    assert!(pair.link_status("eu-us").await.json()["load"].is_null(), "nothing is copied again");
    pair.configure(|file| file.set_tables(ALL));
    let said = reload(&pair).await;
    assert!(said.contains("shop.late joins: it is copied"), "{said}");
    wait_joined(&pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_an_earlier_version_began_goes_on_whether_its_tables_were_noted_or_not() {
    let mut pair = one_way(&format!("initial = \"data\"\nexisting = \"error\"\n{LOAD}"), false).await;
    pair.configure(|file| file.set_tables(&["shop.*"]));
    pair.us.run("CREATE DATABASE shop").await;
    for table in ["t", "late"] {
        fill(&pair.us, table, 0).await;
    }
    fill(&pair.eu, "late", ROWS).await;
    pair.start_one(Process::Relay("eu"));
    pair.start_one(APPLIER);
    let done = wait_chunks(&pair.us, "late", 3).await;
    pair.stop_one(APPLIER).await;
    pair.us.run(EARLIER).await;
    pair.start_one(APPLIER);
    wait_chunks(&pair.us, "late", done + 3).await;
    // It noted the tables of a copy a moment after its begin, and may have been killed between.
    pair.stop_one(APPLIER).await;
    pair.us
        .run_all(&[
            EARLIER,
            "DELETE FROM twinlog.load WHERE database_name <> ''",
            "TRUNCATE TABLE shop.late",
            "TRUNCATE TABLE shop.t",
        ])
        .await;
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "copying", WITHIN).await;
    wait_joined(&pair).await;
    assert_eq!(pair.us.row::<u32>("SELECT COUNT(*) FROM shop.late").await, ROWS);
}
