//! `twinlog demo`: two throw-away MySQL servers kept in step while a small shop sells in both regions.
//!
//! ```text
//! MySQL found or fetched ─▶ two servers, shop schema ─▶ console, relays and appliers ─▶ writers for N seconds
//!   ─▶ writers stop ─▶ wait until both sides are equal ─▶ checksums side by side ─▶ exit 0 (1 if they differ)
//! ```
//!
//! Each region writes rows with keys of its own. Nothing outlives the demo: processes first, then servers and folder.

mod compare;
mod display;
mod shop;
mod stage;
mod writer;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::cli::DemoArgs;
use crate::command::status::gather;
use crate::console::Console;
use crate::failure::Failure;
use crate::logging::LogOptions;
use crate::shutdown::Shutdown;
use crate::supervisor::{Output, supervise};
use display::Display;
use stage::Stage;
use writer::Writers;

/// From the start of relays and appliers until both links run.
const LINKS_DEADLINE: Duration = Duration::from_secs(60);

/// From the last write until both sides are equal.
const EQUAL_DEADLINE: Duration = Duration::from_secs(120);

/// Between two frames of the display.
const FRAME: Duration = Duration::from_secs(1);

/// Runs the whole demo.
pub(crate) async fn run(args: DemoArgs, logging: &LogOptions) -> Result<ExitCode, Failure> {
    let mut tasks = JoinSet::new();
    let shutdown = Shutdown::on_signals(&mut tasks)?;
    let stage = Stage::set_up(&shutdown).await?;
    let children = super::up::children(stage.file(), &[], logging)?;
    let console = Console::bind(stage.file(), None).await?;
    println!("console: {}", console.url());
    let file = Arc::new(stage.file().clone());
    tasks.spawn(console.serve(Arc::new(move || file.clone()), shutdown.token.child_token()));
    let (output, processes) = (Output::File(stage.log()), shutdown.clone());
    let mut supervised = JoinSet::new();
    supervised.spawn(async move { supervise(children, output, &processes).await });

    let result = tokio::select! {
        biased;
        () = shutdown.token.cancelled() => Err(Failure::interrupted()),
        result = Box::pin(play(&stage, &args)) => result,
    };
    let result = match result {
        Ok(equal) if args.keep && !shutdown.token.is_cancelled() => {
            println!("{}", stage.how_to_connect());
            shutdown.token.cancelled().await;
            Ok(equal)
        }
        other => other,
    };
    shutdown.token.cancel();
    while supervised.join_next().await.is_some() {}
    tasks.shutdown().await;
    match result {
        Ok(equal) => Ok(if equal { ExitCode::SUCCESS } else { ExitCode::from(1) }),
        Err(failure) => {
            if !failure.is_interrupted() {
                stage.show_log();
            }
            Err(failure)
        }
    }
}

/// Waits for the links, writes, and compares. `true`: both sides are equal.
async fn play(stage: &Stage, args: &DemoArgs) -> Result<bool, Failure> {
    wait_for_links(stage).await?;
    let mut writers = Writers::start(stage, args.rate).await?;
    let mut display = Display::new(args.seconds);
    let (start, end) = (Instant::now(), Instant::now() + Duration::from_secs(args.seconds));
    while Instant::now() < end {
        let frame = sleep(FRAME.min(end - Instant::now()));
        tokio::select! {
            failure = writers.first_failure() => return Err(failure),
            () = frame => {}
        }
        display.show("writing", start.elapsed(), &writers.written(), &gather(stage.file()).await);
    }
    writers.stop().await?;

    let (start, deadline) = (Instant::now(), Instant::now() + EQUAL_DEADLINE);
    let tables = loop {
        let tables = compare::checksums(stage).await?;
        display.show("settling", start.elapsed(), &writers.written(), &gather(stage.file()).await);
        if compare::all_equal(&tables) || Instant::now() >= deadline {
            break tables;
        }
        sleep(FRAME).await;
    };
    println!("\n{}", compare::render(&tables));
    let equal = compare::all_equal(&tables);
    println!("{}", if equal { "both regions are equal" } else { "the regions differ" });
    Ok(equal)
}

async fn wait_for_links(stage: &Stage) -> Result<(), Failure> {
    let deadline = Instant::now() + LINKS_DEADLINE;
    loop {
        let report = gather(stage.file()).await;
        if report.links.iter().all(|l| l.state == "running") && report.is_well() {
            return Ok(());
        }
        if let Some(failed) = report.links.iter().find(|l| l.state == "failed") {
            let why = failed.last_error.clone().unwrap_or_default();
            return Err(Failure::failed(format!("link {} failed: {why}", failed.link)));
        }
        if Instant::now() >= deadline {
            let states: Vec<String> =
                report.links.iter().map(|l| format!("{} {}", l.link, l.state)).collect();
            let waited = LINKS_DEADLINE.as_secs();
            return Err(Failure::failed(format!(
                "the links do not run after {waited} s: {}",
                states.join(", ")
            )));
        }
        sleep(Duration::from_millis(200)).await;
    }
}
