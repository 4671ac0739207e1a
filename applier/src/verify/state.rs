//! How far a comparison is, in a file under the sync's state folder, for `--resume`.
//!
//! It is written whole under another name and renamed, so that it is the old one or the new one. A run that ends takes
//! it away.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;
use super::report::{TableReport, Unfinished};

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    /// What is compared: a file of another run is of no use.
    pub(super) of: String,
    pub(super) done: Vec<TableReport>,
    pub(super) current: Option<Unfinished>,
}

/// Where it is kept; nowhere, where nobody will resume.
pub(super) struct Keeper(pub(super) Option<PathBuf>);

impl Keeper {
    /// Reads what an interrupted run left.
    pub(super) fn load(&self, of: &str) -> Result<State, Error> {
        let Some(path) = &self.0 else { return Ok(State::default()) };
        let bad = |what: String| Error::State { path: path.clone(), what };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(bad("there is none: no comparison was interrupted".into()));
            }
            Err(error) => return Err(bad(error.to_string())),
        };
        let state: State = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
        if state.of != of {
            return Err(bad("it is of a comparison of other tables or regions".into()));
        }
        Ok(state)
    }

    /// Writes it down.
    pub(super) fn save(&self, state: &State) -> Result<(), Error> {
        let Some(path) = &self.0 else { return Ok(()) };
        write(path, state).map_err(|error| Error::State { path: path.clone(), what: error.to_string() })
    }

    /// The comparison is done.
    pub(super) fn remove(&self) -> Result<(), Error> {
        let Some(path) = &self.0 else { return Ok(()) };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::State { path: path.clone(), what: error.to_string() })
            }
            _ => Ok(()),
        }
    }
}

fn write(path: &Path, state: &State) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let new = path.with_extension("new");
    std::fs::write(&new, serde_json::to_vec(state)?)?;
    std::fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::{Keeper, State};

    #[test]
    fn a_state_is_read_back_by_the_comparison_it_is_of_and_no_other() {
        let folder = std::env::temp_dir().join(format!("twinlog-verify-{}", uuid::Uuid::new_v4()));
        let keeper = Keeper(Some(folder.join("verify.json")));
        assert!(keeper.load("a").unwrap_err().to_string().contains("no comparison was interrupted"));
        let state = State { of: "a".into(), ..State::default() };
        keeper.save(&state).unwrap();
        assert_eq!(keeper.load("a").unwrap(), state);
        assert!(keeper.load("b").unwrap_err().to_string().contains("other tables"));
        keeper.remove().unwrap();
        keeper.remove().unwrap();
        assert!(keeper.load("a").is_err());
        std::fs::remove_dir(folder).unwrap();
    }
}
