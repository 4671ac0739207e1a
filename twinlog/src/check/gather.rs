//! Asks every server and every relay of the file, all at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;
use twinlog::config::{self, File, Initial, Link};
use wire::ConnectOptions;

use super::privileges::Uses;
use super::relay::{self, KnownRelay};
use super::server::{self, Place, Server};
use crate::failure::Failure;

/// What everybody said.
pub(crate) struct Gathered {
    /// By region, then as the file lists the addresses.
    pub(crate) servers: Vec<Server>,
    /// By region.
    pub(crate) relays: BTreeMap<String, KnownRelay>,
}

impl Gathered {
    /// The first of a region's servers that answered.
    pub(crate) fn answering(&self, region: &str) -> Option<&Server> {
        self.servers.iter().find(|s| s.place.region == region && s.facts.is_some())
    }

    /// The same, to be asked more.
    pub(crate) fn answering_mut(&mut self, region: &str) -> Option<&mut Server> {
        self.servers.iter_mut().find(|s| s.place.region == region && s.facts.is_some())
    }
}

/// Asks. A password that can't be read is a fault of the configuration; whatever does not answer is a finding.
pub(crate) async fn gather(file: &Arc<File>) -> Result<Gathered, Failure> {
    let places = file.regions.keys().map(|region| places(file, region)).collect::<Result<Vec<_>, _>>()?;
    let relays = file.regions.keys().map(|region| attach(file, region)).collect::<Result<Vec<_>, _>>()?;
    // One clock for all: measured against it, servers can be compared.
    let steady = Instant::now();
    let mut asking = JoinSet::new();
    for (at, place) in places.into_iter().flatten().enumerate() {
        let (file, uses) = (file.clone(), uses(file, &place.region));
        asking.spawn(async move { (at, Box::pin(server::ask(place, &file, uses, steady)).await) });
    }
    let mut looking = JoinSet::new();
    for (region, options) in file.regions.values().zip(relays) {
        let (Some(relay), Some(options)) = (region.relay.clone(), options) else { continue };
        let (file, region) = (file.clone(), region.clone());
        looking.spawn(async move {
            let known = Box::pin(relay::look(&file, &region, &relay, &options)).await;
            (region.name, known)
        });
    }
    let mut servers = asking.join_all().await;
    servers.sort_by_key(|(at, _)| *at);
    let servers = servers.into_iter().map(|(_, server)| server).collect();
    Ok(Gathered { servers, relays: looking.join_all().await.into_iter().collect() })
}

/// The servers of a region that anybody uses.
pub(crate) fn places(file: &File, region: &str) -> Result<Vec<Place>, Failure> {
    let from = file.links.values().find(|link| link.from == region);
    let readers = match (file.regions.get(region).is_some_and(|r| r.relay.is_some()), from) {
        (true, _) => config::relay_config(file, region)?.sources,
        (false, Some(link)) => config::applier_config(file, &link.name)?.source_servers,
        (false, None) => Vec::new(),
    };
    let writers = match file.links.values().find(|link| link.to == region) {
        Some(link) => config::applier_config(file, &link.name)?.targets,
        None => Vec::new(),
    };
    let place = |at: usize| Place {
        region: region.to_owned(),
        reader: readers.get(at).cloned(),
        writer: writers.get(at).cloned(),
        first: at == 0,
    };
    Ok((0..readers.len().max(writers.len())).map(place).collect())
}

/// How to attach to a region's relay: as one of its links where there is one, for a link may have a certificate.
pub(crate) fn attach(file: &File, region: &str) -> Result<Option<ConnectOptions>, Failure> {
    if file.regions.get(region).is_none_or(|region| region.relay.is_none()) {
        return Ok(None);
    }
    Ok(Some(match file.links.values().find(|link| link.from == region) {
        Some(link) => config::applier_config(file, &link.name)?.source,
        None => config::attach_config(file, region)?,
    }))
}

/// What is done with a region's accounts.
fn uses(file: &File, region: &str) -> Uses {
    let has_structure = |link: &&Link| matches!(link.initial, Initial::StructureAndData | Initial::Structure);
    let links = || file.links.values().filter(has_structure);
    let there = |link: &Link| config::objects(file, link).named_databases_there();
    let mut makes_in: Vec<String> = links().filter(|link| link.to == region).flat_map(there).collect();
    let mut fills: Vec<String> = links()
        .filter(|link| link.to == region && link.initial == Initial::StructureAndData)
        .flat_map(there)
        .collect();
    let mut shows: Vec<String> = links()
        .filter(|link| link.from == region)
        .flat_map(|link| config::objects(file, link).named_databases_here())
        .collect();
    for list in [&mut makes_in, &mut fills, &mut shows] {
        list.sort();
        list.dedup();
    }
    let copied = |initial| matches!(initial, Initial::StructureAndData | Initial::Structure | Initial::Data);
    Uses {
        ddl: file.links.values().any(|link| link.to == region && link.ddl),
        copies: file.links.values().any(|link| link.from == region && copied(link.initial)),
        meta_schema: file.sync.meta_schema.clone(),
        makes_in,
        fills,
        shows,
        ..Uses::default()
    }
}
