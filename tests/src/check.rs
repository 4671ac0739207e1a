//! What `twinlog check` says, for tests.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::{Finished, Pair};

/// How long a check may take.
const WITHIN: Duration = Duration::from_secs(60);

/// A check that was run.
#[derive(Debug)]
pub struct Check {
    /// Its exit code.
    pub code: i32,
    /// The whole answer.
    pub json: Value,
}

/// One of its items.
#[derive(Clone, Debug)]
pub struct Item(pub Value);

impl Check {
    /// Runs `twinlog check --json` with these further arguments.
    pub async fn run(config: &Path, args: &[&str]) -> Self {
        let config = config.to_string_lossy();
        let mut all = vec!["check", "-c", &config, "--json"];
        all.extend(args);
        let finished = Finished::of(&all, WITHIN).await;
        let json = serde_json::from_str(&finished.out).unwrap_or_else(|e| panic!("no JSON: {e}; {finished}"));
        Self { code: finished.code, json }
    }

    /// Of a pair's configuration.
    pub async fn of(pair: &Pair) -> Self {
        Self::run(pair.config(), &[]).await
    }

    /// Every item.
    pub fn items(&self) -> Vec<Item> {
        self.json["items"].as_array().expect("items").iter().cloned().map(Item).collect()
    }

    /// The items of this name.
    pub fn all(&self, item: &str) -> Vec<Item> {
        self.items().into_iter().filter(|i| i.name() == item).collect()
    }

    /// The item of this name that is about a region, its server included, or a pair in which it comes first.
    pub fn item(&self, item: &str, region: &str) -> Item {
        let found = self.all(item).into_iter().find(|i| i.0["region"] == region);
        found.unwrap_or_else(|| panic!("no {item} of {region} in {:#}", self.json))
    }

    /// What has this status, as `item region subject: found`.
    pub fn with_status(&self, status: &str) -> Vec<String> {
        self.items().iter().filter(|i| i.status() == status).map(Item::line).collect()
    }
}

impl Item {
    /// Its name.
    pub fn name(&self) -> &str {
        self.text("item")
    }

    /// `pass`, `warn`, `fail` or `skipped`.
    pub fn status(&self) -> &str {
        self.text("status")
    }

    /// What was found.
    pub fn found(&self) -> &str {
        self.text("found")
    }

    /// Which of several; empty when there is only one.
    pub fn subject(&self) -> &str {
        self.text("subject")
    }

    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }

    /// The statements that mend it, each with the region where it is to be run.
    pub fn sql(&self) -> Vec<(String, String)> {
        let fixes = self.0["fix"].as_array().expect("a list of fixes").iter().filter(|f| f["kind"] == "sql");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        fixes.map(|f| (text(&f["region"]), text(&f["text"]))).collect()
    }

    /// `item region subject: found`.
    pub fn line(&self) -> String {
        format!("{} {} {}: {}", self.name(), self.text("region"), self.subject(), self.found())
    }
}
