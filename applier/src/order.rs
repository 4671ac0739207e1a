//! Which groups may run side by side: the source's own dependency numbers.
//!
//! A transaction's `last_committed` names the last one, by `sequence_number`, that must be committed before it begins; the
//! source knows by the rows that both wrote. The numbers begin anew in every file of the source, so they are held against
//! each other within one file only; a transaction that was passed over counts as committed.

/// A transaction's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) last_committed: u64,
    pub(crate) sequence_number: u64,
}

impl Order {
    /// `None` where a source tells no numbers.
    pub(crate) fn new(last_committed: u64, sequence_number: u64) -> Option<Self> {
        (sequence_number > last_committed).then_some(Self { last_committed, sequence_number })
    }
}

/// The numbers of a run of transactions of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Its first transaction.
    first: u64,
    /// What one of its transactions waits for, at most.
    waits_for: u64,
}

impl Span {
    /// `None` if one of them tells nothing.
    pub(crate) fn of(orders: impl IntoIterator<Item = Option<Order>>) -> Option<Self> {
        let mut span: Option<Self> = None;
        for order in orders {
            let Order { last_committed, sequence_number } = order?;
            let so_far = span.get_or_insert(Self { first: sequence_number, waits_for: last_committed });
            so_far.first = so_far.first.min(sequence_number);
            so_far.waits_for = so_far.waits_for.max(last_committed);
        }
        span
    }

    /// Does nothing in it wait for anything in an earlier run?
    pub(crate) fn is_independent_of(&self, earlier: &Self) -> bool {
        self.waits_for < earlier.first
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::proptest;
    use proptest::prop_assert;

    use super::{Order, Span};

    #[test]
    fn a_run_that_waits_for_an_earlier_one_is_not_independent() {
        let span = |orders: &[(u64, u64)]| Span::of(orders.iter().map(|(l, s)| Order::new(*l, *s))).unwrap();
        let first = span(&[(0, 1), (0, 2), (2, 3)]);
        assert!(span(&[(0, 4), (0, 5)]).is_independent_of(&first));
        assert!(!span(&[(0, 4), (1, 5)]).is_independent_of(&first));
        assert!(!span(&[(0, 4), (4, 5)]).is_independent_of(&first), "it may wait for an earlier one as well");
        assert_eq!(Span::of([Order::new(0, 1), Order::new(0, 0)]), None, "numbers that are not told");
    }

    proptest! {
        /// Each transaction writes a few rows, and the source numbers it by them.
        #[test]
        fn independent_runs_have_no_row_in_common(written in vec(vec(0u8..40, 1..3), 2..60), cut in 1usize..59) {
            let cut = cut.min(written.len() - 1);
            let order = |at: usize| {
                let shares = |other: &Vec<u8>| other.iter().any(|row| written[at].contains(row));
                let last = written[..at].iter().rposition(shares).map_or(0, |i| i as u64 + 1);
                Order::new(last, at as u64 + 1)
            };
            let earlier = Span::of((0..cut).map(order)).unwrap();
            let later = Span::of((cut..written.len()).map(order)).unwrap();
            if later.is_independent_of(&earlier) {
                let rows = written[..cut].concat();
                prop_assert!(!written[cut..].iter().flatten().any(|row| rows.contains(row)));
            }
        }
    }
}
