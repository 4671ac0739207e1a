//! The last hour, a point each few seconds and link: bounded, in memory, gone with the process.

use std::collections::VecDeque;

use serde::Serialize;

/// Between two points, in looks (one a second).
pub(super) const LOOKS: usize = 5;

/// Batches kept: an hour.
const KEPT: usize = 3600 / 5;

/// What a link did in the seconds up to `at`. `null` where nobody could tell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Point {
    /// Its link.
    pub(super) link: String,
    /// Unix time in seconds.
    pub(super) at: f64,
    /// Seconds behind the source, the most of them.
    pub(super) lag: Option<f64>,
    /// Source transactions applied a second.
    pub(super) transactions: Option<f64>,
    /// Rows applied a second.
    pub(super) rows: Option<f64>,
    /// Bytes that its relay sent to it, a second.
    pub(super) bytes: Option<f64>,
    /// Transactions dropped as echo, a second.
    pub(super) echo: Option<f64>,
    /// Conflicts a minute.
    pub(super) conflicts: Option<f64>,
}

/// The points, in batches of one moment.
#[derive(Debug, Default)]
pub(super) struct History {
    batches: VecDeque<Vec<Point>>,
    /// The number of the batch behind the newest one.
    next: u64,
}

impl History {
    /// Adds the points of one moment, and forgets those of an hour before.
    pub(super) fn add(&mut self, points: Vec<Point>) {
        self.batches.push_back(points);
        self.next += 1;
        while self.batches.len() > KEPT {
            self.batches.pop_front();
        }
    }

    /// The points from this batch on, and the number to ask with next.
    pub(super) fn since(&self, batch: u64) -> (Vec<&Point>, u64) {
        let first = self.next - self.batches.len() as u64;
        let skip = usize::try_from(batch.saturating_sub(first)).unwrap_or(usize::MAX);
        (self.batches.iter().skip(skip).flatten().collect(), self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::{History, KEPT, Point};

    fn point(at: f64) -> Point {
        let (lag, none) = (Some(0.0), None);
        Point {
            link: "eu-us".into(),
            at,
            lag,
            transactions: none,
            rows: none,
            bytes: none,
            echo: none,
            conflicts: none,
        }
    }

    #[test]
    fn an_hour_is_kept_and_each_asks_for_what_it_lacks() {
        let mut history = History::default();
        assert_eq!(history.since(0), (Vec::new(), 0));
        for at in 0..730 {
            history.add(vec![point(f64::from(at))]);
        }
        let (all, next) = history.since(0);
        assert_eq!((all.len(), all[0].at, next), (KEPT, 10.0, KEPT as u64 + 10));
        let (new, _) = history.since(next - 2);
        assert_eq!(new.iter().map(|p| p.at).collect::<Vec<_>>(), [728.0, 729.0]);
        assert!(history.since(next).0.is_empty());
    }
}
