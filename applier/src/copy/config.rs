//! What is copied, and how hard it may press the servers.

use std::time::Duration;

use crate::structure::Programs;

/// What is copied before the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Initial {
    /// Tables and rows.
    StructureAndData,
    /// Tables only.
    Structure,
    /// Rows only.
    Data,
    /// Nothing: both sides are equal already.
    #[default]
    None,
}

impl Initial {
    /// Is what is missing made?
    pub fn has_structure(self) -> bool {
        matches!(self, Self::StructureAndData | Self::Structure)
    }

    /// Are rows copied?
    pub fn has_data(self) -> bool {
        matches!(self, Self::StructureAndData | Self::Data)
    }
}

/// What to do about tables that are there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Stop, and name them, unless they are empty and defined alike.
    #[default]
    Error,
    /// Use them, if rows fit. Their rows stay; one that meets a copied row of the same key goes by the link's policy.
    Keep,
}

/// How the rows are copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Is anything copied?
    pub initial: Initial,
    /// What to do with rows that are there.
    pub existing: Existing,
    /// Chunks that are read and written side by side.
    pub threads: usize,
    /// Rows of a chunk, at most.
    pub batch_rows: u64,
    /// Rows a second, at most.
    pub max_rows_per_second: Option<u64>,
    /// Pause while more threads run in the source.
    pub max_load: Option<u32>,
    /// Pause while the link is so far behind.
    pub max_lag: Option<Duration>,
    /// What is made with the tables.
    pub programs: Programs,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            initial: Initial::None,
            existing: Existing::Error,
            threads: 8,
            batch_rows: 10_000,
            max_rows_per_second: None,
            max_load: None,
            max_lag: None,
            programs: Programs::default(),
        }
    }
}
