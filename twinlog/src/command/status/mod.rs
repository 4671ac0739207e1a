//! `twinlog status`: every process is asked, and what they say is told per link.

mod merge;
mod screen;
mod table;
mod view;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use twinlog::config::File;

use crate::admin::client::Peer;
use crate::admin::unix_time;
use crate::cli::StatusArgs;
use crate::console::{Moments, counted};
use crate::failure::Failure;
use crate::shutdown::Shutdown;
use screen::Screen;
use view::{Look, SAMPLES, Speeds};

#[cfg(test)]
pub(super) use merge::LinkReport;
pub(crate) use merge::SyncReport;
pub(crate) use merge::{Answers, merge, relay_of};
pub(crate) use screen::{moves, takes_colour};
pub(crate) use table::bytes;
pub(super) use table::{ago, count, lines, whole};
pub(super) use view::{bar, share};

/// Between two looks with `--watch`.
const PERIOD: Duration = Duration::from_secs(1);

/// Tells it once, or with `--watch` until a signal comes. Exit code 0 when all answer and none has failed.
pub(crate) async fn run(args: StatusArgs) -> Result<ExitCode, Failure> {
    let file = super::load(&args.output.file)?;
    let mut tasks = JoinSet::new();
    let shutdown = Shutdown::on_signals(&mut tasks)?;
    if args.watch && !args.output.json && std::io::stdout().is_terminal() {
        return watch(&file, &shutdown).await;
    }
    loop {
        let report = gather(&file).await;
        print(&report, args.output.json, args.watch)?;
        let code = exit_code(&report);
        if !args.watch {
            return Ok(code);
        }
        tokio::select! {
            () = shutdown.token.cancelled() => return Ok(code),
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// The whole screen, again each second and when the window changes, until `q` or a signal.
async fn watch(file: &File, shutdown: &Shutdown) -> Result<ExitCode, Failure> {
    let failed =
        |e: &(dyn std::error::Error + 'static)| Failure::from_error("cannot draw on the terminal", e);
    let screen = Screen::enter().map_err(|e| failed(&e))?;
    let mut resized = signal(SignalKind::window_change()).map_err(|e| failed(&e))?;
    let colour = takes_colour(&std::io::stdout());
    let (mut keys, mut ticks) = (screen.keys(), interval(PERIOD));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut moments, mut speeds) = (BTreeMap::<String, Moments>::new(), Speeds::new());
    let mut report = None;
    loop {
        tokio::select! {
            biased;
            () = shutdown.token.cancelled() => break,
            Some(key) = keys.recv() => if matches!(key, b'q' | b'Q' | 0x1b) { break },
            _ = resized.recv() => {}
            _ = ticks.tick() => {
                let answers = answers(file).await;
                for link in file.links.values() {
                    let (counted, _) = counted(file, link, &answers, unix_time());
                    let moments = moments.entry(link.name.clone()).or_default();
                    moments.add(counted);
                    let samples = speeds.entry(link.name.clone()).or_default();
                    samples.push(moments.rate(|c| c.rows));
                    let old = samples.len().saturating_sub(SAMPLES);
                    samples.drain(..old);
                }
                report = Some(merge(file, &answers));
            }
        }
        let (columns, rows) = screen.size();
        if let Some(report) = &report {
            screen
                .draw(&view::view(report, &speeds, Look { columns, rows, colour }))
                .map_err(|e| failed(&e))?;
        }
    }
    Ok(report.as_ref().map_or(ExitCode::SUCCESS, exit_code))
}

fn exit_code(report: &SyncReport) -> ExitCode {
    if report.is_well() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn print(report: &SyncReport, json: bool, watch: bool) -> Result<(), Failure> {
    let failed = |e: &(dyn std::error::Error + 'static)| Failure::from_error("cannot write the status", e);
    let text = match (json, watch) {
        // A line each, for whoever reads along.
        (true, true) => serde_json::to_string(report).map_err(|e| failed(&e))? + "\n",
        (true, false) => serde_json::to_string_pretty(report).map_err(|e| failed(&e))? + "\n",
        (false, _) => table::render(report),
    };
    let mut out = std::io::stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush()).map_err(|e| failed(&e))
}

/// Asks every process of the file, all at once, and puts the answers together.
pub(crate) async fn gather(file: &File) -> SyncReport {
    merge(file, &answers(file).await)
}

/// Asks every process of the file, all at once.
pub(crate) async fn answers(file: &File) -> Answers {
    let mut questions = JoinSet::new();
    for peer in Peer::all(file) {
        questions.spawn(async move {
            let answer = peer.status().await;
            (peer.kind(), peer.name().to_owned(), answer)
        });
    }
    let mut answers = Answers::default();
    while let Some(answered) = questions.join_next().await {
        // A question that panicked has no name; its process is then reported as never asked.
        if let Ok((kind, name, answer)) = answered {
            answers.add(kind, name, answer);
        }
    }
    answers
}
