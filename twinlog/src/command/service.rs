//! One relay or one applier as a process: started with patience, watched over the admin API, ended in good order.
//!
//! ```text
//! admin listens ─▶ build ──ok──▶ vet, run ──shutdown──▶ exit 0
//!                  │   ▲           └─definite error─▶ state `failed`, admin still answers ─shutdown─▶ exit 1
//!        transient │   │ back-off       (after a failed flush, or with --exit-on-failure: exit 1 at once)
//!                  └───┘ until --start-timeout, then exit 1; a definite error: exit 1 at once;
//!                        an applier must also have found its source by then
//! ```

use std::process::ExitCode;
use std::time::Duration;

use rand::Rng;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use twinlog::config::{Admin, File};

use super::copy_line;
use crate::admin::{self, Board, Hands, Kind, Reader, Site};
use crate::cli::ProcessArgs;
use crate::failure::{Diagnosis, Failure};
use crate::shutdown::Shutdown;

/// From the signal until a relay or applier must have ended: a group in hand is committed well within it.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(20);

/// Between two attempts to start, before jitter; a server that restarts takes a few of them.
const START_PAUSE: Duration = Duration::from_millis(500);

/// How often is looked whether it has come to run.
const LOOK: Duration = Duration::from_millis(100);

/// A relay or an applier.
pub(super) trait Service: Sized + Send {
    /// What it is told.
    type Config: Clone + Send;
    /// What can go wrong with it.
    type Error: Diagnosis + Send + 'static;

    /// Must it have come to run within the start timeout? What a relay has on disk it serves without its source; an
    /// applier that has never found its source has nothing to do.
    const MUST_COME_TO_RUN: bool;

    /// Looks at the servers it works with, and refuses those with which it would lose or damage rows unnoticed.
    fn vet(file: &File, name: &str) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Checks and opens everything.
    async fn build(config: Self::Config) -> Result<Self, Self::Error>;
    /// Reads its state.
    fn reader(&self) -> Reader;
    /// What can be done to it while it runs.
    fn hands(&self) -> Hands;
    /// Runs until shutdown or a definite error; with `stay` it may wait after one until a person has mended it.
    async fn run(self, shutdown: CancellationToken, stay: bool) -> Result<(), Self::Error>;
}

/// Which process this is.
pub(super) struct Plan {
    pub(super) file: File,
    pub(super) kind: Kind,
    pub(super) name: String,
    /// The addresses it needs, for errors.
    pub(super) reaches: Vec<String>,
    pub(super) admin: Admin,
    pub(super) args: ProcessArgs,
}

impl Plan {
    fn did_not_start(&self) -> String {
        format!("{} {} did not start (it needs {})", self.kind, self.name, self.reaches.join(", "))
    }
}

/// Runs the process to its end.
pub(super) async fn run<S: Service>(plan: Plan, config: S::Config) -> Result<ExitCode, Failure> {
    let mut tasks = JoinSet::new();
    let shutdown = Shutdown::on_signals(&mut tasks)?;
    if plan.args.exit_with_parent {
        shutdown.on_closed_input()?;
    }
    let board = Board::new(&plan.file.sync.name, plan.kind, &plan.name).in_folder(&plan.file.sync.state_dir);
    let listener =
        admin::Listener::bind(&plan.admin, &plan.file.sync.state_dir, plan.kind, &plan.name).await?;
    tracing::info!(kind = %plan.kind, name = plan.name, admin = %listener.address(), "starting");
    let site = Site::of(&board, plan.kind, &plan.name, plan.file.clone());
    tasks.spawn(listener.serve(site.clone(), shutdown.now.child_token()));
    tasks.spawn(reload_on_hangup(site.clone())?);
    // `up` shows it for those that it runs.
    if plan.kind == Kind::Applier && !plan.args.exit_with_parent {
        tasks.spawn(copy_line::show(copy_line::Of::Process(board.clone())));
    }

    let result = Box::pin(start_and_run::<S>(&plan, config, &board, &site, &shutdown)).await;
    // Ends the admin listener, which withdraws what it published.
    tasks.shutdown().await;
    result
}

async fn start_and_run<S: Service>(
    plan: &Plan,
    config: S::Config,
    board: &Board,
    site: &Site,
    shutdown: &Shutdown,
) -> Result<ExitCode, Failure> {
    let deadline = Instant::now() + plan.args.start_timeout;
    let started = tokio::select! {
        biased;
        () = shutdown.token.cancelled() => return Ok(ExitCode::SUCCESS),
        started = start::<S>(plan, config, board, deadline) => started,
    };
    let service = started?;
    board.runs(service.reader());
    site.takes(service.hands());
    tracing::info!(kind = %plan.kind, name = plan.name, "built");
    let ended = tokio::select! {
        biased;
        ended = service.run(shutdown.token.child_token(), !plan.args.exit_on_failure) => ended,
        failure = never_runs(plan, board, deadline), if S::MUST_COME_TO_RUN => return Err(failure),
        () = shutdown.deadline(SHUTDOWN_DEADLINE) => {
            return Err(Failure::failed(format!(
                "{} {} did not end within {} s and was cut off", plan.kind, plan.name, SHUTDOWN_DEADLINE.as_secs()
            )));
        }
    };
    let Err(error) = ended else {
        if !shutdown.token.is_cancelled() {
            return Err(Failure::failed(format!("{} {} ended without being told to", plan.kind, plan.name)));
        }
        tracing::info!(kind = %plan.kind, name = plan.name, "ended");
        return Ok(ExitCode::SUCCESS);
    };
    let failure = Failure::from_diagnosis(&format!("{} {} failed", plan.kind, plan.name), &error);
    if plan.args.exit_on_failure || error.must_end() || shutdown.token.is_cancelled() {
        return Err(failure);
    }
    tracing::error!(kind = %plan.kind, name = plan.name, error = failure.line(), "failed; staying for status");
    board.failed(failure.status(None));
    shutdown.token.cancelled().await;
    Err(failure)
}

/// Returns when the deadline has passed, it has not come to run yet, and it says why; never once it has run, or is not
/// to run yet.
async fn never_runs(plan: &Plan, board: &Board, deadline: Instant) -> Failure {
    loop {
        tokio::time::sleep(LOOK).await;
        let status = board.report().status;
        if !matches!(status.state(), "connecting" | "checking" | "waiting") {
            return std::future::pending().await;
        }
        if let (true, Some(error)) = (Instant::now() >= deadline, status.last_error()) {
            return Failure::from_text(&plan.did_not_start(), error);
        }
    }
}

/// SIGHUP reads the file again, as `twinlog reload` does.
pub(super) fn reload_on_hangup(site: Site) -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let mut hangup =
        signal(SignalKind::hangup()).map_err(|e| Failure::from_error("cannot listen for signals", &e))?;
    Ok(async move {
        while hangup.recv().await.is_some() {
            if let Err(failure) = Box::pin(admin::reload(&site)).await {
                tracing::error!(
                    error = failure.line(),
                    "the configuration was not reloaded; nothing has changed"
                );
            }
        }
    })
}

/// Builds it; what may go away by itself is tried again until the start timeout.
async fn start<S: Service>(
    plan: &Plan,
    config: S::Config,
    board: &Board,
    deadline: Instant,
) -> Result<S, Failure> {
    let doing = plan.did_not_start();
    loop {
        let error = match Box::pin(S::build(config.clone())).await {
            Ok(service) => {
                Box::pin(S::vet(&plan.file, &plan.name)).await?;
                return Ok(service);
            }
            Err(error) => error,
        };
        let failure = Failure::from_diagnosis(&doing, &error);
        let pause = START_PAUSE.mul_f64(rand::rng().random_range(0.5..1.5));
        if !error.may_pass() || Instant::now() + pause >= deadline {
            return Err(failure);
        }
        tracing::warn!(kind = %plan.kind, name = plan.name, error = failure.line(), "cannot start yet");
        board.waits(failure.status(Some(pause)));
        tokio::time::sleep(pause).await;
    }
}
