//! Rows that need not cross: those of transactions that come from the region the downstream writes into.
//!
//! A link would drop them (**promise 4**), after they have come a long way. It says so before its dump:
//!
//! ```text
//! SET @twinlog_without_echo = 'sync/meta schema/region'
//! ```
//! Of a transaction that begins with a stamp of that sync and region, what is sent is its GTID, what it writes into the
//! meta schema (the stamp first; rows of the table `trace` not), and its end; and one table map of what else it changes, so that the link knows that it
//! was more than a checkpoint. The link decides as before: here nothing is dropped, only made smaller. A transaction that
//! the source has compressed goes as it is.

use std::collections::HashSet;

use binlog::row::TableMap;
use binlog::stamp::{self, CHECKPOINT_TABLE, TRACE_TABLE};
use binlog::{Event, EventKind};

/// Whose echo: sync, meta schema, region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EchoOf {
    /// What the key of each of the sync's links begins with.
    sync: String,
    meta_schema: String,
    region: String,
}

impl EchoOf {
    /// Reads the variable; `None` if it is something else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/').map(str::to_owned);
        let (sync, meta_schema, region) = (parts.next()?, parts.next()?, parts.next()?);
        (parts.next().is_none() && !region.is_empty()).then(|| Self {
            sync: format!("{sync}/"),
            meta_schema,
            region,
        })
    }
}

/// Follows what is sent to one downstream.
#[derive(Debug)]
pub(crate) struct Echo {
    of: EchoOf,
    state: State,
}

#[derive(Debug)]
enum State {
    /// No table map of this transaction has come.
    Before,
    /// It begins with a checkpoint; this is its table map.
    Stamp(Box<TableMap>),
    /// It is an echo. Which table ids are of the meta schema, and whether a table map of another was sent.
    Inside { meta: HashSet<u64>, has_map: bool },
    /// It is none.
    Other,
}

impl Echo {
    pub(crate) fn new(of: EchoOf) -> Self {
        Self { of, state: State::Before }
    }

    /// Is this event better left out? Takes every event, in order.
    pub(crate) fn leaves_out(&mut self, event: &Event) -> bool {
        let kind = event.kind();
        if kind.is_gtid() {
            self.state = State::Before;
            return false;
        }
        if kind == EventKind::TableMap {
            return self.takes_map(event);
        }
        match &self.state {
            State::Stamp(map) if kind.is_rows() && TableMap::id_of(event) == Some(map.table_id) => {
                let is_theirs = |stamp: &stamp::Stamp| {
                    stamp.origin == self.of.region && stamp.link.starts_with(&self.of.sync)
                };
                // What can't be read goes as it is, and the link says what is wrong with it.
                if stamp::read(event, map)
                    .is_ok_and(|stamps| !stamps.is_empty() && stamps.iter().all(is_theirs))
                {
                    self.state = State::Inside { meta: HashSet::from([map.table_id]), has_map: false };
                } else {
                    self.state = State::Other;
                }
                false
            }
            State::Inside { meta, .. } if kind.is_rows() => {
                !TableMap::id_of(event).is_some_and(|id| meta.contains(&id))
            }
            State::Inside { .. } => kind == EventKind::RowsQuery,
            State::Before | State::Stamp(_) | State::Other => false,
        }
    }

    fn takes_map(&mut self, event: &Event) -> bool {
        let names = TableMap::names_of(event).unwrap_or_default();
        match &mut self.state {
            State::Before => {
                let is_stamp = names == (self.of.meta_schema.as_str(), CHECKPOINT_TABLE);
                let map = if is_stamp { TableMap::parse(event).ok() } else { None };
                self.state = map.map_or(State::Other, |map| State::Stamp(Box::new(map)));
                false
            }
            State::Inside { meta, has_map } => {
                let id = TableMap::id_of(event).unwrap_or(u64::MAX);
                if names == (self.of.meta_schema.as_str(), TRACE_TABLE) {
                    // Rows of the downstream's own region once more.
                    meta.remove(&id);
                    return true;
                }
                if names.0 == self.of.meta_schema {
                    meta.insert(id);
                    return false;
                }
                meta.remove(&id);
                std::mem::replace(has_map, true)
            }
            State::Stamp(_) | State::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::EchoOf;

    #[test]
    fn the_variable_names_sync_schema_and_region() {
        let of = EchoOf::parse("shop/twinlog/eu").unwrap();
        assert_eq!(
            (of.sync.as_str(), of.meta_schema.as_str(), of.region.as_str()),
            ("shop/", "twinlog", "eu")
        );
        for text in ["", "shop/twinlog", "shop/twinlog/", "shop/twinlog/eu/more"] {
            assert_eq!(EchoOf::parse(text), None, "{text:?}");
        }
    }
}
