//! What a planner is told, is handed, and hands over.

use binlog::{Event, Gtid, GtidSet};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::copy::Place;
use crate::filter::Filter;
use crate::group::Group;
use crate::mark::Mark;
use crate::origin::Owners;
use crate::rows::Rows;
use crate::transaction::Item;
use crate::{Config, GroupLimits};

/// What the target is to do next.
#[derive(Debug)]
pub(crate) enum Work {
    /// How the row events that follow are laid out.
    Format(Event),
    /// Apply these transactions.
    Group(Group),
    /// Note that these were passed over; with it, run these statements on the meta schema.
    Persist { covers: GtidSet, mark: Mark, notes: Vec<String> },
    /// A chunk of the initial copy has its place here.
    Place(Place),
    /// Run this statement; `done` is told when it is committed.
    Ddl { ddl: Box<DdlWork>, done: oneshot::Sender<()> },
}

/// A statement to run under its original GTID.
#[derive(Debug)]
pub(crate) struct DdlWork {
    pub(crate) gtid: Gtid,
    pub(crate) event: Event,
    /// The rows of `CREATE TABLE … SELECT`.
    pub(crate) rows: Rows,
    pub(crate) covers: GtidSet,
    pub(crate) mark: Mark,
    pub(crate) committed_at: u64,
    /// Statements on the meta schema that are committed with the checkpoint behind it.
    pub(crate) notes: Vec<String>,
}

/// A transaction with its share of the memory for transactions in flight.
pub(crate) type Delivery = (Item, Option<OwnedSemaphorePermit>);

/// What a planner is told.
pub(crate) struct Rules {
    pub(crate) filter: Filter,
    pub(crate) meta_schema: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) ddl: bool,
    pub(crate) limits: GroupLimits,
    pub(crate) owners: Owners,
}

impl Rules {
    pub(crate) fn of(config: &Config, filter: Filter, owners: Owners) -> Self {
        Self {
            filter,
            meta_schema: config.meta_schema.clone(),
            from: config.from.clone(),
            to: config.to.clone(),
            ddl: config.ddl,
            limits: config.group,
            owners,
        }
    }
}
