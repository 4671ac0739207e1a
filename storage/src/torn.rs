//! Telling a write that never finished from damage.
//!
//! A process killed, or a machine without power, leaves the last segment with a tail that means nothing:
//! half an event, half a transaction, pages that were never written. It is cut off, and the source sends it
//! again. The same bytes in front of the place up to which the log had been flushed ([`crate::mark`]) are
//! damage, and damage is never cut off: it stops the open, with the place.
//!
//! A file that is *shorter* than that place was cut off by somebody else (a copy that was cut short, a file
//! system repaired). What is left is sound as long as it ends in the middle of something, and the GTID
//! set that the log resumes from is read from what is left, so it is trimmed like any other tail, with a
//! warning: the source is asked for the rest, and says so if it does not have it any more.

use crate::error::Damage;
use crate::position::LogPosition;
use crate::scan::{Scan, Stop};

/// What is to be done about the end of the last segment.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Nothing is wrong.
    Sound,
    /// Cut it off behind the last whole transaction.
    Trim {
        /// Bytes that had been flushed are among what is missing or cut off.
        lost_durable: bool,
    },
    /// It is damaged.
    Refuse(Damage),
}

/// Judges the scan of the last segment. `mark` is how far the log had been flushed; without one (the file is
/// lost) everything that is there counts as flushed.
pub(crate) fn judge(scan: Scan, segment: u64, mark: Option<LogPosition>) -> Verdict {
    let durable = match mark {
        None => scan.length,
        Some(mark) if mark.segment == segment => mark.offset,
        // The flushes had not come to this segment.
        Some(_) => 0,
    };
    let shortened = scan.length < durable;
    match scan.stop {
        Stop::Clean if shortened => Verdict::Trim { lost_durable: true },
        Stop::Clean => Verdict::Sound,
        Stop::Unfinished | Stop::Cut(_) if shortened => Verdict::Trim { lost_durable: true },
        // A cut without a mark: what is missing can't be told, what is there is sound.
        Stop::Unfinished | Stop::Cut(_) if mark.is_none() => Verdict::Trim { lost_durable: false },
        Stop::Unfinished if scan.length <= durable => Verdict::Refuse(Damage::Unfinished),
        Stop::Cut(what) | Stop::Bad(what) if scan.at < durable => Verdict::Refuse(what),
        Stop::Unfinished | Stop::Cut(_) | Stop::Bad(_) => Verdict::Trim { lost_durable: false },
    }
}

/// May a last segment of `length` bytes whose head can't be read be removed? Its head is flushed before it
/// counts, so either it was being made when the end came, or it was cut off inside its head.
pub(crate) fn may_remove(segment: u64, length: u64, mark: Option<LogPosition>, has_earlier: bool) -> bool {
    let shortened = mark.is_some_and(|mark| mark > LogPosition { segment, offset: length });
    let was_being_made = mark.is_some_and(|mark| mark.segment < segment);
    // Without an earlier segment, what lies before this one would be forgotten with it, unless it is the first.
    (was_being_made || shortened) && (has_earlier || segment == 1)
}

#[cfg(test)]
mod tests {
    use super::{Verdict, judge, may_remove};
    use crate::error::Damage;
    use crate::position::LogPosition;
    use crate::scan::{Scan, Stop};

    const CUT: Damage = Damage::Cut { size: 100, has: 10 };

    fn verdict(length: u64, at: u64, stop: Stop, mark: Option<(u64, u64)>) -> &'static str {
        let mark = mark.map(|(segment, offset)| LogPosition { segment, offset });
        match judge(Scan { length, at, stop }, 7, mark) {
            Verdict::Sound => "sound",
            Verdict::Trim { lost_durable: false } => "trim",
            Verdict::Trim { lost_durable: true } => "trim, durable bytes lost",
            Verdict::Refuse(_) => "refuse",
        }
    }

    #[test]
    fn what_was_never_flushed_is_trimmed_and_what_was_is_refused() {
        let bad = || Stop::Bad(Damage::Magic);
        assert_eq!(verdict(500, 500, Stop::Clean, Some((7, 500))), "sound");
        assert_eq!(verdict(500, 400, bad(), Some((7, 400))), "trim");
        assert_eq!(verdict(500, 399, bad(), Some((7, 400))), "refuse");
        assert_eq!(verdict(500, 300, Stop::Cut(CUT), Some((6, 9999))), "trim");
        assert_eq!(verdict(500, 300, Stop::Cut(CUT), Some((7, 500))), "refuse", "a size made too large");
        assert_eq!(verdict(500, 500, Stop::Unfinished, Some((7, 300))), "trim");
        assert_eq!(verdict(500, 500, Stop::Unfinished, Some((7, 500))), "refuse");
    }

    #[test]
    fn a_file_cut_short_is_trimmed_also_below_the_mark() {
        assert_eq!(verdict(450, 450, Stop::Unfinished, Some((7, 500))), "trim, durable bytes lost");
        assert_eq!(verdict(450, 430, Stop::Cut(CUT), Some((7, 500))), "trim, durable bytes lost");
        assert_eq!(verdict(450, 450, Stop::Clean, Some((7, 500))), "trim, durable bytes lost");
        assert_eq!(verdict(450, 200, Stop::Bad(Damage::Magic), Some((7, 500))), "refuse");
    }

    #[test]
    fn without_a_mark_only_a_cut_is_trimmed() {
        assert_eq!(verdict(500, 480, Stop::Cut(CUT), None), "trim");
        assert_eq!(verdict(500, 500, Stop::Unfinished, None), "trim");
        assert_eq!(verdict(500, 200, Stop::Bad(Damage::Magic), None), "refuse");
    }

    #[test]
    fn a_segment_without_a_whole_head_goes_only_when_nothing_is_lost_with_it() {
        let at = |segment, offset| Some(LogPosition { segment, offset });
        assert!(may_remove(7, 200, at(6, 5000), true), "it was being made");
        assert!(!may_remove(7, 200, at(7, 200), true), "it was whole, and is damaged");
        assert!(!may_remove(7, 200, None, true));
        assert!(may_remove(7, 100, at(7, 200), true), "it was cut");
        assert!(!may_remove(7, 100, at(7, 200), false), "what was purged before it would be forgotten");
        assert!(may_remove(1, 100, at(1, 200), false));
    }
}
