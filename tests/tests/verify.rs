//! `twinlog verify` while the regions live: writers that go on, links that lag, runs that are interrupted.

use std::time::{Duration, Instant};

use harness::{Finished, Pace, Pair, PairOptions, Process, TwinlogProcess, Workload, seed, twinlog, until};

const IN_STEP: Duration = Duration::from_secs(60);

/// A table of so many rows in both regions, nothing of it in a binary log.
async fn fill(pair: &Pair, table: &str, rows: u32) {
    for region in [&pair.eu, &pair.us] {
        region
            .drift(&[
                "CREATE DATABASE IF NOT EXISTS shop".to_owned(),
                format!("CREATE TABLE shop.{table} (id INT PRIMARY KEY, v VARCHAR(40) NOT NULL)"),
                format!("SET cte_max_recursion_depth = {rows}"),
                format!(
                    "INSERT INTO shop.{table} WITH RECURSIVE r (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < {rows}) \
                     SELECT i, CONCAT('row ', i) FROM r"
                ),
            ])
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn regions_written_all_the_time_are_found_equal() {
    let pair = Pair::new(PairOptions::default()).await;
    Workload::prepare(&pair).await;
    pair.start().await;
    let workload = Workload::start(&pair, seed(), Pace::Calm);
    for _ in 0..3 {
        workload.wait_for_more(100).await;
        let verified = pair.verify(&["--chunk-time", "20ms"]).await;
        assert!(verified.differences().is_empty(), "{verified}");
        verified.assert_equal();
        assert!(verified.json["rows"].as_u64() > Some(50), "{verified}");
    }
    let committed = workload.stop().await;
    pair.wait_in_step(IN_STEP).await;
    committed.assert_in_both(&pair).await;
    let verified = pair.verify(&[]).await;
    verified.assert_equal();
    assert_eq!(verified.json["tables"].as_array().map(Vec::len), Some(5), "{verified}");
    pair.assert_alive();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hurried_writers_never_leave_alone_is_busy_at_most_and_drift_is_found_beside_it() {
    let pair = Pair::new(PairOptions::default()).await;
    Workload::prepare(&pair).await;
    pair.start().await;
    let workload = Workload::start(&pair, seed(), Pace::Full);
    workload.wait_for_more(200).await;
    // An account of nobody: no writer touches it.
    pair.eu.run("INSERT INTO shop.account VALUES (999, 'nobody', 1)").await;
    until("the row has crossed", IN_STEP, async || {
        let there: Vec<i32> = pair.us.rows("SELECT id FROM shop.account WHERE id = 999").await;
        if there.is_empty() { Err("not yet".into()) } else { Ok(()) }
    })
    .await;
    pair.us.drift(&["UPDATE shop.account SET owner = 'Nobody' WHERE id = 999"]).await;
    let verified = pair.verify(&[]).await;
    assert_eq!(
        verified.differences(),
        [r#"shop.account {"id":"999"} 1/1 owner: "nobody" | "Nobody""#],
        "{verified}"
    );
    assert_eq!((verified.code, verified.result()), (1, "different"), "{verified}");
    workload.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lag_is_waited_out_and_never_told_as_difference() {
    let pair = Pair::new(PairOptions::default()).await;
    fill(&pair, "t", 3000).await;
    pair.start().await;
    pair.link("eu-us").hold();
    pair.eu
        .run_all(&[
            "UPDATE shop.t SET v = 'changed' WHERE id BETWEEN 100 AND 140",
            "DELETE FROM shop.t WHERE id = 7",
            "INSERT INTO shop.t VALUES (9999, 'new')",
        ])
        .await;
    let stuck = pair.verify(&["--wait", "2s"]).await;
    assert!(stuck.differences().is_empty(), "{stuck}");
    assert_eq!((stuck.code, stuck.result()), (1, "unsettled"), "{stuck}");
    let why = stuck.table("shop.t")["unsettled"].to_string();
    assert!(why.contains("link eu-us has not passed"), "{stuck}");

    let began = Instant::now();
    let (verified, ()) = tokio::join!(pair.verify(&["--wait", "60s"]), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        pair.link("eu-us").release();
    });
    verified.assert_equal();
    assert!(began.elapsed() > Duration::from_secs(2), "it did not wait");
    assert!(verified.table("shop.t")["rechecked"].as_u64() > Some(0), "{verified}");
    pair.assert_alive();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_comparison_goes_on_where_it_was() {
    let pair = Pair::new(PairOptions::default()).await;
    fill(&pair, "a", 500).await;
    fill(&pair, "b", 20_000).await;
    pair.start().await;
    let nothing = Finished::of(
        &["verify", "-c", &pair.config().to_string_lossy(), "--resume"],
        Duration::from_secs(30),
    )
    .await;
    nothing.assert_failed(1, &["no comparison was interrupted", "remedy"]);

    pair.us.drift(&["DELETE FROM shop.a WHERE id = 3", "UPDATE shop.b SET v = 'x' WHERE id = 1"]).await;
    let state = pair.folder().join("state").join("verify.json");
    let mut command = twinlog();
    command.args(["verify", "-c"]).arg(pair.config()).args(["--max-rows-per-second", "2500", "--json"]);
    let log = pair.folder().join("verify.log");
    let running = std::thread::spawn(move || {
        // Of this thread, which the kernel watches.
        let mut running = TwinlogProcess::start_plain("verify", &command, &log);
        let deadline = Instant::now() + Duration::from_secs(60);
        let is_in_b = || std::fs::read_to_string(&state).is_ok_and(|text| text.contains(r#""current":{"#));
        while !is_in_b() {
            assert!(Instant::now() < deadline, "it never noted how far it is: {}", running.log());
            assert!(running.ended().is_none(), "it ended: {}", running.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        running.signal("INT");
        while running.ended().is_none() {
            assert!(Instant::now() < deadline, "it did not end: {}", running.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        running.log()
    });
    let said =
        tokio::task::spawn_blocking(move || running.join()).await.expect("a thread").expect("no panic");
    assert!(said.contains("--resume"), "{said}");

    // What was compared before is not compared again: the outcome still has what was found then.
    pair.us.drift(&["INSERT INTO shop.a VALUES (3, 'row 3')"]).await;
    let rest = pair.verify(&["--resume"]).await;
    let differences = rest.differences();
    assert_eq!(differences.len(), 2, "{rest}");
    assert!(differences[0].starts_with(r#"shop.a {"id":"3"} 1/0"#), "{rest}");
    assert_eq!(differences[1], r#"shop.b {"id":"1"} 1/1 v: "row 1" | "x""#);
    assert_eq!(rest.table("shop.b")["rows"], 20_000, "every row once; {rest}");
    let all = pair.verify(&["--table", "*.b"]).await;
    assert_eq!(all.differences().len(), 1, "{all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_cannot_be_compared_are_named_with_the_reason() {
    let pair = Pair::new(PairOptions::default()).await;
    for region in [&pair.eu, &pair.us] {
        region
            .drift(&[
                "CREATE DATABASE shop",
                "CREATE TABLE shop.same (id INT PRIMARY KEY)",
                "CREATE TABLE shop.many (v INT)",
                "INSERT INTO shop.many VALUES (1), (2), (2), (3)",
            ])
            .await;
    }
    pair.eu
        .drift(&[
            "CREATE TABLE shop.here (id INT PRIMARY KEY)",
            "CREATE TABLE shop.e (id ENUM('a','b') PRIMARY KEY)",
        ])
        .await;
    pair.us
        .drift(&[
            "CREATE TABLE shop.there (id INT PRIMARY KEY)",
            "CREATE TABLE shop.e (id ENUM('b','a') PRIMARY KEY)",
        ])
        .await;
    // No link has ever run: there is nothing to wait for.
    let verified = pair.verify(&["--max-unkeyed-rows", "3"]).await;
    assert_eq!((verified.code, verified.result()), (1, "different"), "{verified}");
    for (table, why) in [
        ("shop.here", "there is no such table in us"),
        ("shop.there", "there is no such table in eu"),
        ("shop.e", "column id is enum('a','b') utf8mb4 in eu and enum('b','a') utf8mb4 in us"),
        ("shop.many", "no key that names every row, and more than 3 rows"),
    ] {
        let definition = verified.table(table)["definition"].to_string();
        assert!(definition.contains(why), "{table}: {definition}");
    }
    assert_eq!(verified.table("shop.same")["result"], "equal");
    pair.verify(&["--table", "shop.same", "--table", "shop.many"]).await.assert_equal();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_read_a_table_and_rounds_go_on_until_they_are_ended() {
    let pair = Pair::new(PairOptions::default()).await;
    fill(&pair, "t", 100).await;
    pair.us.drift(&["UPDATE shop.t SET v = 'Row 5' WHERE id = 5"]).await;
    let config = pair.config().to_string_lossy().into_owned();
    let finished = Finished::of(&["verify", "-c", &config], IN_STEP).await;
    assert_eq!(finished.code, 1, "{finished}");
    let status = Finished::of(&["status", "-c", &config], IN_STEP).await;
    assert!(
        status.out.contains(" ago: different, 100 rows in 1 tables\n  shop.t: different, 1 rows named"),
        "{status}"
    );
    for part in ["TABLE", "shop.t", "eu us", "different", "(id=5): differs", r#"v: eu "row 5", us "Row 5""#] {
        assert!(finished.out.contains(part), "{part:?}: {finished}");
    }
    let log = pair.folder().join("rounds.log");
    let rounds = std::thread::spawn(move || {
        let mut command = twinlog();
        command.args(["verify", "-c", &config, "--json", "--continuous", "--pause", "100ms"]);
        let mut running = TwinlogProcess::start_plain("rounds", &command, &log);
        let deadline = Instant::now() + Duration::from_secs(60);
        while running.log().matches(r#""result":"different""#).count() < 2 {
            assert!(Instant::now() < deadline, "no two rounds: {}", running.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        running.signal("INT");
        loop {
            if let Some(status) = running.ended() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it did not end: {}", running.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let code = tokio::task::spawn_blocking(move || rounds.join()).await.expect("a thread").expect("no panic");
    assert_eq!(code, Some(1), "the last round found a difference");
    assert!(pair.ended(Process::Relay("eu")).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_holds_itself_back() {
    let pair = Pair::new(PairOptions::default()).await;
    fill(&pair, "t", 6000).await;
    let began = Instant::now();
    pair.verify(&["--max-rows-per-second", "2000"]).await.assert_equal();
    // What the first chunks have is let through at once; the rest waits for its time.
    assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());

    // Two threads run in a server that nobody asks anything else.
    let busy = pair.us.connect().await;
    let began = Instant::now();
    let (verified, ()) = tokio::join!(pair.verify(&["--max-load", "2"]), async {
        let mut busy = busy;
        mysql_async::prelude::Queryable::query_drop(&mut busy, "DO SLEEP(4)").await.expect("it sleeps");
    });
    verified.assert_equal();
    assert!(began.elapsed() > Duration::from_secs(3), "it did not pause: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_behind_holds_a_comparison_back_but_not_for_ever() {
    let pair = Pair::new(PairOptions::default()).await;
    fill(&pair, "t", 24_000).await;
    pair.start().await;
    // Nothing moves on the link, and nothing needs to: all rows are equal.
    pair.link("us-eu").hold();
    let began = Instant::now();
    // It takes 10 s by itself; a mark is written after 5, is a second late after 6, and waited for until 9.
    let verified = pair
        .verify(&["--max-rows-per-second", "2400", "--max-lag", "1s", "--wait", "3s", "--sessions", "1"])
        .await;
    verified.assert_equal();
    assert!(began.elapsed() > Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(verified.err.contains("going on although a link is behind"), "{verified}");
    pair.link("us-eu").release();
    pair.assert_alive();
}
