//! `twinlog up`: every relay and applier of the file, each a supervised process of its own.

use std::path::Path;
use std::process::ExitCode;

use tokio::task::JoinSet;
use twinlog::config::{File, applier_config, relay_config};

use super::service::reload_on_hangup;
use crate::admin::{self, Kind, Site};
use crate::cli::UpArgs;
use crate::console::Console;
use crate::failure::Failure;
use crate::logging::LogOptions;
use crate::shutdown::Shutdown;
use crate::supervisor::{ChildSpec, Output, supervise};

/// A child tries this long to start before it ends and is started again: meanwhile `status` can ask it why.
const START_TIMEOUT: &str = "10m";

/// Runs them until a signal comes.
pub(crate) async fn run(args: UpArgs, logging: &LogOptions) -> Result<ExitCode, Failure> {
    let file = super::load(&args.file)?;
    let unknown = args.region.iter().find(|r| !file.regions.contains_key(*r));
    if let Some(region) = unknown {
        let known: Vec<&str> = file.regions.keys().map(String::as_str).collect();
        return Err(Failure::usage(format!(
            "no region of this name: {region}; there are {}",
            known.join(", ")
        )));
    }
    let children = children(&file, &args.region, logging)?;
    let mut tasks = JoinSet::new();
    let shutdown = Shutdown::on_signals(&mut tasks)?;
    if !args.no_console {
        let console = Console::bind(&file, args.console.as_deref()).await?;
        tracing::info!(url = console.url(), "console");
        tasks.spawn(console.serve(shutdown.token.child_token()));
    }
    let (sync, state_dir) = (file.sync.name.clone(), file.sync.state_dir.clone());
    let listener = admin::Listener::bind(&file.sync.admin, &state_dir, Kind::Up, &sync).await?;
    tracing::info!(admin = %listener.address(), "answers for all");
    let site = Site::of_all(file);
    tasks.spawn(reload_on_hangup(site.clone())?);
    tasks.spawn(listener.serve(site.clone(), shutdown.now.child_token()));
    tracing::info!(sync, processes = children.len(), "up");
    let clean = supervise(children, Output::Inherited, &shutdown).await;
    // Ends the admin listener, which withdraws what it published.
    tasks.shutdown().await;
    if clean { Ok(ExitCode::SUCCESS) } else { Err(Failure::failed("not every process ended in time")) }
}

/// The processes of the file: those beside one of `regions`, or all when there is none. What they need is checked
/// first, so that a password that can't be read ends `up` and not each child again and again.
pub(super) fn children(
    file: &File,
    regions: &[String],
    logging: &LogOptions,
) -> Result<Vec<ChildSpec>, Failure> {
    let here = |region: &String| regions.is_empty() || regions.contains(region);
    let mut children = Vec::new();
    for region in file.regions.values().filter(|r| r.relay.is_some() && here(&r.name)) {
        relay_config(file, &region.name)?;
        children.push(child(&file.path, logging, ["relay", "--region", &region.name]));
    }
    for link in file.links.values().filter(|l| here(&l.to)) {
        applier_config(file, &link.name)?;
        children.push(child(&file.path, logging, ["applier", "--link", &link.name]));
    }
    Ok(children)
}

fn child(config: &Path, logging: &LogOptions, [command, option, name]: [&str; 3]) -> ChildSpec {
    let mut args = logging.arguments().to_vec();
    let config = config.to_string_lossy();
    args.extend(
        [command, "--config", &config, option, name, "--start-timeout", START_TIMEOUT].map(str::to_owned),
    );
    ChildSpec { label: format!("{command} {name}"), args }
}
