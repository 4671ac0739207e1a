//! `twinlog console`: the page by itself, on any host that reaches the admin addresses of the file.

use std::process::ExitCode;

use tokio::task::JoinSet;

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
    console.serve(shutdown.token.child_token()).await;
    Ok(ExitCode::SUCCESS)
}
