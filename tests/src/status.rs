//! What `twinlog status --json` says.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::binary::Finished;
use crate::twinlog;

/// How long `twinlog status` may take.
const WITHIN: Duration = Duration::from_secs(20);

/// The whole answer.
#[derive(Clone, Debug)]
pub struct SyncStatus {
    /// The exit code of the command.
    pub code: i32,
    json: Value,
}

/// One link of it.
#[derive(Clone, Debug)]
pub struct LinkStatus(Value);

impl SyncStatus {
    /// Asks for it.
    pub(crate) async fn ask(config: &Path) -> Result<Self, String> {
        let finished = Finished::of(&["status", "-c", &config.to_string_lossy(), "--json"], WITHIN).await;
        Self::parse(finished.code, &finished.out).map_err(|e| format!("{e}: {}", finished.err))
    }

    /// Prints it as people see it: for a test that fails.
    pub(crate) fn show(config: &Path) {
        let status = twinlog().args(["status", "-c"]).arg(config).output();
        let status = status.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
        eprintln!("--- status\n{}", status.unwrap_or_default());
    }

    /// Reads what the command printed.
    fn parse(code: i32, text: &str) -> Result<Self, String> {
        let json = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}: {text}"))?;
        Ok(Self { code, json })
    }

    /// A link by its name.
    pub fn link(&self, name: &str) -> Result<LinkStatus, String> {
        named(&self.json["links"], "link", name)
            .map(LinkStatus)
            .ok_or(format!("no link {name} in {}", self.json))
    }

    /// The state of a relay by its region.
    pub fn relay(&self, region: &str) -> Result<LinkStatus, String> {
        let found = named(&self.json["relays"], "region", region).map(LinkStatus);
        found.ok_or(format!("no relay {region} in {}", self.json))
    }

    /// All of it, for messages.
    pub fn json(&self) -> &Value {
        &self.json
    }
}

impl LinkStatus {
    /// `connecting`, `running`, `waiting`, `failed`, `unreachable`, …
    pub fn state(&self) -> &str {
        self.0["state"].as_str().unwrap_or("")
    }

    /// A field that is text; empty when it is not there.
    pub fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or("")
    }

    /// A field that counts.
    pub fn count(&self, field: &str) -> u64 {
        self.0[field].as_u64().unwrap_or_else(|| panic!("no count {field} in {}", self.0))
    }

    /// The last error; empty when there is none.
    pub fn last_error(&self) -> &str {
        self.text("last_error")
    }

    /// The source's transaction that its last error names first.
    pub fn stopped_at(&self) -> &str {
        let gtid = self.last_error().split_whitespace().nth(1).unwrap_or_default();
        gtid.trim_end_matches(':')
    }

    /// The source's transactions that are applied or passed over.
    pub fn applied(&self) -> binlog::GtidSet {
        let text = self.text("gtid_applied");
        text.parse().unwrap_or_else(|_| panic!("no GTID set: {text:?}"))
    }

    /// All of it, for messages.
    pub fn json(&self) -> &Value {
        &self.0
    }
}

/// The element that carries this name: of a list, or of a map by name.
fn named(list: &Value, key: &str, name: &str) -> Option<Value> {
    match list {
        Value::Array(items) => items.iter().find(|i| i[key] == name || i["name"] == name).cloned(),
        Value::Object(map) => map.get(name).cloned(),
        _ => None,
    }
}
