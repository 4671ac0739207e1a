//! Mending a damaged log: what is sound before the damage stays, the rest is put aside, and the relay fetches
//! it from its source again as if it had never had it.
//!
//! Nothing is thrown away: the damaged segment and all that follow it go to a folder `damaged-<n>` beside
//! the others. Should the source no longer have those transactions, it says so when the relay asks.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::check::{SegmentCheck, check_segments};
use crate::error::{Error, FileDamage};
use crate::files::Folder;
use crate::identity::Identity;
use crate::mark::DurableMark;
use crate::options::Options;
use crate::position::LogPosition;
use crate::recovery::lock;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Where the log ends now; `None` when nothing was damaged.
    pub end: Option<LogPosition>,
    /// Where the damaged files are.
    pub aside: Option<PathBuf>,
    /// The segments that were put aside; of the first one, what is sound stays as well.
    pub segments: Vec<u64>,
}

/// Repairs the log in `dir`, which nobody may have open. Interrupted, it can be run again.
///
/// A log whose oldest segment has lost its head can't be repaired: it no longer tells what lies before it.
/// `watch` hears of bytes as they are checked.
pub fn repair(dir: &Path, options: &Options, watch: &mut dyn FnMut(u64)) -> Result<Repaired, Error> {
    let folder = Folder::existing(dir);
    let _lock = lock(&folder)?;
    let listing = folder.list()?;
    Identity::open(&folder, options, true)?;
    let (mark, marked) = DurableMark::open(&folder)?;
    let mut checks = check_segments(&folder, &listing, marked, watch)?;
    let Some(first) = checks.iter().position(|check| check.damage.is_some()) else {
        return Ok(Repaired::default());
    };
    let rest = checks.split_off(first);
    let mut segments: Vec<_> =
        rest.iter().map(|check| check.segment).filter(|segment| listing.segments.contains(segment)).collect();
    let end = sound_end(&folder, checks.last(), &rest)?;
    let aside = new_folder(&folder)?;
    // First of all: what is put aside is no longer missed, what is cut off was never finished.
    mark.set(end)?;
    mark.sync()?;
    for segment in segments.iter().rev() {
        if *segment == end.segment {
            cut(&folder, &aside, end)?;
        } else {
            move_aside(&folder, &aside, *segment)?;
        }
    }
    segments.sort_unstable();
    Ok(Repaired { end: Some(end), aside: Some(aside), segments })
}

/// Where the sound part ends: in the damaged segment, if its head is whole, else behind the one before it.
fn sound_end(
    folder: &Folder,
    before: Option<&SegmentCheck>,
    rest: &[SegmentCheck],
) -> Result<LogPosition, Error> {
    let damaged = rest.first().filter(|check| check.whole_end > 0 && !is_out_of_place(check));
    if let Some(check) = damaged.or(before) {
        return Ok(LogPosition { segment: check.segment, offset: check.whole_end });
    }
    Err(Error::file(folder.path(), FileDamage::NothingSound))
}

/// Its bytes are sound, but it does not go on where the one before it ended.
fn is_out_of_place(check: &SegmentCheck) -> bool {
    matches!(check.damage, Some(Error::Corrupt { what: crate::Damage::Previous, .. }))
}

fn new_folder(folder: &Folder) -> Result<PathBuf, Error> {
    let mut number = 1;
    loop {
        let path = folder.path().join(format!("damaged-{number}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(e) => return Err(Error::io("make", &path, e)),
        }
    }
}

/// Newest first, and each for good before the next: a crash leaves a shorter log, never one with a gap.
fn move_aside(folder: &Folder, aside: &Path, segment: u64) -> Result<(), Error> {
    for path in [folder.segment(segment), folder.origin(segment)] {
        let Some(name) = path.file_name() else { continue };
        match fs::rename(&path, aside.join(name)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("move", &path, e)),
            _ => {}
        }
    }
    folder.sync()
}

/// Keeps a copy of the segment, and cuts it off at `end`.
fn cut(folder: &Folder, aside: &Path, end: LogPosition) -> Result<(), Error> {
    for path in [folder.segment(end.segment), folder.origin(end.segment)] {
        let Some(name) = path.file_name() else { continue };
        fs::copy(&path, aside.join(name)).map_err(|e| Error::io("copy", &path, e))?;
    }
    let path = folder.segment(end.segment);
    let file = File::options().write(true).open(&path).map_err(|e| Error::io("open", &path, e))?;
    file.set_len(end.offset).map_err(|e| Error::io("truncate", &path, e))?;
    file.sync_all().map_err(|source| Error::SyncFailed { path, source })
}
