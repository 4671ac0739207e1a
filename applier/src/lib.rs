//! From a link into its target: read whole transactions, leave out echo and what is not in step, group, apply,
//! and keep the checkpoint.
//!
//! ```text
//! source ─▶ transaction ─▶ plan (origin, filter, catalog) ─▶ group ─▶ apply (checkpoint) ─▶ target
//! ```
//! [`Applier::build`] checks the target, [`Applier::run`] runs the link until it is told to stop or meets what
//! trying again can't mend. It knows no segment and no sled: what it wants of a relay it asks over the wire.

mod apply;
mod attempt;
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
mod filter;
mod group;
mod lanes;
mod link;
mod load_progress;
mod mark;
mod measures;
mod meta;
mod names;
mod objects;
mod order;
mod origin;
mod plan;
mod position;
mod progress;
mod pulse;
mod source;
mod sql;
mod status;
mod tables;
mod target;
mod transaction;
mod unique_keys;
pub mod verify;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use config::{Config, Conflicts, GroupLimits, TableRules, WayBack};
pub use conflict::{ConflictTable, Detect, Flipped, Kind, Policy, Recorded, Take, Wanted, Winner};
pub use copy::{Existing, Initial, Load};
pub use definition::{Shape, describe as describe_columns, difference as column_difference};
pub use error::Error;
pub use measures::{Measures, RowCounts};
pub use names::Names;
pub use objects::{Objects, Operations};
pub use source::window_name;
pub use status::{LoadStatus, State, Status, StatusError, TableLoad};
pub use tables::{PatternError, TablePatterns};

/// An applier that is built: its target answers and fits.
pub struct Applier {
    link: link::Link,
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

impl Applier {
    /// Connects to the target and checks its settings, the account's privileges and the meta schema, which is
    /// made if it is missing.
    ///
    /// # Errors
    ///
    /// What makes the link impossible, each with its [`Error::remedy`]; transient ones when the target can't
    /// be reached.
    pub async fn build(config: Config) -> Result<Self, Error> {
        let link = link::Link::new(config);
        link.check().await?;
        Ok(Self { link })
    }

    /// A handle to its state.
    pub fn status(&self) -> StatusHandle {
        StatusHandle(self.link.progress().clone())
    }

    /// Runs until `shutdown` is cancelled: the group in hand is committed first. Errors that may pass are
    /// waited out with back-off.
    ///
    /// # Errors
    ///
    /// The first error that trying again can't mend. Nothing is half done then: the checkpoint says what is.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut asking = JoinSet::new();
        let end = shutdown.child_token();
        asking.spawn(self.link.pulse(end.clone()));
        let done = self.link.run(shutdown).await;
        end.cancel();
        while asking.join_next().await.is_some() {}
        done
    }
}
