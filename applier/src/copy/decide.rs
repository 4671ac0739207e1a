//! The rules of a copy between regions that both write; pure, and all there is to decide.
//!
//! A key is **in doubt** in the target when the target wrote it before its chunk arrived, or when a change to it was passed
//! over although a row of it stood there. Nobody can tell then which of the two rows is the newer, so each stays where it is, and
//! when the copy is complete the key is **settled**: read once more at the source, and taken over as it is, absence
//! included, if the read has seen all that the target wrote to it. That all regions end equal under these rules is shown
//! by the model in this module's tests.

use crate::conflict::rules::Policy;

/// What stands in the target under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Here {
    Nothing,
    /// The very row that comes.
    Same,
    Another,
}

/// What becomes of a row that comes with its chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is put there.
    Insert,
    /// It takes the place of the one that stands there.
    Replace,
    /// What stands there, or does not, stays.
    Stay,
    /// It stays as well; and from now on the key is in doubt.
    Doubt,
    /// Somebody must decide: the copy stops.
    Report,
}

/// A row arrives with its chunk. `was_passed_over`: the stream changed it before, which was passed over, or may have.
pub(crate) fn arrive(
    here: Here,
    in_doubt: bool,
    was_passed_over: bool,
    policy: Policy,
    (from, to): (&str, &str),
) -> Arrival {
    if in_doubt || here == Here::Same {
        return Arrival::Stay;
    }
    if here == Here::Nothing {
        return Arrival::Insert;
    }
    // Both had the row before the link began, and the target has not written it since.
    let takes = match policy {
        Policy::Overwrite => true,
        Policy::Ignore => false,
        // Neither is the later: the names decide, in both directions alike.
        Policy::Newest => from > to,
        Policy::Report => return Arrival::Report,
    };
    match (takes, was_passed_over) {
        (true, _) => Arrival::Replace,
        // The source wrote it after it had the row that stands here, maybe: nobody can tell.
        (false, true) => Arrival::Doubt,
        (false, false) => Arrival::Stay,
    }
}

/// A chunk arrives that lacks a row which stands in the target, and changes to its key were passed over, or may have been: is
/// the key in doubt from now on? The source may have had the row and deleted it.
pub(crate) fn lacks(in_doubt: bool) -> bool {
    !in_doubt
}

/// The stream brings a change to a key whose chunk has arrived: is it passed over? By the rules of conflicts it goes
/// otherwise.
pub(crate) fn passes_over(in_doubt: bool) -> bool {
    in_doubt
}

/// A key in doubt was read once more. `unseen`: the target wrote it, and the read has not seen that.
pub(crate) fn may_settle(unseen: bool) -> bool {
    !unseen
}

#[cfg(test)]
mod tests {
    use super::{Arrival, Here, arrive, lacks, may_settle, passes_over};
    use crate::conflict::rules::Policy;

    #[test]
    fn a_row_both_had_before_goes_by_policy_and_one_in_doubt_stays() {
        let arrive = |here, doubt, policy| arrive(here, doubt, false, policy, ("eu", "us"));
        assert_eq!(arrive(Here::Nothing, false, Policy::Ignore), Arrival::Insert);
        assert_eq!(
            arrive(Here::Nothing, true, Policy::Overwrite),
            Arrival::Stay,
            "deleted here before it came"
        );
        assert_eq!(arrive(Here::Another, true, Policy::Overwrite), Arrival::Stay);
        assert_eq!(arrive(Here::Same, false, Policy::Report), Arrival::Stay);
        let by_policy = [Policy::Overwrite, Policy::Ignore, Policy::Newest, Policy::Report];
        let verdicts = by_policy.map(|policy| arrive(Here::Another, false, policy));
        assert_eq!(verdicts, [Arrival::Replace, Arrival::Stay, Arrival::Stay, Arrival::Report]);
    }

    #[test]
    fn under_newest_one_of_two_old_rows_wins_in_both_directions() {
        let there = arrive(Here::Another, false, false, Policy::Newest, ("eu", "us"));
        let back = arrive(Here::Another, false, false, Policy::Newest, ("us", "eu"));
        assert_eq!((there, back), (Arrival::Stay, Arrival::Replace));
    }

    #[test]
    fn what_was_passed_over_is_settled_and_a_key_in_doubt_waits_for_that() {
        assert_eq!(arrive(Here::Another, false, true, Policy::Ignore, ("eu", "us")), Arrival::Doubt);
        assert_eq!(arrive(Here::Another, false, true, Policy::Overwrite, ("eu", "us")), Arrival::Replace);
        assert!(lacks(false) && !lacks(true) && passes_over(true) && !passes_over(false));
        assert!(may_settle(false) && !may_settle(true));
    }
}
