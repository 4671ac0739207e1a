//! Tables whose columns differ in the target: what a link does with each case, and what MySQL's own replica does. The
//! table in docs/schemas.md is what this finds, word for word.

use std::fmt::Write as _;
use std::time::Duration;

use harness::{Pair, PairOptions, Process, Region, RegionOptions, replicate, until};

const SOON: Duration = Duration::from_secs(30);
const APPLIER: Process = Process::Applier("eu-us");

/// A case: columns beside `id INT PRIMARY KEY`, and what is written at the source into table `t`.
struct Case {
    name: &'static str,
    source: &'static str,
    target: &'static str,
    writes: &'static [&'static str],
}

const INTS: &[&str] = &[
    "INSERT INTO t VALUES (1, 1, 2), (2, NULL, 4)",
    "UPDATE t SET a = 7 WHERE id = 1",
    "DELETE FROM t WHERE id = 2",
    "INSERT INTO t VALUES (3, 5, 6)",
];

const CASES: [Case; 26] = [
    Case { name: "columns in another order", source: "a INT, b INT", target: "b INT, a INT", writes: INTS },
    Case {
        name: "another order, other types",
        source: "a INT, b INT, c VARCHAR(9)",
        target: "c VARCHAR(9), b INT, a INT",
        writes: &["INSERT INTO t VALUES (1, 1, 2, 'x')", "UPDATE t SET c = 'y'"],
    },
    Case {
        name: "one more column at the end, with a default",
        source: "a INT, b INT",
        target: "a INT, b INT, x INT DEFAULT 7",
        writes: INTS,
    },
    Case {
        name: "one more column in the middle, with a default",
        source: "a INT, b INT",
        target: "x INT NOT NULL DEFAULT 7, a INT, b INT",
        writes: INTS,
    },
    Case {
        name: "one more column: an expression, generated, `CURRENT_TIMESTAMP`",
        source: "a INT, b INT",
        target: "g INT AS (a + 1) STORED, x INT DEFAULT (1 + 1), at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, a INT, v INT AS (b), b INT",
        writes: INTS,
    },
    Case {
        name: "one more column, NOT NULL and without a default",
        source: "a INT, b INT",
        target: "a INT, b INT, x INT NOT NULL",
        writes: INTS,
    },
    Case { name: "the last column is missing", source: "a INT, b INT", target: "a INT", writes: INTS },
    Case { name: "a column in the middle is missing", source: "a INT, b INT", target: "b INT", writes: INTS },
    Case {
        name: "`INT`, wider: `BIGINT`",
        source: "a INT",
        target: "a BIGINT",
        writes: &["INSERT INTO t VALUES (1, -5)", "UPDATE t SET a = 2147483647"],
    },
    Case {
        name: "`BIGINT`, narrower: `INT`, the value fits",
        source: "a BIGINT",
        target: "a INT",
        writes: &["INSERT INTO t VALUES (1, -2147483648)"],
    },
    Case {
        name: "`BIGINT`, narrower: `INT`, the value does not fit",
        source: "a BIGINT",
        target: "a INT",
        writes: &["INSERT INTO t VALUES (1, 2147483648)"],
    },
    Case {
        name: "`INT`, `INT UNSIGNED`, a negative value",
        source: "a INT",
        target: "a INT UNSIGNED",
        writes: &["INSERT INTO t VALUES (1, -1)"],
    },
    Case {
        name: "`VARCHAR(20)`, wider: `VARCHAR(300)`",
        source: "a VARCHAR(20)",
        target: "a VARCHAR(300)",
        writes: &["INSERT INTO t VALUES (1, 'ä ')"],
    },
    Case {
        name: "`VARCHAR(20)`, `TEXT`",
        source: "a VARCHAR(20)",
        target: "a TEXT",
        writes: &["INSERT INTO t VALUES (1, 'ä ')"],
    },
    Case {
        name: "`DECIMAL(9,2)`, wider: `DECIMAL(20,4)`",
        source: "a DECIMAL(9,2)",
        target: "a DECIMAL(20,4)",
        writes: &["INSERT INTO t VALUES (1, -1234567.89)"],
    },
    Case {
        name: "`DATETIME`, wider: `DATETIME(6)`",
        source: "a DATETIME",
        target: "a DATETIME(6)",
        writes: &["INSERT INTO t VALUES (1, '2026-11-25 16:10:59')"],
    },
    Case {
        name: "`FLOAT`, wider: `DOUBLE`",
        source: "a FLOAT",
        target: "a DOUBLE",
        writes: &["INSERT INTO t VALUES (1, 0.5)"],
    },
    Case {
        name: "`latin1`, `utf8mb4`",
        source: "a VARCHAR(20) CHARACTER SET latin1",
        target: "a VARCHAR(20) CHARACTER SET utf8mb4",
        writes: &["INSERT INTO t VALUES (1, 'Ärger'), (2, 'plain')", "UPDATE t SET a = 'über' WHERE id = 2"],
    },
    Case {
        name: "`utf8mb4`, `latin1`, a letter that is not in it",
        source: "a VARCHAR(20) CHARACTER SET utf8mb4",
        target: "a VARCHAR(20) CHARACTER SET latin1",
        writes: &["INSERT INTO t VALUES (1, '漢')"],
    },
    Case {
        name: "`latin1`, `cp1251`, the same number of bytes",
        source: "a VARCHAR(20) CHARACTER SET latin1",
        target: "a VARCHAR(20) CHARACTER SET cp1251",
        writes: &["INSERT INTO t VALUES (1, 'é')"],
    },
    Case {
        name: "`ENUM` in another order",
        source: "a ENUM('x','y')",
        target: "a ENUM('y','x')",
        writes: &["INSERT INTO t VALUES (1, 'x'), (2, NULL)", "UPDATE t SET a = 'y' WHERE id = 2"],
    },
    Case {
        name: "`ENUM` with one more member",
        source: "a ENUM('x','y')",
        target: "a ENUM('x','z','y')",
        writes: &["INSERT INTO t VALUES (1, 'y')"],
    },
    Case {
        name: "`ENUM` without a member that is written",
        source: "a ENUM('x','y')",
        target: "a ENUM('x')",
        writes: &["INSERT INTO t VALUES (1, 'y')"],
    },
    Case {
        name: "`SET` in another order",
        source: "a SET('x','y','z')",
        target: "a SET('z','y','x')",
        writes: &["INSERT INTO t VALUES (1, 'x,y'), (2, '')"],
    },
    Case {
        name: "NULL into a column that is NOT NULL",
        source: "a INT",
        target: "a INT NOT NULL",
        writes: &["INSERT INTO t VALUES (1, NULL)"],
    },
    Case {
        name: "`INT`, `VARCHAR`",
        source: "a INT",
        target: "a VARCHAR(20)",
        writes: &["INSERT INTO t VALUES (1, 5)"],
    },
];

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Exact,
    /// Rows are there, and are not the source's.
    Wrong,
    /// Rows are there, without a column.
    Lost,
    /// An error, and no row.
    Stopped,
}

impl Outcome {
    fn words(&self) -> &'static str {
        match self {
            Self::Exact => "applied exactly",
            Self::Wrong => "**other values, without a word**",
            Self::Lost => "**the column's values are lost, without a word**",
            Self::Stopped => "stops",
        }
    }
}

/// The source's columns that the target has too.
fn common(case: &Case) -> (String, bool) {
    let names = |columns: &str| -> Vec<String> {
        // Commas inside parentheses belong to types.
        let (mut depth, mut parts, mut part) = (0, Vec::new(), String::new());
        for c in columns.chars() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                ',' if depth == 0 => {
                    parts.push(std::mem::take(&mut part));
                    continue;
                }
                _ => {}
            }
            part.push(c);
        }
        parts.push(part);
        parts.iter().filter_map(|p| p.split_whitespace().next().map(str::to_owned)).collect()
    };
    let (source, target) = (names(case.source), names(case.target));
    let shared: Vec<String> = source.iter().filter(|name| target.contains(name)).cloned().collect();
    // Numbers and times by their value, however many digits are shown.
    let shown = |name: &String| {
        let kind = case.source.split(&format!("{name} ")).nth(1).unwrap_or_default();
        match kind.split([',', '(', ' ']).next() {
            Some("DECIMAL") => format!("{name} + 0E0"),
            // Members are told in the order of the definition.
            Some("SET") => format!(
                "CONCAT(FIND_IN_SET('x', {name}) > 0, FIND_IN_SET('y', {name}) > 0, FIND_IN_SET('z', {name}) > 0)"
            ),
            Some("DATETIME") => format!("CAST({name} AS DATETIME(6))"),
            _ => format!("CAST({name} AS CHAR CHARACTER SET utf8mb4)"),
        }
    };
    let columns: Vec<String> = shared.iter().map(|name| format!("IFNULL({}, 'NULL')", shown(name))).collect();
    (format!("CONCAT_WS('|', id, {})", columns.join(", ")), shared.len() < source.len())
}

async fn rows(region: &Region, case: &Case, table: &str) -> Vec<String> {
    let order = "ORDER BY id";
    region.rows(&format!("SELECT {} FROM shop.{table} {order}", common(case).0)).await
}

/// Waits until somebody has all rows, or says that it can't go on.
async fn settle(
    source: &Region,
    target: &Region,
    (case, table): (&Case, &str),
    behind: impl AsyncFn() -> Result<bool, String>,
) -> Outcome {
    let wanted = rows(source, case, table).await;
    let mut outcome = Outcome::Stopped;
    until(&format!("the case is settled: {}", case.name), SOON, async || {
        let done = behind().await;
        let found = rows(target, case, table).await;
        outcome = match done {
            Ok(false) => return Err(format!("{found:?}, wanted {wanted:?}")),
            Ok(true) if found != wanted => Outcome::Wrong,
            Ok(true) if common(case).1 => Outcome::Lost,
            Ok(true) => Outcome::Exact,
            Err(_) => Outcome::Stopped,
        };
        Ok(())
    })
    .await;
    outcome
}

async fn make(region: &Region, table: &str, columns: &str) {
    region
        .run_all(&[
            "SET sql_log_bin = 0",
            &format!("DROP TABLE IF EXISTS shop.{table}"),
            &format!("CREATE TABLE shop.{table} (id INT PRIMARY KEY, {columns})"),
        ])
        .await;
}

/// The error that a stock replica has stopped with.
async fn replica_error(replica: &Region) -> String {
    let errors: Vec<String> = replica
        .rows(
            "SELECT last_error_message FROM performance_schema.replication_applier_status_by_worker \
             WHERE last_error_message <> ''",
        )
        .await;
    errors.join("; ")
}

async fn run_case(pair: &Pair, replica: &Region, n: usize, case: &Case) -> [Outcome; 2] {
    let table = format!("t{n}");
    make(&pair.eu, &table, case.source).await;
    for region in [&pair.us, replica] {
        make(region, &table, case.target).await;
    }
    for write in case.writes {
        pair.eu.run(&write.replacen(" t ", &format!(" shop.{table} "), 1)).await;
    }
    let executed = pair.eu.executed().await;
    let link = settle(&pair.eu, &pair.us, (case, &table), async || {
        let status = pair.link_status("eu-us").await;
        if status.state() == "failed" {
            let error = status.last_error();
            assert!(error.contains(&format!("shop.{table}")), "{}: {error}", case.name);
            return Err(error.to_owned());
        }
        Ok(status.applied().contains_all(&executed))
    });
    let stock = settle(&pair.eu, replica, (case, &table), async || {
        let error = replica_error(replica).await;
        if !error.is_empty() {
            return Err(error);
        }
        Ok(replica.executed().await.contains_all(&executed))
    });
    let (link, stock) = tokio::join!(Box::pin(link), Box::pin(stock));
    // Alike again, for those that stopped.
    if link == Outcome::Stopped {
        pair.stop_one(APPLIER).await;
        make(&pair.us, &table, case.source).await;
        pair.start_one(APPLIER);
        until("the link goes on", SOON, async || {
            let status = pair.try_status().await?.link("eu-us")?;
            if status.applied().contains_all(&executed) { Ok(()) } else { Err(status.json().to_string()) }
        })
        .await;
    }
    if stock == Outcome::Stopped {
        make(replica, &table, case.source).await;
        replica.run_all(&["STOP REPLICA", "START REPLICA"]).await;
        until("the replica goes on", SOON, async || {
            if replica.executed().await.contains_all(&executed) {
                Ok(())
            } else {
                Err(replica_error(replica).await)
            }
        })
        .await;
    }
    [link, stock]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_applied_exactly_by_name_or_stop_the_link_and_the_documented_table_says_which() {
    let pair = Pair::one_way(PairOptions::default()).await;
    let replica = Region::start(RegionOptions { name: "replica", server_id: 3, extra_args: Vec::new() });
    for region in [&pair.eu, &pair.us, &replica] {
        region.run_all(&["SET sql_log_bin = 0", "CREATE DATABASE shop"]).await;
    }
    pair.eu.run("CREATE USER copier@'127.0.0.1' IDENTIFIED BY 'x'").await;
    pair.eu.run("GRANT REPLICATION SLAVE ON *.* TO copier@'127.0.0.1'").await;
    let executed = pair.eu.gtid_executed().await;
    replica.run(&format!("SET GLOBAL gtid_purged = '+{executed}'")).await;
    replicate(&replica, pair.eu.port(), "copier", "x", "GET_SOURCE_PUBLIC_KEY = 1").await;
    pair.start_one(Process::Relay("eu"));
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "running", SOON).await;

    let mut table = String::from("| in the target | a link | MySQL's own replica |\n|---|---|---|\n");
    for (n, case) in CASES.iter().enumerate() {
        let [link, stock] = run_case(&pair, &replica, n, case).await;
        assert!(matches!(link, Outcome::Exact | Outcome::Stopped), "{}: {link:?}", case.name);
        writeln!(table, "| {} | {} | {} |", case.name, link.words(), stock.words())
            .expect("a string takes everything");
    }
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schemas.md"));
    assert!(guide.expect("the page").contains(&table), "docs/schemas.md is to have this table:\n{table}");
}
