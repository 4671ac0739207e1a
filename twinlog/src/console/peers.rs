//! Which process can answer what: the console asks them all it shows, and no server itself.

use twinlog::config::File;

use crate::admin::Kind;
use crate::admin::client::Peer;
pub(super) use crate::admin::client::encoded as step;

/// Those that write into a region, first to last.
pub(super) fn beside(file: &File, region: &str) -> Vec<Peer> {
    let links = file.links.values().filter(|link| link.to == region);
    links.map(|link| Peer::of(file, Kind::Applier, &link.name)).collect()
}

/// Those that may know a region's server: who writes into it, its relay, then the others.
pub(super) fn about(file: &File, region: &str) -> Vec<Peer> {
    let mut all = beside(file, region);
    if file.regions.get(region).is_some_and(|region| region.relay.is_some()) {
        all.push(Peer::of(file, Kind::Relay, region));
    }
    let others = file.links.values().filter(|link| link.to != region);
    all.extend(others.map(|link| Peer::of(file, Kind::Applier, &link.name)));
    all
}

/// Those that may know all regions.
pub(super) fn appliers(file: &File) -> Vec<Peer> {
    file.links.keys().map(|link| Peer::of(file, Kind::Applier, link)).collect()
}
