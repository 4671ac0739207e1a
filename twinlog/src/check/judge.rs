//! Every item, about every server, region, pair, and the file.

use std::collections::BTreeSet;

use binlog::GtidSet;
use twinlog::config::{File, Link, Policy, Region};

use super::facts::Facts;
use super::gather::Gathered;
use super::report::{About, Finding};
use super::schema::Schema;
use super::server::Server;
use super::{
    auto_increment, clock, definitions, foreign_keys, grants, identity, packets, pair, policies, privileges,
    relay, settings, tables, triggers_events,
};

/// Judges all that was said.
pub(crate) async fn judge(file: &File, gathered: &mut Gathered) -> Vec<Finding> {
    let mut findings = Vec::new();
    for server in &gathered.servers {
        findings.extend(of_server(file, server, gathered));
    }
    findings.extend(identity::judge(file, &gathered.servers, &gathered.relays));
    for region in file.regions.values() {
        findings.extend(of_tables(file, region, gathered));
        findings.extend(of_checkpoints(file, region, gathered));
        findings.extend(of_relay(region, gathered).await);
    }
    for (link, back) in pairs(file) {
        findings.extend(of_pair(file, link, back, gathered).await);
    }
    findings.extend(policies::judge(file));
    findings
}

/// Each two regions that are linked, once: a link, and its way back if there is one.
fn pairs(file: &File) -> Vec<(&Link, Option<&Link>)> {
    let mut seen = BTreeSet::new();
    let mut pairs = Vec::new();
    for link in file.links.values() {
        if seen.insert((link.from.as_str().min(&link.to), link.to.as_str().max(&link.from))) {
            pairs.push((link, file.way_back(link)));
        }
    }
    pairs
}

fn of_server(file: &File, server: &Server, gathered: &Gathered) -> Vec<Finding> {
    let mut findings = server.findings.clone();
    let Some(facts) = &server.facts else {
        findings.push(server.about().skipped(
            "settings",
            "needs a login at a server that answers; a relay that stands there is no server",
        ));
        return findings;
    };
    let region = file.regions.get(&server.place.region);
    let retain = region.and_then(|r| r.relay.as_ref()).map(|relay| relay.retain);
    findings.extend(settings::judge(&server.about(), &server.place, facts, retain));
    let mut probed = facts.probed.clone();
    if !tagged_ddl_comes(file, &server.place.region, gathered) {
        probed.retain(|probed| probed.privilege != privileges::TAG);
    }
    findings.extend(grants::judge(&server.about(), &probed));
    findings
}

/// Does a link bring DDL into this region from one that uses tags? It runs under its original GTID.
fn tagged_ddl_comes(file: &File, region: &str, gathered: &Gathered) -> bool {
    let mut links = file.links.values().filter(|link| link.to == region && link.ddl);
    links.any(|link| {
        let facts = gathered.answering(&link.from).and_then(|server| server.facts.as_ref());
        facts.is_some_and(|facts| has_tags(&facts.executed))
    })
}

/// Are there GTIDs of the form `uuid:tag:number`?
fn has_tags(set: &GtidSet) -> bool {
    let text = set.to_string();
    let mut parts = text.split(',').flat_map(|of_uuid| of_uuid.split(':').skip(1));
    parts.any(|part| part.trim().starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
}

fn of_tables(file: &File, region: &Region, gathered: &Gathered) -> Vec<Finding> {
    let mut links = file.links.values().filter(|l| l.from == region.name || l.to == region.name).peekable();
    let about = About::region(&region.name);
    if links.peek().is_none() {
        return Vec::new();
    }
    let Some((facts, schema)) = gathered.answering(&region.name).and_then(both) else {
        return vec![about.skipped("tables", "needs a server of the region that answers")];
    };
    let two_way = links.any(|link| file.way_back(link).is_some());
    let mut findings = tables::judge(&about, file, schema, two_way);
    findings.extend(foreign_keys::judge(&about, schema, two_way));
    if file.links.values().any(|link| link.to == region.name) {
        findings.extend(triggers_events::judge(&about, facts, schema, two_way));
    }
    findings
}

fn both(server: &Server) -> Option<(&Facts, &Schema)> {
    Some((server.facts.as_ref()?, server.schema.as_ref()?))
}

fn of_checkpoints(file: &File, region: &Region, gathered: &Gathered) -> Vec<Finding> {
    let links: Vec<&Link> = file.links.values().filter(|link| link.to == region.name).collect();
    if links.is_empty() {
        return Vec::new();
    }
    let Some(meta) = gathered.answering(&region.name).and_then(|server| server.meta.as_ref()) else {
        let about = About::region(&region.name);
        return vec![about.skipped("meta_schema", "needs a login of the account that writes")];
    };
    let mut findings = meta.judge(file, &region.name);
    for link in links {
        let source = gathered.answering(&link.from).and_then(|server| server.facts.as_ref());
        findings.push(meta.link(file, link, gathered.relays.get(&link.from), source));
    }
    findings
}

async fn of_relay(region: &Region, gathered: &mut Gathered) -> Vec<Finding> {
    let (Some(relay), Some(known)) = (&region.relay, gathered.relays.get(&region.name).cloned()) else {
        return Vec::new();
    };
    let mut findings = known.findings.clone();
    let about = About::region(&region.name);
    let durable = known.log.as_ref().map(|log| log.durable.clone()).unwrap_or_default();
    findings.push(match gathered.answering_mut(&region.name) {
        None => about.skipped("relay_position", "needs a server of the region that answers"),
        Some(server) => {
            let lacks = server.lacks(&durable).await;
            let facts = server.facts.clone().unwrap_or_default();
            relay::position(region, relay, &known, &facts, &lacks)
        }
    });
    findings.push(relay::room(region, relay, &known));
    findings
}

async fn of_pair(file: &File, link: &Link, back: Option<&Link>, gathered: &mut Gathered) -> Vec<Finding> {
    let about = About::pair(&link.from, &link.to);
    let answering = |region: &str| gathered.answering(region).and_then(both);
    let (Some(from), Some(to)) = (answering(&link.from), answering(&link.to)) else {
        return vec![about.skipped("pair", "needs a server of both regions that answers")];
    };
    let names = [(link.from.as_str(), from.0), (link.to.as_str(), to.0)];
    let mut findings = pair::judge(&about, names);
    let newest = |link: &Link| link.on_conflict == Some(Policy::Newest);
    findings.push(clock::compare(&about, from.0.clock, to.0.clock, newest(link) || back.is_some_and(newest)));
    findings.push(packets::judge(&about, (&link.from, from.0, from.1), (&link.to, to.0)));
    if back.is_some() {
        findings.push(packets::judge(&about, (&link.to, to.0, to.1), (&link.from, from.0)));
        let regions: Vec<&str> = file.regions.keys().map(String::as_str).collect();
        findings.push(auto_increment::judge(&about, names, [from.1, to.1], &regions));
    }
    findings.extend(foreign_keys::pair(&about, from.0, to.0, from.1));
    findings.extend(definitions::judge(&about, link, back, from.1, to.1));
    let mut lacking =
        definitions::missing(link, from.1, to.1).into_iter().map(|name| (link, name)).collect::<Vec<_>>();
    if let Some(back) = back {
        lacking.extend(definitions::missing(back, to.1, from.1).into_iter().map(|name| (back, name)));
    }
    for (link, name) in lacking {
        let create = match gathered.answering_mut(&link.from) {
            Some(server) => server.create_table(&name.0, &name.1).await,
            None => None,
        };
        findings.push(definitions::missing_finding(&about, link, &name, create));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{has_tags, pairs};
    use crate::check::fixtures::{file, mesh};

    #[test]
    fn tagged_transactions_are_told_from_plain_ones() {
        let of = |text: &str| has_tags(&text.parse().unwrap());
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        assert!(!of("") && !of(&format!("{uuid}:1-5:7")));
        assert!(of(&format!("{uuid}:1-5:abc:1-3")));
    }

    #[test]
    fn every_two_linked_regions_are_looked_at_once() {
        let names = |file: &twinlog::config::File| {
            pairs(file).iter().map(|(l, back)| (l.name.clone(), back.is_some())).collect::<Vec<_>>()
        };
        assert_eq!(names(&file()), [("eu-us".to_owned(), true)]);
        assert_eq!(names(&mesh()).len(), 3);
        let mut one_way = file();
        one_way.links.remove("eu-us");
        assert_eq!(names(&one_way), [("us-eu".to_owned(), false)]);
    }
}
