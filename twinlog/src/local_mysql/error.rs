//! What can go wrong while a MySQL is found, fetched or started.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why there is no MySQL, or why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Every way to a MySQL was tried, none worked.
    #[error(
        "no MySQL server to be had; tried:\n{tried}\ninstall MySQL 8.0 or later so that mysqld is on the PATH, \
         or name its path in TWINLOG_MYSQLD"
    )]
    NoServer {
        /// One line per way, with the reason it failed.
        tried: String,
    },
    /// `TWINLOG_MYSQLD` names something that is no MySQL server.
    #[error("TWINLOG_MYSQLD does not name a usable mysqld: {}: {reason}", path.display())]
    NamedServer {
        /// What the variable holds.
        path: PathBuf,
        /// Why it is refused.
        reason: String,
    },
    /// The apt configuration has no Debian archive to fetch from.
    #[error("no Debian archive among the apt sources of this machine")]
    NoArchive,
    /// No folder is known to keep things in.
    #[error("no cache folder: set TWINLOG_CACHE, XDG_CACHE_HOME or HOME")]
    NoCacheFolder,
    /// A command ended with an error.
    #[error("{program} failed ({status}): {output}")]
    Command {
        /// What was run.
        program: String,
        /// How it ended.
        status: String,
        /// The end of what it said.
        output: String,
    },
    /// Reading or writing a file, or starting a program, failed.
    #[error("{what}: {}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// With which file or program.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A server ended before it answered.
    #[error("mysqld {name:?} ended while starting ({status}); the end of its log:\n{log}")]
    Died {
        /// The server's name.
        name: String,
        /// How it ended.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// A server did not answer in time.
    #[error("mysqld {name:?} did not answer within {} s; the end of its log:\n{log}", after.as_secs())]
    Silent {
        /// The server's name.
        name: String,
        /// How long was waited.
        after: Duration,
        /// The end of its log.
        log: String,
    },
    /// No port could be had.
    #[error("no free port for mysqld {name:?} after {attempts} attempts")]
    NoPort {
        /// The server's name.
        name: String,
        /// How many were tried.
        attempts: u32,
    },
}

impl Error {
    /// For `map_err`: an I/O error with what was being done to which file.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { what, path, source }
    }
}
