//! `twinlog verify`, run and understood.

use std::time::Duration;

use serde_json::Value;

use crate::binary::Finished;
use crate::{Pair, Region};

/// Longer than any comparison of a test takes.
const WITHIN: Duration = Duration::from_secs(180);

/// What a comparison said.
#[derive(Debug)]
pub struct Verified {
    /// Its exit code.
    pub code: i32,
    /// `--json`.
    pub json: Value,
    /// Its standard error.
    pub err: String,
}

impl Pair {
    /// Runs `twinlog verify --json` with further arguments to its end.
    pub async fn verify(&self, args: &[&str]) -> Verified {
        let config = self.config().to_string_lossy().into_owned();
        let mut all = vec!["verify", "-c", &config, "--json"];
        all.extend(args);
        Verified::of(&Finished::of(&all, WITHIN).await)
    }

    /// Lets the account that writes in both regions see triggers, which a repair asks for.
    pub async fn allow_repairs(&self) {
        for region in [&self.eu, &self.us] {
            region
                .run(&format!("GRANT TRIGGER ON shop.* TO '{}'@'127.0.0.1'", crate::accounts::WRITER))
                .await;
        }
    }
}

impl Region {
    /// Changes rows behind the links' back: nothing of it is in the binary log.
    pub async fn drift<S: AsRef<str>>(&self, statements: &[S]) {
        let mut all = vec!["SET NAMES utf8mb4", "SET sql_log_bin = 0, sql_mode = '', time_zone = '+00:00'"];
        all.extend(statements.iter().map(AsRef::as_ref));
        self.run_all(&all).await;
    }
}

impl Verified {
    /// Reads what a run with `--json` said.
    pub fn of(finished: &Finished) -> Self {
        let json = serde_json::from_str(&finished.out).unwrap_or(Value::Null);
        assert!(finished.code < 2 && (json.is_object() || finished.code == 1), "no outcome; {finished}");
        Self { code: finished.code, json, err: finished.err.clone() }
    }

    /// `equal`, `different` or `unsettled`.
    pub fn result(&self) -> &str {
        self.json["result"].as_str().unwrap_or("none")
    }

    /// Asserts that nothing differs and nothing is in doubt.
    pub fn assert_equal(&self) {
        assert_eq!((self.code, self.result()), (0, "equal"), "{self}");
    }

    /// Every differing row: `table key rows-in-eu rows-in-us column: eu | us; …`, sorted.
    pub fn differences(&self) -> Vec<String> {
        let tables = self.json["tables"].as_array().cloned().unwrap_or_default();
        let mut all: Vec<String> = tables.iter().flat_map(|t| rows(&t["differences"])).collect();
        all.sort();
        all
    }

    /// One table's part of the outcome.
    pub fn table(&self, name: &str) -> &Value {
        let tables = self.json["tables"].as_array().map(Vec::as_slice).unwrap_or_default();
        tables
            .iter()
            .find(|t| t["table"] == name)
            .unwrap_or_else(|| panic!("{name} was not compared; {self}"))
    }
}

fn rows(list: &Value) -> Vec<String> {
    let shown = |row: &Value| {
        let columns = row["columns"].as_object().cloned().unwrap_or_default();
        let column =
            |(name, values): (&String, &Value)| format!("{name}: {} | {}", values["eu"], values["us"]);
        let columns: Vec<String> = columns.iter().map(column).collect();
        let (table, key) = (row["table"].as_str().unwrap_or_default(), &row["key"]);
        format!("{table} {key} {}/{} {}", row["rows"]["eu"], row["rows"]["us"], columns.join("; "))
    };
    list.as_array().map(|rows| rows.iter().map(shown).collect()).unwrap_or_default()
}

impl std::fmt::Display for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "it exited with {}\n--- outcome\n{:#}\n--- stderr\n{}", self.code, self.json, self.err)
    }
}
