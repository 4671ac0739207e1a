//! Promise 4 under every way in which a target may write its binlog: what a link wrote is known again, whatever stands
//! around its stamp.

use std::time::Duration;

use harness::{Pair, PairOptions, Process};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stamp_is_read_from_compressed_minimal_and_commented_transactions() {
    let args = [
        "--binlog-transaction-compression=ON",
        "--binlog-rows-query-log-events=ON",
        "--binlog-row-value-options=PARTIAL_JSON",
        "--binlog-row-event-max-size=256",
    ];
    let pair =
        Pair::new(PairOptions { server_args: args.map(String::from).to_vec(), ..PairOptions::default() })
            .await;
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&[
                "CREATE DATABASE shop",
                "CREATE TABLE shop.t (id INT PRIMARY KEY, b TEXT, j JSON)",
                "CREATE TABLE shop.keyless (a INT, b INT)",
                "CREATE TABLE shop.functional (id INT PRIMARY KEY, n VARCHAR(20), v INT AS (id * 2), KEY ((UPPER(n))))",
            ])
            .await;
    }
    pair.start().await;
    // The relays have looked at their sources once they pull.
    harness::until("both relays pull", SOON, async || {
        let status = pair.try_status().await?;
        for region in ["eu", "us"] {
            let relay = status.relay(region)?;
            if relay.json()["state"] != "running" {
                return Err(relay.json().to_string());
            }
        }
        Ok(())
    })
    .await;
    // No source may be so, but a session can be: those of the appliers from now on.
    for region in [&pair.eu, &pair.us] {
        region.run("SET GLOBAL binlog_row_image = MINIMAL").await;
    }
    for applier in [Process::Applier("eu-us"), Process::Applier("us-eu")] {
        pair.stop_one(applier).await;
        pair.start_one(applier);
    }
    pair.wait_running().await;
    for (n, region) in [&pair.eu, &pair.us, &pair.eu].into_iter().enumerate() {
        region
            .run_all(&[
                format!("INSERT INTO shop.t VALUES ({n}, REPEAT('x', 9000), '{{\"a\": [1, 2, 3], \"b\": \"long long long\"}}')"),
                format!("UPDATE shop.t SET j = JSON_SET(j, '$.a[1]', {n})"),
                "BEGIN".into(),
                "SAVEPOINT s".into(),
                format!("INSERT INTO shop.keyless VALUES ({n}, 1), ({n}, 1), ({n}, 2)"),
                "SAVEPOINT u".into(),
                "DELETE FROM shop.keyless".into(),
                "ROLLBACK TO u".into(),
                format!("INSERT INTO shop.functional (id, n) VALUES ({n}, 'name')"),
                "DELETE FROM shop.keyless WHERE b = 1 LIMIT 1".into(),
                "COMMIT".into(),
                "UPDATE shop.functional SET n = 'again'".into(),
            ])
            .await;
        pair.wait_in_step(SOON).await;
    }
    let uuid: String = pair.eu.row("SELECT @@server_uuid").await;
    // A GTID of the user's own choice, and one with nothing in it.
    pair.eu
        .run_all(&[
            format!("SET gtid_next = '{uuid}:1000'"),
            "INSERT INTO shop.t VALUES (100, 'x', NULL)".into(),
            format!("SET gtid_next = '{uuid}:1005'"),
            "BEGIN".into(),
            "COMMIT".into(),
            "SET gtid_next = 'AUTOMATIC'".into(),
            "DELETE FROM shop.t WHERE id = 100".into(),
        ])
        .await;
    pair.wait_in_step(SOON).await;
    pair.wait_quiet(Duration::from_secs(12), Duration::from_secs(40)).await;
    let (there, back) = (pair.link_status("eu-us").await, pair.link_status("us-eu").await);
    assert_eq!(there.count("transactions_applied"), 2 * 4 + 2, "{}", there.json());
    assert_eq!(back.count("transactions_applied"), 4, "{}", back.json());
    pair.assert_alive();
}
