//! `twinlog verify` finds rows by every kind of key, also beyond either side's ends.

use harness::{Pair, PairOptions};

/// Tables whose keys are hard on whoever cuts them into ranges, each with enough rows for several.
const TABLES: &[&str] = &[
    "CREATE DATABASE shop",
    "CREATE TABLE shop.plain (id INT PRIMARY KEY, v INT)",
    "CREATE TABLE shop.high (id BIGINT UNSIGNED PRIMARY KEY, v INT)",
    "CREATE TABLE shop.composite (a INT, b DATE, c VARCHAR(20), v INT, PRIMARY KEY (a, b DESC, c))",
    "CREATE TABLE shop.words (w VARCHAR(40) COLLATE utf8mb4_0900_ai_ci PRIMARY KEY, v INT)",
    "CREATE TABLE shop.padded (w VARCHAR(40) COLLATE utf8mb4_general_ci PRIMARY KEY, v INT)",
    "CREATE TABLE shop.latin (w VARCHAR(40) CHARACTER SET latin1 PRIMARY KEY, v INT)",
    "CREATE TABLE shop.bytes (k VARBINARY(20) PRIMARY KEY, v INT)",
    "CREATE TABLE shop.floats (k DOUBLE PRIMARY KEY, v INT)",
    "CREATE TABLE shop.members (e ENUM('z', 'y', 'x') NOT NULL, s SET('b', 'a') NOT NULL, b BIT(12), v INT, PRIMARY KEY (e, s, b))",
    "CREATE TABLE shop.times (t TIMESTAMP(6), v INT, PRIMARY KEY (t))",
    "CREATE TABLE shop.uniquely (v INT, n INT NOT NULL, m DECIMAL(10,2) NOT NULL, p INT, UNIQUE (p), UNIQUE (m, n))",
    "CREATE TABLE shop.emptied (id INT PRIMARY KEY, v INT)",
    "SET cte_max_recursion_depth = 10000",
    "CREATE TEMPORARY TABLE shop.r (i INT PRIMARY KEY)",
    "INSERT INTO shop.r WITH RECURSIVE r (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 5000) SELECT i FROM r",
    "INSERT INTO shop.plain SELECT i * 2, i FROM shop.r",
    "INSERT INTO shop.high SELECT 18446744073709551615 - i, i FROM shop.r",
    "INSERT INTO shop.composite SELECT i % 7, '2024-01-01' + INTERVAL i % 100 DAY, CONCAT('c', i), i FROM shop.r",
    "INSERT INTO shop.words SELECT CONCAT(ELT(1 + i % 4, 'é', 'E', 'z', ' '), i), i FROM shop.r",
    "INSERT INTO shop.padded SELECT CONCAT(ELT(1 + i % 4, 'é', 'Q', '漢', '~'), i), i FROM shop.r",
    "INSERT INTO shop.latin SELECT CONCAT(ELT(1 + i % 4, 'é', 'Q', 'ß', '~'), i), i FROM shop.r",
    "INSERT INTO shop.bytes SELECT UNHEX(LPAD(HEX(i * 3), 8, '0')), i FROM shop.r",
    "INSERT INTO shop.floats SELECT (i - 2500) / 7e0, i FROM shop.r",
    "INSERT INTO shop.members SELECT 1 + i % 3, i % 4, i DIV 12, i FROM shop.r WHERE i < 4000",
    "INSERT INTO shop.times SELECT '2024-03-31 00:00:00' + INTERVAL i SECOND + INTERVAL i MICROSECOND, i FROM shop.r",
    "INSERT INTO shop.uniquely SELECT i, i % 10, i / 100, NULLIF(i, i) FROM shop.r",
];

async fn pair() -> Pair {
    let pair = Pair::new(PairOptions::default()).await;
    for region in [&pair.eu, &pair.us] {
        region.drift(TABLES).await;
    }
    pair
}

/// Small chunks, so that every table is cut often.
const SMALL: [&str; 2] = ["--chunk-time", "5ms"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_tables_are_equal_whatever_their_keys_and_every_row_is_read_once() {
    let pair = pair().await;
    let verified = pair.verify(&SMALL).await;
    verified.assert_equal();
    for table in
        ["plain", "high", "composite", "words", "padded", "latin", "bytes", "floats", "times", "uniquely"]
    {
        let report = verified.table(&format!("shop.{table}"));
        assert_eq!(report["rows"], 5000, "{table}: {report}");
        assert!(report["chunks"].as_u64() > Some(2), "{table} was not cut: {report}");
    }
    assert_eq!(verified.table("shop.members")["rows"], 3999);
    assert_eq!(verified.table("shop.emptied")["rows"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_missing_changed_or_beyond_the_ends_are_named_by_their_keys() {
    let pair = pair().await;
    pair.us
        .drift(&[
            "DELETE FROM shop.plain WHERE id IN (2, 5000, 10000)",
            "INSERT INTO shop.plain VALUES (-7, 0), (10001, 0), (4999, 0)",
            "UPDATE shop.high SET v = 0 WHERE id = 18446744073709551614",
            "DELETE FROM shop.high WHERE id = 18446744073709546615",
            "INSERT INTO shop.high VALUES (18446744073709551615, 1), (1, 1)",
            "UPDATE shop.composite SET v = -1 WHERE a = 3 AND c = 'c10'",
            "INSERT INTO shop.composite VALUES (3, '2025-01-01', '', 1), (-1, '1999-01-01', 'z', 1)",
            "UPDATE shop.words SET w = 'Z2' WHERE w = 'z2'",
            "UPDATE shop.padded SET w = 'é4 ' WHERE w = 'é4'",
            "UPDATE shop.latin SET w = 'É4' WHERE w = 'é4'",
            "INSERT INTO shop.bytes VALUES ('', 0), (X'FFFFFFFFFF', 0)",
            "UPDATE shop.floats SET v = 0 WHERE v = 1",
            "DELETE FROM shop.floats WHERE v = 5000",
            "DELETE FROM shop.members WHERE e = 'x' AND v = 2",
            "UPDATE shop.times SET v = 0 WHERE v = 77",
            "UPDATE shop.uniquely SET v = NULL WHERE v = 42",
        ])
        .await;
    pair.eu.drift(&["INSERT INTO shop.words VALUES ('ÿ-only', 1)"]).await;
    let verified = pair.verify(&SMALL).await;
    let found = verified.differences();
    // Keys and values that tell the row; a row of one side shows all of its columns.
    let expected = [
        r#"shop.bytes {"k":"0x"} 0/1"#,
        r#"shop.bytes {"k":"0xffffffffff"} 0/1"#,
        r#"shop.composite {"a":"-1","b":"1999-01-01","c":"z"} 0/1"#,
        r#"shop.composite {"a":"3","b":"2024-01-11","c":"c10"} 1/1 v: "10" | "-1""#,
        r#"shop.composite {"a":"3","b":"2025-01-01","c":""} 0/1"#,
        r#"shop.floats {"k":"-357"} 1/1 v: "1" | "0""#,
        r#"shop.floats {"k":"357.14285714285717"} 1/0"#,
        r#"shop.high {"id":"1"} 0/1"#,
        r#"shop.high {"id":"18446744073709546615"} 1/0"#,
        r#"shop.high {"id":"18446744073709551614"} 1/1 v: "1" | "0""#,
        r#"shop.high {"id":"18446744073709551615"} 0/1"#,
        r#"shop.latin {"w":"0xe934"} 1/1 w: "é4" | "É4""#,
        r#"shop.members {"b":"0","e":"3","s":"2"} 1/0"#,
        r#"shop.padded {"w":"é4"} 1/1 w: "é4" | "é4 ""#,
        r#"shop.plain {"id":"-7"} 0/1"#,
        r#"shop.plain {"id":"10000"} 1/0"#,
        r#"shop.plain {"id":"10001"} 0/1"#,
        r#"shop.plain {"id":"2"} 1/0"#,
        r#"shop.plain {"id":"4999"} 0/1"#,
        r#"shop.plain {"id":"5000"} 1/0"#,
        r#"shop.times {"t":"2024-03-31 00:01:17.000077"} 1/1 v: "77" | "0""#,
        r#"shop.uniquely {"m":"0.42","n":"2"} 1/1 v: "42" | null"#,
        r#"shop.words {"w":"z2"} 1/1 w: "z2" | "Z2""#,
        r#"shop.words {"w":"ÿ-only"} 1/0"#,
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n instead of\n{expected}\n in {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    assert_eq!(verified.code, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_empty_on_one_side_is_walked_on_the_other_and_more_rows_than_wanted_are_counted() {
    let pair = pair().await;
    pair.eu.drift(&["DELETE FROM shop.plain"]).await;
    let verified = pair.verify(&["--chunk-time", "5ms", "--table", "shop.plain", "--max-named", "100"]).await;
    let table = verified.table("shop.plain");
    assert!(table["chunks"].as_u64() > Some(2), "{table}");
    assert!(verified.differences().len() >= 100, "{}", verified.differences().len());
    assert!(table["unnamed_chunks"].as_u64() > Some(0), "{}", table["unnamed_chunks"]);
    let all = pair.verify(&["--table", "shop.plain", "--max-named", "100000"]).await;
    assert_eq!(all.differences().len(), 5000);
    assert_eq!(all.table("shop.plain")["unnamed_chunks"], 0);
}
