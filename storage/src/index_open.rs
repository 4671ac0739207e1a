//! Opening sled's folder, whatever state a crash left it in.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use sled::Db;

use crate::error::Error;
use crate::files::Folder;
use crate::index::Index;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Opens the index; one that can't be opened is put aside and a new, empty one made. The log's own lock is
/// held, so nobody else is in there.
pub(crate) fn open(folder: &Folder) -> Result<Index, Error> {
    let path = folder.index();
    match try_open(&path) {
        Ok(index) => return Ok(index),
        Err(e) => {
            tracing::warn!(error = %e, path = %path.display(), "relay log's index can't be opened; rebuilding it from the segments");
        }
    }
    put_aside(folder, &path)?;
    try_open(&path).map_err(|source| Error::Index { path, source })
}

/// Only the last one that failed is kept, for whoever wants to look.
fn put_aside(folder: &Folder, path: &Path) -> Result<(), Error> {
    let aside = folder.path().join("index.unusable");
    match fs::remove_dir_all(&aside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io("remove", &aside, e)),
        _ => {}
    }
    fs::rename(path, &aside).map_err(|e| Error::io("rename", path, e))
}

fn try_open(path: &Path) -> Result<Index, Cause> {
    fs::create_dir_all(path)?;
    remove_unfinished_snapshots(path)?;
    Ok(Index::new(open_db(path)?)?)
}

/// A crash while sled wrote a snapshot leaves a `*.generating` file, and sled then takes its folder for
/// corrupt. The snapshot that counts got its name by a rename, so these can go.
fn remove_unfinished_snapshots(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// How long an earlier instance in this process may take to let go of sled's own lock.
const WIND_DOWN: Duration = Duration::from_secs(5);

fn open_db(path: &Path) -> Result<Db, Cause> {
    let deadline = Instant::now() + WIND_DOWN;
    loop {
        let config = sled::Config::new()
            .path(path)
            // Its default is 1 GiB; the index of a 10 GB log is some 2 MB.
            .cache_capacity(32 << 20)
            // Without it no fsync happens until the database is closed.
            .flush_every_ms(Some(200))
            .mode(sled::Mode::LowSpace);
        // Some damage makes it panic instead of failing.
        let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
        match opened {
            Ok(Ok(db)) => return Ok(db),
            // It has no kind of error for this. Its threads close a database after its last handle is gone.
            Ok(Err(e)) if e.to_string().contains("could not acquire lock") && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(Err(e)) => return Err(e.into()),
            Err(_) => return Err("sled panicked".into()),
        }
    }
}
