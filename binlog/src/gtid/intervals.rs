//! Numbers of one sequence, as sorted half-open runs.

/// Up to this many runs, moving what lies behind each of them costs less than building the set anew.
const FEW: usize = 4;

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

    /// Adds all of `other`: run by run while those are few, else in one pass over both.
    pub fn union_with(&mut self, other: &Self) {
        if other.0.len() <= FEW {
            other.0.iter().for_each(|run| self.insert_run(run.0, run.1));
            return;
        }
        let mut all: Vec<(u64, u64)> = Vec::with_capacity(self.0.len() + other.0.len());
        let (mut mine, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        loop {
            let next = match (mine.peek(), theirs.peek()) {
                (Some(a), Some(b)) if b.0 < a.0 => theirs.next(),
                (Some(_), _) => mine.next(),
                (None, _) => theirs.next(),
            };
            let Some(&(start, end)) = next else { break };
            match all.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => all.push((start, end)),
            }
        }
        self.0 = all;
    }

    /// Takes all of `other` out: run by run while those are few, else in one pass over both.
    pub fn subtract(&mut self, other: &Self) {
        if other.0.len() <= FEW {
            other.0.iter().for_each(|run| self.remove_run(run.0, run.1));
            return;
        }
        let (mut left, mut out) = (Vec::with_capacity(self.0.len()), 0);
        for &(mut start, end) in &self.0 {
            while out < other.0.len() && other.0[out].1 <= start {
                out += 1;
            }
            // A run of `other` may reach into the next of ours: `out` stays on it.
            let mut at = out;
            while start < end && at < other.0.len() && other.0[at].0 < end {
                if start < other.0[at].0 {
                    left.push((start, other.0[at].0));
                }
                start = start.max(other.0[at].1);
                at += 1;
            }
            if start < end {
                left.push((start, end));
            }
            out = at.saturating_sub(1).max(out);
        }
        self.0 = left;
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
