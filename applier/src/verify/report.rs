//! What a comparison found.

use serde::{Deserialize, Serialize};

use super::key::{KeyValue, Range};
use super::rows::{Hash, Shown};

/// A row that differs: it was the same in two reads on both sides, and every link had passed what the first had seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `database.table` in the left region.
    pub table: String,
    /// The region on the left.
    pub left: String,
    /// The region on the right.
    pub right: String,
    /// The row's key, column by column; empty where the table has none.
    pub key: Vec<(String, String)>,
    /// How often the row is there; more than once only without a key.
    pub count: (u64, u64),
    /// The columns that differ, with both values; all columns where one side lacks the row.
    pub columns: Vec<ColumnDifference>,
    /// What names the row in each region; for repairs.
    pub(super) keys: (Option<KeyValue>, Option<KeyValue>),
    #[serde(with = "hashes")]
    pub(super) hashes: (Option<Hash>, Option<Hash>),
    /// Only generated columns differ: their definitions do.
    pub generated_only: bool,
}

/// A column of a differing row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDifference {
    /// Its name.
    pub name: String,
    /// Its value in the left region.
    pub left: Shown,
    /// Its value in the right region.
    pub right: Shown,
}

/// What could not be decided: neither equal nor different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsettled {
    /// The row's key; empty for rows of a table without one.
    pub key: Vec<(String, String)>,
    /// Why.
    pub why: String,
}

/// A table, compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableReport {
    /// `database.table` in the left region.
    pub table: String,
    /// The region on the left.
    pub left: String,
    /// The region on the right.
    pub right: String,
    /// Rows read on the left.
    pub rows: u64,
    /// Chunks compared.
    pub chunks: u64,
    /// Chunks whose checksums differed at first.
    pub rechecked: u64,
    /// Why its rows could not be compared: the table is missing, or defined in another way.
    pub definition: Vec<String>,
    /// Rows that differ.
    pub differences: Vec<Difference>,
    /// Rows that kept changing, or whose links did not pass.
    pub unsettled: Vec<Unsettled>,
    /// There are more differences than were to be named; so many chunks of rows were not looked into.
    pub unnamed_chunks: u64,
}

impl TableReport {
    /// Nothing differs and nothing is in doubt.
    pub fn is_equal(&self) -> bool {
        self.definition.is_empty()
            && self.differences.is_empty()
            && self.unsettled.is_empty()
            && self.unnamed_chunks == 0
    }

    /// `equal`, `different`, or `unsettled`: nothing differs for certain, and something could not be decided.
    pub fn result(&self) -> &'static str {
        if self.is_equal() {
            "equal"
        } else if self.definition.is_empty() && self.differences.is_empty() && self.unnamed_chunks == 0 {
            "unsettled"
        } else {
            "different"
        }
    }
}

/// How far a table is, for a run that is to go on later.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Unfinished {
    pub(super) report: TableReport,
    /// Everything up to here is read.
    pub(super) after: Option<KeyValue>,
    /// And of that, these ranges differed and are not settled yet.
    pub(super) suspects: Vec<Range>,
}

/// What happens, for whoever watches.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A table is begun; so many rows are expected.
    Begins {
        /// `database.table` in the left region.
        table: &'a str,
        /// The regions.
        regions: (&'a str, &'a str),
        /// The server's guess.
        rows: u64,
    },
    /// So many of its rows are read.
    Rows(u64),
    /// What it does now, when it is not reading on: settling, waiting, pausing.
    Doing(&'a str),
    /// A row differs.
    Differs(&'a Difference),
    /// The table is done.
    Ends(&'a TableReport),
}

/// Somebody who watches a comparison.
pub trait Watch: Send + Sync {
    /// Something happened.
    fn see(&self, event: &Event<'_>);
}

mod hashes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Hash, KeyValue};

    type Pair = (Option<Hash>, Option<Hash>);

    pub(super) fn serialize<S: Serializer>(pair: &Pair, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |hash: &Option<Hash>| hash.clone().map(|h| KeyValue(vec![h]));
        (text(&pair.0), text(&pair.1)).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pair, D::Error> {
        let (left, right) = <(Option<KeyValue>, Option<KeyValue>)>::deserialize(deserializer)?;
        let hash = |key: Option<KeyValue>| key.and_then(|mut key| key.0.pop());
        Ok((hash(left), hash(right)))
    }
}
