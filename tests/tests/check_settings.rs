//! Every setting that is wrong is found, and what the check says to run makes it right.

use std::time::Duration;

use harness::{Check, Item, Pair, Process, Region, RegionOptions, replicate, until};

use crate::check::right_pair;

/// A statement that breaks something in region us, the item that finds it, and how it ends.
struct Case {
    breaks: &'static str,
    item: &'static str,
    /// Of which region the item speaks: a pair speaks of the first.
    region: &'static str,
    status: &'static str,
    found: &'static str,
}

const fn case(
    breaks: &'static str,
    item: &'static str,
    region: &'static str,
    status: &'static str,
    found: &'static str,
) -> Case {
    Case { breaks, item, region, status, found }
}

const CASES: [Case; 24] = [
    case("SET GLOBAL gtid_mode = ON_PERMISSIVE", "gtid_mode", "us", "fail", "ON_PERMISSIVE"),
    case("SET GLOBAL binlog_format = MIXED", "binlog_format", "us", "fail", "MIXED"),
    case("SET GLOBAL binlog_format = STATEMENT", "binlog_format", "us", "fail", "STATEMENT"),
    case("SET GLOBAL binlog_row_image = MINIMAL", "binlog_row_image", "us", "fail", "MINIMAL"),
    case("SET GLOBAL binlog_row_image = NOBLOB", "binlog_row_image", "us", "fail", "NOBLOB"),
    case("SET GLOBAL binlog_row_metadata = MINIMAL", "binlog_row_metadata", "us", "fail", "MINIMAL"),
    case(
        "SET GLOBAL binlog_row_value_options = PARTIAL_JSON",
        "binlog_row_value_options",
        "us",
        "warn",
        "PARTIAL_JSON",
    ),
    case("SET GLOBAL binlog_checksum = NONE", "binlog_checksum", "us", "warn", "NONE"),
    case("SET GLOBAL sync_binlog = 1000", "sync_binlog", "us", "warn", "1000"),
    case(
        "SET GLOBAL innodb_flush_log_at_trx_commit = 2",
        "innodb_flush_log_at_trx_commit",
        "us",
        "warn",
        "2",
    ),
    case(
        "SET GLOBAL binlog_expire_logs_seconds = 86400",
        "binlog_expire_logs_seconds",
        "us",
        "warn",
        "86400",
    ),
    case("SET GLOBAL binlog_expire_logs_seconds = 60", "binlog_expire_logs_seconds", "us", "fail", "60"),
    case("SET GLOBAL read_only = ON", "read_only", "us", "fail", "read_only = ON"),
    case("SET GLOBAL super_read_only = ON", "read_only", "us", "fail", "super_read_only = ON"),
    case("SET GLOBAL max_connections = 10", "connections", "us", "warn", "of 10"),
    case("SET GLOBAL server_id = 1", "server_id", "us", "fail", "1, which"),
    case("SET GLOBAL character_set_server = latin1", "character_set_server", "eu", "warn", "latin1 in us"),
    case("SET GLOBAL collation_server = utf8mb4_bin", "collation_server", "eu", "warn", "utf8mb4_bin in us"),
    case("SET GLOBAL sql_mode = ''", "sql_mode", "eu", "warn", "in us"),
    case("SET GLOBAL time_zone = '+02:00'", "time_zone", "eu", "warn", "+02:00 in us"),
    case(
        "SET GLOBAL explicit_defaults_for_timestamp = OFF",
        "explicit_defaults_for_timestamp",
        "eu",
        "warn",
        "OFF in us",
    ),
    case(
        "SET GLOBAL sql_generate_invisible_primary_key = ON",
        "sql_generate_invisible_primary_key",
        "eu",
        "warn",
        "ON in us",
    ),
    case("SET GLOBAL sql_require_primary_key = ON", "sql_require_primary_key", "eu", "warn", "ON in us"),
    case("SET GLOBAL auto_increment_offset = 1", "auto_increment", "eu", "fail", "us hands out 1, 3, 5"),
];

/// The harness's servers do not read what was persisted.
const COUNTS: [&str; 2] = ["--auto-increment-increment=2", "--auto-increment-offset=2"];

async fn run_fixes(pair: &Pair, item: &Item) {
    let fixes = item.sql();
    assert!(!fixes.is_empty(), "no statement mends {}", item.line());
    for (region, statement) in fixes {
        pair.region(&region).run(&statement).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_setting_is_found_and_the_sql_that_is_said_mends_it() {
    let pair = right_pair(None).await;
    for Case { breaks, item: name, region, status, found } in CASES {
        pair.us.run(breaks).await;
        let check = Check::of(&pair).await;
        let item = check.item(name, region);
        assert_eq!(item.status(), status, "{breaks}: {}", item.line());
        assert!(item.found().contains(found), "{breaks}: {}", item.line());
        assert!(item.0["why"].is_string() && item.0["wanted"].is_string(), "{breaks}: {:#}", item.0);
        assert_eq!(check.code, i32::from(status == "fail"), "{breaks}: {:?}", check.with_status("fail"));
        run_fixes(&pair, &item).await;
        let mended = Check::of(&pair).await.item(name, region);
        assert_eq!(mended.status(), "pass", "after {:?}: {}", item.sql(), mended.line());
    }
    let check = Check::of(&pair).await;
    assert_eq!((check.code, check.with_status("fail")), (0, Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_that_a_wide_row_does_not_fit_into_are_found_and_mended() {
    let pair = right_pair(None).await;
    let wide = ["SET sql_log_bin = 0", "CREATE TABLE shop.film (id INT PRIMARY KEY, reel LONGBLOB)"];
    pair.eu.run_all(&wide).await;
    pair.us.run_all(&wide).await;
    pair.us.run("SET GLOBAL max_allowed_packet = 16777216").await;
    let packet = async |direction: &str| {
        let found =
            Check::of(&pair).await.all("max_allowed_packet").into_iter().find(|i| i.subject() == direction);
        found.unwrap_or_else(|| panic!("nothing of {direction}"))
    };
    let item = packet("eu to us").await;
    assert_eq!(item.status(), "warn", "{}", item.line());
    assert!(item.0["why"].as_str().is_some_and(|why| why.contains("shop.film")), "{:#}", item.0);
    run_fixes(&pair, &item).await;
    assert_eq!(packet("eu to us").await.status(), "pass");
    // Each that is raised asks more of the other, up to MySQL's own limit, where it ends.
    for round in 0.. {
        assert!(round < 20, "it does not end");
        let (there, back) = (packet("eu to us").await, packet("us to eu").await);
        let wrong: Vec<_> = [there, back].into_iter().filter(|i| i.status() != "pass").collect();
        if wrong.is_empty() {
            break;
        }
        for item in wrong {
            run_fixes(&pair, &item).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_set_at_a_servers_start_is_found_and_a_filter_keeps_relay_and_applier_from_starting() {
    let pair = right_pair(None).await;
    for (option, name, found) in [
        ("--log-replica-updates=OFF", "log_replica_updates", "OFF"),
        ("--binlog-do-db=shop", "binlog_filters", "binlog_do_db = shop"),
        ("--binlog-ignore-db=twinlog", "binlog_filters", "binlog_ignore_db = twinlog"),
        ("--skip-log-bin", "log_bin", "OFF"),
    ] {
        pair.us.restart_with(&[option, COUNTS[0], COUNTS[1]]);
        let check = Check::of(&pair).await;
        let item = check.item(name, "us");
        assert_eq!((item.status(), check.code), ("fail", 1), "{}", item.line());
        assert!(item.found().contains(found), "{}", item.line());
        let options = item.0["fix"].as_array().expect("fixes").iter().filter(|f| f["kind"] == "option");
        assert_eq!(options.count(), 1, "{:#}", item.0);
        if name == "binlog_filters" {
            for process in [Process::Relay("us"), Process::Applier("eu-us")] {
                let said = pair.run_to_failure(process, pair.config()).await;
                said.assert_failed(1, &["binlog_filters", found, "remedy", pair.us.address()]);
            }
        }
    }
    pair.us.restart_with(&COUNTS);
    let check = Check::of(&pair).await;
    assert_eq!((check.code, check.with_status("fail")), (0, Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_that_stands_for_two_regions_is_found_out() {
    let mut pair = right_pair(None).await;
    let address = pair.eu.address().to_owned();
    pair.configure(|file| file.set_mysql_address("us", &address));
    let check = Check::of(&pair).await;
    assert_eq!(check.code, 1);
    for item in ["server_uuid", "server_id"] {
        let item = check.item(item, "us");
        assert_eq!(item.status(), "fail", "{}", item.line());
        assert!(item.found().contains(&address), "{}", item.line());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_has_the_relays_server_id_is_found_out() {
    let mut pair = right_pair(None).await;
    pair.configure(|file| file.add_to_region("eu", "relay.server_id = 77"));
    assert_eq!(Check::of(&pair).await.item("replica_server_id", "eu").status(), "pass");
    let other = RegionOptions { name: "other", server_id: 77, extra_args: Vec::new() };
    let [replica] = Region::start_all([other]);
    replicate(&replica, pair.eu.port(), "root", "", "GET_SOURCE_PUBLIC_KEY = 1").await;
    until("the replica is attached", Duration::from_secs(30), async || {
        let item = Check::of(&pair).await.item("replica_server_id", "eu");
        if item.status() == "fail" { Ok(()) } else { Err(item.line()) }
    })
    .await;
    replica.run("STOP REPLICA").await;
}
