//! `twinlog log events`: transactions and their events.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use binlog::GtidSet;

use super::place::Place;
use super::print::Printer;
use super::progress::Progress;
use super::range::Range;
use super::remote::Remote;
use super::selection::{Halt, read_view};
use crate::cli::EventsArgs;
use crate::failure::Failure;

/// Prints them.
pub(super) async fn run(args: EventsArgs) -> Result<ExitCode, Failure> {
    let place = Place::of(&args.place)?;
    let range = Range::of(&args.range)?;
    let mut printer = Printer::new(io::stdout(), args.json, args.rows);
    let printed = match &place.configured {
        Some(configured) if !place.is_here()? => {
            let mut remote = Remote::connect(&place, configured).await?;
            let missing = remote.missing(&range);
            Box::pin(remote.read(&range, &mut printer)).await.map(|()| missing)
        }
        _ => tokio::task::block_in_place(|| local(&place, &range, &mut printer)),
    };
    match printed.and_then(|missing| printer.finish().map(|()| missing)) {
        Ok(missing) => warn_of(&missing),
        Err(Halt::Closed) => {}
        Err(Halt::Failed(failure)) => return Err(failure),
    }
    Ok(ExitCode::SUCCESS)
}

fn local(place: &Place, range: &Range, printer: &mut Printer<io::Stdout>) -> Result<GtidSet, Halt> {
    let view = place.view()?;
    let total = view.segments().iter().filter(|s| range.may_be_in(s)).map(|s| s.bytes).sum();
    let mut progress = Progress::new("reading", total).quiet(true).unless(io::stdout().is_terminal());
    read_view(place, &view, range, printer, &mut progress, || true)?;
    Ok(range.missing(view.gtids_durable(), view.gtids_purged()))
}

/// What was asked for and is not there must not look like nothing.
fn warn_of(missing: &GtidSet) {
    if !missing.is_empty() {
        tracing::warn!(%missing, "not in the relay log: purged, or not received yet");
    }
}
