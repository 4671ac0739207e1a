//! What the file alone shows: its warnings, policies that do not end equal where many regions write, and copies that do not.

use std::collections::BTreeSet;

use twinlog::config::{File, Initial, Link, Policy};

use super::report::{About, Finding};

/// Items of the file.
pub(crate) fn judge(file: &File) -> Vec<Finding> {
    let about = About::file();
    let mut findings: Vec<Finding> = file
        .warnings
        .iter()
        .map(|w| {
            let finding = about.warn("configuration", format!("line {}: {}", w.line, w.message));
            finding.on(&w.key).setting(format!("change {}", w.key))
        })
        .collect();
    if findings.is_empty() {
        findings.push(about.pass("configuration", "no contradictions"));
    }
    let rings = rings(file);
    findings.extend(many_regions(&about, file, &rings));
    findings.extend(copies(&about, file, &rings));
    findings
}

/// With two regions, taking rows on one side and keeping them on the other ends equal. With three or more that all
/// write it does not.
fn many_regions(about: &About, file: &File, rings: &[BTreeSet<&str>]) -> Vec<Finding> {
    const ITEM: &str = "policy";
    let mut wrong: Vec<(&Link, Policy, &BTreeSet<&str>)> = Vec::new();
    for link in file.links.values() {
        let Some(ring) = ring_of(rings, link) else { continue };
        if let Some(policy) = policies(link).find(|p| matches!(p, Policy::Overwrite | Policy::Ignore)) {
            wrong.push((link, policy, ring));
        }
    }
    wrong
        .into_iter()
        .filter(|(_, _, ring)| ring.len() > 2)
        .map(|(link, policy, ring)| {
            let word = if policy == Policy::Overwrite { "overwrite" } else { "ignore" };
            let regions: Vec<&str> = ring.iter().copied().collect();
            about
                .fail(ITEM, format!("{word}, where {} all write", regions.join(", ")))
                .on(&link.name)
                .wanted("report or newest")
                .why("which row stays depends on the order in which changes arrive, and that differs in each region: with three or more they end different")
                .setting(format!("[link.{}] on_conflict = \"newest\"", link.name))
        })
        .collect()
}

/// What a third region writes meanwhile reaches the target by a link that knows nothing of the copy.
fn copies(about: &About, file: &File, rings: &[BTreeSet<&str>]) -> Vec<Finding> {
    let copies = |link: &&Link| matches!(link.initial, Initial::Data | Initial::StructureAndData);
    let of_many = |link: &&Link| ring_of(rings, link).is_some_and(|ring| ring.len() > 2);
    let links = file.links.values().filter(copies).filter(of_many);
    links
        .map(|link| {
            about
                .warn("copies", format!("it copies rows from {}, where three regions or more write", link.from))
                .on(&link.name)
                .wanted(format!("tables that are written in {} only, until every link is running", link.from))
                .why("what a third region writes into a table meanwhile can be missed: compare with twinlog verify if one did")
                .setting(format!("keep applications in the other regions off what is copied, or [link.{}] initial = \"none\" once all are equal", link.name))
        })
        .collect()
}

/// The regions that a link's changes may meet those of.
fn ring_of<'r, 'f>(rings: &'r [BTreeSet<&'f str>], link: &Link) -> Option<&'r BTreeSet<&'f str>> {
    rings.iter().find(|ring| ring.contains(link.from.as_str()) && ring.contains(link.to.as_str()))
}

fn policies(link: &Link) -> impl Iterator<Item = Policy> + '_ {
    link.on_conflict.into_iter().chain(link.tables.values().filter_map(|table| table.on_conflict))
}

/// Regions that reach each other: sets within which every change may meet every other.
fn rings(file: &File) -> Vec<BTreeSet<&str>> {
    let reach = |start: &str| {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut next: Vec<&str> =
            file.links.values().filter(|l| l.from == start).map(|l| l.to.as_str()).collect();
        while let Some(region) = next.pop() {
            if seen.insert(region) {
                next.extend(file.links.values().filter(|l| l.from == region).map(|l| l.to.as_str()));
            }
        }
        seen
    };
    let mut rings: Vec<BTreeSet<&str>> = Vec::new();
    for region in file.regions.keys().map(String::as_str) {
        if rings.iter().any(|ring| ring.contains(region)) {
            continue;
        }
        let ring: BTreeSet<&str> =
            reach(region).into_iter().filter(|other| reach(other).contains(region)).collect();
        if ring.len() > 1 {
            rings.push(ring);
        }
    }
    rings
}

#[cfg(test)]
mod tests {
    use twinlog::config::{File, Initial, Policy};

    use super::judge;
    use crate::check::fixtures::{file, mesh};
    use crate::check::report::Outcome;

    fn failing(file: &File) -> Vec<String> {
        let failed = judge(file).into_iter().filter(|f| f.status == Outcome::Fail);
        failed.filter_map(|f| f.subject).collect()
    }

    #[test]
    fn overwrite_and_ignore_fail_where_three_regions_write() {
        for policy in [Policy::Overwrite, Policy::Ignore] {
            let mut mesh = mesh();
            mesh.links.get_mut("eu-us").unwrap().on_conflict = Some(policy);
            assert_eq!(failing(&mesh), ["eu-us"]);
            let mut two = file();
            two.links.get_mut("eu-us").unwrap().on_conflict = Some(policy);
            assert!(failing(&two).is_empty(), "two regions end equal");
        }
    }

    #[test]
    fn newest_and_report_and_links_that_only_lead_out_are_no_fault() {
        let mut mesh = mesh();
        for link in mesh.links.values_mut() {
            link.on_conflict = Some(Policy::Newest);
        }
        assert!(failing(&mesh).is_empty());
        // asia is only written into: whatever it is told wins.
        mesh.links.retain(|_, link| link.from != "asia");
        for link in mesh.links.values_mut().filter(|l| l.to == "asia") {
            link.on_conflict = Some(Policy::Overwrite);
        }
        assert!(failing(&mesh).is_empty());
    }

    #[test]
    fn a_policy_of_a_single_table_counts_too() {
        let mut mesh = mesh();
        let settings = twinlog::config::TableSettings {
            on_conflict: Some(Policy::Ignore),
            ..twinlog::config::TableSettings::default()
        };
        mesh.links.get_mut("us-asia").unwrap().tables.insert("shop.t".into(), settings);
        assert_eq!(failing(&mesh), ["us-asia"]);
    }

    #[test]
    fn a_copy_where_three_regions_write_is_a_warning_and_between_two_none() {
        let warned = |file: &File| {
            let all = judge(file).into_iter().filter(|f| f.status == Outcome::Warn);
            all.filter_map(|f| f.subject).collect::<Vec<_>>()
        };
        let mut mesh = mesh();
        assert!(warned(&mesh).is_empty());
        mesh.links.get_mut("eu-us").unwrap().initial = Initial::Data;
        assert_eq!(warned(&mesh), ["eu-us"]);
        let mut two = file();
        two.links.get_mut("eu-us").unwrap().initial = Initial::StructureAndData;
        assert!(warned(&two).is_empty());
    }

    #[test]
    fn a_file_without_contradictions_says_so() {
        let all = judge(&file());
        assert_eq!((all.len(), all[0].status), (1, Outcome::Pass));
    }
}
