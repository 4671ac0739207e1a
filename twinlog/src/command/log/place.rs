//! Which relay log, and is it here.

use std::path::{Path, PathBuf};

use storage::{LogIdentity, LogView, Options};
use twinlog::config::{self, File};

use crate::cli::{FileArgs, LogPlace, OwnLog};
use crate::failure::Failure;

/// A relay log's folder, and what the configuration says of it.
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) configured: Option<Configured>,
}

/// A log that belongs to a region of the configuration.
pub(super) struct Configured {
    pub(super) file: File,
    pub(super) region: String,
    /// Key and name of each link that starts there.
    pub(super) links: Vec<(String, String)>,
}

impl Configured {
    /// What the log is opened with.
    pub(super) fn options(&self) -> Options {
        Options::new(&self.file.sync.name, &self.region)
    }
}

impl Place {
    /// Finds the log that the command line names.
    pub(super) fn of(args: &LogPlace) -> Result<Self, Failure> {
        match (&args.config, &args.region, &args.dir) {
            (Some(config), Some(region), None) => Self::of_region(config, region),
            (None, None, Some(dir)) => Ok(Self { dir: dir.clone(), configured: None }),
            _ => Err(Failure::usage("name the log by -c FILE --region NAME, or by --dir DIR")),
        }
    }

    /// Finds the log of a region that is to be changed.
    pub(super) fn own(args: &OwnLog) -> Result<(PathBuf, Configured), Failure> {
        let Self { dir, configured } = Self::of_region(&args.file.config, &args.region)?;
        let configured = configured.ok_or_else(|| Failure::usage("name the log by -c FILE --region NAME"))?;
        Ok((dir, configured))
    }

    fn of_region(config: &Path, region: &str) -> Result<Self, Failure> {
        let file = crate::command::load(&FileArgs { config: config.to_path_buf() })?;
        let dir = config::region_with_relay(&file, region)?.1.dir.clone();
        let links = config::links_from(&file, region);
        Ok(Self { dir, configured: Some(Configured { file, region: region.to_owned(), links }) })
    }

    /// Is there a log in the folder? One that belongs to another region is refused.
    pub(super) fn is_here(&self) -> Result<bool, Failure> {
        let failed = |e: &storage::Error| Failure::from_diagnosis(&self.cannot("read"), e);
        let Some(identity) = LogIdentity::read(&self.dir).map_err(|e| failed(&e))? else { return Ok(false) };
        let Some(Configured { file, region, .. }) = &self.configured else { return Ok(true) };
        let pairs = [("sync", identity.sync, &file.sync.name), ("region", identity.region, region)];
        for (key, has, wanted) in pairs {
            if has != *wanted {
                let (path, wanted) = (self.dir.clone(), wanted.clone());
                return Err(failed(&storage::Error::Foreign { path, key, has, wanted }));
            }
        }
        Ok(true)
    }

    /// Refuses a folder without a log.
    pub(super) fn must_be_here(&self) -> Result<(), Failure> {
        if self.is_here()? {
            return Ok(());
        }
        let remedy = if self.configured.is_some() {
            "run this on the relay's host, correct relay.dir, or start the relay: it makes the log"
        } else {
            "name the folder that relay.dir names; it holds a file identity.json"
        };
        Err(Failure::failed(format!("there is no relay log in {}", self.dir.display())).with_remedy(remedy))
    }

    /// Looks at the log.
    pub(super) fn view(&self) -> Result<LogView, Failure> {
        self.must_be_here()?;
        LogView::new(&self.dir).map_err(|e| Failure::from_diagnosis(&self.cannot("read"), &e))
    }

    /// `cannot read the relay log in …`
    pub(super) fn cannot(&self, what: &str) -> String {
        format!("cannot {what} the relay log in {}", self.dir.display())
    }
}

/// An error of an action that needs the log for itself.
pub(super) fn exclusive_failure(doing: &str, error: &storage::Error, remedy: &str) -> Failure {
    let failure = Failure::from_diagnosis(doing, error);
    match error {
        storage::Error::Locked { .. } => failure.with_remedy(remedy),
        _ => failure,
    }
}
