//! Conflicts: both regions change a row before either has seen the other's change.
//!
//! The links' proxies hold the relays' streams back until both sides have written, so that every collision is on
//! purpose; then the regions must be equal, or stand as the policy says, and the conflict table must say why.

use std::time::Duration;

use harness::{Finished, Pair, PairOptions, Process, twinlog, until};

const SOON: Duration = Duration::from_secs(30);

/// A pair with these lines in its two links, a table in step on both sides with some rows, all four processes running.
async fn pair(eu_us: &[&str], us_eu: &[&str]) -> Pair {
    let mut pair = Pair::new(PairOptions::default()).await;
    pair.configure(|file| {
        eu_us.iter().for_each(|line| file.add_to_link("eu-us", line));
        us_eu.iter().for_each(|line| file.add_to_link("us-eu", line));
    });
    let table = "CREATE TABLE shop.stock (id INT PRIMARY KEY, code VARCHAR(20) NOT NULL, n INT, d JSON, \
         UNIQUE KEY code (code))";
    let rows = "INSERT INTO shop.stock VALUES (1, 'one', 1, '{\"a\": 1}'), (2, 'two', 2, NULL), (3, 'three', 3, NULL)";
    for region in [&pair.eu, &pair.us] {
        region.run_all(&["CREATE DATABASE IF NOT EXISTS shop", table, rows]).await;
    }
    pair.start().await;
    pair
}

async fn overwrite_ignore() -> Pair {
    pair(&["on_conflict = \"overwrite\""], &["on_conflict = \"ignore\""]).await
}

async fn newest() -> Pair {
    pair(&["on_conflict = \"newest\""], &["on_conflict = \"newest\""]).await
}

/// Both regions write while neither sees the other.
async fn collide(pair: &Pair, eu: &[&str], us: &[&str]) {
    apart(pair).await;
    pair.eu.run_all(eu).await;
    pair.us.run_all(us).await;
    together(pair);
}

/// Appliers stop; what is written from now on is unseen by the other side.
async fn apart(pair: &Pair) {
    pair.wait_in_step(SOON).await;
    for link in ["eu-us", "us-eu"] {
        pair.stop_one(Process::Applier(link)).await;
    }
}

fn together(pair: &Pair) {
    for link in ["eu-us", "us-eu"] {
        pair.start_one(Process::Applier(link));
    }
}

/// `id code n` of every row, for comparing.
async fn rows(pair: &Pair, region: &str) -> Vec<String> {
    pair.region(region).rows("SELECT CONCAT_WS(' ', id, code, n) FROM shop.stock ORDER BY id").await
}

/// `kind winner` of what a region's conflict table holds, in order.
async fn conflicts(pair: &Pair, region: &str) -> Vec<String> {
    pair.region(region).rows("SELECT CONCAT(kind, ' ', winner) FROM twinlog.conflict ORDER BY id").await
}

/// Waits until a region holds these conflicts.
async fn wait_conflicts(pair: &Pair, region: &str, expected: &[&str]) {
    until("the conflicts are recorded", SOON, async || {
        let found = conflicts(pair, region).await;
        if found == expected { Ok(()) } else { Err(format!("{region} has {found:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_updated_on_both_sides_goes_to_the_side_that_overwrites() {
    let pair = overwrite_ignore().await;
    let update = |n: i32| format!("UPDATE shop.stock SET n = {n} WHERE id = 1");
    collide(&pair, &[&update(10)], &[&update(20)]).await;
    wait_conflicts(&pair, "us", &["changed source"]).await;
    wait_conflicts(&pair, "eu", &["changed target"]).await;
    pair.wait_in_step(SOON).await;
    assert_eq!(rows(&pair, "us").await[0], "1 one 10");
    let recorded: String = pair
        .us
        .row("SELECT CONCAT_WS(' ', row_key, operation, policy, incoming_before->'$.n', incoming_after->'$.n', \
              local_row->'$.n', unseen <> '') FROM twinlog.conflict")
        .await;
    assert_eq!(recorded, "{\"id\": 1} update overwrite 1 10 20 1");
}

/// Comparing rows with what the change expects would see nothing here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_changed_and_changed_back_unseen_is_a_conflict_all_the_same() {
    let pair = overwrite_ignore().await;
    collide(
        &pair,
        &["UPDATE shop.stock SET n = 10 WHERE id = 1"],
        &["UPDATE shop.stock SET n = 5 WHERE id = 1", "UPDATE shop.stock SET n = 1 WHERE id = 1"],
    )
    .await;
    wait_conflicts(&pair, "us", &["changed source"]).await;
    wait_conflicts(&pair, "eu", &["changed target", "changed target"]).await;
    pair.wait_in_step(SOON).await;
    assert_eq!(rows(&pair, "eu").await[0], "1 one 10");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletes_meet_updates_and_inserts_meet_inserts_and_both_sides_end_alike() {
    let pair = overwrite_ignore().await;
    collide(
        &pair,
        &[
            "DELETE FROM shop.stock WHERE id = 1",
            "UPDATE shop.stock SET n = 22 WHERE id = 2",
            "INSERT INTO shop.stock VALUES (9, 'nine-eu', 9, NULL)",
            "DELETE FROM shop.stock WHERE id = 3",
        ],
        &[
            "UPDATE shop.stock SET n = 11 WHERE id = 1",
            "DELETE FROM shop.stock WHERE id = 2",
            "INSERT INTO shop.stock VALUES (9, 'nine-us', 9, NULL)",
            "DELETE FROM shop.stock WHERE id = 3",
        ],
    )
    .await;
    wait_conflicts(&pair, "us", &["changed source", "missing source", "exists source", "missing source"])
        .await;
    wait_conflicts(&pair, "eu", &["missing target", "changed target", "exists target", "missing target"])
        .await;
    pair.wait_in_step(SOON).await;
    assert_eq!(rows(&pair, "us").await, ["2 two 22", "9 nine-eu 9"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_later_change_wins_on_both_sides_whatever_order_they_arrive_in() {
    let pair = newest().await;
    collide(
        &pair,
        &[
            "UPDATE shop.stock SET n = 10 WHERE id = 1",
            "UPDATE shop.stock SET n = 20 WHERE id = 2",
            "DELETE FROM shop.stock WHERE id = 3",
        ],
        &["UPDATE shop.stock SET n = 11 WHERE id = 1", "DELETE FROM shop.stock WHERE id = 2"],
    )
    .await;
    wait_conflicts(&pair, "us", &["changed target", "missing target"]).await;
    wait_conflicts(&pair, "eu", &["changed source", "changed source"]).await;
    pair.wait_in_step(SOON).await;
    assert_eq!(rows(&pair, "eu").await, ["1 one 11"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reported_conflict_stops_its_link_alone_shows_both_rows_and_goes_on_as_it_is_told() {
    let pair = pair(&[], &["on_conflict = \"ignore\""]).await;
    collide(
        &pair,
        &["UPDATE shop.stock SET n = 10 WHERE id = 1", "UPDATE shop.stock SET n = 30 WHERE id = 3"],
        &["UPDATE shop.stock SET n = 20 WHERE id = 1"],
    )
    .await;
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    let error = status.last_error();
    assert!(error.contains("shop.stock") && error.contains("twinlog conflicts resolve us/1"), "{error}");
    pair.us.run("UPDATE shop.stock SET n = 99 WHERE id = 2").await;
    until("the other direction goes on", SOON, async || {
        let n: Option<i32> = pair.eu.row("SELECT n FROM shop.stock WHERE id = 2").await;
        if n == Some(99) { Ok(()) } else { Err(format!("{n:?}")) }
    })
    .await;
    pair.us.run("UPDATE twinlog.conflict SET resolution = 'source' WHERE id = 1").await;
    pair.wait_in_step(SOON).await;
    assert_eq!(rows(&pair, "us").await, ["1 one 10", "2 two 99", "3 three 30"]);
    let closed: String = pair
        .us
        .row("SELECT CONCAT_WS(' ', kind, winner, resolved_at IS NOT NULL) FROM twinlog.conflict")
        .await;
    assert_eq!(closed, "changed source 1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_row_with_the_same_unique_key_is_never_deleted_to_make_room() {
    let pair = overwrite_ignore().await;
    collide(
        &pair,
        &[
            "INSERT INTO shop.stock VALUES (10, 'same', 10, NULL)",
            "INSERT INTO shop.stock VALUES (12, 'x', 1, NULL)",
        ],
        &["INSERT INTO shop.stock VALUES (11, 'same', 11, NULL)"],
    )
    .await;
    pair.wait_state("eu-us", "failed", SOON).await;
    wait_conflicts(&pair, "us", &["unique nobody"]).await;
    wait_conflicts(&pair, "eu", &["unique target"]).await;
    assert_eq!(rows(&pair, "us").await.last().unwrap(), "11 same 11");
    pair.us.run("UPDATE twinlog.conflict SET resolution = 'skip'").await;
    until("the link goes on", SOON, async || {
        let all = rows(&pair, "us").await;
        if all.last().is_some_and(|row| row == "12 x 1") { Ok(()) } else { Err(format!("{all:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_that_are_equal_by_their_collation_only_are_one_key() {
    let pair = overwrite_ignore().await;
    let table = "CREATE TABLE shop.word (w VARCHAR(20) COLLATE utf8mb4_0900_ai_ci PRIMARY KEY, n INT)";
    apart(&pair).await;
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&[
                "SET sql_log_bin = 0",
                table,
                "INSERT INTO shop.word VALUES ('straße', 0), ('other', 0)",
            ])
            .await;
    }
    pair.eu
        .run_all(&[
            "INSERT INTO shop.word VALUES ('Émile', 1)",
            "UPDATE shop.word SET n = 1 WHERE w = 'OTHER'",
        ])
        .await;
    pair.us
        .run_all(&["INSERT INTO shop.word VALUES ('emile', 2)", "INSERT INTO shop.word VALUES ('éa', 3)"])
        .await;
    together(&pair);
    wait_conflicts(&pair, "us", &["exists source"]).await;
    wait_conflicts(&pair, "eu", &["exists target"]).await;
    pair.wait_in_step(SOON).await;
    let words: Vec<String> = pair.us.rows("SELECT CONCAT(w, n) FROM shop.word ORDER BY n, w").await;
    assert_eq!(words, ["straße0", "Émile1", "other1", "éa3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partial_json_update_that_meets_another_document_is_written_whole() {
    let pair = overwrite_ignore().await;
    collide(
        &pair,
        &[
            "SET SESSION binlog_row_value_options = 'PARTIAL_JSON'",
            "UPDATE shop.stock SET d = JSON_SET(d, '$.a', 100) WHERE id = 1",
        ],
        &["UPDATE shop.stock SET d = '[\"quite another\"]' WHERE id = 1"],
    )
    .await;
    wait_conflicts(&pair, "us", &["changed source"]).await;
    pair.wait_in_step(SOON).await;
    assert_eq!(
        pair.us.row::<String>("SELECT CAST(d AS CHAR) FROM shop.stock WHERE id = 1").await,
        "{\"a\": 100}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_collides_in_one_row_is_still_applied_whole() {
    let pair = overwrite_ignore().await;
    let transaction = [
        "BEGIN",
        "UPDATE shop.stock SET n = 10 WHERE id = 1",
        "INSERT INTO shop.stock VALUES (20, 'twenty', 20, NULL)",
        "UPDATE shop.stock SET n = n + 1 WHERE id IN (1, 20)",
        "DELETE FROM shop.stock WHERE id = 2",
        "COMMIT",
    ];
    collide(&pair, &transaction, &["UPDATE shop.stock SET n = 5 WHERE id = 1"]).await;
    pair.wait_in_step(SOON).await;
    assert_eq!(rows(&pair, "us").await, ["1 one 11", "3 three 3", "20 twenty 21"]);
    // Two changes of one row in it, each decided alike.
    assert_eq!(conflicts(&pair, "us").await, ["changed source", "changed source"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conflicts_are_listed_shown_decided_and_flipped_from_the_command_line() {
    let pair = pair(&[], &["on_conflict = \"ignore\""]).await;
    collide(
        &pair,
        &[
            "UPDATE shop.stock SET n = 10, d = '{\"b\": [1, null]}' WHERE id = 1",
            "DELETE FROM shop.stock WHERE id = 2",
        ],
        &[
            "UPDATE shop.stock SET n = 20 WHERE id = 1",
            "UPDATE shop.stock SET code = 'zwei \\\\ \\'' WHERE id = 2",
        ],
    )
    .await;
    pair.wait_state("eu-us", "failed", SOON).await;
    let shown = command(&pair, &["conflicts", "show", "us/1"]).await;
    for part in
        ["shop.stock {\"id\":1}", "nobody yet", "INCOMING AFTER", "TARGET'S ROW", "resolve us/1 --take"]
    {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let open = command(&pair, &["conflicts", "--open", "--link", "eu-us"]).await;
    assert!(open.contains("us/1") && open.contains("waits for a decision"), "{open}");
    assert!(command(&pair, &["conflicts", "resolve", "us/1", "--take", "target"]).await.contains("goes on"));
    // The next one stops the link again.
    until("the second conflict is reported", SOON, async || {
        let open = command(&pair, &["conflicts", "--open"]).await;
        if open.contains("us/2") { Ok(()) } else { Err(open) }
    })
    .await;
    command(&pair, &["conflicts", "resolve", "us/2", "--take", "source"]).await;
    until("both are closed", SOON, async || {
        let all: Vec<String> = pair
            .us
            .rows("SELECT CONCAT_WS(' ', kind, winner, resolution, resolved_at IS NOT NULL) FROM twinlog.conflict ORDER BY id")
            .await;
        if all == ["changed target target 1", "changed source source 1"] { Ok(()) } else { Err(format!("{all:?}")) }
    })
    .await;
    assert_eq!(rows(&pair, "us").await, ["1 one 20", "3 three 3"]);
    // Made the winner after all, in both regions.
    let flipped = command(&pair, &["conflicts", "flip", "us/1", "us/2"]).await;
    assert_eq!(flipped.lines().count(), 2, "{flipped}");
    until("the losers have won in both regions", SOON, async || {
        for region in ["us", "eu"] {
            let query = "SELECT CONCAT_WS(' ', id, code, n, d) FROM shop.stock WHERE id < 3 ORDER BY id";
            let found: Vec<String> = pair.region(region).rows(query).await;
            if found != ["1 one 10 {\"b\": [1, null]}", "2 zwei \\ ' 2"] {
                return Err(format!("{region}: {found:?}"));
            }
        }
        Ok(())
    })
    .await;
    let json = command(&pair, &["conflicts", "--json", "--kind", "changed"]).await;
    let all: serde_json::Value = serde_json::from_str(&json).expect("a list");
    let ids: Vec<&str> = all.as_array().unwrap().iter().filter_map(|c| c["id"].as_str()).collect();
    assert!(
        ids.contains(&"us/1") && ids.contains(&"us/2") && ids.iter().any(|id| id.starts_with("eu/")),
        "{ids:?}"
    );
    assert_eq!(all[0]["key"], serde_json::json!({"id": 1}));
    let again = run(&pair, &["conflicts", "flip", "us/1"]).await;
    again.assert_failed(1, &["us/1", "flipped before"]);
    run(&pair, &["conflicts", "resolve", "us/9", "--take", "skip"]).await.assert_failed(1, &["us/9"]);
    run(&pair, &["conflicts", "show", "asia/1"]).await.assert_failed(2, &["asia", "eu, us"]);
}

async fn run(pair: &Pair, words: &[&str]) -> Finished {
    let mut command = twinlog();
    command.args(words).arg("-c").arg(pair.config());
    Finished::of_command(&mut command, SOON).await
}

/// Runs a command that succeeds, and gives what it printed.
async fn command(pair: &Pair, words: &[&str]) -> String {
    let finished = run(pair, words).await;
    assert_eq!(finished.code, 0, "{words:?}: {finished}");
    finished.out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_has_a_policy_of_its_own_and_documents_are_readable_whatever_is_in_them() {
    let own = "table = { \"shop.stock\" = { on_conflict = \"newest\" } }";
    let pair = pair(&["on_conflict = \"overwrite\"", own], &["on_conflict = \"ignore\"", own]).await;
    apart(&pair).await;
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&[
                "SET sql_log_bin = 0",
                "CREATE TABLE shop.other (id INT PRIMARY KEY, d JSON)",
                "INSERT INTO shop.other VALUES (1, NULL)",
            ])
            .await;
    }
    let document = "JSON_OBJECT('dec', CAST(1.50 AS DECIMAL(5,2)), 'date', DATE'2026-01-02', 'time', TIME'01:02:03', \
        'at', TIMESTAMP'2026-01-02 03:04:05', 'bin', CAST(X'00FF' AS BINARY), 'big', 18446744073709551615, \
        'low', -9223372036854775808, 'f', 1.5e0, 'yes', true, 'no', null, 's', 'é\"', 'l', JSON_ARRAY(1, JSON_ARRAY()))";
    pair.eu
        .run_all(&[
            "UPDATE shop.stock SET n = 10 WHERE id = 1",
            &format!("UPDATE shop.other SET d = {document} WHERE id = 1"),
        ])
        .await;
    pair.us
        .run_all(&[
            "UPDATE shop.stock SET n = 20 WHERE id = 1",
            "UPDATE shop.other SET d = '[]' WHERE id = 1",
        ])
        .await;
    together(&pair);
    // The later one, and the one that overwrites.
    wait_conflicts(&pair, "us", &["changed target", "changed source"]).await;
    wait_conflicts(&pair, "eu", &["changed source", "changed target"]).await;
    pair.wait_in_step(SOON).await;
    assert_eq!(rows(&pair, "eu").await[0], "1 one 20");
    let at_eu = "SELECT CAST(local_row->'$.d' AS CHAR) FROM twinlog.conflict WHERE table_name = 'other'";
    let at_us = "SELECT CAST(incoming_after->'$.d' AS CHAR) FROM twinlog.conflict WHERE table_name = 'other'";
    // As the target reads its row, and as a row event has it.
    let (local, incoming): (String, String) = (pair.eu.row(at_eu).await, pair.us.row(at_us).await);
    for shown in [&local, &incoming] {
        for part in [
            "\"dec\": 1.5",
            "2026-01-02\"",
            "01:02:03",
            "2026-01-02 03:04:05",
            "AP8=",
            "18446744073709551615",
        ] {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
        for part in ["-9223372036854775808", "\"yes\": true", "\"no\": null", "é\\\"", "[1, []]"] {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
    }
}
