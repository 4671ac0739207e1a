//! The initialised data folder: made once per server version, then copied for every server.
//!
//! Initialising takes seconds, copying a fraction of one. Root has no password and may log in by the socket and,
//! because servers run without name resolution, from 127.0.0.1.

use std::fs;
use std::path::{Path, PathBuf};

use super::cache::Cache;
use super::command::run;
use super::{Error, Installation, Result};

/// Raised whenever what is made here changes, so that older templates are not used.
const RECIPE: u32 = 1;

/// What the initialisation runs at its end; nothing of it enters a binlog.
const ACCOUNTS: &str = "CREATE USER 'root'@'127.0.0.1' IDENTIFIED BY '';\n\
                        GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n";

/// Files that must not be shared by two servers, or are made anew at each start.
const NOT_COPIED: [&str; 2] = ["auto.cnf", "#innodb_temp"];

/// Fills `datadir`, which does not exist yet, with a fresh data folder.
pub(super) fn instantiate(installation: &Installation, datadir: &Path) -> Result<()> {
    let cache = Cache::open()?;
    let template = cache.template(&format!("{}-{RECIPE}", installation.key()));
    let mut progress = |message: &str| tracing::info!("{message}");
    cache.once(&template, &mut progress, |work, progress| make(installation, work, progress))?;
    copy_folder(&template, datadir)
}

fn make(installation: &Installation, work: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    progress("preparing an empty MySQL data folder");
    let (data, accounts) = (work.join("data"), work.join("accounts.sql"));
    fs::write(&accounts, ACCOUNTS).map_err(Error::io("cannot write", &accounts))?;
    let mut command = installation.mysqld();
    command.arg("--initialize-insecure");
    command.arg(format!("--datadir={}", data.display()));
    command.arg(format!("--init-file={}", accounts.display()));
    command.args(["--loose-innodb-redo-log-capacity=8M", "--secure-file-priv=NULL", "--loose-mysqlx=OFF"]);
    run(&mut command)?;
    Ok(data)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(Error::io("cannot make a data folder", to))?;
    for entry in fs::read_dir(from).map_err(Error::io("cannot read", from))? {
        let entry = entry.map_err(Error::io("cannot read", from))?;
        let (name, source) = (entry.file_name(), entry.path());
        if NOT_COPIED.iter().any(|n| name == *n) {
            continue;
        }
        let kind = entry.file_type().map_err(Error::io("cannot read", &source))?;
        if kind.is_dir() {
            copy_folder(&source, &to.join(&name))?;
        } else if kind.is_file() {
            fs::copy(&source, to.join(&name)).map_err(Error::io("cannot copy", &source))?;
        }
    }
    Ok(())
}
