//! From numbers that only count to numbers a second.

use std::collections::VecDeque;

/// What a link has counted at one moment; a number that nobody could tell is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counted {
    /// Unix time in seconds.
    pub(crate) at: f64,
    pub(crate) transactions: Option<u64>,
    pub(crate) rows: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) echo: Option<u64>,
    pub(crate) conflicts: Option<u64>,
}

/// The last few moments of a link.
#[derive(Debug, Default)]
pub(crate) struct Moments(VecDeque<Counted>);

impl Moments {
    /// Adds one; as many are kept as a rate is taken over.
    pub(crate) fn add(&mut self, counted: Counted) {
        const KEPT: usize = super::history::LOOKS + 1;
        self.0.push_back(counted);
        while self.0.len() > KEPT {
            self.0.pop_front();
        }
    }

    /// What one of the numbers grew by a second; absent where it was not told, or began anew with its process.
    pub(crate) fn rate(&self, of: impl Fn(&Counted) -> Option<u64>) -> Option<f64> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        let seconds = last.at - first.at;
        let grown = of(last)?.checked_sub(of(first)?)?;
        #[expect(clippy::cast_precision_loss, reason = "what grows within seconds is small")]
        let grown = grown as f64;
        (seconds > 0.0).then_some(grown / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::{Counted, Moments};

    #[test]
    fn a_rate_is_taken_over_the_last_seconds_and_a_restart_has_none() {
        let mut moments = Moments::default();
        let rows = |moments: &Moments| moments.rate(|c| c.rows);
        for second in 0..20_u32 {
            moments.add(Counted {
                at: f64::from(second),
                rows: Some(10 * u64::from(second)),
                ..Counted::default()
            });
        }
        assert_eq!(rows(&moments), Some(10.0));
        moments.add(Counted { at: 20.0, rows: Some(3), ..Counted::default() });
        assert_eq!(rows(&moments), None, "it counts from zero again");
        assert_eq!(moments.rate(|c| c.bytes), None);
    }
}
