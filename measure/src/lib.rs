//! Numbers that are counted where something happens and shown by `/metrics`: how long something took, spread over
//! buckets. No I/O, no names: what a number is called and to whom it is shown is the caller's.

use std::time::Duration;

/// Upper bounds of the buckets, in seconds: from a fast local commit to a link that is hours behind. Two or three a
/// decade tell enough of a quantile, and keep the series few.
pub const BOUNDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0, 3600.0];

/// How long something took, each time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Of each bucket by itself; the last holds what is beyond all bounds.
    buckets: [u64; BOUNDS.len() + 1],
    sum: f64,
}

impl Histogram {
    /// Notes one that took so long.
    pub fn note(&mut self, took: Duration) {
        self.note_seconds(took.as_secs_f64(), 1);
    }

    /// Notes so many that took so many seconds each; less than none is none, as clocks of two servers may tell.
    pub fn note_seconds(&mut self, seconds: f64, times: u64) {
        let seconds = seconds.max(0.0);
        let at = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[at] += times;
        #[expect(clippy::cast_precision_loss, reason = "a count of one group")]
        let times = times as f64;
        self.sum += seconds * times;
    }

    /// How many took at most as long as each bound, in their order.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        BOUNDS.iter().zip(&self.buckets).scan(0, |sum, (bound, count)| {
            *sum += count;
            Some((*bound, *sum))
        })
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Seconds of all together.
    pub fn sum(&self) -> f64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BOUNDS, Histogram};

    #[test]
    fn each_is_counted_in_every_bucket_that_is_wide_enough() {
        let mut histogram = Histogram::default();
        histogram.note(Duration::from_millis(1));
        histogram.note(Duration::from_millis(3));
        histogram.note_seconds(1e6, 2);
        histogram.note_seconds(-1.0, 1);
        let counts: Vec<u64> = histogram.cumulative().map(|(_, count)| count).collect();
        assert_eq!(&counts[..4], [1, 2, 2, 3]);
        assert_eq!((counts.last(), histogram.count()), (Some(&3), 5));
        assert!((histogram.sum() - 2_000_000.004).abs() < 1e-6);
        assert!(BOUNDS.is_sorted());
    }
}
