//! What is in step, and what it is called on the other side: patterns, renamed databases and tables, operations.

use std::time::Duration;

use harness::{Check, Pair, PairOptions, Process, Region, until};

const SOON: Duration = Duration::from_secs(30);

/// Tables as they are called in eu and in us.
const TABLES: [(&str, &str); 3] =
    [("shop.customer", "crm.client"), ("shop.orders", "store.orders"), ("shop.tape", "store.tape")];

async fn checksum(region: &Region, table: &str) -> Option<u64> {
    region.row::<(String, Option<u64>)>(&format!("CHECKSUM TABLE {table}")).await.1
}

/// Waits until the tables hold the same rows under their different names.
async fn wait_alike(pair: &Pair) {
    until("the renamed tables are alike", SOON, async || {
        for (eu, us) in TABLES {
            let (a, b) = (checksum(&pair.eu, eu).await, checksum(&pair.us, us).await);
            if a != b || a.is_none() {
                return Err(format!("{eu} {a:?}, {us} {b:?}"));
            }
        }
        Ok(())
    })
    .await;
}

/// `shop` of eu is `store` in us, and its customers are clients in a database of their own.
async fn renamed_pair() -> Pair {
    let schemas = ["shop", "store", "crm"].map(str::to_owned).to_vec();
    let mut pair = Pair::new(PairOptions { ddl: Some("eu-us"), schemas, ..PairOptions::default() }).await;
    pair.configure(|file| {
        file.set_tables(&["shop.*", "!shop.tmp_*"]);
        file.add_to_link(
            "eu-us",
            "rename = { \"shop\" = \"store\", \"shop.customer\" = \"crm.client\" }\non_conflict = \"overwrite\"\n\
             table.\"shop.orders\".on_conflict = \"ignore\"",
        );
        file.add_to_link(
            "us-eu",
            "on_conflict = \"ignore\"\ntable.\"store.orders\".on_conflict = \"overwrite\"",
        );
    });
    let tables = |shop: &str, customer: &str| {
        vec![
            format!("CREATE TABLE {customer} (id INT PRIMARY KEY, name VARCHAR(40) NOT NULL)"),
            format!(
                "CREATE TABLE {shop}.orders (id INT PRIMARY KEY, customer INT NOT NULL, n INT, \
                 FOREIGN KEY (customer) REFERENCES {customer} (id))"
            ),
            format!("CREATE TABLE {shop}.tape (writer INT NOT NULL, token INT NOT NULL)"),
            format!("INSERT INTO {customer} VALUES (1, 'one'), (2, 'two')"),
            format!("INSERT INTO {shop}.orders VALUES (1, 1, 1), (2, 2, 2)"),
        ]
    };
    pair.eu.run_all(&["CREATE DATABASE shop", "CREATE USER app@'%' IDENTIFIED BY 'x'"]).await;
    pair.eu.run_all(&tables("shop", "shop.customer")).await;
    pair.us.run_all(&["CREATE DATABASE store", "CREATE DATABASE crm", "CREATE DATABASE shop"]).await;
    pair.us.run_all(&tables("store", "crm.client")).await;
    // Names that another table takes, and what the patterns leave out: each region's own.
    pair.us.run("CREATE TABLE shop.customer (id INT PRIMARY KEY, mine INT)").await;
    pair.eu.run("CREATE TABLE shop.tmp_1 (id INT PRIMARY KEY)").await;
    pair.us
        .run_all(&[
            "GRANT CREATE VIEW ON store.* TO twinlog_writer@'127.0.0.1'",
            "GRANT SET_ANY_DEFINER, ALLOW_NONEXISTENT_DEFINER ON *.* TO twinlog_writer@'127.0.0.1'",
        ])
        .await;
    pair
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renamed_databases_and_tables_are_in_step_both_ways_rows_ddl_conflicts_and_comparison() {
    let pair = renamed_pair().await;
    let check = Check::of(&pair).await;
    assert_eq!(
        check.with_status("fail"),
        [
            "key eu shop.tape: no primary key and no unique key without NULLs",
            "key us store.tape: no primary key and no unique key without NULLs"
        ]
    );
    pair.start().await;
    pair.eu
        .run_all(&[
            "INSERT INTO shop.customer VALUES (3, 'of eu')",
            "BEGIN",
            "INSERT INTO shop.tape VALUES (1, 1), (1, 1)",
            "INSERT INTO shop.tmp_1 VALUES (1)",
            "INSERT INTO shop.orders VALUES (3, 3, 3)",
            "COMMIT",
        ])
        .await;
    pair.us
        .run_all(&[
            "INSERT INTO crm.client VALUES (4, 'of us')",
            "INSERT INTO store.orders VALUES (4, 4, 4)",
            "INSERT INTO shop.customer VALUES (9, 9)",
            "UPDATE crm.client SET name = 'changed in us' WHERE id = 1",
        ])
        .await;
    wait_alike(&pair).await;

    ddl(&pair).await;
    conflicts(&pair).await;
    wait_alike(&pair).await;
    comparison(&pair).await;
    pair.assert_alive();
}

/// Statements cross under the names of the target, whichever way they name their tables.
async fn ddl(pair: &Pair) {
    pair.eu
        .run_all(&[
            "USE shop",
            "ALTER TABLE customer ADD COLUMN mail VARCHAR(40)",
            "CREATE TABLE note (id INT PRIMARY KEY, customer INT, body TEXT, FOREIGN KEY (customer) REFERENCES customer (id))",
            "CREATE TABLE shop.two LIKE orders",
            "RENAME TABLE two TO shop.three",
            "CREATE INDEX by_n ON orders (n)",
            "INSERT INTO note VALUES (1, 1, 'a note')",
            "CREATE DEFINER = app@'%' SQL SECURITY INVOKER VIEW both_of_them AS SELECT customer.name, n FROM customer JOIN orders ON orders.customer = customer.id",
            "UPDATE customer SET mail = 'one@example.org' WHERE id = 1",
        ])
        .await;
    until("the statements have crossed", SOON, async || {
        let mail: Vec<Option<String>> = pair.us.rows("SELECT mail FROM crm.client WHERE id = 1").await;
        if mail == [Some("one@example.org".to_owned())] { Ok(()) } else { Err(format!("{mail:?}")) }
    })
    .await;
    let found: Vec<String> = pair
        .us
        .rows(
            "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA IN ('shop', 'store', 'crm') ORDER BY 1",
        )
        .await;
    let wanted = [
        "crm.client",
        "shop.customer",
        "store.both_of_them",
        "store.note",
        "store.orders",
        "store.tape",
        "store.three",
    ];
    assert_eq!(found, wanted);
    let through_the_view: u64 =
        pair.us.row("SELECT COUNT(*) FROM store.both_of_them WHERE name = 'of us'").await;
    assert_eq!(through_the_view, 1);
    let parent: String = pair
        .us
        .row(
            "SELECT CONCAT(REFERENCED_TABLE_SCHEMA, '.', REFERENCED_TABLE_NAME) FROM information_schema.KEY_COLUMN_USAGE \
             WHERE TABLE_SCHEMA = 'store' AND TABLE_NAME = 'note' AND REFERENCED_TABLE_NAME IS NOT NULL",
        )
        .await;
    assert_eq!(parent, "crm.client");
}

/// Collisions are found by the window, which reads the names of the other side.
async fn conflicts(pair: &Pair) {
    wait_alike(pair).await;
    for link in ["eu-us", "us-eu"] {
        pair.stop_one(Process::Applier(link)).await;
    }
    pair.eu
        .run_all(&[
            "UPDATE shop.customer SET name = 'eu wins' WHERE id = 2",
            "UPDATE shop.orders SET n = 10 WHERE id = 2",
        ])
        .await;
    pair.us
        .run_all(&[
            "UPDATE crm.client SET name = 'us loses' WHERE id = 2",
            "UPDATE store.orders SET n = 20 WHERE id = 2",
        ])
        .await;
    for link in ["eu-us", "us-eu"] {
        pair.start_one(Process::Applier(link));
    }
    for (region, expected) in [
        (&pair.us, ["crm.client changed source", "store.orders changed target"]),
        (&pair.eu, ["shop.customer changed target", "shop.orders changed source"]),
    ] {
        until("the conflicts are recorded", SOON, async || {
            let found: Vec<String> = region
                .rows("SELECT CONCAT(database_name, '.', table_name, ' ', kind, ' ', winner) FROM twinlog.conflict ORDER BY 1")
                .await;
            if found == expected { Ok(()) } else { Err(format!("{} has {found:?}", region.name())) }
        })
        .await;
    }
    let (name, n): (String, i32) = pair
        .eu
        .row("SELECT name, n FROM shop.customer c JOIN shop.orders o ON o.id = c.id WHERE c.id = 2")
        .await;
    assert_eq!((name.as_str(), n), ("eu wins", 20));
}

/// `verify` compares what belongs together.
async fn comparison(pair: &Pair) {
    let equal = pair.verify(&[]).await;
    equal.assert_equal();
    equal.table("shop.customer");
    pair.us.drift(&["UPDATE crm.client SET name = 'drifted' WHERE id = 3"]).await;
    let different = pair.verify(&[]).await;
    assert_eq!(different.differences().len(), 1, "{different}");
    assert!(different.differences()[0].starts_with("shop.customer"), "{different}");
    pair.us.drift(&["UPDATE crm.client SET name = 'of eu' WHERE id = 3"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_that_are_left_out_stay_where_they_are_and_later_changes_of_such_rows_are_missing() {
    let mut pair = Pair::new(PairOptions::default()).await;
    pair.configure(|file| {
        for link in ["eu-us", "us-eu"] {
            file.add_to_link(link, "operations = [\"insert\", \"update\"]\non_conflict = \"ignore\"");
            file.add_to_link(link, "table.\"shop.log\".operations = [\"insert\"]");
        }
    });
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&[
                "CREATE DATABASE shop",
                "CREATE TABLE shop.t (id INT PRIMARY KEY, a INT)",
                "CREATE TABLE shop.log (id INT PRIMARY KEY, a INT)",
                "INSERT INTO shop.t VALUES (1, 1), (2, 2)",
                "INSERT INTO shop.log VALUES (1, 1), (2, 2)",
            ])
            .await;
    }
    pair.start().await;
    pair.eu
        .run_all(&[
            "BEGIN",
            "DELETE FROM shop.t WHERE id = 1",
            "UPDATE shop.t SET a = 22 WHERE id = 2",
            "DELETE FROM shop.log WHERE id = 1",
            "UPDATE shop.log SET a = 22 WHERE id = 2",
            "INSERT INTO shop.log VALUES (3, 3)",
            "COMMIT",
        ])
        .await;
    let rows = async |region: &Region, table: &str| -> Vec<String> {
        region.rows(&format!("SELECT CONCAT_WS(' ', id, a) FROM shop.{table} ORDER BY id")).await
    };
    until("what crosses has crossed", SOON, async || {
        let found = (rows(&pair.us, "t").await, rows(&pair.us, "log").await);
        let wanted: (Vec<String>, Vec<String>) =
            (["1 1", "2 22"].map(str::to_owned).to_vec(), ["1 1", "2 2", "3 3"].map(str::to_owned).to_vec());
        if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    // The row that stayed in us is changed there: eu has none.
    pair.us.run("UPDATE shop.t SET a = 11 WHERE id = 1").await;
    until("the update finds no row in eu", SOON, async || {
        let found: Vec<String> = pair
            .eu
            .rows("SELECT CONCAT(table_name, ' ', operation, ' ', kind, ' ', winner) FROM twinlog.conflict")
            .await;
        if found == ["t update missing target"] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    assert_eq!(rows(&pair.eu, "t").await, ["2 22"]);
    pair.assert_alive();
}
