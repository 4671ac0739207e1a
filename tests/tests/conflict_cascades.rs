//! Foreign keys that cascade: rows of the target alone that go with an incoming change are written down first.

use std::time::Duration;

use harness::{Pair, PairOptions, Process, until};

const SOON: Duration = Duration::from_secs(30);

async fn pair() -> Pair {
    let mut pair = Pair::new(PairOptions::default()).await;
    pair.configure(|file| {
        file.add_to_link("eu-us", "on_conflict = \"overwrite\"");
        file.add_to_link("us-eu", "on_conflict = \"ignore\"");
    });
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&[
                "CREATE DATABASE shop",
                "CREATE TABLE shop.p (id INT PRIMARY KEY, n INT)",
                "CREATE TABLE shop.c (id INT PRIMARY KEY, p INT NOT NULL, b VARBINARY(9), \
                 CONSTRAINT c_p FOREIGN KEY (p) REFERENCES shop.p (id) ON DELETE CASCADE ON UPDATE CASCADE)",
                "CREATE TABLE shop.g (a INT, b INT, c INT, PRIMARY KEY (a, b), \
                 CONSTRAINT g_c FOREIGN KEY (c) REFERENCES shop.c (id) ON DELETE CASCADE)",
                "CREATE TABLE shop.s (id INT PRIMARY KEY, p INT, \
                 CONSTRAINT s_p FOREIGN KEY (p) REFERENCES shop.p (id) ON DELETE SET NULL)",
                "INSERT INTO shop.p VALUES (1, 1), (2, 2), (3, 3), (4, 4)",
                "INSERT INTO shop.c VALUES (10, 1, NULL), (11, 1, NULL), (20, 2, NULL), (30, 3, NULL)",
                "INSERT INTO shop.g VALUES (1, 1, 10), (1, 2, 20)",
                "INSERT INTO shop.s VALUES (1, 1), (2, 2)",
            ])
            .await;
    }
    pair.start().await;
    pair
}

async fn conflicts(pair: &Pair, region: &str) -> Vec<String> {
    let query = "SELECT CONCAT_WS(' ', table_name, row_key, operation, kind, winner) FROM twinlog.conflict ORDER BY id";
    pair.region(region).rows(query).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_the_target_alone_that_a_foreign_key_takes_along_are_written_down() {
    let pair = pair().await;
    // What both regions have goes by the row events of its source: nothing is a conflict, and groups stay groups.
    pair.eu.run_all(&["DELETE FROM shop.p WHERE id = 4", "UPDATE shop.p SET id = 33 WHERE id = 3"]).await;
    pair.us.run_all(&["INSERT INTO shop.p VALUES (5, 5)", "INSERT INTO shop.c VALUES (50, 5, NULL)"]).await;
    pair.wait_in_step(SOON).await;
    pair.us.run("DELETE FROM shop.p WHERE id = 5").await;
    pair.wait_in_step(SOON).await;
    for region in ["eu", "us"] {
        assert_eq!(conflicts(&pair, region).await, [""; 0], "{region}");
    }
    for link in ["eu-us", "us-eu"] {
        pair.stop_one(Process::Applier(link)).await;
    }
    pair.us
        .run_all(&[
            "INSERT INTO shop.c VALUES (12, 1, X'00FF'), (21, 2, NULL), (34, 33, NULL)",
            "INSERT INTO shop.g VALUES (2, 7, 12)",
            "INSERT INTO shop.s VALUES (3, 1)",
        ])
        .await;
    pair.eu
        .run_all(&[
            "DELETE FROM shop.p WHERE id = 1",
            "UPDATE shop.p SET id = 34 WHERE id = 33",
            "UPDATE shop.p SET n = 22 WHERE id = 2",
        ])
        .await;
    for link in ["eu-us", "us-eu"] {
        pair.start_one(Process::Applier(link));
    }
    let expected = [
        r#"c {"id": 12} delete parent source"#,
        r#"g {"a": 2, "b": 7} delete parent source"#,
        r#"s {"id": 3} update parent source"#,
        r#"c {"id": 34} update parent source"#,
    ];
    until("what is taken along is written down", SOON, async || {
        let found = conflicts(&pair, "us").await;
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    let row: String = pair
        .us
        .row("SELECT CONCAT_WS(' ', local_row, detail) FROM twinlog.conflict ORDER BY id LIMIT 1")
        .await;
    assert!(
        row.starts_with(r#"{"b": {"base64": "AP8="}, "p": 1, "id": 12} foreign key `c_p` deletes it"#),
        "{row}"
    );
    until("what finds no parent is written down where it comes from", SOON, async || {
        let found = conflicts(&pair, "eu").await;
        let parents = found.iter().filter(|c| c.ends_with("insert parent target")).count();
        if parents >= 3 { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    let children: Vec<String> = pair.us.rows("SELECT CONCAT(id, ' ', p) FROM shop.c ORDER BY id").await;
    assert_eq!(children, ["20 2", "21 2", "30 34", "34 34"]);
    pair.assert_alive();
}
