//! `twinlog log list`: the segments.

use std::process::ExitCode;

use serde::Serialize;
use storage::{DownstreamInfo, LogView, SegmentInfo};

use super::place::Place;
use super::remote::Remote;
use super::{answer, counted, time};
use crate::cli::LookArgs;
use crate::command::status::{bytes, lines};
use crate::failure::Failure;

const HEADINGS: [&str; 9] =
    ["SEGMENT", "SIZE", "FILE", "BEGIN", "END", "FIRST COMMIT", "LAST COMMIT", "HELD BY", "GTIDS"];

/// A log's segments.
#[derive(Debug, Serialize)]
pub(super) struct Listing {
    /// The folder, or the relay's address.
    pub(super) log: String,
    pub(super) bytes: u64,
    pub(super) gtid_durable: String,
    pub(super) gtid_purged: String,
    pub(super) segments: Vec<Segment>,
}

/// A segment. What a relay does not tell over the wire is absent.
#[derive(Debug, Default, Serialize)]
pub(super) struct Segment {
    pub(super) segment: Option<u64>,
    pub(super) server_uuid: Option<String>,
    pub(super) file: String,
    pub(super) source_begin: Option<u64>,
    pub(super) source_end: u64,
    pub(super) bytes: Option<u64>,
    pub(super) first_commit: Option<String>,
    pub(super) last_commit: Option<String>,
    /// The links that may still need it.
    pub(super) held_by: Option<Vec<String>>,
    pub(super) gtids: Option<String>,
}

/// Lists them.
pub(super) async fn run(args: LookArgs) -> Result<ExitCode, Failure> {
    let place = Place::of(&args.place)?;
    let listing = match &place.configured {
        Some(configured) if !place.is_here()? => Remote::connect(&place, configured).await?.list().await?,
        _ => tokio::task::block_in_place(|| local(&place))?,
    };
    answer(args.json, &text(&listing), &listing)?;
    Ok(ExitCode::SUCCESS)
}

fn local(place: &Place) -> Result<Listing, Failure> {
    let view = place.view()?;
    let holders = Holders::of(place, &view)?;
    Ok(Listing {
        log: place.dir.display().to_string(),
        bytes: view.segments().iter().map(|s| s.bytes).sum(),
        gtid_durable: view.gtids_durable().to_string(),
        gtid_purged: view.gtids_purged().to_string(),
        segments: view.segments().iter().map(|s| segment(s, &holders)).collect(),
    })
}

fn segment(info: &SegmentInfo, holders: &Holders) -> Segment {
    Segment {
        segment: Some(info.segment),
        server_uuid: Some(info.server_uuid.to_string()),
        file: info.file.to_string(),
        source_begin: Some(info.source_begin),
        source_end: info.source_end,
        bytes: Some(info.bytes),
        first_commit: time(info.first_commit),
        last_commit: time(info.last_commit),
        held_by: Some(holders.of_segment(info.segment).map(str::to_owned).collect()),
        gtids: Some(info.gtids.to_string()),
    }
}

/// Which links hold the log, and from which segment on.
pub(super) struct Holders(Vec<(String, u64)>);

impl Holders {
    /// The configuration's links, or without one whoever has acknowledged; what they have acknowledged.
    pub(super) fn of(place: &Place, view: &LogView) -> Result<Self, Failure> {
        let scratch = tempfile::tempdir()
            .map_err(|e| Failure::from_error("cannot make a temporary folder for the index", &e))?;
        let told = view.downstreams(scratch.path());
        let told = told.map_err(|e| Failure::from_diagnosis(&place.cannot("read the index of"), &e))?;
        let needs = |told: &DownstreamInfo| told.needs.unwrap_or(0);
        Ok(Self(match &place.configured {
            Some(configured) => {
                let of = |(key, name): &(String, String)| {
                    (name.clone(), told.iter().find(|t| t.name == *key).map_or(0, needs))
                };
                configured.links.iter().map(of).collect()
            }
            None => told.iter().map(|t| (t.name.clone(), needs(t))).collect(),
        }))
    }

    /// Who may still need this segment.
    pub(super) fn of_segment(&self, segment: u64) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(_, needs)| *needs <= segment).map(|(name, _)| name.as_str())
    }

    /// Those of whom nothing is known: they need everything.
    pub(super) fn unheard(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, needs)| *needs == 0).map(|(name, _)| name.as_str())
    }
}

fn text(listing: &Listing) -> String {
    let rows: Vec<Vec<String>> = listing.segments.iter().map(row).collect();
    let mut text = if rows.is_empty() { String::new() } else { lines(&HEADINGS, &rows) + "\n" };
    let segments = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    let (count, size) = (counted(segments, "segment"), bytes(listing.bytes));
    text += &format!("log:      {}\nholds:    {count}, {size}\n", listing.log);
    text += &format!("durable:  {}\n", or_none(&listing.gtid_durable));
    text + &format!("purged:   {}\n", or_none(&listing.gtid_purged))
}

fn row(segment: &Segment) -> Vec<String> {
    let unknown = || "-".to_owned();
    let number = |n: Option<u64>| n.map_or_else(unknown, |n| n.to_string());
    let held = segment.held_by.as_ref().filter(|by| !by.is_empty());
    vec![
        number(segment.segment),
        segment.bytes.map_or_else(unknown, bytes),
        segment.file.clone(),
        number(segment.source_begin),
        segment.source_end.to_string(),
        segment.first_commit.clone().unwrap_or_else(unknown),
        segment.last_commit.clone().unwrap_or_else(unknown),
        held.map_or_else(unknown, |by| by.join(", ")),
        segment.gtids.as_deref().map_or_else(unknown, |gtids| or_none(gtids).to_owned()),
    ]
}

fn or_none(set: &str) -> &str {
    if set.is_empty() { "none" } else { set }
}
