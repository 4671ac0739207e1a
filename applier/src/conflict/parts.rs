//! Which members of a group are done row by row together, and which go between them as groups.

use std::ops::Range;

/// Members that do not collide and stand between two that do are taken along, if they are no more than this: a
/// transaction of their own would cost more than their rows one by one.
const MOST_BETWEEN: usize = 4;

/// Adjacent members of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) members: Range<usize>,
    pub(crate) row_by_row: bool,
}

/// Cuts a group of so many members into parts. `colliding`, in order, are members that collide; `is_small` says whether a
/// member may be taken along with them.
pub(crate) fn parts(members: usize, colliding: &[usize], is_small: impl Fn(usize) -> bool) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut next = 0;
    for &member in colliding.iter().filter(|member| **member < members) {
        let between = next..member;
        let joins = parts.last().is_some_and(|last| last.row_by_row)
            && between.len() <= MOST_BETWEEN
            && between.clone().all(&is_small);
        match parts.last_mut().filter(|_| joins) {
            Some(last) => last.members.end = member + 1,
            None => {
                if !between.is_empty() {
                    parts.push(Part { members: between, row_by_row: false });
                }
                parts.push(Part { members: member..member + 1, row_by_row: true });
            }
        }
        next = member + 1;
    }
    if next < members {
        parts.push(Part { members: next..members, row_by_row: false });
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::parts;

    fn cut(members: usize, colliding: &[usize], large: &[usize]) -> String {
        let show = |part: super::Part| {
            let how = if part.row_by_row { "rows" } else { "group" };
            format!("{how} {}-{}", part.members.start, part.members.end - 1)
        };
        parts(members, colliding, |i| !large.contains(&i))
            .into_iter()
            .map(show)
            .collect::<Vec<_>>()
            .join(", ")
    }

    #[test]
    fn what_collides_is_done_together_with_the_little_that_stands_between() {
        assert_eq!(cut(5, &[], &[]), "group 0-4");
        assert_eq!(cut(3, &[0, 1, 2], &[]), "rows 0-2");
        assert_eq!(cut(20, &[2, 4, 9], &[]), "group 0-1, rows 2-9, group 10-19");
        assert_eq!(cut(20, &[2, 8], &[]), "group 0-1, rows 2-2, group 3-7, rows 8-8, group 9-19");
    }

    #[test]
    fn a_large_one_between_is_a_group_by_itself() {
        assert_eq!(cut(5, &[1, 3], &[2]), "group 0-0, rows 1-1, group 2-2, rows 3-3, group 4-4");
    }

    #[test]
    fn every_member_is_in_one_part_and_in_order() {
        for colliding in [&[][..], &[0], &[0, 5, 6, 12], &[3, 19]] {
            let all: Vec<usize> =
                parts(20, colliding, |i| i % 7 != 0).into_iter().flat_map(|p| p.members).collect();
            assert_eq!(all, (0..20).collect::<Vec<_>>(), "{colliding:?}");
        }
    }
}
