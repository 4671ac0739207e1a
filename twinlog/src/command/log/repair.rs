//! `twinlog log repair`: what is damaged is put aside, and fetched again by the relay.

use std::process::ExitCode;
use std::sync::atomic::Ordering;

use serde::Serialize;
use storage::Repaired;

use super::place::{Place, exclusive_failure};
use super::progress::{Progress, watched};
use super::{answer, counted};
use crate::cli::RepairArgs;
use crate::failure::Failure;

/// What was done.
#[derive(Debug, Serialize)]
struct Report {
    log: String,
    was_damaged: bool,
    /// `segment:offset` where the log ends now.
    end: Option<String>,
    /// The folder with what was damaged.
    aside: Option<String>,
    segments: Vec<u64>,
}

/// Repairs the log; one that a relay has open is refused.
pub(super) async fn run(args: RepairArgs) -> Result<ExitCode, Failure> {
    let (dir, configured) = Place::own(&args.log)?;
    let options = configured.options();
    let place = Place { dir: dir.clone(), configured: Some(configured) };
    // A log whose identity is gone is refused by the repair itself, which says so.
    if !dir.is_dir() {
        place.must_be_here()?;
    }
    let total = tokio::task::block_in_place(|| super::check::size(&place));
    let progress = Progress::new("checking", total).quiet(args.json);
    let repaired = watched(progress, move |done| {
        storage::repair(&dir, &options, &mut |bytes| _ = done.fetch_add(bytes, Ordering::Relaxed))
    })
    .await;
    let repaired = repaired.map_err(|e| {
        let remedy = format!("stop the relay of region {}, repair, and start it again", args.log.region);
        exclusive_failure(&place.cannot("repair"), &e, &remedy)
    })?;
    let report = report(&place, &repaired);
    answer(args.json, &text(&report), &report)?;
    Ok(ExitCode::SUCCESS)
}

fn report(place: &Place, repaired: &Repaired) -> Report {
    Report {
        log: place.dir.display().to_string(),
        was_damaged: repaired.end.is_some(),
        end: repaired.end.map(|end| end.to_string()),
        aside: repaired.aside.as_ref().map(|aside| aside.display().to_string()),
        segments: repaired.segments.clone(),
    }
}

fn text(report: &Report) -> String {
    let (Some(end), Some(aside)) = (&report.end, &report.aside) else {
        return format!("nothing is damaged: {}\n", report.log);
    };
    let numbers: Vec<String> = report.segments.iter().map(ToString::to_string).collect();
    let count = counted(u64::try_from(numbers.len()).unwrap_or(u64::MAX), "segment");
    let which = if numbers.is_empty() { String::new() } else { format!(" ({})", numbers.join(", ")) };
    format!(
        "the log ends at segment:offset {end} now\n{count} put aside{which}: {aside}\n\
         start the relay: it fetches what is missing from its source; if the source no longer has it, it says so\n"
    )
}
