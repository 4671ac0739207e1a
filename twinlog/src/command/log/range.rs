//! Which transactions: by GTID, by commit time, or both.

use binlog::{Gtid, GtidSet};
use storage::SegmentInfo;

use super::micros;
use crate::cli::RangeArgs;
use crate::failure::Failure;

/// Commit times within a log are not strictly ascending: clocks are set, and commits overtake each other. A
/// segment is left out unread only when it is this far outside, microseconds.
const SLACK: u64 = 3600 * 1_000_000;

/// A range; without bounds, everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Range {
    pub(super) gtids: Option<GtidSet>,
    since: u64,
    until: Option<u64>,
}

impl Range {
    /// The range that the command line asks for.
    pub(super) fn of(args: &RangeArgs) -> Result<Self, Failure> {
        let (since, until) = (args.since.map_or(0, micros), args.until.map(micros));
        if until.is_some_and(|until| until < since) {
            return Err(Failure::usage("--until is before --since"));
        }
        Ok(Self { gtids: args.gtids.clone(), since, until })
    }

    /// Can it hold this segment's transactions?
    pub(super) fn may_be_in(&self, segment: &SegmentInfo) -> bool {
        let ends_before = segment.last_commit != 0 && segment.last_commit.saturating_add(SLACK) < self.since;
        let begins_after = self.until.is_some_and(|until| segment.first_commit > until.saturating_add(SLACK));
        let has_some = |set: &GtidSet| !set.intersection(&segment.gtids).is_empty();
        !ends_before && !begins_after && self.gtids.as_ref().is_none_or(has_some)
    }

    /// Is this transaction asked for by its GTID?
    pub(super) fn names(&self, gtid: Option<&Gtid>) -> bool {
        self.gtids.as_ref().is_none_or(|set| gtid.is_some_and(|gtid| set.contains(gtid)))
    }

    /// Is it committed within the range's times?
    pub(super) fn is_timely(&self, commit: u64) -> bool {
        commit >= self.since && self.until.is_none_or(|until| commit <= until)
    }

    /// What of the GTIDs that are asked for a log does not have.
    pub(super) fn missing(&self, durable: &GtidSet, purged: &GtidSet) -> GtidSet {
        self.gtids.as_ref().map(|set| set.minus(&durable.minus(purged))).unwrap_or_default()
    }

    /// How many transactions of a log are asked for by their GTIDs; `None` when none is named.
    pub(super) fn named_in(&self, durable: &GtidSet, purged: &GtidSet) -> Option<u64> {
        self.gtids.as_ref().map(|set| set.intersection(&durable.minus(purged)).count())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use binlog::GtidSet;
    use storage::SegmentInfo;
    use uuid::Uuid;

    use super::{Range, SLACK};

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn set(numbers: &str) -> GtidSet {
        format!("{UUID}:{numbers}").parse().unwrap()
    }

    fn segment(gtids: &str, first_commit: u64, last_commit: u64) -> SegmentInfo {
        SegmentInfo {
            segment: 1,
            server_uuid: Uuid::nil(),
            file: "binlog.000001".into(),
            source_begin: 4,
            source_end: 100,
            bytes: 100,
            first_commit,
            last_commit,
            previous: Arc::default(),
            gtids: set(gtids),
        }
    }

    #[test]
    fn segments_are_left_out_only_when_nothing_in_them_can_be_meant() {
        let hour = SLACK;
        let gtids = Range { gtids: Some(set("5-9")), ..Range::default() };
        assert!(gtids.may_be_in(&segment("1-5", 0, 0)));
        assert!(!gtids.may_be_in(&segment("10-12", 0, 0)));
        let times = Range { since: 10 * hour, until: Some(11 * hour), gtids: None };
        assert!(times.may_be_in(&segment("1", 0, 0)), "no times are told");
        assert!(times.may_be_in(&segment("1", 8 * hour, 9 * hour)), "clocks go wrong by a little");
        assert!(!times.may_be_in(&segment("1", 7 * hour, 9 * hour - 1)));
        assert!(!times.may_be_in(&segment("1", 12 * hour + 1, 13 * hour)));
        assert!(times.is_timely(10 * hour) && times.is_timely(11 * hour) && !times.is_timely(11 * hour + 1));
    }

    #[test]
    fn what_is_purged_or_not_there_yet_is_missing() {
        let range = Range { gtids: Some(set("3-20")), ..Range::default() };
        assert_eq!(range.missing(&set("1-10"), &set("1-4")), set("3-4:11-20"));
        assert_eq!(range.named_in(&set("1-10"), &set("1-4")), Some(6));
        assert!(range.names(Some(&format!("{UUID}:3").parse().unwrap())) && !range.names(None));
        assert!(Range::default().names(None) && Range::default().missing(&set("1"), &set("1")).is_empty());
    }
}
