//! `twinlog console`: the page by itself, on any host that reaches the admin addresses of the file. SIGHUP reads the file
//! again.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use twinlog::config::{self, File};

use crate::cli::ConsoleArgs;
use crate::console::Console;
use crate::failure::Failure;
use crate::shutdown::Shutdown;

/// Serves it until a signal comes.
pub(crate) async fn run(args: ConsoleArgs) -> Result<ExitCode, Failure> {
    let file = super::load(&args.file)?;
    let mut tasks = JoinSet::new();
    let shutdown = Shutdown::on_signals(&mut tasks)?;
    let console = Console::bind(&file, args.listen.as_deref()).await?;
    println!("console of sync {}: {}", file.sync.name, console.url());
    let current = Arc::new(Mutex::new(Arc::new(file)));
    let files = current.clone();
    let mut hangup =
        signal(SignalKind::hangup()).map_err(|e| Failure::from_error("cannot listen for signals", &e))?;
    tasks.spawn(async move {
        while hangup.recv().await.is_some() {
            read_again(&current);
        }
    });
    console.serve(Arc::new(move || lock(&files).clone()), shutdown.token.child_token()).await;
    Ok(ExitCode::SUCCESS)
}

/// A faulty file changes nothing; where the console listens is settled.
fn read_again(current: &Mutex<Arc<File>>) {
    let path = lock(current).path.clone();
    match config::load(&path) {
        Ok(file) => {
            *lock(current) = Arc::new(file);
            tracing::info!(file = %path.display(), "configuration reloaded");
        }
        Err(faults) => {
            let error = Failure::from(faults).line();
            tracing::error!(error, "the configuration was not reloaded; nothing has changed");
        }
    }
}

fn lock(current: &Mutex<Arc<File>>) -> MutexGuard<'_, Arc<File>> {
    // A pointer is there whole, also if a holder panicked.
    current.lock().unwrap_or_else(PoisonError::into_inner)
}
