//! A table that joins a pair whose links both run: copied from the region that has its rows, while both write it.

use std::time::Duration;

use harness::{Pair, PairOptions, Process, Region, until};
use mysql_async::prelude::Queryable;

use crate::tables_join::{
    ALL, LOAD, ROWS, WITHIN, WITHOUT, Writers, allow_structure, crosses, fill, reload, wait_chunks,
    wait_error, wait_joined,
};

const PAUSE: Duration = Duration::from_millis(15);

/// A pair that runs, with `shop.t` in step and `shop.late` not.
async fn pair(forward: &str, reverse: &str) -> Pair {
    let mut pair = Pair::new(PairOptions::default()).await;
    pair.configure(|file| {
        file.set_tables(WITHOUT);
        file.add_to_link("eu-us", forward);
        file.add_to_link("us-eu", reverse);
    });
    allow_structure(&pair).await;
    pair.eu.run("CREATE DATABASE shop").await;
    fill(&pair.eu, "t", 50).await;
    pair
}

async fn is_there(region: &Region, table: &str) {
    until(&format!("{} has shop.{table}", region.name()), WITHIN, async || {
        let query = format!("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'shop' AND table_name = '{table}'");
        if region.row::<u64>(&query).await == 1 { Ok(()) } else { Err("not there".into()) }
    })
    .await;
}

/// DTS's first scenario, a table later: whoever finds the table in us writes it at once, the rows that come as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_joins_a_pair_is_copied_while_both_regions_write_it_and_through_a_kill() {
    let forward = format!("initial = \"structure+data\"\non_conflict = \"overwrite\"\n{LOAD}");
    let mut pair = pair(&forward, "initial = \"none\"\non_conflict = \"ignore\"").await;
    pair.start().await;
    pair.wait_in_step(WITHIN).await;
    fill(&pair.eu, "late", ROWS).await;
    let mut writers = Writers::new();
    writers.change(&pair.eu, "late", 1_000_000, PAUSE);
    writers.change(&pair.eu, "t", 2_000_000, PAUSE);
    pair.configure(|file| file.set_tables(ALL));
    let said = reload(&pair).await;
    assert!(said.contains("applier eu-us: shop.late joins: it is copied"), "{said}");
    is_there(&pair.us, "late").await;
    writers.change(&pair.us, "late", 3_000_000, PAUSE);
    let done = wait_chunks(&pair.us, "late", 5).await;
    let took = crosses(&pair, 9_000_001).await;
    assert!(took < Duration::from_secs(5), "a row of another table took {took:?}");
    pair.kill9(Process::Applier("eu-us"));
    pair.start_one(Process::Applier("eu-us"));
    wait_chunks(&pair.us, "late", done + 3).await;
    assert_eq!(pair.link_status("eu-us").await.state(), "copying");
    until("it is copied and settled", WITHIN, async || {
        let state: String = pair.us.row("SELECT state FROM twinlog.load WHERE database_name = ''").await;
        if state == "done" {
            Ok(())
        } else {
            Err(format!("{state}: {:?}", pair.try_status().await.map(|s| s.json().to_string())))
        }
    })
    .await;
    writers.stop().await;
    wait_joined(&pair).await;
    // What each wrote alone is there.
    for own in [1_000_000, 3_000_000] {
        let rows = format!("SELECT COUNT(*) FROM shop.late WHERE id BETWEEN {own} AND {own} + 999999");
        assert!(pair.eu.row::<u64>(&rows).await > 10, "{own}");
    }
    let status = pair.wait_state("us-eu", "running", WITHIN).await;
    assert_eq!(status.last_error(), "", "{}", status.json());
    pair.assert_alive();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_links_of_a_pair_copy_what_joins_from_where_its_rows_are() {
    let lines =
        format!("initial = \"structure+data\"\nexisting = \"keep\"\non_conflict = \"newest\"\n{LOAD}");
    let mut pair = pair(&lines, &lines).await;
    pair.eu.run("GRANT CREATE, REFERENCES, CREATE VIEW ON shop.* TO twinlog_writer@'127.0.0.1'").await;
    pair.us.run("GRANT SHOW VIEW ON shop.* TO twinlog_reader@'127.0.0.1'").await;
    pair.start().await;
    pair.wait_in_step(WITHIN).await;
    fill(&pair.eu, "late", ROWS / 2).await;
    fill(&pair.us, "late", 0).await;
    fill(&pair.us, "late_us", ROWS / 3).await;
    let mut writers = Writers::new();
    writers.change(&pair.eu, "late", 1_000_000, PAUSE);
    writers.change(&pair.us, "late_us", 3_000_000, PAUSE);
    pair.configure(|file| file.set_tables(&["shop.*", "!shop.nothing"]));
    let said = reload(&pair).await;
    for line in [
        "applier eu-us: shop.late joins: it is copied",
        "applier us-eu: shop.late joins: nothing of it is copied, what is written from now on crosses",
        "applier us-eu: shop.late_us joins: it is copied",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    wait_chunks(&pair.us, "late", 1).await;
    writers.change(&pair.us, "late", 5_000_000, PAUSE);
    is_there(&pair.eu, "late_us").await;
    writers.change(&pair.eu, "late_us", 7_000_000, PAUSE);
    until("both are copied", WITHIN, async || {
        for (region, table) in [(&pair.us, "late"), (&pair.eu, "late_us")] {
            let of_table =
                format!("SELECT COUNT(*) FROM twinlog.load WHERE table_name = '{table}' AND state = 'done'");
            let over: String = region.row("SELECT state FROM twinlog.load WHERE database_name = ''").await;
            if region.row::<u64>(&of_table).await == 0 || over != "done" {
                return Err(format!(
                    "{table} {over}: {:?}",
                    pair.try_status().await.map(|s| s.json().to_string())
                ));
            }
        }
        Ok(())
    })
    .await;
    writers.stop().await;
    wait_joined(&pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_waits_for_the_way_back_to_take_it_in_and_the_others_do_not_wait_for_it() {
    let forward = format!("initial = \"structure+data\"\n{LOAD}");
    let mut pair = pair(&forward, "").await;
    pair.start().await;
    pair.wait_in_step(WITHIN).await;
    fill(&pair.eu, "late", 400).await;
    pair.configure(|file| file.set_tables(ALL));
    pair.signal(Process::Applier("eu-us"), "HUP");
    let words = "shop.late joins when the link from us to eu has it in step";
    until("it says what it waits for", WITHIN, async || {
        let status = pair.try_status().await?.link("eu-us")?;
        if status.text("reason").contains(words) { Ok(()) } else { Err(status.json().to_string()) }
    })
    .await;
    pair.eu.run("UPDATE shop.late SET v = 77").await;
    crosses(&pair, 9_000_001).await;
    assert_eq!(
        pair.us.row::<u64>("SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'late'").await,
        0
    );
    pair.signal(Process::Applier("us-eu"), "HUP");
    is_there(&pair.us, "late").await;
    wait_joined(&pair).await;
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.late WHERE v = 77").await, 400);
    assert_eq!(pair.link_status("eu-us").await.text("reason"), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_with_rows_in_both_regions_joins_a_pair_only_when_it_is_known_which_are_to_stay() {
    let mut pair = pair("initial = \"structure+data\"\nexisting = \"keep\"", "").await;
    pair.start().await;
    for (region, rows) in [(&pair.eu, 300), (&pair.us, 200)] {
        fill(region, "late", rows).await;
    }
    pair.us.run("UPDATE shop.late SET w = 'us'").await;
    pair.configure(|file| file.set_tables(ALL));
    reload(&pair).await;
    let words =
        ["shop.late", "holds rows in eu and in us already", "empty it in eu or in us, then add it again"];
    wait_error(&pair, "eu-us", &words).await;
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.late WHERE w = 'us'").await, 200);
    pair.configure(|file| file.set_tables(WITHOUT));
    reload(&pair).await;
    pair.wait_state("eu-us", "running", WITHIN).await;
    pair.us.run("DELETE FROM shop.late").await;
    pair.configure(|file| file.set_tables(ALL));
    reload(&pair).await;
    wait_joined(&pair).await;
    pair.us.run("INSERT INTO shop.late VALUES (5000, 1, 'us')").await;
    pair.eu.run("INSERT INTO shop.late VALUES (5001, 1, 'eu')").await;
    pair.wait_in_step(WITHIN).await;
    assert_eq!(pair.eu.row::<u64>("SELECT COUNT(*) FROM shop.late").await, 302);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_written_as_soon_as_it_is_made_joins_whatever_interrupts_the_link_before_that_is_noted()
 {
    let forward = format!("initial = \"structure+data\"\non_conflict = \"overwrite\"\n{LOAD}");
    let mut pair = pair(&forward, "on_conflict = \"ignore\"").await;
    pair.start().await;
    fill(&pair.eu, "late", 300).await;
    // What joins can't be noted.
    let mut held = pair.us.connect().await;
    held.query_drop("BEGIN").await.expect("it begins");
    held.query_drop("SELECT * FROM twinlog.objects FOR UPDATE").await.expect("it locks");
    pair.configure(|file| file.set_tables(ALL));
    reload(&pair).await;
    is_there(&pair.us, "late").await;
    pair.us.run_all(&["INSERT INTO shop.late VALUES (7, 7, 'us'), (9000, 1, 'us')"]).await;
    until("the link was interrupted", WITHIN, async || {
        let times = pair.log(Process::Applier("eu-us")).matches("link interrupted").count();
        if times > 1 { Ok(()) } else { Err(format!("{times} times")) }
    })
    .await;
    pair.kill9(Process::Applier("eu-us"));
    pair.start_one(Process::Applier("eu-us"));
    held.disconnect().await.expect("it lets go");
    wait_joined(&pair).await;
    assert_eq!(pair.eu.row::<String>("SELECT w FROM shop.late WHERE id = 9000").await, "us");
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.late").await, 301);
}
