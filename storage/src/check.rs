//! Verifying a log that is not open: every checksum, every order, every seam between segments.
//!
//! Nothing is changed, nothing is locked: it can be run beside a relay that writes (then the tail that is
//! being written is told as unfinished).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use binlog::GtidSet;

use crate::error::{Damage, Error};
use crate::files::{Folder, Listing};
use crate::follower::Follower;
use crate::head::SegmentHead;
use crate::mark::DurableMark;
use crate::position::LogPosition;
use crate::scan::scan;
use crate::torn::{Verdict, judge};

/// What was found of one segment.
#[derive(Debug)]
pub struct SegmentCheck {
    /// Its number.
    pub segment: u64,
    /// Its file.
    pub path: PathBuf,
    /// Where the last whole transaction before any damage ends.
    pub whole_end: u64,
    /// The transactions up to there.
    pub gtids: GtidSet,
    /// Bytes behind them that were not finished when the log was last written: the next open cuts them off.
    pub unfinished: u64,
    /// What is wrong with it.
    pub damage: Option<Error>,
}

/// Verifies all segments of the log in `dir`, oldest first. An error is one of reading the folder; what is wrong
/// with the log is in the result. `watch` hears of bytes as they are read.
pub fn check(dir: &Path, watch: &mut dyn FnMut(u64)) -> Result<Vec<SegmentCheck>, Error> {
    let folder = Folder::existing(dir);
    check_segments(&folder, &folder.list()?, DurableMark::read(&folder)?, watch)
}

/// The same, with what was read before.
pub(crate) fn check_segments(
    folder: &Folder,
    listing: &Listing,
    mark: Option<LogPosition>,
    watch: &mut dyn FnMut(u64),
) -> Result<Vec<SegmentCheck>, Error> {
    let marked = mark.map_or(0, |mark| mark.segment);
    let last = listing.segments.last().copied().unwrap_or(0).max(marked);
    let first = listing.segments.first().copied().unwrap_or(marked.max(1));
    let mut received: Option<GtidSet> = None;
    let mut checks = Vec::new();
    for segment in first..=last {
        let path = folder.segment(segment);
        let mut check =
            SegmentCheck { segment, path, whole_end: 0, gtids: GtidSet::new(), unfinished: 0, damage: None };
        let next = SegmentHead::read(folder, segment).and_then(|head| {
            let follows = received.as_ref().is_none_or(|received| *received == *head.previous);
            check_one(folder, &Arc::new(head), follows, (segment == last).then_some(mark), &mut check)
        });
        watch(check.path.metadata().map_or(0, |meta| meta.len()));
        received = match next {
            Ok(received) => Some(received),
            Err(_) if !listing.segments.contains(&segment) => {
                check.damage = Some(Error::MissingSegment { path: check.path.clone() });
                None
            }
            Err(e) => {
                check.damage = Some(e);
                None
            }
        };
        checks.push(check);
    }
    Ok(checks)
}

/// Scans one segment; gives all that was received up to its end. `newest` is the mark, for the newest one.
fn check_one(
    folder: &Folder,
    head: &Arc<SegmentHead>,
    follows: bool,
    newest: Option<Option<LogPosition>>,
    check: &mut SegmentCheck,
) -> Result<GtidSet, Error> {
    let segment = head.segment;
    let mut follower = Follower::new((*head.previous).clone());
    let found = scan(folder, head, &mut follower)?;
    check.whole_end = follower.whole.end;
    check.gtids = follower.received.minus(&head.previous);
    let (at, length) = (found.at, found.length);
    match newest {
        None => found.must_be_clean(segment)?,
        Some(mark) => match judge(found, segment, mark) {
            Verdict::Refuse(what) => return Err(Error::corrupt(segment, at, what)),
            Verdict::Sound | Verdict::Trim { .. } => check.unfinished = length - follower.whole.end,
        },
    }
    // Told last: what else is wrong says more.
    if follows { Ok(follower.received) } else { Err(Error::corrupt(segment, 0, Damage::Previous)) }
}
