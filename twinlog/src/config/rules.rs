//! What no key alone shows: names that must exist, values that must differ, settings that contradict each other.

use std::collections::BTreeMap;

use super::convert::{names, objects};
use super::fault::{Collector, path_of};
use super::rings::two_ddl_links_of_a_ring;
use super::{Detect, File, Link, Policy};

/// Checks the whole file, and fills in the inverse of each `rename`.
pub(super) fn check(file: &mut File, faults: &Collector) {
    needed_sections(file, faults);
    regions_of_links(file, faults);
    one_link_per_direction(file, faults);
    distinct_values(file, faults);
    meta_schema_is_not_in_step(file, faults);
    one_ddl_link_per_ring(file, faults);
    derive_renames(file, faults);
    names_are_the_servers_own_affair(file, faults);
    tables_of_links_are_in_step(file, faults);
    for link in file.links.values() {
        if let Some(back) = file.way_back(link) {
            pair(link, back, faults);
        }
        let to_has_relay = file.regions.get(&link.to).is_none_or(|region| region.relay.is_some());
        newest_needs_rows(link, to_has_relay, faults);
    }
}

fn key(link: &Link, key: &str) -> String {
    path_of(&["link", &link.name, key])
}

fn needed_sections(file: &File, faults: &Collector) {
    if file.regions.is_empty() {
        faults.fault("region", "no region: a sync has at least two");
    }
    // A relay alone is of use: replicas and CDC clients attach to it.
    if file.links.is_empty() && file.regions.values().all(|region| region.relay.is_none()) {
        faults.fault("link", "no link, and no region has a relay: nothing would flow");
    }
}

fn regions_of_links(file: &File, faults: &Collector) {
    for link in file.links.values() {
        for (name, region) in [("from", &link.from), ("to", &link.to)] {
            if !region.is_empty() && !file.regions.contains_key(region) {
                let known: Vec<&str> = file.regions.keys().map(String::as_str).collect();
                faults.fault(
                    &key(link, name),
                    format!("no such region: {region}; there are {}", known.join(", ")),
                );
            }
        }
        if !link.from.is_empty() && link.from == link.to {
            faults.fault(&key(link, "to"), "is the region that the link reads");
        }
        let (from, to) = (file.regions.get(&link.from), file.regions.get(&link.to));
        if let Some(from) = from.filter(|r| r.mysql.reader.user.is_empty()) {
            faults.fault(
                &path_of(&["region", &from.name, "mysql", "user"]),
                "is missing: its relay reads with it",
            );
        }
        if let Some(to) = to.filter(|r| r.mysql.writer.user.is_empty()) {
            faults.fault(
                &path_of(&["region", &to.name, "mysql", "user"]),
                "is missing: an applier writes with it",
            );
        }
    }
}

fn one_link_per_direction(file: &File, faults: &Collector) {
    let mut seen: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for link in file.links.values() {
        if let Some(other) = seen.insert((&link.from, &link.to), &link.name) {
            faults.fault(
                &path_of(&["link", &link.name]),
                format!("goes from {} to {} as {other} does", link.from, link.to),
            );
        }
    }
}

/// Server ids, folders and listeners that two processes would fight over.
fn distinct_values(file: &File, faults: &Collector) {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut once = |path: String, value: String, what: &str| {
        if let Some(other) = seen.get(&value) {
            faults.fault(&path, format!("the same {what} as {other}"));
        } else {
            seen.insert(value, path);
        }
    };
    let fixed_port = |listen: &str| !listen.is_empty() && !listen.ends_with(":0");
    for region in file.regions.values() {
        let Some(relay) = &region.relay else { continue };
        let at = |key: &str| path_of(&["region", &region.name, "relay", key]);
        once(at("server_id"), format!("id {}", relay.server_id), "server_id");
        once(at("dir"), format!("dir {}", relay.dir.display()), "folder");
        if let Some(listen) = relay.admin.listen.as_ref().filter(|l| fixed_port(l)) {
            once(format!("{}.listen", at("admin")), format!("listen {listen}"), "address");
        }
        // Relays of two regions stand on two hosts, so only on loopback they are known to meet.
        if fixed_port(&relay.listen) && super::value::is_loopback(&relay.listen) {
            once(at("listen"), format!("listen {}", relay.listen), "address");
        }
    }
    for link in file.links.values() {
        once(key(link, "server_id"), format!("id {}", link.server_id), "server_id");
        if let Some(listen) = link.admin.listen.as_ref().filter(|l| fixed_port(l)) {
            once(format!("{}.listen", key(link, "admin")), format!("listen {listen}"), "address");
        }
    }
}

/// Checkpoints of one link must not travel over another as data.
fn meta_schema_is_not_in_step(file: &File, faults: &Collector) {
    if file.sync.tables.matches(&file.sync.meta_schema, "checkpoint") {
        let schema = &file.sync.meta_schema;
        faults.fault("sync.tables", format!("has the meta schema in step: add \"!{schema}.*\" at the end"));
    }
}

fn one_ddl_link_per_ring(file: &File, faults: &Collector) {
    if let Some((first, second)) = two_ddl_links_of_a_ring(file) {
        faults.fault(
            &key(second, "ddl"),
            format!(
                "only one link of a ring may carry DDL, and {} does: set ddl = false on one of them",
                first.name
            ),
        );
    }
}

/// The way back maps back: where one link of a pair has names, the other has the inverse.
fn derive_renames(file: &mut File, faults: &Collector) {
    let inverses: Vec<(String, String, BTreeMap<String, String>)> = file
        .links
        .values()
        .filter_map(|link| file.way_back(link).map(|back| (link, back)))
        .map(|(link, back)| (link.name.clone(), back.name.clone(), inverse(&back.rename)))
        .collect();
    for (name, back, inverse) in inverses {
        let Some(link) = file.links.get_mut(&name) else { continue };
        // Where both state them, the patterns are in the names of the first.
        link.renames_are_derived = !inverse.is_empty() && (link.rename.is_empty() || back < name);
        if link.rename.is_empty() {
            link.rename = inverse;
        } else if link.rename != inverse && !inverse.is_empty() {
            faults.fault(
                &key(link, "rename"),
                "is not the inverse of the way back's rename: leave one of them out",
            );
        }
    }
}

fn inverse(rename: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    rename.iter().map(|(from, to)| (to.clone(), from.clone())).collect()
}

/// The meta schema and MySQL's own schemas are called the same everywhere.
fn names_are_the_servers_own_affair(file: &File, faults: &Collector) {
    const OWN: [&str; 4] = ["mysql", "sys", "information_schema", "performance_schema"];
    for link in file.links.values().filter(|link| !link.renames_are_derived) {
        for name in link.rename.keys().chain(link.rename.values()) {
            let database = name.split('.').next().unwrap_or(name);
            if database == file.sync.meta_schema || OWN.iter().any(|own| database.eq_ignore_ascii_case(own)) {
                faults.fault(
                    &key(link, "rename"),
                    format!("{database} is each server's own: it can't be renamed"),
                );
            }
        }
    }
}

/// Settings of a table that is not in step would do nothing.
fn tables_of_links_are_in_step(file: &File, faults: &Collector) {
    for link in file.links.values() {
        let objects = objects(file, link);
        for name in link.tables.keys() {
            let in_step = name.split_once('.').is_none_or(|(database, table)| objects.has(database, table));
            if !in_step {
                faults.fault(
                    &path_of(&["link", &link.name, "table", name]),
                    "is not in step: no pattern of [sync] tables has it",
                );
            }
        }
    }
}

/// Rules for a link that has a way back. Called for both; what concerns the pair is told once, on the later name.
fn pair(link: &Link, back: &Link, faults: &Collector) {
    let later = link.name > back.name;
    if later && link.operations != back.operations {
        faults.fault(&key(link, "operations"), format!("differs from those of {}, the way back", back.name));
    }
    if later {
        operations_of_tables(link, back, faults);
    }
    if later && link.on_conflict == back.on_conflict {
        match link.on_conflict {
            Some(Policy::Overwrite) => faults.warn(
                &key(link, "on_conflict"),
                "overwrite in both directions: on a conflict each side takes the other's row, so they swap",
            ),
            Some(Policy::Ignore) => faults.warn(
                &key(link, "on_conflict"),
                "ignore in both directions: on a conflict each side keeps its own row, so they stay different",
            ),
            _ => {}
        }
    }
    if link.detect == Some(Detect::Key) {
        faults.warn(
            &key(link, "detect"),
            "key in a pair: updates of one row on both sides at once are not seen and leave the regions different",
        );
    }
    newest_on_both(link, back, faults);
}

/// What a table lets cross must be the same in both directions.
fn operations_of_tables(link: &Link, back: &Link, faults: &Collector) {
    let (there, here) = (names(link), names(back));
    let of = |link: &Link, name: &str| {
        let own = link.tables.get(name).and_then(|table| table.operations.clone());
        own.unwrap_or_else(|| link.operations.clone())
    };
    let with_own = |link: &'_ Link| -> Vec<String> {
        let stated = link.tables.iter().filter(|(_, table)| table.operations.is_some());
        stated.map(|(name, _)| name.clone()).collect()
    };
    let mut pairs: Vec<(String, String)> =
        with_own(link).into_iter().map(|name| (name.clone(), across(&there, &name))).collect();
    pairs.extend(with_own(back).into_iter().map(|name| (across(&here, &name), name)));
    for (ours, theirs) in pairs {
        if of(link, &ours) != of(back, &theirs) {
            let at = path_of(&["link", &link.name, "table", &ours, "operations"]);
            faults.fault(&at, format!("differs from that of {theirs} on {}, the way back", back.name));
        }
    }
}

/// The name of a table on the other end.
fn across(names: &applier::Names, name: &str) -> String {
    let there = name.split_once('.').and_then(|(database, table)| names.there(database, table));
    there.map_or_else(|| name.to_owned(), |(database, table)| format!("{database}.{table}"))
}

fn newest_on_both(link: &Link, back: &Link, faults: &Collector) {
    let newest = |policy: Option<Policy>| policy == Some(Policy::Newest);
    if newest(link.on_conflict) && !newest(back.on_conflict) {
        faults.fault(
            &key(link, "on_conflict"),
            format!("newest needs newest on the way back too: {}", back.name),
        );
    }
    for (name, settings) in &link.tables {
        let here = settings.on_conflict.or(link.on_conflict);
        // The way back knows the table by its name there.
        let there_name = across(&names(link), name);
        let there = back.tables.get(&there_name).and_then(|t| t.on_conflict).or(back.on_conflict);
        if newest(here) && !newest(there) {
            let at = path_of(&["link", &link.name, "table", name, "on_conflict"]);
            faults.fault(
                &at,
                format!("newest needs newest for {there_name} on the way back too: {}", back.name),
            );
        }
    }
}

fn newest_needs_rows(link: &Link, to_has_relay: bool, faults: &Collector) {
    let clash = |policy: Option<Policy>, detect: Option<Detect>| {
        policy == Some(Policy::Newest) && detect == Some(Detect::Key)
    };
    let message = "newest needs detect = \"row\"";
    if clash(link.on_conflict, link.detect) {
        faults.fault(&key(link, "detect"), message);
    }
    let asks = |policy: Option<Policy>, detect: Option<Detect>| {
        policy == Some(Policy::Newest) || detect == Some(Detect::Row)
    };
    let any =
        asks(link.on_conflict, link.detect) || link.tables.values().any(|t| asks(t.on_conflict, t.detect));
    if any && !to_has_relay {
        faults.fault(
            &key(link, "to"),
            format!("conflicts by rows are found in the log of the relay of region {}: give it one", link.to),
        );
    }
    for (name, settings) in &link.tables {
        if clash(settings.on_conflict.or(link.on_conflict), settings.detect.or(link.detect)) {
            faults.fault(&path_of(&["link", &link.name, "table", name, "detect"]), message);
        }
    }
}
