//! Rings of links: the ways a change could come back to where it began.

use std::collections::BTreeSet;

use super::{File, Link};

/// Steps after which the search gives up. A full mesh of nine regions stays below it.
const BUDGET: u32 = 200_000;

/// Two links with `ddl` on one ring, in which no region comes twice; named in the order of the file.
pub(super) fn two_ddl_links_of_a_ring(file: &File) -> Option<(&Link, &Link)> {
    let mut budget = BUDGET;
    file.links.values().filter(|l| l.ddl).find_map(|first| {
        let mut search = Search { file, goal: &first.from, visited: BTreeSet::new(), budget: &mut budget };
        search.second_ddl(&first.to, None).map(|second| (first, second))
    })
}

struct Search<'a, 'b> {
    file: &'a File,
    goal: &'a str,
    visited: BTreeSet<&'a str>,
    budget: &'b mut u32,
}

impl<'a> Search<'a, '_> {
    /// Goes on from `at` until the goal; gives the link with DDL that lies on the way, if there is such a way.
    fn second_ddl(&mut self, at: &'a str, found: Option<&'a Link>) -> Option<&'a Link> {
        if at == self.goal {
            return found;
        }
        if *self.budget == 0 || !self.visited.insert(at) {
            return None;
        }
        *self.budget -= 1;
        let file = self.file;
        let result = file
            .links
            .values()
            .filter(|l| l.from == at)
            .find_map(|next| self.second_ddl(&next.to, found.or(next.ddl.then_some(next))));
        self.visited.remove(at);
        result
    }
}
