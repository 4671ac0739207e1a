//! `twinlog check`: what is right passes, what does not answer fails alone, and nothing is changed by looking.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::{Check, Finished, Pair, PairOptions, Process, Region, Workload};

const SHORT: Duration = Duration::from_secs(60);

/// What is said of a pair whose relays do not run, and whose accounts have the least privileges.
const USUAL: [&str; 3] = ["relay", "trigger", "event"];

/// A pair that has everything right: numbers dealt out, a table with a key, a log that fits the disk.
pub(crate) async fn right_pair(ddl: Option<&'static str>) -> Pair {
    let mut pair = Pair::new(PairOptions { ddl, ..PairOptions::default() }).await;
    pair.configure(|file| {
        file.add_to_region("eu", "relay.max_size = \"64MiB\"");
        file.add_to_region("us", "relay.max_size = \"64MiB\"");
    });
    for (offset, region) in [(1, &pair.eu), (2, &pair.us)] {
        region
            .run_all(&[
                "SET PERSIST auto_increment_increment = 2".to_owned(),
                format!("SET PERSIST auto_increment_offset = {offset}"),
                "SET sql_log_bin = 0".to_owned(),
                "CREATE DATABASE shop".to_owned(),
                "CREATE TABLE shop.item (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40) NOT NULL)"
                    .to_owned(),
            ])
            .await;
    }
    pair
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_with_everything_right_passes_before_and_while_it_runs() {
    let pair = right_pair(Some("eu-us")).await;
    let before = Check::of(&pair).await;
    assert_eq!((before.code, &before.json["ok"]), (0, &true.into()), "{:#}", before.json);
    for item in before.items().iter().filter(|item| item.status() != "pass") {
        let view = item.name() == "writer_ddl" && item.found().contains("CREATE VIEW");
        assert!(USUAL.contains(&item.name()) || view, "{}", item.line());
    }
    pair.start().await;
    let running = Check::run(pair.config(), &["--probe"]).await;
    assert_eq!(running.code, 0, "{:#}", running.json);
    for region in ["eu", "us"] {
        for item in ["relay", "relay_position", "checkpoint", "meta_schema", "replica_server_id", "probe"] {
            let item = running.item(item, region);
            assert_eq!(item.status(), "pass", "{}", item.line());
        }
        assert!(running.item("probe", region).found().contains("came back"), "{:#}", running.json);
        let rows: u64 = pair.region(region).row("SELECT COUNT(*) FROM twinlog.probe").await;
        assert_eq!(rows, 1, "one row stays in {region}, and the other region's has not come here");
    }
    // A second canary writes over the first; the links have not noticed either.
    assert_eq!(Check::run(pair.config(), &["--probe"]).await.code, 0);
    for (region, other) in [(&pair.eu, &pair.us), (&pair.us, &pair.eu)] {
        assert_eq!(region.row::<u64>("SELECT COUNT(*) FROM twinlog.probe").await, 1);
        let name = format!("from {}", region.name());
        region.run(&format!("INSERT INTO shop.item (name) VALUES ('{name}')")).await;
        harness::until("the row crosses", SHORT, async || {
            let count: u64 =
                other.row(&format!("SELECT COUNT(*) FROM shop.item WHERE name = '{name}'")).await;
            if count == 1 { Ok(()) } else { Err(format!("{count} rows")) }
        })
        .await;
    }
    pair.assert_alive();
    pair.wait_running().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_comes_back_in_a_compressed_transaction_too() {
    let pair = right_pair(None).await;
    for region in [&pair.eu, &pair.us] {
        region.run("SET PERSIST binlog_transaction_compression = ON").await;
    }
    pair.start().await;
    let check = Check::run(pair.config(), &["--probe"]).await;
    for region in ["eu", "us"] {
        assert_eq!(check.item("probe", region).status(), "pass", "{:#}", check.json);
    }
    let without = Check::of(&pair).await;
    assert!(without.all("probe").is_empty(), "nobody asked for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_needs_a_relay_and_says_so() {
    let pair = right_pair(None).await;
    let check = Check::run(pair.config(), &["--probe"]).await;
    assert_eq!(check.code, 0, "{:#}", check.json);
    for region in [&pair.eu, &pair.us] {
        let item = check.item("probe", region.name());
        assert_eq!(item.status(), "skipped", "{}", item.line());
        assert!(item.found().contains("relay running"), "{}", item.line());
        let schemas: u64 = region
            .row("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'twinlog'")
            .await;
        assert_eq!(schemas, 0, "nothing was written in {}", region.name());
    }
}

/// All that a check could have changed on a server.
async fn state(region: &Region) -> BTreeMap<String, String> {
    let mut state = BTreeMap::from([("gtid_executed".to_owned(), region.gtid_executed().await)]);
    let position: (String, u64, String, String, String) = region.row("SHOW BINARY LOG STATUS").await;
    state.insert("position".into(), format!("{} {}", position.0, position.1));
    let variables = "SELECT variable_name, variable_value FROM performance_schema.global_variables \
        WHERE variable_name NOT IN ('gtid_executed')";
    state.extend(region.rows::<(String, String)>(variables).await);
    let tables = "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES \
        WHERE TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema') AND ENGINE IN ('InnoDB', 'MyISAM')";
    for table in region.rows::<String>(tables).await {
        let quoted = table.replace('.', "`.`");
        let sum: (String, Option<u64>) = region.row(&format!("CHECKSUM TABLE `{quoted}`")).await;
        // What the server notes of its own work is no change that anybody made.
        if !["mysql.innodb_table_stats", "mysql.innodb_index_stats", "mysql.gtid_executed"]
            .contains(&table.as_str())
        {
            state.insert(table, format!("{:?}", sum.1));
        }
    }
    state
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_changes_nothing_whatever_it_finds() {
    let pair = right_pair(Some("eu-us")).await;
    pair.eu.run_all(&["INSERT INTO shop.item (name) VALUES ('a'), ('b')"]).await;
    // Once with every probe allowed, once with many refused.
    for revoke in [None, Some("REVOKE ALL ON shop.* FROM 'twinlog_writer'@'127.0.0.1'")] {
        for region in [&pair.eu, &pair.us] {
            region
                .run_all(&[
                    "DROP TABLE IF EXISTS shop.bare",
                    "CREATE TABLE shop.bare (a INT) ENGINE = MyISAM",
                ])
                .await;
            if let Some(revoke) = revoke {
                region.run(revoke).await;
            }
        }
        let before = [state(&pair.eu).await, state(&pair.us).await];
        let check = Check::of(&pair).await;
        assert_eq!(check.code, 1, "{:#}", check.json);
        let after = [state(&pair.eu).await, state(&pair.us).await];
        for (before, after) in before.iter().zip(&after) {
            assert!(before.len() > 500, "variables and tables are there: {}", before.len());
            assert_eq!(before, after);
        }
    }
    let folders = ["state", "relay-eu", "relay-us"].map(|name| pair.folder().join(name));
    assert!(folders.iter().all(|f| !f.exists()), "nothing was made on this host either");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_fails_and_the_other_is_still_checked() {
    let pair = right_pair(None).await;
    pair.us.kill9();
    let check = Check::of(&pair).await;
    assert_eq!(check.code, 1);
    for item in ["reader_login", "writer_login"] {
        let item = check.item(item, "us");
        assert_eq!(item.status(), "fail", "{}", item.line());
        assert!(item.found().contains(pair.us.address()), "{}", item.line());
    }
    assert_eq!(check.item("settings", "us").status(), "skipped");
    assert_eq!(check.item("gtid_mode", "eu").status(), "pass");
    assert_eq!(check.item("tables", "eu").status(), "pass");
    let pair_items: Vec<_> = check.items().into_iter().filter(|i| i.0["scope"] == "pair").collect();
    assert_eq!(pair_items.len(), 1, "{pair_items:?}");
    assert_eq!(pair_items[0].status(), "skipped");
    assert!(pair_items[0].found().contains("both regions"), "{}", pair_items[0].line());
    let eu_fails: Vec<_> =
        check.items().into_iter().filter(|i| i.status() == "fail" && i.0["region"] == "eu").collect();
    assert!(eu_fails.is_empty(), "{eu_fails:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_address_of_a_list_is_checked() {
    let mut pair = right_pair(None).await;
    let gone = "127.0.0.1:1";
    let both = format!("{}\", \"{gone}", pair.us.address());
    pair.configure(|file| file.set_mysql_address("us", &both));
    // The file writes one text; a list of two is what is meant.
    let text = pair
        .file()
        .text()
        .replace(&format!("mysql.address = {both:?}"), &format!("mysql.address = [\"{both}\"]"));
    let check = Check::run(&pair.write_file("list.toml", &text), &[]).await;
    assert_eq!(check.code, 1, "{:#}", check.json);
    let of = |address: &str, name: &str| {
        let found = check.all(name).into_iter().find(|i| i.0["server"] == address);
        found.unwrap_or_else(|| panic!("no {name} of {address}: {:#}", check.json)).status().to_owned()
    };
    assert_eq!((of(gone, "reader_login"), of(gone, "settings")), ("fail".into(), "skipped".into()));
    assert_eq!(of(pair.us.address(), "gtid_mode"), "pass");
    assert_eq!(
        check.item("auto_increment", "eu").status(),
        "pass",
        "the one that answers stands for its region"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_for_programs_has_the_documented_form_and_the_one_for_people_the_same_counts() {
    let pair = right_pair(None).await;
    pair.us.run("SET PERSIST binlog_row_image = MINIMAL").await;
    let check = Check::of(&pair).await;
    let keys = |value: &serde_json::Value| {
        let mut keys: Vec<String> = value.as_object().expect("an object").keys().cloned().collect();
        keys.sort();
        keys.join(" ")
    };
    assert_eq!(keys(&check.json), "counts items ok sync version");
    assert_eq!((&check.json["version"], &check.json["sync"]), (&1.into(), &"shop".into()));
    let mut counts = BTreeMap::from([("pass", 0), ("warn", 0), ("fail", 0), ("skipped", 0)]);
    for item in check.items() {
        assert_eq!(
            keys(&item.0),
            "fix found item other_region region scope server status subject wanted why"
        );
        *counts.get_mut(item.status()).unwrap_or_else(|| panic!("{}", item.line())) += 1;
        for fix in item.0["fix"].as_array().expect("a list") {
            assert_eq!(keys(fix), "kind region text");
        }
        let pass = ["pass", "skipped"].contains(&item.status());
        assert!(pass || item.0["fix"].as_array().is_some_and(|f| !f.is_empty()), "no fix: {}", item.line());
    }
    for (status, count) in &counts {
        assert_eq!(check.json["counts"][status], *count, "{status}");
    }
    let config = pair.config().to_string_lossy().into_owned();
    let people = Finished::of(&["check", "-c", &config], SHORT).await;
    assert_eq!(people.code, 1);
    let last = people.out.lines().last().unwrap_or_default();
    let wanted = format!(
        "not ok: {} passed, {} warnings, {} failed, {} skipped",
        counts["pass"], counts["warn"], counts["fail"], counts["skipped"]
    );
    assert_eq!(last, wanted, "{people}");
    assert!(people.out.contains("fix: SET PERSIST binlog_row_image = FULL; [us]"), "{people}");
    assert!(!people.out.contains('\x1b'), "no colour beyond a terminal");
    let manual = include_str!("../../docs/check.md");
    for item in check.items() {
        assert!(manual.contains(&format!("`{}`", item.name())), "{} is not in the manual", item.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_was_away_for_too_long_is_found_out_before_it_starts() {
    let pair = right_pair(None).await;
    Workload::prepare(&pair).await;
    pair.start().await;
    pair.stop_one(Process::Relay("eu")).await;
    assert_eq!(Check::of(&pair).await.item("relay_position", "eu").status(), "pass");
    pair.eu.run("INSERT INTO shop.item (name) VALUES ('unseen')").await;
    pair.eu.purge_binlogs().await;
    let item = Check::of(&pair).await.item("relay_position", "eu");
    assert_eq!(item.status(), "fail", "{}", item.line());
    assert!(item.found().contains("purged"), "{}", item.line());
    let other = Check::of(&pair).await.item("relay_position", "us");
    assert_eq!(other.status(), "pass", "{}", other.line());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_checkpoint_and_a_copied_server_are_found_out() {
    let pair = right_pair(None).await;
    pair.start().await;
    for process in Process::ALL {
        pair.stop_one(process).await;
    }
    pair.us.run("DELETE FROM twinlog.checkpoint").await;
    pair.eu.run("UPDATE twinlog.home SET region = 'us'").await;
    let check = Check::of(&pair).await;
    let (lost, foreign) = (check.item("checkpoint", "us"), check.item("meta_schema", "eu"));
    assert_eq!((lost.status(), lost.subject()), ("fail", "eu-us"), "{}", lost.line());
    assert_eq!(foreign.status(), "fail", "{}", foreign.line());
    assert_eq!(check.item("checkpoint", "eu").status(), "pass");
}

#[tokio::test]
async fn faults_of_the_file_and_passwords_that_are_not_there_exit_with_2() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("twinlog.toml");
    let good = "[sync]\nname = \"shop\"\ntables = \"shop.*\"\n[region.eu]\nmysql.address = \"127.0.0.1:1\"\n\
        mysql.user = \"u\"\nmysql.password_file = \"no-such-file\"\n[region.us]\nmysql.address = \"127.0.0.1:1\"\n\
        mysql.user = \"u\"\n[link.eu-us]\nfrom = \"eu\"\nto = \"us\"\n";
    for (text, words) in [
        (good.to_owned(), ["no-such-file", "region.eu.mysql.password_file"]),
        (good.replace("to = \"us\"", "to = \"uk\""), ["link.eu-us.to", "uk"]),
    ] {
        std::fs::write(&path, text).expect("a file can be written");
        let config = path.to_string_lossy().into_owned();
        Finished::of(&["check", "-c", &config, "--json"], SHORT).await.assert_failed(2, &words);
    }
}
