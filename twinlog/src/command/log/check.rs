//! `twinlog log check`: every checksum, every order, every seam.

use std::process::ExitCode;
use std::sync::atomic::Ordering;

use serde::Serialize;
use storage::{Error, SegmentCheck};

use super::place::Place;
use super::progress::{Progress, watched};
use super::{answer, counted};
use crate::cli::LookArgs;
use crate::command::status::bytes;
use crate::failure::Failure;

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    log: String,
    sound: bool,
    segments: Vec<Segment>,
    remedy: Option<String>,
}

#[derive(Debug, Serialize)]
struct Segment {
    segment: u64,
    path: String,
    /// Where the last whole transaction before any damage ends.
    whole_end: u64,
    gtids: String,
    /// Bytes behind it that are not finished: being written, or cut off at the next open.
    unfinished: u64,
    /// Where the damage begins.
    damaged_at: Option<u64>,
    damage: Option<String>,
}

/// Verifies the log. Exit code 1 when anything is wrong with it.
pub(super) async fn run(args: LookArgs) -> Result<ExitCode, Failure> {
    let place = Place::of(&args.place)?;
    place.must_be_here()?;
    let dir = place.dir.clone();
    let progress = Progress::new("checking", tokio::task::block_in_place(|| size(&place))).quiet(args.json);
    let checks = watched(progress, move |done| {
        let check = || storage::check(&dir, &mut |bytes| _ = done.fetch_add(bytes, Ordering::Relaxed));
        let checks = check()?;
        // Beside a relay that purges or begins a segment, one can be missing that was there a moment ago.
        if checks.iter().any(may_be_live) {
            done.store(0, Ordering::Relaxed);
            return check();
        }
        Ok(checks)
    })
    .await;
    let checks = checks.map_err(|e| Failure::from_diagnosis(&place.cannot("check"), &e))?;
    let report = report(&place, &checks);
    answer(args.json, &text(&report), &report)?;
    Ok(if report.sound { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Bytes of all files in the folder; for the progress only.
pub(super) fn size(place: &Place) -> u64 {
    let entries = std::fs::read_dir(&place.dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|m| m.len())
        .sum()
}

fn may_be_live(check: &SegmentCheck) -> bool {
    match &check.damage {
        Some(Error::MissingSegment { .. }) => true,
        Some(Error::Io { source, .. }) => source.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

fn report(place: &Place, checks: &[SegmentCheck]) -> Report {
    let segments = checks.iter().map(|check| Segment {
        segment: check.segment,
        path: check.path.display().to_string(),
        whole_end: check.whole_end,
        gtids: check.gtids.to_string(),
        unfinished: check.unfinished,
        damaged_at: check.damage.as_ref().map(|damage| match damage {
            Error::Corrupt { at, .. } => at.offset,
            _ => check.whole_end,
        }),
        damage: check.damage.as_ref().map(ToString::to_string),
    });
    let damage = checks.iter().find_map(|check| check.damage.as_ref());
    Report {
        log: place.dir.display().to_string(),
        sound: damage.is_none(),
        segments: segments.collect(),
        remedy: damage.map(|damage| remedy(place, damage)),
    }
}

/// The command that mends it, ready to be run.
fn remedy(place: &Place, damage: &Error) -> String {
    let is_damage =
        matches!(damage, Error::Corrupt { .. } | Error::MissingSegment { .. } | Error::File { .. });
    if let Some(other) = damage.remedy().filter(|_| !is_damage) {
        return other;
    }
    let which = match &place.configured {
        Some(configured) => format!("-c {} --region {}", configured.file.path.display(), configured.region),
        None => "-c FILE --region NAME".to_owned(),
    };
    format!(
        "stop the relay and run `twinlog log repair {which}`: it keeps what is sound, and the relay fetches the rest from its source again, if the source still has it"
    )
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for segment in &report.segments {
        let (number, end) = (segment.segment, segment.whole_end);
        let gtids = if segment.gtids.is_empty() { "no transactions" } else { &segment.gtids };
        text += &format!("segment {number}: whole up to {number}:{end} ({}), {gtids}\n", bytes(end));
        if segment.unfinished > 0 {
            text += &format!(
                "  {} behind it not finished, or just being written\n",
                counted(segment.unfinished, "byte")
            );
        }
        if let (Some(at), Some(damage)) = (segment.damaged_at, &segment.damage) {
            text += &format!("  DAMAGED at {number}:{at}: {damage}\n  file: {}\n", segment.path);
        }
    }
    let count = counted(u64::try_from(report.segments.len()).unwrap_or(u64::MAX), "segment");
    match &report.remedy {
        None => text + &format!("sound: {count} in {}\n", report.log),
        Some(remedy) => text + &format!("damaged: {}\nremedy: {remedy}\n", report.log),
    }
}
