//! `twinlog log purge`: old segments go, by hand.
//!
//! Up to what every link has acknowledged, as the relay itself purges: there is no way to ask for more. What would go
//! is told from outside, by the same rules; the purge itself is the log's own, or, where a relay has the log open, the
//! relay's: it is asked with MySQL's own `PURGE BINARY LOGS`.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use binlog::GtidSet;
use serde::Serialize;
use storage::{LogView, PurgeLimit, RelayLog};
use wire::Connection;

use super::list::Holders;
use super::place::{Configured, Place};
use super::{answer, counted};
use crate::cli::PurgeArgs;
use crate::command::status::bytes;
use crate::failure::Failure;

/// How long the relay may take: removing a large file takes a while on some file systems.
const ANSWER: Duration = Duration::from_secs(120);

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

/// Purges, or says what would go.
pub(super) async fn run(args: &PurgeArgs) -> Result<ExitCode, Failure> {
    let (dir, configured) = Place::own(&args.log)?;
    let place = Place { dir, configured: Some(configured) };
    let report = tokio::task::block_in_place(|| plan(&place, &place.view()?, args))?;
    let report = match &place.configured {
        Some(configured) if !args.dry_run => purge(&place, configured, args, report).await?,
        _ => report,
    };
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
async fn purge(
    place: &Place,
    configured: &Configured,
    args: &PurgeArgs,
    plan: Report,
) -> Result<Report, Failure> {
    let age = args.older_than.unwrap_or_default();
    let limit = PurgeLimit {
        written_by: SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH),
        up_to: args.up_to.clone(),
        before_segment: None,
    };
    let view = |place: &Place| tokio::task::block_in_place(|| place.view());
    let before = view(place)?;
    match tokio::task::block_in_place(|| open_and_purge(place, configured, &limit)) {
        Err(storage::Error::Locked { .. }) => ask_relay(configured, &limit).await?,
        done => done.map_err(|e| Failure::from_diagnosis(&place.cannot("purge"), &e))?,
    }
    let oldest = view(place)?.segments().first().map_or(u64::MAX, |segment| segment.segment);
    let gone: Vec<_> = before.segments().iter().filter(|segment| segment.segment < oldest).collect();
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

fn open_and_purge(place: &Place, configured: &Configured, limit: &PurgeLimit) -> Result<(), storage::Error> {
    let (log, writer) = RelayLog::open(&place.dir, configured.options())?;
    configured.links.iter().for_each(|(key, _)| log.register(key));
    let purged = log.purge_within(limit);
    let closed = writer.close();
    purged?;
    closed
}

/// Has the relay do it that has the log open.
async fn ask_relay(configured: &Configured, limit: &PurgeLimit) -> Result<(), Failure> {
    let options = twinlog::config::attach_config(&configured.file, &configured.region)?;
    let doing = format!("cannot have the relay purge that has the log open, at {}", options.address);
    let failed = |e: wire::Error| Failure::from_diagnosis(&doing, &e);
    let mut relay = Connection::connect(&options).await.map_err(failed)?;
    relay.set_answer_timeout(Some(ANSWER));
    let region = relay.query_rows("SELECT @@twinlog_region").await.and_then(|rows| rows.single_text());
    let region = region.map_err(failed)?;
    if region != configured.region {
        let text = format!("{doing}: it is the relay of region {region}, not of {}", configured.region);
        return Err(Failure::failed(text).with_remedy("correct relay.address in the configuration"));
    }
    if let Some(up_to) = &limit.up_to {
        relay.execute(format!("SET @twinlog_purge_up_to = '{up_to}'")).await.map_err(failed)?;
    }
    let time = humantime::format_rfc3339_micros(limit.written_by).to_string().replace('T', " ");
    let purge = format!("PURGE BINARY LOGS BEFORE '{}'", time.trim_end_matches('Z'));
    relay.execute(purge).await.map_err(failed)?;
    relay.close().await;
    Ok(())
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
