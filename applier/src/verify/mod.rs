//! Compares tables across regions while they are written, and repairs rows that differ.
//!
//! ```text
//! scan: chunks by key, checksums made in the servers ─▶ chunks that differ ─ settle: links pass, smaller chunks, rows,
//! links pass, the same rows ─▶ rows that differ ─ repair: each locked and read again, written as a stamped change
//! ```
//! It promises that lag is never told as difference ([`passing`]), that no difference of bytes is missed for a
//! collation's sake ([`column`]), that rows beyond either end of the other side are found ([`scan`]), and that a repair
//! is not echoed ([`repair`]). What cannot be decided is told as that.
//!
//! It asks over SQL alone and needs no process of Twinlog but the appliers, whose checkpoints tell what has passed.

pub(crate) mod column;
mod error;
pub(crate) mod key;
mod names;
mod passing;
mod repair;
mod report;
mod rows;
mod run;
mod scan;
mod session;
mod settle;
mod state;
mod table;
mod throttle;
mod unkeyed;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wire::ConnectOptions;

pub use error::Error;
pub use repair::{RepairReport, Unrepaired};
pub use report::{ColumnDifference, Difference, Event, TableReport, Unsettled, Watch};
pub use rows::Shown;

use crate::{Objects, TablePatterns};
use names::Edge;
use session::Place;
use state::{Keeper, State};

/// Everything a comparison needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The sync's name.
    pub sync: String,
    /// Where checkpoints are, in every region.
    pub meta_schema: String,
    /// Each region's server, addresses in order of preference, as an account that reads the tables; where links write
    /// into the region, as the one that applies.
    pub regions: BTreeMap<String, Vec<ConnectOptions>>,
    /// The links.
    pub links: Vec<LinkInfo>,
    /// Only those of them.
    pub only: Option<TablePatterns>,
    /// The region to begin with: what is to be repaired is made equal to it.
    pub root: Option<String>,
    /// How much it may ask for.
    pub limits: Limits,
    /// Where it notes how far it is.
    pub state: Option<PathBuf>,
}

/// A link, as far as it matters here.
#[derive(Clone, Debug)]
pub struct LinkInfo {
    /// Its name in the file.
    pub name: String,
    /// The region it reads.
    pub from: String,
    /// The region it writes into.
    pub to: String,
    /// What is in step on it.
    pub objects: Objects,
}

/// How much a comparison may ask of the servers.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long a chunk should take.
    pub chunk_time: Duration,
    /// Chunks that are read side by side.
    pub sessions: usize,
    /// Rows a second, at most.
    pub max_rows_per_second: Option<u64>,
    /// Pause while more threads run in a server.
    pub max_load: Option<u32>,
    /// Pause while a link is so far behind.
    pub max_lag: Option<Duration>,
    /// How long links may take to pass a point.
    pub wait: Duration,
    /// How often a row is read before it is told to be busy.
    pub rounds: u32,
    /// Rows of a table that are named.
    pub max_named: usize,
    /// Rows of a table without a key, at most.
    pub max_unkeyed_rows: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            chunk_time: Duration::from_millis(500),
            sessions: 2,
            max_rows_per_second: None,
            max_load: None,
            max_lag: None,
            wait: Duration::from_secs(60),
            rounds: 50,
            max_named: 1000,
            max_unkeyed_rows: 1_000_000,
        }
    }
}

/// Compares regions.
pub struct Verifier {
    config: Config,
    places: BTreeMap<String, Place>,
    edges: Vec<Edge>,
    watch: Arc<dyn Watch>,
}

impl Verifier {
    /// Plans which regions are compared with which; asks nothing yet.
    pub fn new(config: Config, watch: Arc<dyn Watch>) -> Self {
        let place = |(region, addresses): (&String, &Vec<ConnectOptions>)| {
            (region.clone(), Place { region: region.clone(), addresses: addresses.clone() })
        };
        let places = config.regions.iter().map(place).collect();
        let regions: BTreeSet<String> = config.regions.keys().cloned().collect();
        let edges = names::edges(&regions, &config.links, config.root.as_deref());
        Self { config, places, edges, watch }
    }

    /// The pairs of regions that are compared.
    pub fn pairs(&self) -> Vec<(&str, &str)> {
        self.edges.iter().map(|edge| (edge.left.as_str(), edge.right.as_str())).collect()
    }

    /// Compares every table, one after the other; with `resume`, from where an interrupted run ended. What is done
    /// is noted for that when it is stopped or fails.
    ///
    /// # Errors
    ///
    /// [`Error::Interrupted`] when `stop` is cancelled; else what made going on impossible. Differences are no error.
    pub async fn run(&self, resume: bool, stop: CancellationToken) -> Result<Vec<TableReport>, Error> {
        let keeper = Keeper(self.config.state.clone());
        let of = format!(
            "{} {:?} {:?} {:?}",
            self.config.sync,
            self.pairs(),
            self.config.links.iter().map(|link| &link.objects).collect::<Vec<_>>(),
            self.config.only
        );
        let state = if resume { keeper.load(&of)? } else { State { of, ..State::default() } };
        let mut run = run::Run::new(self, state);
        let result = tokio::select! {
            biased;
            () = stop.cancelled() => Err(Error::Interrupted),
            result = Box::pin(run.all(&keeper)) => result,
        };
        match result {
            Ok(()) => keeper.remove()?,
            Err(error) => {
                keeper.save(run.state())?;
                return Err(error);
            }
        }
        Ok(run.into_reports())
    }

    /// Makes rows that [`Self::run`] found to differ equal to those of the configuration's `root`, and compares them
    /// once more.
    ///
    /// # Errors
    ///
    /// What made going on impossible; rows written before stay written. A row that could not be repaired is no error,
    /// but told.
    pub async fn repair(
        &self,
        reports: &[TableReport],
        stop: CancellationToken,
    ) -> Result<RepairReport, Error> {
        Box::pin(repair::repair(self, reports, stop)).await
    }

    fn place(&self, region: &str) -> &Place {
        // Links name regions of the file alone: that is checked when the file is read.
        &self.places[region]
    }
}
