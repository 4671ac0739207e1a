//! `twinlog verify` finds a difference of any type, to the last bit, and calls nothing one that is none.

use std::time::Duration;

use harness::{Pair, PairOptions};
use mysql_async::prelude::Queryable;

use crate::column_values::{ROWS, SESSION, tables};

/// A change in region us, and how it is told: the row, the column, both values.
const PLANTED: &[(&str, &str)] = &[
    (
        "UPDATE shop.numbers SET f = 1.2345679 WHERE id = 3",
        r#"numbers {"id":"3"} 1/1 f: "1.2345677614212036" | "1.2345678806304932""#,
    ),
    (
        "UPDATE shop.numbers SET d = 0.10000000000000002 WHERE id = 6",
        r#"numbers {"id":"6"} 1/1 d: "0.1" | "0.10000000000000002""#,
    ),
    ("UPDATE shop.numbers SET d = -0e0 WHERE id = 5", r#"numbers {"id":"5"} 1/1 d: "0" | "-0""#),
    (
        "UPDATE shop.numbers SET bu = bu - 1, b64 = b64 - 1 WHERE id = 2",
        r#"numbers {"id":"2"} 1/1 b64: "18446744073709551615" | "18446744073709551614"; bu: "18446744073709551615" | "18446744073709551614""#,
    ),
    ("UPDATE shop.numbers SET bo = NULL WHERE id = 1", r#"numbers {"id":"1"} 1/1 bo: "0" | null"#),
    (
        "UPDATE shop.times SET ts6 = ts6 + INTERVAL 1 MICROSECOND WHERE id = 1",
        r#"times {"id":"1"} 1/1 ts6: "1970-01-01 00:00:01.000001" | "1970-01-01 00:00:01.000002""#,
    ),
    (
        "UPDATE shop.times SET t2 = '-23:59:59.99' WHERE id = 2",
        r#"times {"id":"2"} 1/1 t2: "23:59:59.99" | "-23:59:59.99""#,
    ),
    ("UPDATE shop.texts SET v = '' WHERE id = 0", r#"texts {"id":"0"} 1/1 v: null | """#),
    ("UPDATE shop.texts SET c1 = 'NULL' WHERE id = 0", ""),
    ("UPDATE shop.texts SET v = 'trail ' WHERE id = 3", r#"texts {"id":"3"} 1/1 v: "trail  " | "trail ""#),
    (
        "UPDATE shop.texts SET e300 = 'm1', cl = 'NAÏVE café' WHERE id = 2",
        r#"texts {"id":"2"} 1/1 cl: "naïve café" | "NAÏVE café"; e300: "m299" | "m1""#,
    ),
    ("UPDATE shop.texts SET e = 0 WHERE id = 1", r#"texts {"id":"1"} 1/1 e: "0x31" | "0x30""#),
    (
        "UPDATE shop.binaries SET v = X'0001020300' WHERE id = 2",
        r#"binaries {"id":"2"} 1/1 v: {"base64":"AAECAw=="} | {"base64":"AAECAwA="}"#,
    ),
    (
        "UPDATE shop.binaries SET bll = X'00' WHERE id = 1",
        r#"binaries {"id":"1"} 1/1 bll: {"base64":""} | {"base64":"AA=="}"#,
    ),
    (
        "UPDATE shop.charsets SET sjis = 'かタカナ' WHERE id = 1",
        r#"charsets {"id":"1"} 1/1 sjis: "カタカナ" | "かタカナ""#,
    ),
    ("UPDATE shop.documents SET j = '{}' WHERE id = 2", r#"documents {"id":"2"} 1/1 j: "null" | "{}""#),
    (
        "UPDATE shop.documents SET j = '\"Text\"' WHERE id = 4",
        r#"documents {"id":"4"} 1/1 j: "\"text\"" | "\"Text\"""#,
    ),
    (
        "UPDATE shop.documents SET g = POINT(1, 3) WHERE id = 1",
        r#"documents {"id":"1"} 1/1 g: {"base64":"AAAAAAEBAAAAAAAAAAAA8D8AAAAAAAAAQA=="} | {"base64":"AAAAAAEBAAAAAAAAAAAA8D8AAAAAAAAIQA=="}"#,
    ),
    ("UPDATE shop.generated SET hidden = 8 WHERE id = 2", r#"generated {"id":"2"} 1/1 hidden: "7" | "8""#),
    (
        "UPDATE shop.parts SET amount = 0 WHERE id = 2",
        r#"parts {"id":"2","region":"us"} 1/1 amount: null | "0.00""#,
    ),
    ("UPDATE shop.`odd; näme` SET `select` = 'From'", r#"odd; näme {"id":"1"} 1/1 select: "from" | "From""#),
    ("UPDATE shop.given_a_key SET t = 'A' LIMIT 1", r#"given_a_key {"my_row_id":"1"} 1/1 t: "a" | "A""#),
    ("DELETE FROM shop.unkeyed WHERE id = 1 LIMIT 1", r#"unkeyed {} 2/1"#),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_is_compared_exactly() {
    let pair = Pair::new(PairOptions::default()).await;
    for region in [&pair.eu, &pair.us] {
        write(region, &tables()).await;
    }
    pair.start().await;
    write(&pair.eu, ROWS).await;
    pair.wait_in_step(Duration::from_secs(30)).await;
    // Columns in another order are the same columns.
    pair.us.drift(&["ALTER TABLE shop.times MODIFY COLUMN ts6 TIMESTAMP(6) NULL AFTER id"]).await;
    pair.verify(&[]).await.assert_equal();
    assert_eq!(pair.verify(&[]).await.json["tables"].as_array().map(Vec::len), Some(tables().len() - 3));

    let statements: Vec<&str> = PLANTED.iter().map(|(statement, _)| *statement).collect();
    pair.us.drift(&statements).await;
    let verified = pair.verify(&[]).await;
    let found = verified.differences();
    let mut expected: Vec<String> =
        PLANTED.iter().filter(|(_, told)| !told.is_empty()).map(|(_, told)| format!("shop.{told}")).collect();
    expected.sort();
    for expected in &expected {
        let prefix = expected.split(" 1/1 ").next().unwrap_or(expected);
        let row = found.iter().find(|row| row.starts_with(prefix));
        let row = row.unwrap_or_else(|| panic!("not found: {expected}\nin {found:#?}"));
        assert!(
            row.starts_with(expected.as_str()) || prefix.ends_with(r#"texts {"id":"0"}"#),
            "{row}\n instead of\n{expected}"
        );
    }
    let both = found.iter().find(|row| row.starts_with(r#"shop.texts {"id":"0"}"#)).expect("found above");
    assert!(both.contains(r#"c1: null | "N""#) && both.contains(r#"v: null | """#), "{both}");
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

async fn write<S: AsRef<str>>(region: &harness::Region, statements: &[S]) {
    let mut session = region.connect().await;
    for statement in SESSION.into_iter().chain(statements.iter().map(AsRef::as_ref)) {
        let done = session.query_drop(statement).await;
        done.unwrap_or_else(|e| panic!("{e}: {statement}"));
    }
}
