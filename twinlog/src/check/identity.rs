//! What must be nobody else's: server ids and server uuids, of servers, relays, appliers and attached replicas.

use std::collections::BTreeMap;

use twinlog::config::File;

use super::facts::Replica;
use super::relay::KnownRelay;
use super::report::Finding;
use super::server::Server;

/// Ids and uuids of all servers that answered.
pub(crate) fn judge(file: &File, servers: &[Server], relays: &BTreeMap<String, KnownRelay>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut ids: BTreeMap<u64, String> = BTreeMap::new();
    let mut uuids: BTreeMap<String, String> = BTreeMap::new();
    for region in file.regions.values() {
        if let Some(relay) = &region.relay {
            ids.insert(relay.server_id.into(), format!("the relay of {}", region.name));
        }
    }
    for link in file.links.values().filter(|l| reads_directly(file, &l.from)) {
        ids.insert(link.server_id.into(), format!("the applier of {}", link.name));
    }
    let taken: Vec<u64> = servers
        .iter()
        .filter_map(|s| s.facts.as_ref()?.variables.number("server_id"))
        .chain(ids.keys().copied())
        .collect();
    for server in servers {
        let Some(facts) = &server.facts else { continue };
        let (about, here) =
            (server.about(), format!("{} of {}", server.place.address(), server.place.region));
        if let Some(id) = facts.variables.number("server_id") {
            let finding = match (id, ids.insert(id, here.clone())) {
                (0, _) => about.fail("server_id", "0").why("with id 0 a server takes no part in replication"),
                (_, Some(other)) => about
                    .fail("server_id", format!("{id}, which {other} has too"))
                    .why("replicas leave out events that carry their own server id"),
                (_, None) => about.pass("server_id", id.to_string()),
            };
            let free = (1..).find(|id| !taken.contains(id)).unwrap_or(1);
            let wanted = finding.wanted("an id of its own");
            findings.push(match wanted.why {
                Some(_) => wanted.sql(format!("SET PERSIST server_id = {free}")),
                None => wanted,
            });
        }
        if let Some(uuid) = facts.uuid {
            findings.push(match uuids.insert(uuid.to_string(), here) {
                Some(other) => about
                    .fail("server_uuid", format!("{uuid}, which {other} has too"))
                    .wanted("a uuid of its own")
                    .why("GTIDs begin with it: two servers with one uuid give the same GTIDs to different transactions")
                    .advice("if it is a copy of the other: stop it, remove auto.cnf from its data folder, start it")
                    .advice("if it is the same server: correct mysql.address of one of the regions"),
                None => about.pass("server_uuid", uuid.to_string()),
            });
        }
        findings.extend(attached(file, server, relays.get(&server.place.region)));
    }
    findings
}

/// A link from a region without a relay reads its server itself.
fn reads_directly(file: &File, region: &str) -> bool {
    file.regions.get(region).is_some_and(|region| region.relay.is_none())
}

/// Is another replica attached to the source under our server id?
fn attached(file: &File, server: &Server, known: Option<&KnownRelay>) -> Option<Finding> {
    const ITEM: &str = "replica_server_id";
    let relay = file.regions.get(&server.place.region)?.relay.as_ref()?;
    let facts = server.facts.as_ref()?;
    let (about, id) = (server.about(), relay.server_id);
    let Some(replicas) = &facts.replicas else {
        return Some(about.skipped(ITEM, "no account may see attached replicas: GRANT REPLICATION SLAVE"));
    };
    let other = replicas.iter().find(|r| r.server_id == id && !is_ours(r, &server.place.region, known));
    let wanted = "an id that no other replica of the source has";
    Some(match other {
        None => about
            .pass(ITEM, format!("{id} is the relay's alone among {} attached", replicas.len()))
            .wanted(wanted),
        Some(other) => about
            .fail(ITEM, format!("{id}, which replica {} ({}) has too", other.uuid, other.host))
            .wanted(wanted)
            .why("sources end the connection of one of two replicas that look the same")
            .setting(format!("[region.{}] relay.server_id = another number", server.place.region)),
    })
}

/// The region's relay says who it is, by its uuid where that is known.
fn is_ours(replica: &Replica, region: &str, known: Option<&KnownRelay>) -> bool {
    match known.and_then(|relay| relay.server_uuid.as_deref()) {
        Some(uuid) => replica.uuid.eq_ignore_ascii_case(uuid),
        None => replica.host == format!("relay {region}"),
    }
}

#[cfg(test)]
mod tests {
    use super::is_ours;
    use crate::check::facts::Replica;
    use crate::check::relay::KnownRelay;

    #[test]
    fn a_relay_is_known_by_its_uuid_and_else_by_what_it_calls_itself() {
        let replica = Replica { server_id: 7, host: "relay eu".into(), uuid: "ABC".into() };
        let known = |uuid: &str| KnownRelay { server_uuid: Some(uuid.into()), ..KnownRelay::default() };
        assert!(is_ours(&replica, "eu", Some(&known("abc"))));
        assert!(!is_ours(&replica, "eu", Some(&known("def"))));
        assert!(is_ours(&replica, "eu", None));
        assert!(!is_ours(&replica, "us", None));
    }
}
