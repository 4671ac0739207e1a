//! Which pairs of regions are compared, and what is in step between them.

use std::collections::BTreeSet;

use super::LinkInfo;
use crate::Objects;

/// What is in step between two regions, seen from the left one, whichever way the link goes.
fn objects(links: &[LinkInfo], left: &str, right: &str) -> Objects {
    let link = |from: &str, to: &str| links.iter().find(|l| l.from == from && l.to == to);
    match (link(left, right), link(right, left)) {
        (Some(there), _) => there.objects.clone(),
        (None, Some(back)) => Objects {
            names: back.objects.names.inverse(),
            patterns_are_of_target: !back.objects.patterns_are_of_target,
            ..back.objects.clone()
        },
        (None, None) => Objects::default(),
    }
}

/// Two regions joined by a link.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    pub(super) left: String,
    pub(super) right: String,
    /// What is in step, and what tables are called on the right.
    pub(super) objects: Objects,
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
                    let objects = objects(links, at, next);
                    edges.push(Edge { left: at.into(), right: next.into(), objects });
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
    use super::{LinkInfo, edges, objects};
    use crate::{Names, Objects, TablePatterns};

    fn link(from: &str, to: &str) -> LinkInfo {
        LinkInfo {
            name: format!("{from}-{to}"),
            from: from.into(),
            to: to.into(),
            objects: Objects::default(),
        }
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
        there.objects.tables = TablePatterns::parse(&["shop.*"]).unwrap();
        there.objects.names = Names::new(&[("shop.a".to_owned(), "store.b".to_owned())].into());
        let (a, b) = (("shop".to_owned(), "a".to_owned()), ("store".to_owned(), "b".to_owned()));
        for (left, right) in [("eu", "us"), ("us", "eu")] {
            let objects = objects(std::slice::from_ref(&there), left, right);
            let (here, far) = if left == "eu" { (&a, &b) } else { (&b, &a) };
            assert_eq!(objects.names.there(&here.0, &here.1).as_ref(), Some(far));
            assert_eq!(objects.names.back(&far.0, &far.1).as_ref(), Some(here));
            assert!(objects.has(&here.0, &here.1) && !objects.has("other", "t"), "{left}");
        }
    }
}
