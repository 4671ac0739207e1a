//! From the file to what a relay and an applier are told. Passwords are read here.

use std::collections::{BTreeMap, BTreeSet};

use applier::verify;
use wire::{ConnectOptions, TlsOptions};

use super::{
    Account, Detect, Existing, Fault, Faults, File, Initial, Link, Mysql, Operation, Policy, Region, Relay,
    TableSettings,
};

/// What the relay of this region is told.
pub fn relay_config(file: &File, region: &str) -> Result<relay::Config, Faults> {
    let region = find_region(file, region)?;
    let relay = find_relay(file, region)?;
    let password = relay.account.password.resolve().map_err(|f| Faults::one(&file.path, f))?;
    Ok(relay::Config {
        sync: file.sync.name.clone(),
        region: region.name.clone(),
        sources: servers(file, &region.mysql, &region.mysql.reader)?,
        server_id: relay.server_id,
        start: relay.start.clone(),
        semi_sync: relay.semi_sync,
        dir: relay.dir.clone(),
        retain: relay.retain,
        max_size: relay.max_size,
        listen: relay.listen.clone(),
        tls: relay.tls.clone(),
        plain_beyond_loopback: relay.plain_by_hand,
        user: relay.account.user.clone(),
        password,
        links: downstreams(file, &region.name),
        limits: relay::Limits::default(),
    })
}

/// What the applier of this link is told. A region without a relay is read directly.
pub fn applier_config(file: &File, link: &str) -> Result<applier::Config, Faults> {
    let link = find_link(file, link)?;
    let (from, to) = (find_region(file, &link.from)?, find_region(file, &link.to)?);
    let source_servers = servers(file, &from.mysql, &from.mysql.reader)?;
    let source = match &from.relay {
        Some(relay) => connect(file, &relay.address, &relay.account, &attach_tls(relay, link), &from.mysql)?,
        None => {
            source_servers.first().cloned().ok_or_else(|| missing(file, "region", &from.name, "address"))?
        }
    };
    Ok(applier::Config {
        sync: file.sync.name.clone(),
        link: link.name.clone(),
        from: link.from.clone(),
        to: link.to.clone(),
        meta_schema: file.sync.meta_schema.clone(),
        compress: link.compress.unwrap_or_else(|| !super::value::is_loopback(&source.address)),
        source,
        source_servers,
        targets: servers(file, &to.mysql, &to.mysql.writer)?,
        server_id: link.server_id,
        objects: objects(file, link),
        ddl: link.ddl,
        ddl_back: file.way_back(link).is_some_and(|back| back.ddl),
        regions: file.regions.values().map(|r| (r.name.clone(), r.gtid_uuids.clone())).collect(),
        others: others(file, link),
        group: group(file, link),
        workers: link.workers,
        spill_dir: file.sync.state_dir.join("spill"),
        conflicts: conflict_rules(file, link),
        way_back: match file.way_back(link) {
            Some(back) => Some(applier::WayBack {
                servers: servers(file, &from.mysql, &from.mysql.writer)?,
                copies: matches!(back.initial, Initial::StructureAndData | Initial::Data),
                makes_tables: matches!(back.initial, Initial::StructureAndData | Initial::Structure),
            }),
            None => None,
        },
        load: applier::Load {
            initial: match link.initial {
                Initial::StructureAndData => applier::Initial::StructureAndData,
                Initial::Structure => applier::Initial::Structure,
                Initial::Data => applier::Initial::Data,
                Initial::None => applier::Initial::None,
            },
            existing: match link.existing {
                Existing::Error => applier::Existing::Error,
                Existing::Keep => applier::Existing::Keep,
            },
            ..link.load.clone()
        },
        verify: schedule(file, link)?,
        state_dir: file.sync.state_dir.clone(),
        start_at: link.start_at,
        target_relay: match &to.relay {
            Some(relay) if conflict_rules(file, link).any_by_row() => {
                Some(connect(file, &relay.address, &relay.account, &attach_tls(relay, link), &to.mysql)?)
            }
            _ => None,
        },
    })
}

/// How a link's regions are compared beside it.
fn schedule(file: &File, link: &Link) -> Result<Option<verify::Schedule>, Faults> {
    let Some(verify) = &link.verify else { return Ok(None) };
    let in_state = |end: &str| file.sync.state_dir.join(format!("verify-{}.{end}", link.name));
    let config = verify::Config {
        only: verify.only.clone(),
        between: Some((link.from.clone(), link.to.clone())),
        limits: verify.limits.clone(),
        state: Some(in_state("json")),
        ..verify_config(file, None)?
    };
    Ok(Some(verify::Schedule { config, every: verify.every, outcome: in_state("last.json") }))
}

/// What a comparison of regions is told. `root` is the region that others are made equal to.
pub fn verify_config(file: &File, root: Option<&str>) -> Result<verify::Config, Faults> {
    if let Some(root) = root {
        find_region(file, root)?;
    }
    let mut regions = BTreeMap::new();
    for name in file.regions.keys() {
        regions.insert(name.clone(), region_servers(file, name)?);
    }
    let link = |link: &Link| verify::LinkInfo {
        name: link.name.clone(),
        from: link.from.clone(),
        to: link.to.clone(),
        objects: objects(file, link),
    };
    Ok(verify::Config {
        sync: file.sync.name.clone(),
        meta_schema: file.sync.meta_schema.clone(),
        regions,
        links: file.links.values().map(link).collect(),
        only: None,
        between: None,
        root: root.map(Into::into),
        limits: verify::Limits::default(),
        state: None,
    })
}

/// The servers of a region, asked with the account that also writes where links write: comparing leaves marks there.
/// Elsewhere reading must do.
pub fn region_servers(file: &File, name: &str) -> Result<Vec<ConnectOptions>, Faults> {
    let region = find_region(file, name)?;
    let written = file.links.values().any(|link| link.to == *name);
    let Mysql { reader, writer, .. } = &region.mysql;
    let account = if written || reader.user.is_empty() { writer } else { reader };
    servers(file, &region.mysql, account)
}

/// The further regions that write into a link's target.
fn others(file: &File, link: &Link) -> Vec<String> {
    let into_it = file.links.values().filter(|other| other.to == link.to && other.from != link.from);
    into_it.map(|other| other.from.clone()).collect()
}

/// How large a group may grow. Where three or more regions look for conflicts by rows, a group is one transaction: its
/// stamp tells the time of one.
fn group(file: &File, link: &Link) -> applier::GroupLimits {
    let by_row = file.links.values().any(|link| conflict_rules(file, link).any_by_row());
    let max_transactions = if file.regions.len() > 2 && by_row { 1 } else { link.group.max_transactions };
    applier::GroupLimits { max_transactions, ..link.group }
}

/// The rules for conflicts of a link, defaults filled in. Rows are looked at by default where a way back exists and the target has a relay
/// to look in.
pub fn conflict_rules(file: &File, link: &Link) -> applier::Conflicts {
    let has_relay = file.regions.get(&link.to).is_some_and(|region| region.relay.is_some());
    let by_default = if file.way_back(link).is_some() && has_relay { Detect::Row } else { Detect::Key };
    let rules = |policy: Option<Policy>, detect: Option<Detect>| applier::TableRules {
        policy: match policy.or(link.on_conflict).unwrap_or(Policy::Report) {
            Policy::Report => applier::Policy::Report,
            Policy::Ignore => applier::Policy::Ignore,
            Policy::Overwrite => applier::Policy::Overwrite,
            Policy::Newest => applier::Policy::Newest,
        },
        detect: match detect.or(link.detect).unwrap_or(by_default) {
            Detect::Row => applier::Detect::Row,
            Detect::Key => applier::Detect::Key,
        },
    };
    let names = names(link);
    let tables = link.tables.iter().map(|(name, t)| {
        let there = name.split_once('.').and_then(|(database, table)| names.there(database, table));
        let in_target = there.map_or_else(|| name.clone(), |(database, table)| format!("{database}.{table}"));
        (in_target, rules(t.on_conflict, t.detect))
    });
    applier::Conflicts { rules: rules(None, None), tables: tables.collect() }
}

/// What a link's tables are called on both ends.
pub fn names(link: &Link) -> applier::Names {
    applier::Names::new(&link.rename)
}

/// What is in step on a link.
pub fn objects(file: &File, link: &Link) -> applier::Objects {
    let operations = |set: &BTreeSet<Operation>| applier::Operations {
        insert: set.contains(&Operation::Insert),
        update: set.contains(&Operation::Update),
        delete: set.contains(&Operation::Delete),
    };
    let of_table = |(name, table): (&String, &TableSettings)| {
        Some((name.clone(), operations(table.operations.as_ref()?)))
    };
    applier::Objects {
        tables: file.sync.tables.clone(),
        names: names(link),
        patterns_are_of_target: link.renames_are_derived,
        operations: operations(&link.operations),
        table_operations: link.tables.iter().filter_map(of_table).collect(),
    }
}

/// A region and its relay.
pub fn region_with_relay<'a>(file: &'a File, region: &str) -> Result<(&'a Region, &'a Relay), Faults> {
    let region = find_region(file, region)?;
    Ok((region, find_relay(file, region)?))
}

/// How to attach to the relay of this region, as anyone but a link.
pub fn attach_config(file: &File, region: &str) -> Result<ConnectOptions, Faults> {
    let (region, relay) = region_with_relay(file, region)?;
    connect(file, &relay.address, &relay.account, &relay.client_tls, &region.mysql)
}

/// The links that start in a region: the key that its relay knows each by, and its name.
pub fn links_from(file: &File, region: &str) -> Vec<(String, String)> {
    let links = file.links.values().filter(|l| l.from == region);
    links.map(|l| (format!("{}/{}/{}", file.sync.name, l.from, l.to), l.name.clone())).collect()
}

/// All whose acknowledgements keep a relay's log: the links that start there, and the conflict windows of those that
/// end there.
fn downstreams(file: &File, region: &str) -> Vec<String> {
    let windows = file.links.values().filter(|l| l.to == region && conflict_rules(file, l).any_by_row());
    let windows = windows.map(|l| applier::window_name(&format!("{}/{}/{}", file.sync.name, l.from, l.to)));
    links_from(file, region).into_iter().map(|(key, _)| key).chain(windows).collect()
}

fn attach_tls(relay: &Relay, link: &Link) -> TlsOptions {
    TlsOptions { cert: link.tls_cert.clone(), key: link.tls_key.clone(), ..relay.client_tls.clone() }
}

fn servers(file: &File, mysql: &Mysql, account: &Account) -> Result<Vec<ConnectOptions>, Faults> {
    mysql.addresses.iter().map(|address| connect(file, address, account, &mysql.tls, mysql)).collect()
}

fn connect(
    file: &File,
    address: &str,
    account: &Account,
    tls: &TlsOptions,
    mysql: &Mysql,
) -> Result<ConnectOptions, Faults> {
    Ok(ConnectOptions {
        address: address.to_owned(),
        user: account.user.clone(),
        password: account.password.resolve().map_err(|f| Faults::one(&file.path, f))?,
        tls: tls.clone(),
        connect_timeout: mysql.connect_timeout,
    })
}

fn find_region<'a>(file: &'a File, name: &str) -> Result<&'a Region, Faults> {
    file.regions.get(name).ok_or_else(|| unknown(file, "region", name, file.regions.keys()))
}

fn find_link<'a>(file: &'a File, name: &str) -> Result<&'a Link, Faults> {
    file.links.get(name).ok_or_else(|| unknown(file, "link", name, file.links.keys()))
}

fn find_relay<'a>(file: &File, region: &'a Region) -> Result<&'a Relay, Faults> {
    region.relay.as_ref().ok_or_else(|| missing(file, "region", &region.name, "relay.listen"))
}

fn missing(file: &File, kind: &str, name: &str, key: &str) -> Faults {
    Faults::one(
        &file.path,
        Fault { line: 0, key: format!("{kind}.{name}.{key}"), message: "is missing".into() },
    )
}

fn unknown<'a>(file: &File, kind: &str, name: &str, known: impl Iterator<Item = &'a String>) -> Faults {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let message = format!("no {kind} of this name: {name}; there are {}", known.join(", "));
    Faults::one(&file.path, Fault { line: 0, key: String::new(), message })
}
