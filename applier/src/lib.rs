//! From a link into its target: read whole transactions, leave out echo and what is not in step, group, apply,
//! and keep the checkpoint.
//!
//! ```text
//! source ─▶ transaction ─▶ plan (origin, filter, catalog) ─▶ group ─▶ apply (checkpoint) ─▶ target
//! ```
//! [`Applier::build`] checks the target, [`Applier::run`] runs the link until it is told to stop or meets what
//! trying again can't mend. It knows no segment and no sled: what it wants of a relay it asks over the wire.

mod apply;
mod apply_group;
mod attempt;
mod cascades;
mod catalog;
mod checkpoint;
mod collations;
mod config;
mod conflict;
mod copy;
mod count;
mod ddl;
mod definition;
mod error;
mod executed;
mod filter;
mod generated;
mod group;
mod joining;
mod lanes;
mod large_row;
mod life;
mod link;
mod load_progress;
mod mark;
mod measures;
mod mended;
mod meta;
mod names;
mod objects;
mod order;
mod origin;
mod plan;
mod position;
mod progress;
mod pulse;
mod recompute;
mod remap;
mod rows;
mod source;
mod sql;
mod status;
mod structure;
mod tables;
mod target;
mod transaction;
mod unique_keys;
pub mod verify;
mod versions;
mod zone;

use life::cycle::Cycle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use verify::background::Background;

pub use config::{Config, Conflicts, GroupLimits, TableRules, WayBack};
pub use conflict::{ConflictTable, Detect, Flipped, Kind, Policy, Recorded, Take, Wanted, Winner};
pub use copy::{Existing, Initial, Load};
pub use error::Error;
pub use generated::{Described, of_session};
pub use joining::{How, Move};
pub use life::cycle::OnFailure;
pub use life::orders::{Forgotten, Orders, Skipped};
pub use life::{Life, Order, Stakes, Wish};
pub use measures::{Measures, RowCounts};
pub use names::Names;
pub use objects::{Objects, Operations};
pub use remap::{ColumnFacts, rows_fit};
pub use source::window_name;
pub use status::{LoadStatus, State, Status, StatusError, TableLoad, WindowStatus};
pub use structure::Programs;
pub use tables::{PatternError, TablePatterns};

/// An applier that is built: its target answers and fits.
pub struct Applier {
    cycle: Cycle,
}

/// Reads a running applier's state; cheap to clone.
#[derive(Clone, Debug)]
pub struct StatusHandle(progress::Progress);

impl StatusHandle {
    /// The state now.
    pub fn get(&self) -> Status {
        self.0.get()
    }
}

/// Tells a running applier what people want; cheap to clone.
#[derive(Clone, Debug)]
pub struct Control(Cycle);

impl Control {
    /// A session in the link's target, for orders. After an order, [`Control::nudge`].
    ///
    /// # Errors
    ///
    /// What keeps it from connecting.
    pub async fn orders(&self) -> Result<Orders, Error> {
        Orders::open(&self.0.config()).await
    }

    /// The link looks at once what is wanted of it, and does not wait for its next try.
    pub fn nudge(&self) {
        self.0.nudge();
    }

    /// Another configuration of the same link: the group in hand is committed, and what follows is done by it.
    pub fn reconfigure(&self, config: Config) {
        self.0.reconfigure(config);
    }

    /// What another configuration of the same link would do to tables of its source.
    ///
    /// # Errors
    ///
    /// What keeps the source from being asked.
    pub async fn moves(&self, config: &Config) -> Result<Vec<Move>, Error> {
        let old = self.0.config();
        if (&old.objects.tables, &old.objects.names) == (&config.objects.tables, &config.objects.names) {
            return Ok(Vec::new());
        }
        joining::moves(&old, config).await
    }

    /// The configuration it has now.
    pub fn config(&self) -> Config {
        Config::clone(&self.0.config())
    }
}

impl Applier {
    /// Connects to the target and checks its settings, the account's privileges and the meta schema, which is
    /// made if it is missing.
    ///
    /// # Errors
    ///
    /// What makes the link impossible, each with its [`Error::remedy`]; transient ones when the target can't
    /// be reached.
    pub async fn build(config: Config) -> Result<Self, Error> {
        let cycle = Cycle::new(config);
        cycle.check().await?;
        Ok(Self { cycle })
    }

    /// A handle to its state.
    pub fn status(&self) -> StatusHandle {
        StatusHandle(self.cycle.progress().clone())
    }

    /// A handle to tell it what people want.
    pub fn control(&self) -> Control {
        Control(self.cycle.clone())
    }

    /// Runs until `shutdown` is cancelled: the group in hand is committed first. Errors that may pass are
    /// waited out with back-off; what else stops the link is waited out too, with [`OnFailure::Stay`], until somebody
    /// starts it again.
    ///
    /// # Errors
    ///
    /// The error that the link has stopped for. Nothing is half done then: the checkpoint says what is.
    pub async fn run(self, shutdown: CancellationToken, on_failure: OnFailure) -> Result<(), Error> {
        let mut beside = JoinSet::new();
        let end = shutdown.child_token();
        beside.spawn(self.cycle.pulse(end.clone()));
        if let Some(schedule) = self.cycle.config().verify.clone() {
            let background = Background::new(schedule, self.cycle.progress().clone());
            beside.spawn(background.run(end.clone()));
        }
        let done = self.cycle.run(&shutdown, on_failure).await;
        end.cancel();
        while beside.join_next().await.is_some() {}
        done
    }
}
