//! Which pairs of regions are compared, and what a table is called on each side.

use std::collections::{BTreeMap, BTreeSet};

use super::LinkInfo;
use crate::filter::Filter;

/// A table's names in two regions.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    to_right: BTreeMap<String, String>,
    /// The patterns are in the names of the right region: only the way back is a link.
    patterns_are_right: bool,
}

impl Names {
    /// Of the links between two regions, in either direction.
    fn of(links: &[LinkInfo], left: &str, right: &str) -> Self {
        let there = links.iter().find(|l| l.from == left && l.to == right);
        let back = links.iter().find(|l| l.from == right && l.to == left);
        let mut to_right = there.map(|l| l.rename.clone()).unwrap_or_default();
        for (from, to) in back.iter().flat_map(|l| &l.rename) {
            to_right.entry(to.clone()).or_insert_with(|| from.clone());
        }
        Self { to_right, patterns_are_right: there.is_none() }
    }

    pub(super) fn to_right(&self, name: &(String, String)) -> (String, String) {
        self.to_right.get(&joined(name)).map_or_else(|| name.clone(), |to| split(to))
    }

    pub(super) fn to_left(&self, name: &(String, String)) -> (String, String) {
        let text = joined(name);
        let from = self.to_right.iter().find(|(_, to)| **to == text);
        from.map_or_else(|| name.clone(), |(from, _)| split(from))
    }

    /// Is the table of this name in the left region in step?
    pub(super) fn is_in_step(&self, filter: &Filter, left: &(String, String)) -> bool {
        let (database, table) = if self.patterns_are_right { self.to_right(left) } else { left.clone() };
        filter.keeps(&database, &table)
    }
}

fn joined((database, table): &(String, String)) -> String {
    format!("{database}.{table}")
}

fn split(name: &str) -> (String, String) {
    let (database, table) = name.split_once('.').unwrap_or((name, ""));
    (database.into(), table.into())
}

/// Two regions joined by a link.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    pub(super) left: String,
    pub(super) right: String,
    pub(super) names: Names,
}

/// As few pairs as join all regions that links join, from `root` outwards: equality carries over, and a repair from
/// `root` reaches each region from one that is repaired.
pub(super) fn edges(regions: &BTreeSet<String>, links: &[LinkInfo], root: Option<&str>) -> Vec<Edge> {
    let mut edges = Vec::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let starts = root.into_iter().chain(regions.iter().map(String::as_str));
    for start in starts {
        if !seen.insert(start) {
            continue;
        }
        let mut queue = std::collections::VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            for link in links {
                let next = match (link.from == at, link.to == at) {
                    (true, _) => link.to.as_str(),
                    (_, true) => link.from.as_str(),
                    _ => continue,
                };
                if seen.insert(next) {
                    let names = Names::of(links, at, next);
                    edges.push(Edge { left: at.into(), right: next.into(), names });
                    queue.push_back(next);
                }
            }
        }
        if root.is_some() {
            // What links do not join with the chosen region has no share in it.
            break;
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{LinkInfo, Names, edges};
    use crate::TablePatterns;
    use crate::filter::Filter;

    fn link(from: &str, to: &str) -> LinkInfo {
        LinkInfo { name: format!("{from}-{to}"), from: from.into(), to: to.into(), rename: BTreeMap::new() }
    }

    fn shown(regions: &[&str], links: &[LinkInfo], root: Option<&str>) -> Vec<String> {
        let regions = regions.iter().map(ToString::to_string).collect();
        edges(&regions, links, root).iter().map(|e| format!("{}-{}", e.left, e.right)).collect()
    }

    #[test]
    fn regions_are_compared_along_links_each_once_from_the_root() {
        let mesh = [("ap", "eu"), ("ap", "us"), ("eu", "ap"), ("eu", "us"), ("us", "ap"), ("us", "eu")];
        let mesh = mesh.map(|(from, to)| link(from, to));
        assert_eq!(shown(&["ap", "eu", "us"], &mesh, None), ["ap-eu", "ap-us"]);
        assert_eq!(shown(&["ap", "eu", "us"], &mesh, Some("us")), ["us-ap", "us-eu"]);
        let chain = [link("eu", "ap"), link("ap", "us")];
        assert_eq!(shown(&["ap", "eu", "us"], &chain, Some("us")), ["us-ap", "ap-eu"]);
        let apart = [link("a", "b"), link("c", "d")];
        assert_eq!(shown(&["a", "b", "c", "d"], &apart, None), ["a-b", "c-d"]);
        assert_eq!(shown(&["a", "b", "c", "d"], &apart, Some("d")), ["d-c"]);
    }

    #[test]
    fn tables_are_renamed_along_the_link_and_back() {
        let mut there = link("eu", "us");
        there.rename.insert("shop.a".into(), "store.b".into());
        let filter = Filter::new(TablePatterns::parse(&["shop.*"]).unwrap(), "twinlog");
        let (a, b) = (("shop".into(), "a".into()), ("store".into(), "b".into()));
        for (left, right) in [("eu", "us"), ("us", "eu")] {
            let names = Names::of(std::slice::from_ref(&there), left, right);
            let (here, far) = if left == "eu" { (&a, &b) } else { (&b, &a) };
            assert_eq!((&names.to_right(here), &names.to_left(far)), (far, here));
            assert!(names.is_in_step(&filter, here), "{left}");
            assert!(!names.is_in_step(&filter, &("other".into(), "t".into())));
        }
    }
}
