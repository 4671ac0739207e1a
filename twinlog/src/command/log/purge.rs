//! `twinlog log purge`: old segments go, by hand.
//!
//! Up to what every link has acknowledged, as the relay itself purges: there is no way to ask for more. What would go
//! is told from outside, by the same rules; the purge itself is the log's own.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use binlog::GtidSet;
use serde::Serialize;
use storage::{LogView, RelayLog};

use super::list::Holders;
use super::place::{Configured, Place, exclusive_failure};
use super::{answer, counted};
use crate::cli::PurgeArgs;
use crate::command::status::bytes;
use crate::failure::Failure;

/// Holds what is not asked for by GTID while the log purges. No link has a name without slashes.
pub(super) const HOLDER: &str = "twinlog-log-purge";

/// What goes, and why not more.
#[derive(Debug, Serialize)]
struct Report {
    log: String,
    dry_run: bool,
    segments: Vec<u64>,
    bytes: u64,
    /// The transactions in them.
    gtids: String,
    /// The oldest segment that stays.
    stays: Option<u64>,
    why: String,
}

/// Purges, or says what would go. A log that a relay has open is refused.
pub(super) fn run(args: &PurgeArgs) -> Result<ExitCode, Failure> {
    let (dir, configured) = Place::own(&args.log)?;
    let place = Place { dir, configured: Some(configured) };
    let report = tokio::task::block_in_place(|| {
        let view = place.view()?;
        let plan = plan(&place, &view, args)?;
        match (&place.configured, args.dry_run) {
            (Some(configured), false) => purge(&place, configured, args, plan),
            _ => Ok(plan),
        }
    })?;
    answer(args.json, &text(&report), &report)?;
    Ok(ExitCode::SUCCESS)
}

/// What would go, by the rules of [`RelayLog::purge`].
fn plan(place: &Place, view: &LogView, args: &PurgeArgs) -> Result<Report, Failure> {
    let holders = Holders::of(place, view)?;
    let (now, wanted) = (SystemTime::now(), args.up_to.as_ref().map(|set| union(set, view.gtids_purged())));
    let mut report = Report {
        log: place.dir.display().to_string(),
        dry_run: true,
        segments: Vec::new(),
        bytes: 0,
        gtids: String::new(),
        stays: None,
        why: "the log is empty".into(),
    };
    let mut gtids = GtidSet::new();
    for segment in view.segments() {
        let number = segment.segment;
        let why = if number == view.durable().segment {
            Some("it is the newest, which always stays".to_owned())
        } else if let Some(link) = holders.of_segment(number).next() {
            let unheard = holders.unheard().any(|name| name == link);
            let needs =
                if unheard { "has not told yet what it needs" } else { "has not acknowledged all of it" };
            Some(format!("link {link} {needs}"))
        } else if wanted
            .as_ref()
            .is_some_and(|wanted| !wanted.contains_all(&union(&segment.previous, &segment.gtids)))
        {
            Some("it has transactions that --up-to does not name".to_owned())
        } else {
            let written = view.written(number);
            let written = written.map_err(|e| Failure::from_diagnosis(&place.cannot("read"), &e))?;
            let age = now.duration_since(written).unwrap_or_default();
            let is_young = args.older_than.is_some_and(|older| age < older);
            is_young.then(|| {
                format!(
                    "it was written {} ago",
                    humantime::format_duration(Duration::from_secs(age.as_secs()))
                )
            })
        };
        if let Some(why) = why {
            (report.stays, report.why) = (Some(number), why);
            break;
        }
        report.segments.push(number);
        report.bytes += segment.bytes;
        gtids.union_with(&segment.gtids);
    }
    report.gtids = gtids.to_string();
    Ok(report)
}

/// Does it; tells what has gone.
fn purge(place: &Place, configured: &Configured, args: &PurgeArgs, plan: Report) -> Result<Report, Failure> {
    let failed = |e: storage::Error| {
        let remedy = format!(
            "a running relay purges by itself what is older than relay.retain: lower that, or stop the relay of region {} first",
            args.log.region
        );
        exclusive_failure(&place.cannot("purge"), &e, &remedy)
    };
    let (log, writer) = RelayLog::open(&place.dir, configured.options()).map_err(failed)?;
    configured.links.iter().for_each(|(key, _)| log.register(key));
    if let Some(up_to) = &args.up_to {
        log.register(HOLDER);
        log.attached(HOLDER, &union(up_to, &log.gtids_purged()));
    }
    let before = log.segments();
    let purged = log.purge(SystemTime::now(), args.older_than.unwrap_or_default());
    log.forget(HOLDER);
    let closed = writer.close();
    purged.map_err(failed)?;
    closed.map_err(failed)?;
    let oldest = log.segments().first().map_or(u64::MAX, |segment| segment.segment);
    let gone: Vec<_> = before.into_iter().filter(|segment| segment.segment < oldest).collect();
    let mut gtids = GtidSet::new();
    gone.iter().for_each(|segment| gtids.union_with(&segment.gtids));
    Ok(Report {
        dry_run: false,
        segments: gone.iter().map(|segment| segment.segment).collect(),
        bytes: gone.iter().map(|segment| segment.bytes).sum(),
        gtids: gtids.to_string(),
        ..plan
    })
}

fn union(one: &GtidSet, other: &GtidSet) -> GtidSet {
    let mut both = one.clone();
    both.union_with(other);
    both
}

fn text(report: &Report) -> String {
    let count = counted(u64::try_from(report.segments.len()).unwrap_or(u64::MAX), "segment");
    let verb = if report.dry_run { "would go" } else { "purged" };
    let mut text = format!("{verb}: {count}, {}\n", bytes(report.bytes));
    if let (Some(first), Some(last)) = (report.segments.first(), report.segments.last()) {
        text += &format!("  {first} to {last}: {}\n", report.gtids);
    }
    if let Some(stays) = report.stays {
        text += &format!("segment {stays} stays: {}\n", report.why);
    }
    text
}
