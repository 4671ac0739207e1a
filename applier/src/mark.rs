//! How far a link is at a place of its source's log: what its checkpoint tells beside the GTIDs.

use std::sync::Arc;

use crate::conflict::seen::Seen;
use crate::position::SourcePosition;

/// A place in the source's log, and what follows from all before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Where it is in the source's files.
    pub(crate) end: SourcePosition,
    /// What the source's region had applied of the others.
    pub(crate) seen: Arc<Seen>,
    /// The hybrid clock of the source's log.
    pub(crate) clock: u64,
}
