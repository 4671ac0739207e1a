//! The last comparison on this host, kept in the state folder for `twinlog status`.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::view::Outcome;
use crate::failure::Failure;

/// Its name in the state folder.
const FILE: &str = "verified.json";

/// What the last comparison found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LastVerified {
    /// When it ended, RFC 3339.
    pub(crate) at: String,
    /// `equal`, `different` or `unsettled`; or that the file can't be read, and why.
    pub(crate) result: String,
    /// How long it took.
    pub(crate) seconds: f64,
    /// Rows read.
    pub(crate) rows: u64,
    /// The tables compared.
    pub(crate) tables: Vec<LastTable>,
}

/// One table of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastTable {
    /// `database.table`
    pub(crate) table: String,
    /// The two regions.
    pub(crate) regions: (String, String),
    /// As of the whole.
    pub(crate) result: String,
    /// Rows named as different; a repair may have mended them since.
    pub(crate) differences: usize,
}

impl LastVerified {
    /// Of a comparison that ends now.
    fn of(outcome: &Outcome) -> Self {
        let table = |t: &applier::verify::TableReport| LastTable {
            table: t.table.clone(),
            regions: (t.left.clone(), t.right.clone()),
            result: t.result().into(),
            differences: t.differences.len(),
        };
        Self {
            at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            result: outcome.word().into(),
            seconds: outcome.seconds,
            rows: outcome.tables.iter().map(|t| t.rows).sum(),
            tables: outcome.tables.iter().map(table).collect(),
        }
    }

    /// When it ended, Unix time in seconds.
    pub(crate) fn ended_at(&self) -> Option<f64> {
        let at = humantime::parse_rfc3339(&self.at).ok()?;
        at.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64())
    }

    /// How long ago, as far as the clock can be believed.
    pub(crate) fn age(&self) -> Option<Duration> {
        let at = humantime::parse_rfc3339(&self.at).ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        Some(Duration::from_secs(now.saturating_sub(at.duration_since(UNIX_EPOCH).ok()?).as_secs()))
    }
}

/// Keeps it; whole or not at all.
pub(super) fn write(state_dir: &Path, outcome: &Outcome) -> Result<(), Failure> {
    let path = state_dir.join(FILE);
    let new = path.with_extension("new");
    let text = serde_json::to_vec(&LastVerified::of(outcome)).map_err(std::io::Error::from);
    let done = std::fs::create_dir_all(state_dir)
        .and(text)
        .and_then(|text| std::fs::write(&new, text))
        .and_then(|()| std::fs::rename(&new, &path));
    done.map_err(|e| Failure::from_error(&format!("cannot keep the outcome in {}", path.display()), &e))
}

/// The last one, if there was any on this host.
pub(crate) fn read(state_dir: &Path) -> Option<LastVerified> {
    let path = state_dir.join(FILE);
    let unreadable = |why: &dyn std::fmt::Display| LastVerified {
        at: String::new(),
        result: format!("unreadable: {}: {why}", path.display()),
        seconds: 0.0,
        rows: 0,
        tables: Vec::new(),
    };
    match std::fs::read(&path) {
        Ok(text) => Some(serde_json::from_slice(&text).unwrap_or_else(|e| unreadable(&e))),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => Some(unreadable(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::Outcome;

    #[test]
    fn the_last_outcome_is_kept_and_a_broken_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(super::read(folder.path()), None);
        let outcome = Outcome { sync: "shop".into(), seconds: 1.5, tables: Vec::new(), repair: None };
        super::write(folder.path(), &outcome).unwrap();
        let last = super::read(folder.path()).unwrap();
        assert_eq!((last.result.as_str(), last.seconds), ("equal", 1.5));
        assert!(last.age().unwrap().as_secs() < 60);
        std::fs::write(folder.path().join(super::FILE), "{").unwrap();
        assert!(super::read(folder.path()).unwrap().result.starts_with("unreadable: "));
    }
}
