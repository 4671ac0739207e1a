//! Sets of GTIDs.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Gtid, Intervals, Sequence};

/// A set of GTIDs. No sequence in it is empty, so equal sets are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet {
    sequences: BTreeMap<Sequence, Intervals>,
}

impl GtidSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Is nothing in it?
    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }

    /// How many GTIDs it holds.
    pub fn count(&self) -> u64 {
        self.sequences.values().map(Intervals::count).sum()
    }

    /// Its sequences, by uuid and then tag, none of them empty.
    pub fn sequences(&self) -> impl Iterator<Item = (&Sequence, &Intervals)> {
        self.sequences.iter()
    }

    /// The uuids that occur in it, ascending, each once.
    pub fn uuids(&self) -> impl Iterator<Item = Uuid> {
        let mut last = None;
        self.sequences.keys().map(|s| s.uuid).filter(move |uuid| last.replace(*uuid) != Some(*uuid))
    }

    /// Is this GTID in it?
    pub fn contains(&self, gtid: &Gtid) -> bool {
        self.sequences.get(&gtid.sequence).is_some_and(|runs| runs.contains(gtid.gno))
    }

    /// Is all of `other` in it?
    pub fn contains_all(&self, other: &Self) -> bool {
        let mut theirs = other.sequences.iter();
        theirs.all(|(sequence, runs)| self.sequences.get(sequence).is_some_and(|own| own.contains_all(runs)))
    }

    /// Adds one GTID; says whether it is new.
    pub fn insert(&mut self, gtid: &Gtid) -> bool {
        let runs = match self.sequences.get_mut(&gtid.sequence) {
            Some(runs) => runs,
            None => self.sequences.entry(gtid.sequence.clone()).or_default(),
        };
        let new = !runs.contains(gtid.gno);
        runs.insert_run(gtid.gno, gtid.gno + 1);
        new
    }

    /// Adds `[start, end)` of one sequence.
    pub fn insert_run(&mut self, sequence: Sequence, start: u64, end: u64) {
        if start < end {
            self.sequences.entry(sequence).or_default().insert_run(start, end);
        }
    }

    /// Adds all of `other`.
    pub fn union_with(&mut self, other: &Self) {
        for (sequence, runs) in &other.sequences {
            self.sequences.entry(sequence.clone()).or_default().union_with(runs);
        }
    }

    /// Takes all of `other` out.
    pub fn subtract(&mut self, other: &Self) {
        for (sequence, runs) in &other.sequences {
            if let Some(own) = self.sequences.get_mut(sequence) {
                own.subtract(runs);
                if own.is_empty() {
                    self.sequences.remove(sequence);
                }
            }
        }
    }

    /// What is in it and not in `other`.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.subtract(other);
        rest
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let both = self.sequences.iter().filter_map(|(sequence, runs)| {
            let both = runs.intersection(other.sequences.get(sequence)?);
            (!both.is_empty()).then(|| (sequence.clone(), both))
        });
        Self { sequences: both.collect() }
    }

    /// The part that these uuids numbered.
    #[must_use]
    pub fn restricted_to(&self, mut keep: impl FnMut(Uuid) -> bool) -> Self {
        let kept = self.sequences.iter().filter(|(sequence, _)| keep(sequence.uuid));
        Self { sequences: kept.map(|(sequence, runs)| (sequence.clone(), runs.clone())).collect() }
    }
}

impl FromIterator<Gtid> for GtidSet {
    fn from_iter<I: IntoIterator<Item = Gtid>>(gtids: I) -> Self {
        let mut set = Self::new();
        for gtid in gtids {
            set.insert(&gtid);
        }
        set
    }
}

#[cfg(test)]
#[path = "set_tests.rs"]
mod tests;
