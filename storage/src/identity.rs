//! Whose log this is: the one file that can't be rebuilt from the segments.
//!
//! `identity.json` holds the relay's own server uuid (what downstreams see as `@@server_uuid`), the sync and
//! region the log belongs to, and the set an empty log starts after. Written whole and flushed, by rename.

use std::str::FromStr;

use binlog::GtidSet;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, FileDamage};
use crate::files::{Folder, read_small, replace_durably};
use crate::options::Options;

/// The format of the folder as a whole.
const FORMAT: u32 = 1;

/// Whose log it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) server_uuid: Uuid,
    sync: String,
    region: String,
    /// What counts as purged while the log has no segment; `None` until it was said.
    pub(crate) start: Option<GtidSet>,
}

/// The file's contents.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    server_uuid: String,
    sync: String,
    region: String,
    start: Option<String>,
}

impl Identity {
    /// Reads the identity, or makes one at the first open. A log without identity that has segments is
    /// refused: a new server uuid would make strangers of its downstreams.
    pub(crate) fn open(folder: &Folder, options: &Options, has_segments: bool) -> Result<Self, Error> {
        let path = folder.identity();
        let Some(bytes) = read_small(&path)? else {
            if has_segments {
                return Err(Error::file(&path, FileDamage::Missing));
            }
            let identity = Self {
                server_uuid: Uuid::new_v4(),
                sync: options.sync.clone(),
                region: options.region.clone(),
                start: None,
            };
            identity.store(folder)?;
            return Ok(identity);
        };
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|e| Error::file(&path, e))?;
        if stored.format != FORMAT {
            return Err(Error::Format { path: folder.path().into(), version: stored.format });
        }
        let identity = Self {
            server_uuid: Uuid::parse_str(&stored.server_uuid).map_err(|e| Error::file(&path, e))?,
            start: stored
                .start
                .map(|s| GtidSet::from_str(&s))
                .transpose()
                .map_err(|e| Error::file(&path, e))?,
            sync: stored.sync,
            region: stored.region,
        };
        identity.belongs_to(folder, options)?;
        Ok(identity)
    }

    fn belongs_to(&self, folder: &Folder, options: &Options) -> Result<(), Error> {
        let pairs = [("sync", &self.sync, &options.sync), ("region", &self.region, &options.region)];
        match pairs.into_iter().find(|(_, has, wanted)| has != wanted) {
            None => Ok(()),
            Some((key, has, wanted)) => Err(Error::Foreign {
                path: folder.path().into(),
                key,
                has: has.clone(),
                wanted: wanted.clone(),
            }),
        }
    }

    /// Writes it.
    pub(crate) fn store(&self, folder: &Folder) -> Result<(), Error> {
        let path = folder.identity();
        let stored = Stored {
            format: FORMAT,
            server_uuid: self.server_uuid.to_string(),
            sync: self.sync.clone(),
            region: self.region.clone(),
            start: self.start.as_ref().map(ToString::to_string),
        };
        let text = serde_json::to_vec_pretty(&stored).map_err(|e| Error::file(&path, e))?;
        replace_durably(folder, &path, &text)
    }
}
