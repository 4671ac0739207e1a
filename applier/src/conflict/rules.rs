//! The rules of a conflict, alike on both sides: pure, and all there is to decide.
//!
//! **A conflict is**: a row that an incoming transaction changes was also changed in the target by a transaction that
//! the incoming one's region had not seen. [`decide`] says who wins. That all regions end equal under these rules is
//! shown by the model in this module's tests.

use serde::{Deserialize, Serialize};

/// What to do about a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Stop, and show both rows.
    Report,
    /// The target's row stays.
    Ignore,
    /// The incoming row wins.
    Overwrite,
    /// The later one wins, by hybrid time.
    Newest,
}

/// How a conflict is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detect {
    /// By the window of keys that the target changed unseen.
    Row,
    /// By what strict apply reports.
    Key,
}

/// What an incoming change met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It inserts a row that is there.
    Exists,
    /// It changes or deletes a row that is not there.
    Missing,
    /// The row was changed unseen.
    Changed,
    /// Another row holds one of its unique keys.
    Unique,
    /// A foreign key refuses it (1451, 1452).
    Parent,
    /// A part of a JSON document can't be changed in the target's document (3648).
    Json,
    /// A check constraint, a length, a partition.
    Other,
}

/// Whose row stands in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Winner {
    /// The incoming one.
    Source,
    /// The one that was there.
    Target,
    /// Nobody decides: the link stops until somebody does.
    Nobody,
}

/// A hybrid time: when a transaction took effect, later than all that its region had seen; ties go by the region's
/// name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Effective {
    /// Microseconds since 1970, or 1 more than what was seen where a clock is behind.
    pub(crate) time: u64,
    pub(crate) region: String,
}

/// Who wins. `unseen`: every writer of the row in the target that the incoming transaction's region had not seen; none
/// where rows differ for another reason (drift), or where keys alone are looked at.
pub(crate) fn decide(policy: Policy, kind: Kind, incoming: &Effective, unseen: &[Effective]) -> Winner {
    // To make room, a bystander would have to go.
    let needs_room = matches!(kind, Kind::Unique | Kind::Parent | Kind::Other);
    match policy {
        Policy::Ignore => Winner::Target,
        Policy::Report => Winner::Nobody,
        Policy::Overwrite | Policy::Newest if needs_room => Winner::Nobody,
        Policy::Overwrite => Winner::Source,
        Policy::Newest if unseen.iter().all(|writer| incoming > writer) => Winner::Source,
        Policy::Newest => Winner::Target,
    }
}

/// The running hybrid clock of a region's log. Whoever reads the log computes the same times: they follow from the
/// transactions and their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HybridClock(u64);

impl HybridClock {
    /// As it stood at some place of the log.
    pub(crate) fn at(time: u64) -> Self {
        Self(time)
    }

    /// Its time now.
    pub(crate) fn time(self) -> u64 {
        self.0
    }

    /// The time of the region's own next transaction, committed at `committed_at` by its own clock.
    pub(crate) fn own(&mut self, committed_at: u64) -> u64 {
        self.0 = committed_at.max(self.0 + 1);
        self.0
    }

    /// Transactions of another region up to this time were applied here.
    pub(crate) fn saw(&mut self, time: u64) {
        self.0 = self.0.max(time);
    }
}

#[cfg(test)]
mod tests {
    use super::{Effective, HybridClock, Kind, Policy, Winner, decide};

    fn at(time: u64, region: &str) -> Effective {
        Effective { time, region: region.into() }
    }

    #[test]
    fn the_latest_of_all_unseen_writers_counts_and_ties_go_by_name() {
        let newest =
            |incoming, unseen: &[Effective]| decide(Policy::Newest, Kind::Changed, &incoming, unseen);
        assert_eq!(newest(at(5, "eu"), &[at(4, "us")]), Winner::Source);
        assert_eq!(newest(at(5, "eu"), &[at(6, "us"), at(4, "us")]), Winner::Target);
        assert_eq!(newest(at(5, "eu"), &[at(5, "us")]), Winner::Target);
        assert_eq!(newest(at(5, "us"), &[at(5, "eu")]), Winner::Source);
        assert_eq!(newest(at(5, "eu"), &[]), Winner::Source, "drift: nobody else wrote it");
    }

    #[test]
    fn no_policy_takes_a_bystander_away() {
        for kind in [Kind::Unique, Kind::Parent, Kind::Other] {
            for policy in [Policy::Overwrite, Policy::Newest, Policy::Report] {
                assert_eq!(decide(policy, kind, &at(9, "eu"), &[]), Winner::Nobody, "{policy:?} {kind:?}");
            }
            assert_eq!(decide(Policy::Ignore, kind, &at(9, "eu"), &[]), Winner::Target);
        }
    }

    /// A clock stepped back: L1 (15) and then L2 (11) at us on one row, T (12) at eu, all unseen by each other. By
    /// commit times us would end with T and eu with L1.
    #[test]
    fn a_clock_stepped_back_decides_alike_on_both_sides() {
        let mut us = HybridClock::default();
        let (l1, l2) = (at(us.own(15), "us"), at(us.own(11), "us"));
        let t = at(HybridClock::default().own(12), "eu");
        let newest = |incoming: &Effective, unseen: &[Effective]| {
            decide(Policy::Newest, Kind::Changed, incoming, unseen)
        };
        assert_eq!(newest(&t, &[l1.clone(), l2.clone()]), Winner::Target, "at us");
        assert_eq!(newest(&l1, std::slice::from_ref(&t)), Winner::Source, "at eu, first L1");
        assert_eq!(newest(&l2, &[t]), Winner::Source, "then L2");
    }

    /// Three regions, the clock of us 50 behind: eu T (100); us sees T and writes L (50 by its clock); ap writes A
    /// (60). By commit times us would end with A and eu with L.
    #[test]
    fn a_clock_that_is_behind_counts_from_what_its_region_had_seen() {
        let t = at(HybridClock::default().own(100), "eu");
        let mut us = HybridClock::default();
        us.saw(t.time);
        let l = at(us.own(50), "us");
        let a = at(HybridClock::default().own(60), "ap");
        let newest = |incoming: &Effective, unseen: &[Effective]| {
            decide(Policy::Newest, Kind::Changed, incoming, unseen)
        };
        assert_eq!(newest(&a, std::slice::from_ref(&l)), Winner::Target, "at us");
        assert_eq!(
            newest(&a, std::slice::from_ref(&t)),
            Winner::Target,
            "at eu, then L, which saw T, applies"
        );
        assert_eq!(newest(&t, std::slice::from_ref(&a)), Winner::Source, "at ap");
        assert_eq!(newest(&l, &[a]), Winner::Source, "at ap");
    }
}
