//! docs/two-way-sync.md, as it stands: its statements, its commands, in its order, for each way to begin.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::{Check, Pair, PairOptions, Region, TwinlogProcess, twinlog, until};

const GUIDE: &str = include_str!("../../docs/two-way-sync.md");
const SOON: Duration = Duration::from_secs(60);

/// The code blocks whose first line after the fence is `info`, in order.
fn blocks(info: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut rest = GUIDE;
    while let Some((_, block)) = rest.split_once("\n```") {
        let (head, block) = block.split_once('\n').expect("a fence ends its line");
        let (body, after) = block.split_once("```").expect("a block ends");
        if head == info {
            found.push(body);
        }
        rest = after;
    }
    assert!(!found.is_empty(), "no block {info:?} in the guide");
    found
}

async fn run_blocks(region: &Region, info: &str, password: &str) {
    for block in blocks(info) {
        for statement in block.split(";\n").map(str::trim).filter(|s| !s.is_empty()) {
            region
                .run(&statement.replace("'change me'", &format!("'{}'", password.replace('\'', "''"))))
                .await;
        }
    }
}

/// What the accounts of the processes may do, hosts left out.
async fn grants(region: &Region) -> BTreeSet<String> {
    let mut grants = BTreeSet::new();
    let accounts = "SELECT user, host FROM mysql.user WHERE user LIKE 'twinlog%'";
    for (user, host) in region.rows::<(String, String)>(accounts).await {
        for grant in region.rows::<String>(&format!("SHOW GRANTS FOR '{user}'@'{host}'")).await {
            grants.insert(grant.replace(&format!("@`{host}`"), ""));
        }
    }
    grants
}

/// Adds the guide's lines for this way to begin to the links.
fn add_beginning(pair: &mut Pair, way: &str) {
    let [text] = blocks(&format!("toml {way}"))[..] else { panic!("one block for {way}") };
    pair.configure(|file| {
        let mut link = None;
        for line in text.lines().filter(|line| !line.is_empty()) {
            match line {
                "[link.eu-us]" => link = Some("eu-us"),
                "[link.us-eu]" => link = Some("us-eu"),
                _ => file.add_to_link(link.expect("a link is named before its lines"), line),
            }
        }
    });
}

const TABLE: &str = "CREATE TABLE shop.item (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40) NOT NULL)";

/// The whole way: `there` is what us has before, `way` how the links begin, `rows` what both have then.
async fn walk(there: &[&str], way: &str, rows: u64) {
    let mut pair = Pair::new(PairOptions { ddl: Some("eu-us"), ..PairOptions::default() }).await;
    pair.configure(|file| {
        file.add_to_region("eu", "relay.max_size = \"64MiB\"");
        file.add_to_region("us", "relay.max_size = \"64MiB\"");
    });
    add_beginning(&mut pair, way);
    let (_, password) = pair.file().relay_account();
    pair.eu
        .run_all(&["CREATE DATABASE shop", TABLE, "INSERT INTO shop.item VALUES (1, 'a'), (3, 'c')"])
        .await;
    pair.us.run_all(there).await;
    for region in [&pair.eu, &pair.us] {
        let usual = grants(region).await;
        region.run("DROP USER twinlog_reader@'127.0.0.1', twinlog_writer@'127.0.0.1'").await;
        run_blocks(region, "sql both", password).await;
        run_blocks(region, &format!("sql {}", region.name()), password).await;
        assert_eq!(
            grants(region).await,
            usual,
            "every other test uses these privileges, in {}",
            region.name()
        );
    }
    if way == "nothing" {
        run_blocks(&pair.eu, "sql nothing-eu", password).await;
        run_blocks(&pair.us, "sql nothing-us", password).await;
    }
    let check = Check::of(&pair).await;
    assert_eq!((check.code, check.with_status("fail")), (0, Vec::new()));

    let mut command = twinlog();
    command.args(["up", "-c"]).arg(pair.config());
    let mut up = TwinlogProcess::start_plain("up", &command, &pair.folder().join("up.log"));
    pair.wait_running().await;
    let probed = Check::run(pair.config(), &["--probe"]).await;
    assert_eq!((probed.code, probed.with_status("fail")), (0, Vec::new()));
    pair.wait_in_step(SOON).await;
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.item").await, rows);
    pair.eu.run("INSERT INTO shop.item (name) VALUES ('of eu')").await;
    pair.us.run("INSERT INTO shop.item (name) VALUES ('of us')").await;
    wait_for(&pair, (2, 2)).await;
    // With nothing of the other region in flight, as the guide says.
    pair.eu.run("ALTER TABLE shop.item ADD COLUMN price DECIMAL(9,2)").await;
    wait_for(&pair, (2, 3)).await;
    pair.wait_in_step(SOON).await;

    assert!(up.stop(SOON).await.success());
    for region in [&pair.eu, &pair.us] {
        run_blocks(region, "sql leave", password).await;
        assert_eq!(grants(region).await, BTreeSet::new());
        let left: u64 = region.row("SELECT COUNT(*) FROM shop.item").await;
        assert_eq!(left, rows + 2, "the tables stay");
    }
}

/// Waits until so many rows of the application, and so many columns, are in both regions.
async fn wait_for(pair: &Pair, wanted: (u64, u64)) {
    until("rows and columns are in both", SOON, async || {
        for region in [&pair.eu, &pair.us] {
            let count = "SELECT COUNT(*) FROM shop.item WHERE name LIKE 'of %'";
            let columns = "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'shop'";
            let seen: (u64, u64) = (region.row(count).await, region.row(columns).await);
            if seen != wanted {
                return Err(format!("{}: {seen:?}", region.name()));
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guide_leads_from_an_empty_region_to_two_way_sync_and_back() {
    walk(&[], "nothing", 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guide_leads_from_empty_tables_to_two_way_sync_and_back() {
    walk(&["CREATE DATABASE shop", TABLE], "tables", 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guide_leads_from_rows_in_both_regions_to_two_way_sync_and_back() {
    let there = ["CREATE DATABASE shop", TABLE, "INSERT INTO shop.item VALUES (2, 'b'), (3, 'c')"];
    walk(&there, "rows", 3).await;
}

#[tokio::test]
async fn the_file_of_the_guide_has_no_fault() {
    let [text] = blocks("toml")[..] else { panic!("one file") };
    let us = text.split("[region.us]").next().and_then(|t| t.split("[region.eu]").nth(1)).expect("region eu");
    let us = us.replace("eu", "us").replace("10.0.0.5", "10.1.0.5");
    let whole = text.replace("# the same for us\n", us.trim_start());
    let file = twinlog::config::parse(&whole, std::path::Path::new("twinlog.toml"))
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((file.regions.len(), file.links.len(), file.warnings.len()), (2, 2, 0));
}
