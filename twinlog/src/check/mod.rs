//! The prechecks: is everything as it must be for a sync to work, and for long?
//!
//! ```text
//! file ─▶ gather ── asks every server and relay, all at once ──▶ facts ─▶ judge ── one file an item ──▶ Report
//!           │  server, schema, clock, privileges, checkpoints      settings, identity, tables, pair, …      │
//!           └─ what does not answer is a finding, and what needs it is skipped              print, --json ◀─┘
//! ```
//! Asking and judging are apart: items are functions from what was said to findings, and ask nothing. A check changes
//! nothing on any server: privileges are tried by statements that can't succeed, and only [`probe`], asked for by
//! name, writes a row. [`at_start`] is what relays and appliers look at when they start.

pub(crate) mod at_start;
mod auto_increment;
mod checkpoints;
mod clock;
mod definitions;
mod facts;
#[cfg(test)]
mod fixtures;
mod foreign_keys;
mod gather;
mod grants;
mod identity;
mod judge;
mod packets;
mod pair;
mod policies;
mod print;
mod privileges;
mod probe;
mod relay;
mod report;
mod schema;
mod schema_read;
mod server;
mod settings;
mod sql;
mod tables;
mod triggers_events;

use std::sync::Arc;

use twinlog::config::File;

use crate::failure::Failure;
use gather::Gathered;
use report::{About, Finding};

pub(crate) use print::render;
pub(crate) use report::Report;

/// Checks everything of the file; with `probe` a canary is sent through every relay too.
pub(crate) async fn run(file: File, probe: bool) -> Result<Report, Failure> {
    let file = Arc::new(file);
    let mut gathered = Box::pin(gather::gather(&file)).await?;
    let mut findings = Box::pin(judge::judge(&file, &mut gathered)).await;
    if probe {
        findings.extend(canaries(&file, &gathered).await?);
    }
    Ok(Report::new(&file.sync.name, findings))
}

/// One canary for each region that has a relay and is written into.
async fn canaries(file: &File, gathered: &Gathered) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for region in file.regions.keys() {
        let Some(relay) = gather::attach(file, region)? else { continue };
        let about = About::region(region);
        let writer = gathered.answering(region).and_then(|server| server.place.writer.as_ref());
        let runs = gathered.relays.get(region).is_some_and(|known| known.runs);
        findings.push(match writer {
            _ if !runs => about.skipped("probe", "needs the region's relay running"),
            None => about.skipped("probe", "needs an account that writes, at a server that answers"),
            Some(writer) => Box::pin(probe::run(file, region, &relay, writer)).await,
        });
    }
    Ok(findings)
}
