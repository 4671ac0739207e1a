//! What a region had applied of the others when it committed a transaction: told by the stamps in its binlog.

use std::collections::BTreeMap;
use std::sync::Arc;

use binlog::stamp::{Change, Stamp};
use binlog::{Gtid, GtidSet};
use serde::{Deserialize, Serialize};

use super::rules::HybridClock;

/// For each other region, what was applied of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(BTreeMap<String, SeenOf>);

/// What was applied of one region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeenOf {
    pub(crate) gtids: GtidSet,
    /// That region's hybrid clock at this place of its log.
    pub(crate) clock: u64,
}

/// As the checkpoint table keeps it.
#[derive(Serialize, Deserialize)]
struct Kept {
    gtid_set: String,
    clock: u64,
}

impl Seen {
    /// What was applied of a region.
    pub(crate) fn of(&self, region: &str) -> SeenOf {
        self.0.get(region).cloned().unwrap_or_default()
    }

    /// Does it hold all of these, of that region?
    pub(crate) fn has(&self, region: &str, gtids: &GtidSet) -> bool {
        self.0.get(region).is_some_and(|seen| seen.gtids.contains_all(gtids))
    }

    /// Does it hold all that the other holds?
    pub(crate) fn has_all(&self, other: &Self) -> bool {
        other.0.iter().all(|(region, seen)| self.has(region, &seen.gtids))
    }

    /// Does it hold all that the other holds of these regions?
    pub(crate) fn has_all_of(&self, other: &Self, regions: &[String]) -> bool {
        let of_these = regions.iter().filter_map(|region| other.0.get_key_value(region));
        of_these.filter(|(_, seen)| !seen.gtids.is_empty()).all(|(of, seen)| self.has(of, &seen.gtids))
    }

    /// More of a region was applied.
    pub(crate) fn add(&mut self, region: &str, gtids: &GtidSet, clock: u64) {
        let seen = self.0.entry(region.into()).or_default();
        seen.gtids.union_with(gtids);
        seen.clock = seen.clock.max(clock);
    }

    /// All that the other holds too.
    pub(crate) fn union_with(&mut self, other: &Self) {
        other.0.iter().for_each(|(region, seen)| self.add(region, &seen.gtids, seen.clock));
    }

    /// As text, for the checkpoint table.
    pub(crate) fn to_text(&self) -> String {
        let kept = |seen: &SeenOf| Kept { gtid_set: seen.gtids.to_string(), clock: seen.clock };
        let all: BTreeMap<&str, Kept> =
            self.0.iter().map(|(region, seen)| (region.as_str(), kept(seen))).collect();
        serde_json::to_string(&all).expect("texts and numbers can always be written")
    }

    /// Reads [`Self::to_text`]; `None` if it is something else.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let all: BTreeMap<String, Kept> = serde_json::from_str(text).ok()?;
        let read = |kept: Kept| Some(SeenOf { gtids: kept.gtid_set.parse().ok()?, clock: kept.clock });
        all.into_iter().map(|(region, kept)| Some((region, read(kept)?))).collect::<Option<_>>().map(Self)
    }
}

/// Follows a region's log: its hybrid clock, and what it has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Follower {
    /// Shared with what was read meanwhile.
    pub(crate) seen: Arc<Seen>,
    pub(crate) clock: HybridClock,
}

impl Follower {
    /// Takes the stamps of the next transaction; none for one of the region's own. `committed_at` is the time of its
    /// commit by the region's own clock. Gives the transaction's hybrid time, or what is wrong with a stamp.
    pub(crate) fn take(&mut self, stamps: &[Stamp], is_own: bool, committed_at: u64) -> Result<u64, String> {
        stamps.iter().try_for_each(|stamp| self.take_stamp(stamp))?;
        Ok(if is_own { self.clock.own(committed_at) } else { self.clock.time() })
    }

    /// The region ran a statement of another, under its original GTID: no stamp tells of it yet.
    pub(crate) fn ran(&mut self, region: &str, gtid: &Gtid) {
        Arc::make_mut(&mut self.seen).add(region, &[gtid.clone()].into_iter().collect(), 0);
    }

    fn take_stamp(&mut self, stamp: &Stamp) -> Result<(), String> {
        let (gtid_set, clock) = match &stamp.change {
            Change::Insert { gtid_set, clock, .. } => (gtid_set.as_ref(), *clock),
            Change::Update { gtid_set, clock, .. } => (gtid_set.as_ref(), *clock),
            Change::Delete => return Ok(()),
        };
        let clock = clock.unwrap_or(0);
        self.clock.saw(clock);
        if let Some(text) = gtid_set {
            let gtids = text.parse().map_err(|_| format!("{text:?} of {} is no GTID set", stamp.link))?;
            Arc::make_mut(&mut self.seen).add(&stamp.origin, &gtids, clock);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn what_was_seen_comes_back_from_the_checkpoint_table() {
        let mut seen = Seen::default();
        seen.add("us", &"00000000-0000-0000-0000-000000000001:1-9".parse().unwrap(), 77);
        seen.add("us", &"00000000-0000-0000-0000-000000000001:10".parse().unwrap(), 70);
        assert_eq!(Seen::from_text(&seen.to_text()), Some(seen.clone()));
        assert_eq!(seen.of("us").clock, 77, "a clock does not go back");
        assert_eq!(Seen::from_text("{}"), Some(Seen::default()));
        assert_eq!(Seen::from_text("[]"), None);
        assert!(seen.has("us", &"00000000-0000-0000-0000-000000000001:3".parse().unwrap()));
        assert!(!seen.has("ap", &"00000000-0000-0000-0000-000000000001:3".parse().unwrap()));
    }
}
