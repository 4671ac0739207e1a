//! `verify = { every = … }` of a link: its regions are compared beside it, again and again.

use std::time::Duration;

use harness::{LinkStatus, Pace, Pair, PairOptions, Process, Workload, seed, twinlog, until};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);

/// Waits until what a link says of its comparisons is as wanted.
async fn wait_verify(pair: &Pair, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    until(what, SOON, async || {
        let status: LinkStatus = pair.try_status().await?.link("eu-us")?;
        let verify = status.json()["verify"].clone();
        if wanted(&verify) { Ok(verify) } else { Err(verify.to_string()) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_compares_its_regions_beside_its_work_and_goes_on_with_a_round_after_a_kill() {
    let mut pair = Pair::new(PairOptions::default()).await;
    Workload::prepare(&pair).await;
    for region in [&pair.eu, &pair.us] {
        region
            .drift(&[
                "CREATE TABLE shop.zone (id INT PRIMARY KEY, v INT NOT NULL)",
                "SET cte_max_recursion_depth = 100000",
                "INSERT INTO shop.zone WITH RECURSIVE r (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 12000) \
                 SELECT i, i FROM r",
            ])
            .await;
    }
    pair.configure(|file| {
        file.add_to_link("eu-us", "verify = { every = \"2s\", max_rows_per_second = 3000, sessions = 1 }");
    });
    pair.start().await;
    let workload = Workload::start(&pair, seed(), Pace::Calm);
    let state = pair.folder().join("state/verify-eu-us.json");
    wait_verify(&pair, "a round runs and tells how far it is", |verify| {
        let is_in_it = verify["table"] == "shop.zone" && verify["rows_done"].as_u64() > Some(0);
        verify["running"] == true && is_in_it && verify["rows_estimated"].as_u64() > Some(0)
    })
    .await;
    until("it has noted how far it is", SOON, async || {
        let text = std::fs::read_to_string(&state).map_err(|e| e.to_string())?;
        if text.contains(r#""current":{"#) { Ok(()) } else { Err(text) }
    })
    .await;
    // What was read before the kill is not read again: a row that changes there behind its back is not seen this time.
    let shown = String::from_utf8_lossy(
        &twinlog().args(["status", "-c"]).arg(pair.config()).output().expect("status runs").stdout,
    )
    .into_owned();
    assert!(shown.contains("link eu-us, verify: running, shop.zone: "), "{shown}");
    pair.kill9(Process::Applier("eu-us"));
    pair.us.drift(&["UPDATE shop.zone SET v = -1 WHERE id = 1"]).await;
    pair.start_one(Process::Applier("eu-us"));
    let first = wait_verify(&pair, "the round came to its end", |verify| verify["last"].is_object()).await;
    assert_eq!(first["last"]["result"], "equal", "{first}");
    // The next round finds it.
    let found =
        wait_verify(&pair, "the next round finds the row", |verify| verify["last"]["result"] == "different")
            .await;
    let unequal = &found["last"]["unequal"][0];
    assert_eq!((unequal["table"].as_str(), unequal["differences"].as_u64()), (Some("shop.zone"), Some(1)));
    assert_eq!(unequal["rows"][0], "id=1", "{found}");
    pair.us.drift(&["UPDATE shop.zone SET v = 1 WHERE id = 1"]).await;
    workload.wait_for_more(20).await;
    let committed = workload.stop().await;
    pair.wait_in_step(SOON).await;
    committed.assert_in_both(&pair).await;
    pair.assert_alive();
    let status = pair.link_status("eu-us").await;
    assert_eq!(status.state(), "running", "{}", status.json());
}
