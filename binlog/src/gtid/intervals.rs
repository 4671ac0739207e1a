//! Numbers of one sequence, as sorted half-open runs.

/// A set of transaction numbers: disjoint, non-touching, ascending `[start, end)` runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Intervals(Vec<(u64, u64)>);

impl Intervals {
    /// Is nothing in it?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The runs, `[start, end)`, ascending.
    pub fn runs(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// How many numbers it holds.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// Is this number in it?
    pub fn contains(&self, number: u64) -> bool {
        self.contains_run(number, number.saturating_add(1))
    }

    /// Is the whole run `[start, end)` in it?
    pub fn contains_run(&self, start: u64, end: u64) -> bool {
        let after = self.0.partition_point(|run| run.0 <= start);
        start >= end || after.checked_sub(1).is_some_and(|i| self.0[i].1 >= end)
    }

    /// Are all of `other`'s numbers in it?
    pub fn contains_all(&self, other: &Self) -> bool {
        other.0.iter().all(|run| self.contains_run(run.0, run.1))
    }

    /// Adds `[start, end)`. In the usual case, the next number of the last run, it only moves an end.
    pub fn insert_run(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        // Runs that touch or overlap the new one are those in [first, last).
        let first = self.0.partition_point(|run| run.1 < start);
        let last = first + self.0[first..].partition_point(|run| run.0 <= end);
        if first == last {
            self.0.insert(first, (start, end));
            return;
        }
        self.0[first] = (self.0[first].0.min(start), self.0[last - 1].1.max(end));
        self.0.drain(first + 1..last);
    }

    /// Takes `[start, end)` out.
    pub fn remove_run(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let first = self.0.partition_point(|run| run.1 <= start);
        let last = first + self.0[first..].partition_point(|run| run.0 < end);
        if first == last {
            return;
        }
        let left = (self.0[first].0, start);
        let right = (end, self.0[last - 1].1);
        self.0.splice(first..last, [left, right].into_iter().filter(|run| run.0 < run.1));
    }

    /// Adds all of `other`.
    pub fn union_with(&mut self, other: &Self) {
        for run in &other.0 {
            self.insert_run(run.0, run.1);
        }
    }

    /// Takes all of `other` out.
    pub fn subtract(&mut self, other: &Self) {
        for run in &other.0 {
            self.remove_run(run.0, run.1);
        }
    }

    /// What both hold.
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut i, mut j, mut both) = (0, 0, Vec::new());
        while let (Some(a), Some(b)) = (self.0.get(i), other.0.get(j)) {
            let (start, end) = (a.0.max(b.0), a.1.min(b.1));
            if start < end {
                both.push((start, end));
            }
            if a.1 < b.1 { i += 1 } else { j += 1 }
        }
        Self(both)
    }
}
