//! `twinlog verify`: compares the regions, names what differs, and repairs it on request.

mod ask;
mod last;
mod print;
mod view;
mod watch;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use applier::TablePatterns;
use applier::verify::{Config, Error, TableReport, Verifier};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use twinlog::config::{File, verify_config};

use crate::cli::VerifyArgs;
use crate::failure::{Diagnosis, Failure};
use crate::shutdown::Shutdown;
pub(crate) use last::{LastVerified, read as last_verified};
use view::Outcome;
use watch::Bar;

/// Compares once, or again and again; exit code 0 when everything is equal.
pub(crate) async fn run(args: VerifyArgs) -> Result<ExitCode, Failure> {
    let file = super::load(&args.output.file)?;
    let config = configure(&file, &args)?;
    if args.repair.repair.is_some() && !args.repair.yes && !args.repair.dry_run {
        ask::someone_is_there()?;
    }
    let mut tasks = JoinSet::new();
    let shutdown = Shutdown::on_signals(&mut tasks)?;
    let mut code = ExitCode::SUCCESS;
    loop {
        match Box::pin(round(&config, &args, &shutdown.token)).await {
            Ok(outcome) => {
                last::write(&file.sync.state_dir, &outcome)?;
                print::outcome(&outcome, &args)?;
                code = if outcome.is_equal() { ExitCode::SUCCESS } else { ExitCode::from(1) };
            }
            // Ctrl-C is how rounds without end are ended.
            Err(Error::Interrupted) if args.continuous => return Ok(code),
            Err(Error::Interrupted) => {
                let failure = Failure::failed("interrupted before everything was compared");
                return Err(failure.with_remedy("twinlog verify --resume goes on where it was"));
            }
            Err(error) if args.continuous && error.is_transient() => {
                tracing::warn!(error = Failure::from_diagnosis("a round was broken off", &error).line());
                code = ExitCode::from(1);
            }
            Err(error) => return Err(Failure::from_diagnosis("the regions could not be compared", &error)),
        }
        if !args.continuous {
            return Ok(code);
        }
        tokio::select! {
            biased;
            () = shutdown.token.cancelled() => return Ok(code),
            () = tokio::time::sleep(args.pause) => {}
        }
    }
}

fn configure(file: &File, args: &VerifyArgs) -> Result<Config, Failure> {
    let mut config = verify_config(file, args.repair.repair.as_deref())?;
    if config.links.is_empty() {
        return Err(Failure::usage("no link joins any regions: there is nothing to compare"));
    }
    config.limits = args.limits();
    if !args.table.is_empty() {
        let mut patterns = args.table.clone();
        if patterns.iter().all(|pattern| pattern.starts_with('!')) {
            patterns.insert(0, "*.*".into());
        }
        let only = TablePatterns::parse(&patterns);
        config.only = Some(only.map_err(|e| Failure::usage(format!("--table: {e}")))?);
    }
    // Rounds without end begin anew; nobody goes on with one.
    config.state = (!args.continuous).then(|| file.sync.state_dir.join("verify.json"));
    Ok(config)
}

/// One comparison, and the repair if one was asked for.
async fn round(config: &Config, args: &VerifyArgs, stop: &CancellationToken) -> Result<Outcome, Error> {
    let began = Instant::now();
    let bar = Arc::new(Bar::new(args.output.json));
    let verifier = Verifier::new(config.clone(), bar.clone());
    let tables = Box::pin(verifier.run(args.resume, stop.clone())).await?;
    bar.clear();
    let mut outcome = Outcome { sync: config.sync.clone(), seconds: 0.0, tables, repair: None };
    if args.repair.repair.is_some() && has_differences(&outcome.tables) {
        let rows = print::plan(&outcome.tables, args);
        if !args.repair.dry_run && (args.repair.yes || ask::shall_it(rows)) {
            outcome.repair = Some(Box::pin(verifier.repair(&outcome.tables, stop.clone())).await?);
            bar.clear();
        }
    }
    outcome.seconds = began.elapsed().as_secs_f64();
    Ok(outcome)
}

/// Compares once with the usual limits, tells `watch` of it, and keeps the outcome for `status`; repairs nothing.
pub(crate) async fn compare(
    file: &File,
    watch: Arc<dyn applier::verify::Watch>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let mut config = verify_config(file, None)?;
    config.state = Some(file.sync.state_dir.join("verify.json"));
    let began = Instant::now();
    let tables = Box::pin(Verifier::new(config, watch).run(false, stop)).await;
    let tables = tables.map_err(|e| Failure::from_diagnosis("the regions could not be compared", &e))?;
    let seconds = began.elapsed().as_secs_f64();
    last::write(
        &file.sync.state_dir,
        &Outcome { sync: file.sync.name.clone(), seconds, tables, repair: None },
    )
}

fn has_differences(tables: &[TableReport]) -> bool {
    tables.iter().any(|table| !table.differences.is_empty())
}

impl Diagnosis for Error {
    fn advice(&self) -> Option<String> {
        self.remedy()
    }

    fn may_pass(&self) -> bool {
        self.is_transient()
    }
}
