//! What people want of a link: told to its process, or written into its target; kept over restarts; and what each order
//! loses or keeps.

use std::time::Duration;

use harness::{Finished, LinkStatus, Pair, PairOptions, Process, until};

const SOON: Duration = Duration::from_secs(30);
const APPLIER: Process = Process::Applier("eu-us");
const RELAY: Process = Process::Relay("eu");

/// A pair of which the way eu-us runs, with a table.
async fn one_way() -> Pair {
    let pair = Pair::one_way(PairOptions::default()).await;
    for region in [&pair.eu, &pair.us] {
        region.run_all(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, v INT)"]).await;
    }
    pair.start_one(RELAY);
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "running", SOON).await;
    pair
}

async fn link(pair: &Pair, words: &[&str]) -> Finished {
    let config = pair.config().to_string_lossy().into_owned();
    let mut args = vec!["link", words[0], "-c", &config, "--link", "eu-us"];
    args.extend(&words[1..]);
    Finished::of(&args, SOON).await
}

async fn ordered(pair: &Pair, words: &[&str]) -> String {
    let said = link(pair, words).await;
    assert_eq!(said.code, 0, "{words:?}: {said}");
    format!("{}{}", said.out, said.err)
}

async fn insert(pair: &Pair, id: u32) {
    pair.eu.run(&format!("INSERT INTO shop.t VALUES ({id}, 0)")).await;
}

async fn ids(pair: &Pair) -> Vec<u32> {
    pair.us.rows("SELECT id FROM shop.t ORDER BY id").await
}

async fn arrives(pair: &Pair, wanted: &[u32]) {
    until(&format!("{wanted:?} are there"), SOON, async || {
        let there = ids(pair).await;
        if there == wanted { Ok(()) } else { Err(format!("{there:?}")) }
    })
    .await;
}

fn reason(status: &LinkStatus) -> String {
    status.text("reason").to_owned()
}

/// Sessions of the link's account in the target.
async fn sessions(pair: &Pair) -> u64 {
    let query = "SELECT COUNT(*) FROM performance_schema.processlist WHERE USER = 'twinlog_writer'";
    pair.us.row(query).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_is_paused_stopped_and_started_and_the_wish_outlives_the_process() {
    let pair = one_way().await;
    insert(&pair, 1).await;
    arrives(&pair, &[1]).await;

    let said = ordered(&pair, &["pause", "--reason", "new index"]).await;
    assert!(said.contains("eu-us: paused"), "{said}");
    let status = pair.link_status("eu-us").await;
    assert_eq!(status.state(), "paused");
    assert!(
        reason(&status).contains("new index") && reason(&status).starts_with("by "),
        "{}",
        reason(&status)
    );
    insert(&pair, 2).await;
    // A process that starts anew finds the wish; nothing of what came meanwhile is lost or applied.
    pair.kill9(APPLIER);
    pair.start_one(APPLIER);
    let status = pair.wait_state("eu-us", "paused", SOON).await;
    assert!(reason(&status).contains("new index"), "{}", reason(&status));
    assert_eq!(ids(&pair).await, [1]);
    ordered(&pair, &["resume"]).await;
    arrives(&pair, &[1, 2]).await;

    let said = ordered(&pair, &["stop"]).await;
    assert!(said.contains("eu-us: stopped"), "{said}");
    insert(&pair, 3).await;
    until("its connections are gone", SOON, async || match sessions(&pair).await {
        0 => Ok(()),
        n => Err(format!("{n} sessions")),
    })
    .await;
    // On a stopped process the order is written down in the target.
    pair.stop_one(APPLIER).await;
    let said = ordered(&pair, &["pause"]).await;
    assert!(said.contains("written down"), "{said}");
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "paused", SOON).await;
    assert_eq!(ids(&pair).await, [1, 2]);
    // A running process that can't be asked finds what another host wrote down.
    let wish = "UPDATE twinlog.life SET wish = 'run', since = NOW(6), count = count + 1";
    pair.us.run(wish).await;
    arrives(&pair, &[1, 2, 3]).await;
    pair.wait_state("eu-us", "running", SOON).await;
    pair.assert_alive();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_failed_goes_on_when_it_is_started_and_a_transaction_can_be_skipped() {
    let pair = one_way().await;
    pair.eu.run("TRUNCATE TABLE shop.t").await;
    pair.eu.run("INSERT INTO shop.t (id, v) VALUES (1, 0)").await;
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    assert!(status.last_error().contains("ddl = false"), "{}", status.last_error());
    let error = &status.json()["error"];
    assert_eq!(error["transient"], false, "{error}");
    assert!(error["since"].as_f64() > Some(1e9) && error["next_try_at"].is_null(), "{error}");
    // The remedy is a command, and it works.
    assert!(error["remedy"].as_str().unwrap_or_default().contains("twinlog link skip --gtid"), "{error}");
    let gtid = status.stopped_at();
    assert_eq!(link(&pair, &["skip", "--gtid", "00000000-0000-0000-0000-000000000001:1"]).await.code, 1);
    pair.us.run("TRUNCATE TABLE shop.t").await;
    let said = ordered(&pair, &["skip", "--gtid", gtid, "--reason", "emptied by hand"]).await;
    assert!(said.contains("passed"), "{said}");
    arrives(&pair, &[1]).await;
    let noted: (String, String) = pair.us.row("SELECT gtid, reason FROM twinlog.`skip`").await;
    assert_eq!(noted, (gtid.to_owned(), "emptied by hand".into()));
    let again = link(&pair, &["skip", "--gtid", gtid]).await;
    assert!(again.code == 1 && again.err.contains("applied already"), "{again}");

    // A table that is missing is made, and the link started.
    pair.eu.run_all(&["SET sql_log_bin = 0", "CREATE TABLE shop.more (id INT PRIMARY KEY)"]).await;
    pair.eu.run("INSERT INTO shop.more VALUES (7)").await;
    pair.wait_state("eu-us", "failed", SOON).await;
    pair.us.run_all(&["SET sql_log_bin = 0", "CREATE TABLE shop.more (id INT PRIMARY KEY)"]).await;
    ordered(&pair, &["start"]).await;
    until("the row is there", SOON, async || {
        let rows: Vec<u32> = pair.us.rows("SELECT id FROM shop.more").await;
        if rows == [7] { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reset_and_delete_say_what_is_lost_cut_the_applier_off_and_need_a_yes() {
    let pair = one_way().await;
    insert(&pair, 1).await;
    arrives(&pair, &[1]).await;
    for order in ["reset", "delete"] {
        let refused = link(&pair, &[order]).await;
        assert!(refused.code == 2 && refused.err.contains("--yes"), "{refused}");
    }
    // What comes while it is stopped is lost by a reset, and said before.
    ordered(&pair, &["stop"]).await;
    insert(&pair, 2).await;
    until("the relay has it", SOON, async || {
        let stake = pair.ask(APPLIER, "/api/v1/links/eu-us/at-stake", None, "").await.json;
        if stake["transactions_to_come"] == 1 { Ok(()) } else { Err(stake.to_string()) }
    })
    .await;
    let said = ordered(&pair, &["reset", "--yes", "--reason", "rebuilt"]).await;
    assert!(said.contains("never be applied"), "{said}");
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM twinlog.checkpoint").await, 0);
    ordered(&pair, &["start"]).await;
    // The relay remembers the link, and this is no lost checkpoint.
    pair.wait_state("eu-us", "running", SOON).await;
    insert(&pair, 3).await;
    arrives(&pair, &[1, 3]).await;

    // A reset under a running link ends its round; it begins anew, and stays alive.
    ordered(&pair, &["reset", "--yes"]).await;
    until("it has begun anew", SOON, async || {
        let born: u64 = pair.us.row("SELECT COUNT(*) FROM twinlog.link").await;
        if born == 1 { Ok(()) } else { Err(format!("{born} births")) }
    })
    .await;
    pair.wait_state("eu-us", "running", SOON).await;
    insert(&pair, 4).await;
    arrives(&pair, &[1, 3, 4]).await;

    let said = ordered(&pair, &["delete", "--yes"]).await;
    assert!(said.contains("metadata is gone"), "{said}");
    pair.wait_state("eu-us", "stopped", SOON).await;
    for table in ["checkpoint", "link", "conflict", "ddl"] {
        let rows: u64 = pair.us.row(&format!("SELECT COUNT(*) FROM twinlog.{table}")).await;
        assert_eq!(rows, 0, "{table}");
    }
    let relay = pair.ask(RELAY, "/api/v1/log/eu", None, "").await.json;
    let known: Vec<&str> =
        relay["downstreams"].as_array().unwrap().iter().filter_map(|d| d["name"].as_str()).collect();
    assert!(!known.contains(&"shop/eu/us"), "{known:?}");
    // A process that still has it in its file does not begin it anew unasked.
    pair.stop_one(APPLIER).await;
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "stopped", SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_holds_a_link_over_restarts_and_a_reload_changes_what_can_be_changed() {
    let mut pair = Pair::one_way(PairOptions::default()).await;
    for region in [&pair.eu, &pair.us] {
        let tables =
            ["CREATE TABLE shop.t (id INT PRIMARY KEY, v INT)", "CREATE TABLE shop.u (id INT PRIMARY KEY)"];
        region.run("CREATE DATABASE shop").await;
        region.run_all(&tables).await;
    }
    pair.configure(|file| file.add_to_link("eu-us", "start_at = \"2099-01-01T00:00:00Z\""));
    pair.start_one(RELAY);
    pair.start_one(APPLIER);
    let status = pair.wait_state("eu-us", "scheduled", SOON).await;
    assert!(reason(&status).contains("2099-01-01T00:00:00Z"), "{}", reason(&status));
    pair.kill9(APPLIER);
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "scheduled", SOON).await;
    // To start it is to overrule the schedule.
    ordered(&pair, &["start"]).await;
    pair.wait_state("eu-us", "running", SOON).await;
    insert(&pair, 1).await;
    arrives(&pair, &[1]).await;

    // A faulty file changes nothing; one that is right is taken over, and what can't be is named.
    let config = pair.config().to_string_lossy().into_owned();
    let good = std::fs::read_to_string(pair.config()).expect("the configuration");
    let reload = async || Finished::of(&["reload", "-c", &config], SOON).await;
    pair.write_file("twinlog.toml", &good.replace("[link.eu-us]", "[link.eu-us]\nnonsense = 1"));
    let said = reload().await;
    assert!(said.code == 2 && said.err.contains("nonsense"), "{said}");
    let fewer = good.replace("tables = [\"shop.*\"]", "tables = [\"shop.*\", \"!shop.u\"]");
    assert_ne!(fewer, good, "{good}");
    let fewer = fewer.replace("[region.eu]", "[region.eu]\nrelay.start = \"oldest\"\nrelay.retain = \"1h\"");
    pair.write_file("twinlog.toml", &fewer);
    let said = reload().await;
    assert!(said.out.contains("applier eu-us: sync.tables holds from now on"), "{said}");
    assert!(said.out.contains("applier eu-us: shop.u leaves: nothing of it crosses any more"), "{said}");
    assert!(said.out.contains("relay eu: region.eu.relay.retain holds from now on"), "{said}");
    assert!(said.out.contains("relay eu: region.eu.relay.start needs a restart"), "{said}");
    let log = pair.ask(RELAY, "/api/v1/log/eu", None, "").await.json;
    assert_eq!(log["retain_seconds"], 3600, "{log}");
    pair.eu.run("INSERT INTO shop.u VALUES (1)").await;
    insert(&pair, 2).await;
    until("the other table is in step", SOON, async || {
        let there = ids(&pair).await;
        if there == [1, 2] { Ok(()) } else { Err(format!("{there:?}")) }
    })
    .await;
    assert_eq!(pair.us.row::<u64>("SELECT COUNT(*) FROM shop.u").await, 0, "it is out of step now");
    // SIGHUP does the same. With initial = "none" nothing of what was written meanwhile is brought.
    pair.write_file("twinlog.toml", &good);
    pair.signal(APPLIER, "HUP");
    until("the table is in step again", SOON, async || {
        let times = pair.log(APPLIER).matches("other tables are in step from here").count();
        if times == 2 { Ok(()) } else { Err(format!("{times} times")) }
    })
    .await;
    pair.eu.run("INSERT INTO shop.u VALUES (2)").await;
    until("the row is there", SOON, async || {
        let rows: Vec<u32> = pair.us.rows("SELECT id FROM shop.u").await;
        if rows == [2] { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
}
