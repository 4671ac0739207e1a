//! Keys whose changes were passed over before their chunk came: where both regions have rows, nobody can tell any more
//! which of two is the newer.

use std::collections::HashSet;

use super::order::SortKey;

/// So many are kept apart: some hundred bytes each.
const MOST: usize = 1_000_000;

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PassedOver {
    These(HashSet<SortKey>),
    /// Any key may be among them: there were too many, or a copy goes on that was cut off.
    Any,
}

impl Default for PassedOver {
    fn default() -> Self {
        Self::These(HashSet::new())
    }
}

impl PassedOver {
    /// A change to this key is passed over.
    pub(crate) fn insert(&mut self, key: SortKey) {
        let Self::These(keys) = self else { return };
        keys.insert(key);
        if keys.len() > MOST {
            *self = Self::Any;
        }
    }

    /// Takes those out that belong to a chunk.
    pub(crate) fn take(&mut self, is_of_chunk: impl Fn(&SortKey) -> bool) -> Self {
        match self {
            Self::These(keys) => Self::These(keys.extract_if(|key| is_of_chunk(key)).collect()),
            Self::Any => Self::Any,
        }
    }

    pub(crate) fn has(&self, key: &SortKey) -> bool {
        match self {
            Self::These(keys) => keys.contains(key),
            Self::Any => true,
        }
    }

    /// Can there be none?
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::These(keys) if keys.is_empty())
    }
}
