//! `twinlog up`: every relay and applier of the file, each a supervised process of its own. A reload starts what is new
//! in the file and ends what is gone from it.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use twinlog::config::{File, applier_config, relay_config};

use super::copy_line;
use super::service::reload_on_hangup;
use crate::admin::{self, Hands, Kind, Site};
use crate::cli::UpArgs;
use crate::console::Console;
use crate::failure::Failure;
use crate::logging::LogOptions;
use crate::shutdown::Shutdown;
use crate::supervisor::{ChildSpec, Output, supervise_changing};

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
    let (wish, wanted) = watch::channel(children(&file, &args.region, logging)?);
    let mut tasks = JoinSet::new();
    let shutdown = Shutdown::on_signals(&mut tasks)?;
    let console = match args.no_console {
        true => None,
        false => Some(Console::bind(&file, args.console.as_deref()).await?),
    };
    let (sync, state_dir) = (file.sync.name.clone(), file.sync.state_dir.clone());
    let listener = admin::Listener::bind(&file.sync.admin, &state_dir, Kind::Up, &sync).await?;
    tracing::info!(admin = %listener.address(), "answers for all");
    let site = Site::of_all(file);
    site.takes(Hands::Up(Crew::new(args.region, logging, wish)));
    if let Some(console) = console {
        tracing::info!(url = console.url(), "console");
        let files = site.clone();
        tasks.spawn(console.serve(Arc::new(move || files.file()), shutdown.token.child_token()));
    }
    tasks.spawn(reload_on_hangup(site.clone())?);
    tasks.spawn(listener.serve(site.clone(), shutdown.now.child_token()));
    tasks.spawn(copy_line::show(copy_line::Of::File(site)));
    tracing::info!(sync, processes = wanted.borrow().len(), "up");
    let clean = supervise_changing(wanted, Output::Inherited, &shutdown).await;
    // Ends the admin listener, which withdraws what it published.
    tasks.shutdown().await;
    if clean { Ok(ExitCode::SUCCESS) } else { Err(Failure::failed("not every process ended in time")) }
}

/// The processes that `up` runs, to be changed by a reload. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Crew {
    regions: Vec<String>,
    logging: LogOptions,
    wish: Arc<watch::Sender<Vec<ChildSpec>>>,
}

/// What a reload has changed of them, by label: `relay eu`, `applier eu-us`.
pub(crate) struct Changes {
    pub(crate) started: Vec<String>,
    pub(crate) ended: Vec<String>,
}

impl Crew {
    fn new(regions: Vec<String>, logging: &LogOptions, wish: watch::Sender<Vec<ChildSpec>>) -> Self {
        Self { regions, logging: logging.clone(), wish: Arc::new(wish) }
    }

    /// Starts the processes whose sections are new in the file, and ends those whose sections are gone.
    ///
    /// # Errors
    ///
    /// One of them could not start for want of a password; then none is changed.
    pub(crate) fn follow(&self, file: &File) -> Result<Changes, Failure> {
        let new = children(file, &self.regions, &self.logging)?;
        let without = |all: &[ChildSpec], others: &[ChildSpec]| -> Vec<String> {
            all.iter().filter(|child| !others.contains(child)).map(|child| child.label.clone()).collect()
        };
        let changes = {
            let old = self.wish.borrow();
            Changes { started: without(&new, &old), ended: without(&old, &new) }
        };
        if !changes.started.is_empty() || !changes.ended.is_empty() {
            self.wish.send_replace(new);
        }
        Ok(changes)
    }
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
