//! Groups over many tables: whether each is what the group was checked against is asked by prepared statements, and what
//! was altered in the target unseen is found all the same.

use std::time::Duration;

use harness::{Pair, PairOptions, until};

const SOON: Duration = Duration::from_secs(30);
/// The last has a name of other letters and with a quote.
const TABLES: [&str; 12] = ["t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9", "t10", "t11", "größe'`s"];

fn quoted(table: &str) -> String {
    format!("shop.`{}`", table.replace('`', "``"))
}

/// One transaction that writes into all of them, and so one group at least.
async fn write(pair: &Pair, tables: &[&str], n: usize) {
    let insert = |table: &&str| format!("INSERT INTO {} VALUES ({n}, {n}, -{n})", quoted(table));
    let mut statements = vec!["BEGIN".to_owned()];
    statements.extend(tables.iter().map(insert));
    statements.push("COMMIT".to_owned());
    pair.eu.run_all(&statements).await;
    let executed = pair.eu.executed().await;
    until("the link has applied it", SOON, async || {
        let status = pair.try_status().await?.link("eu-us")?;
        if status.applied().contains_all(&executed) { Ok(()) } else { Err(status.json().to_string()) }
    })
    .await;
    for table in tables {
        let found: String =
            pair.us.row(&format!("SELECT CONCAT_WS(' ', a, b) FROM {} WHERE id = {n}", quoted(table))).await;
        assert_eq!(found, format!("{n} -{n}"), "{table}");
    }
}

/// How often statements that the link prepared have run, and were prepared anew.
async fn runs(pair: &Pair) -> [u64; 2] {
    let of = |what: &str| {
        format!(
            "SELECT CAST(IFNULL(SUM({what}), 0) AS UNSIGNED) FROM performance_schema.prepared_statements_instances \
             WHERE STATEMENT_NAME LIKE 'twinlog%'"
        )
    };
    [pair.us.row(&of("COUNT_EXECUTE")).await, pair.us.row(&of("COUNT_REPREPARE")).await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_altered_in_the_target_unseen_is_found_in_a_group_of_many_tables() {
    for workers in [1, 2] {
        let mut pair = Pair::one_way(PairOptions::default()).await;
        pair.configure(|file| file.add_to_link("eu-us", &format!("workers = {workers}")));
        for region in [&pair.eu, &pair.us] {
            region.run("CREATE DATABASE shop").await;
            for table in TABLES {
                let columns = "(id INT PRIMARY KEY, a INT, b INT)";
                region.run(&format!("CREATE TABLE {} {columns}", quoted(table))).await;
            }
        }
        pair.start().await;
        write(&pair, &TABLES, 1).await;
        for n in 2..6 {
            write(&pair, &TABLES, n).await;
        }
        let [run, anew] = runs(&pair).await;
        assert!(run >= 5, "statements run: {run}");
        assert_eq!(anew, 0, "nothing was altered");

        // An index is none of the rows' business: asked for again, and nothing stops.
        pair.us.run_all(&["SET sql_log_bin = 0", "ALTER TABLE shop.t2 ADD KEY (a)"]).await;
        for n in 6..9 {
            write(&pair, &TABLES, n).await;
        }
        let [_, anew] = runs(&pair).await;
        assert!(anew >= 1, "the server must have noticed");

        // Rows are applied by position: unnoticed, the values would change places.
        let last = quoted(TABLES[11]);
        for (n, table) in [(9, "shop.t3"), (10, last.as_str())] {
            let alter = format!("ALTER TABLE {table} MODIFY a INT AFTER b");
            pair.us.run_all(&["SET sql_log_bin = 0", &alter]).await;
            write(&pair, &TABLES, n).await;
        }
        for n in 11..14 {
            write(&pair, &TABLES, n).await;
        }

        // A table of a statement that is gone does not hold up those that are there.
        pair.us.run_all(&["SET sql_log_bin = 0", "DROP TABLE shop.t1"]).await;
        for n in 14..17 {
            write(&pair, &TABLES[1..], n).await;
        }
        let without: u64 = pair
            .us
            .row(
                "SELECT COUNT(*) FROM performance_schema.prepared_statements_instances \
                 WHERE STATEMENT_NAME LIKE 'twinlog%' AND SQL_TEXT NOT LIKE '%`t1`,%'",
            )
            .await;
        assert!(without >= 1, "the statement is made without it");
        pair.assert_alive();
    }
}
