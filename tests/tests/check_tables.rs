//! Tables that would not stay in step are found, each by its name, and what is said to run mends them.

use harness::{Check, Item, Pair, Process, Workload};

use crate::check::right_pair;

async fn both(pair: &Pair, statement: &str) {
    for region in [&pair.eu, &pair.us] {
        region.run_all(&["SET sql_log_bin = 0", statement]).await;
    }
}

async fn found(pair: &Pair, name: &str, subject: &str) -> Item {
    let check = Check::of(pair).await;
    let item = check.all(name).into_iter().find(|i| i.subject() == subject);
    item.unwrap_or_else(|| panic!("no {name} of {subject}: {:?}", check.all(name)))
}

async fn mend(pair: &Pair, item: &Item) {
    assert!(!item.sql().is_empty(), "{}", item.line());
    for (region, statement) in item.sql() {
        pair.region(&region).run_all(&["SET sql_log_bin = 0", &statement]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_are_missing_are_made_by_the_statements_that_are_said() {
    let pair = right_pair(None).await;
    pair.eu
        .run_all(&[
            "SET sql_log_bin = 0",
            "CREATE TABLE shop.`a line` (id INT PRIMARY KEY, bill INT, INDEX (bill), note VARCHAR(9) COMMENT 'it''s; a\nnote')",
            "CREATE TABLE shop.bill (id INT PRIMARY KEY, sum DECIMAL(9,2)) COMMENT 'AUTO_INCREMENT=5'",
            "ALTER TABLE shop.`a line` ADD FOREIGN KEY (bill) REFERENCES bill (id)",
        ])
        .await;
    let check = Check::of(&pair).await;
    let missing = check.all("missing_table");
    assert_eq!(missing.iter().map(Item::subject).collect::<Vec<_>>(), ["shop.bill", "shop.a line"]);
    for item in &missing {
        assert_eq!((item.status(), item.sql()[0].0.as_str()), ("fail", "us"), "{}", item.line());
        mend(&pair, item).await;
    }
    let after = Check::of(&pair).await;
    assert!(after.all("missing_table").is_empty());
    assert_eq!(
        (after.code, after.item("definition", "eu").status()),
        (0, "pass"),
        "{:?}",
        after.with_status("fail")
    );
    // A table that only the other has is missing in the first.
    pair.us.run_all(&["SET sql_log_bin = 0", "CREATE TABLE shop.late (id INT PRIMARY KEY)"]).await;
    let item = found(&pair, "missing_table", "shop.late").await;
    assert_eq!(item.sql()[0].0, "eu");
    mend(&pair, &item).await;
    assert_eq!(Check::of(&pair).await.code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_that_differ_fail_where_rows_do_not_fit_and_warn_where_they_do() {
    let pair = right_pair(None).await;
    both(
        &pair,
        "CREATE TABLE shop.t (id INT PRIMARY KEY, a VARCHAR(20), e ENUM('x','y'), u INT, d DECIMAL(9,2))",
    )
    .await;
    assert_eq!(Check::of(&pair).await.code, 0);
    for (change, back, item, status) in [
        ("ADD COLUMN b INT AFTER id", "DROP COLUMN b", "definition", "fail"),
        ("MODIFY a VARCHAR(30)", "MODIFY a VARCHAR(20)", "definition", "warn"),
        ("MODIFY e ENUM('y','x')", "MODIFY e ENUM('x','y')", "definition", "warn"),
        ("MODIFY u INT UNSIGNED", "MODIFY u INT", "definition", "warn"),
        ("MODIFY d DECIMAL(10,2)", "MODIFY d DECIMAL(9,2)", "definition", "warn"),
        (
            "MODIFY a VARCHAR(20) CHARACTER SET latin1",
            "MODIFY a VARCHAR(20) CHARACTER SET utf8mb4",
            "definition",
            "warn",
        ),
        ("RENAME COLUMN u TO w", "RENAME COLUMN w TO u", "definition", "fail"),
        ("MODIFY a VARCHAR(20) COLLATE utf8mb4_bin", "MODIFY a VARCHAR(20)", "definition_details", "warn"),
        ("MODIFY u INT NOT NULL", "MODIFY u INT", "definition", "warn"),
        ("MODIFY u INT DEFAULT 7", "MODIFY u INT", "definition_details", "warn"),
        ("ADD UNIQUE KEY once (u)", "DROP KEY once", "definition_details", "warn"),
    ] {
        let alter = |what: &str| ["SET sql_log_bin = 0".to_owned(), format!("ALTER TABLE shop.t {what}")];
        pair.us.run_all(&alter(change)).await;
        let finding = found(&pair, item, "shop.t").await;
        assert_eq!(finding.status(), status, "{change}: {}", finding.line());
        pair.us.run_all(&alter(back)).await;
    }
    let check = Check::of(&pair).await;
    assert_eq!(
        (check.code, check.item("definition", "eu").status()),
        (0, "pass"),
        "{:?}",
        check.with_status("warn")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_keys_cascades_and_strays_are_found_by_table() {
    let pair = right_pair(None).await;
    both(&pair, "CREATE TABLE shop.old (id INT PRIMARY KEY) ENGINE = MyISAM").await;
    both(&pair, "CREATE TABLE shop.bare (a INT, b INT, UNIQUE KEY (b))").await;
    both(&pair, "CREATE TABLE shop.enough (a INT NOT NULL, UNIQUE KEY (a))").await;
    both(&pair, "CREATE DATABASE elsewhere").await;
    both(&pair, "CREATE TABLE elsewhere.parent (id INT PRIMARY KEY)").await;
    both(
        &pair,
        "CREATE TABLE shop.stray (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES elsewhere.parent (id))",
    )
    .await;
    both(
        &pair,
        "CREATE TABLE shop.tail (id INT PRIMARY KEY, item INT, \
        CONSTRAINT falls FOREIGN KEY (item) REFERENCES shop.item (id) ON DELETE CASCADE)",
    )
    .await;
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&[
                "SET sql_log_bin = 0",
                "SET sql_generate_invisible_primary_key = ON",
                "CREATE TABLE shop.hidden (a INT)",
            ])
            .await;
    }
    for (item, subject, status) in [
        ("engine", "shop.old", "fail"),
        ("key", "shop.bare", "fail"),
        ("generated_key", "shop.hidden", "warn"),
        ("foreign_key", "shop.tail.falls", "warn"),
        ("foreign_key", "shop.stray.stray_ibfk_1", "warn"),
    ] {
        let found = found(&pair, item, subject).await;
        assert_eq!(found.status(), status, "{}", found.line());
    }
    let check = Check::of(&pair).await;
    assert!(
        !check.all("key").iter().any(|i| i.subject() == "shop.enough"),
        "a unique key without NULLs is one"
    );
    for engine in check.all("engine") {
        mend(&pair, &engine).await;
    }
    assert_eq!(Check::of(&pair).await.item("engine", "us").status(), "pass");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggers_and_events_are_named_once_the_account_may_see_them() {
    let pair = right_pair(None).await;
    both(&pair, "CREATE TRIGGER shop.stamp BEFORE INSERT ON shop.item FOR EACH ROW SET NEW.name = 'x'").await;
    both(&pair, "CREATE EVENT shop.nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM shop.item").await;
    let blind = Check::of(&pair).await;
    for item in ["trigger", "event"] {
        assert_eq!(blind.item(item, "us").status(), "skipped", "{:#}", blind.item(item, "us").0);
    }
    for region in [&pair.eu, &pair.us] {
        region.run("GRANT TRIGGER, EVENT ON shop.* TO 'twinlog_writer'@'127.0.0.1'").await;
    }
    assert_eq!(found(&pair, "trigger", "stamp").await.status(), "warn");
    let event = found(&pair, "event", "shop.nightly").await;
    assert_eq!(event.status(), "warn");
    pair.us.run(&event.sql()[0].1).await;
    assert_eq!(Check::of(&pair).await.item("event", "us").status(), "pass");
    pair.eu.run("SET GLOBAL event_scheduler = OFF").await;
    assert_eq!(Check::of(&pair).await.item("event", "eu").status(), "pass");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patterns_that_match_no_table_are_worth_a_word() {
    let pair = right_pair(None).await;
    let text = pair.file().text().replace("shop.*", "shoe.*");
    let check = Check::run(&pair.write_file("shoe.toml", &text), &[]).await;
    assert_eq!(check.item("tables", "eu").status(), "warn", "{:#}", check.json);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_applier_does_not_start_on_tables_that_do_not_roll_back_and_starts_once_they_do() {
    let pair = right_pair(None).await;
    Workload::prepare(&pair).await;
    pair.us.run_all(&["SET sql_log_bin = 0", "ALTER TABLE shop.item ENGINE = MyISAM"]).await;
    pair.start_one(Process::Relay("eu"));
    let said = pair.run_to_failure(Process::Applier("eu-us"), pair.config()).await;
    said.assert_failed(1, &["engine of shop.item", "MyISAM", "ALTER TABLE `shop`.`item` ENGINE = InnoDB"]);
    pair.us.run_all(&["SET sql_log_bin = 0", "ALTER TABLE `shop`.`item` ENGINE = InnoDB"]).await;
    for process in [Process::Relay("us"), Process::Applier("eu-us"), Process::Applier("us-eu")] {
        pair.start_one(process);
    }
    pair.wait_running().await;
}
