//! A group: whole, adjacent source transactions that commit in the target as one.
//!
//! **Promise 3** (whole transactions, in order) rests here: a member is never split across groups, and members
//! keep the stream's order. What the target runs is `BEGIN`, the checkpoint, one `BINLOG` statement with all
//! row events put together ([`Condenser`]), `COMMIT`. They are encoded as *one* base64 text from one byte buffer:
//! padding in the middle would end it silently, and a table map whose row events are missing is no error.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use binlog::row::{Condenser, TableMap};
use binlog::{Event, EventError, Gtid, GtidSet};
use tokio::sync::OwnedSemaphorePermit;

use crate::catalog::TargetTable;
use crate::conflict::seen::Seen;
use crate::copy::ChunkId;
use crate::count::Rows;
use crate::mark::Mark;
use crate::order::{Order, Span};
use crate::rows::Spilled;
use crate::{Error, GroupLimits};

/// One source transaction, ready to be applied.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) gtid: Gtid,
    /// Table maps and row events of tables in step, in order.
    pub(crate) events: Vec<Event>,
    /// Of a large transaction they are here.
    pub(crate) spilled: Option<Arc<Spilled>>,
    /// The tables they change, each as it was checked.
    pub(crate) tables: Vec<Arc<TargetTable>>,
    /// Statements of the target that it has not seen, and that its events were already brought behind.
    pub(crate) altered: GtidSet,
    /// Its own GTID and those passed over before it.
    pub(crate) covers: GtidSet,
    /// How far the link is with it.
    pub(crate) mark: Mark,
    /// What its region had seen of the others, and its hybrid time.
    pub(crate) seen: Arc<Seen>,
    /// The same as it was when its region had last applied rows: what it passed over does not count.
    pub(crate) saw: Arc<Seen>,
    pub(crate) time: u64,
    pub(crate) committed_at: u64,
    /// The source's dependency numbers, where it tells them.
    pub(crate) order: Option<Order>,
    /// How many rows it changes.
    pub(crate) rows: Rows,
    /// Chunks of the initial copy that must be committed before it.
    pub(crate) behind: Vec<ChunkId>,
    /// The time zone it was written under, as far as that is told, where what it changes computes by it.
    pub(crate) zone: Option<Arc<str>>,
    /// Its share of the memory for transactions in flight.
    pub(crate) _budget: Option<OwnedSemaphorePermit>,
}

impl Member {
    /// Bytes of its events.
    pub(crate) fn bytes(&self) -> usize {
        let in_file = self.spilled.as_ref().map_or(0, |spilled| spilled.bytes());
        in_file + self.events.iter().map(|e| e.bytes().len()).sum::<usize>()
    }

    /// All its events, batch by batch; those of a file are read as they are asked for.
    pub(crate) fn batches(&self) -> impl Iterator<Item = Result<Cow<'_, [Event]>, Error>> {
        let in_memory = (!self.events.is_empty()).then(|| Ok(Cow::from(&self.events)));
        let in_file = self.spilled.iter().flat_map(|s| s.batches().map(|batch| batch.map(Cow::from)));
        in_memory.into_iter().chain(in_file)
    }

    /// The same from the last batch to the first.
    pub(crate) fn batches_backwards(&self) -> impl Iterator<Item = Result<Cow<'_, [Event]>, Error>> {
        let in_memory = (!self.events.is_empty()).then(|| Ok(Cow::from(&self.events)));
        let in_file = self.spilled.iter().flat_map(|s| s.batches().rev().map(|batch| batch.map(Cow::from)));
        in_file.chain(in_memory)
    }

    /// Does the target compute columns of its rows that may come out otherwise than at the source?
    pub(crate) fn recomputes(&self) -> bool {
        self.tables.iter().any(|table| !table.recomputed.is_empty())
    }

    /// The table of that name, as it was checked.
    pub(crate) fn table(&self, database: &str, table: &str) -> Option<&Arc<TargetTable>> {
        self.tables.iter().find(|t| t.database == database && t.table == table)
    }

    /// Bytes of its largest event.
    pub(crate) fn largest_event(&self) -> usize {
        let in_file = self.spilled.as_ref().map_or(0, |spilled| spilled.largest_event());
        self.events.iter().map(|e| e.bytes().len()).max().unwrap_or(0).max(in_file)
    }
}

/// Members that commit together.
#[derive(Debug, Default)]
pub(crate) struct Group {
    members: Vec<Member>,
    bytes: usize,
}

impl Group {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// May another transaction join?
    pub(crate) fn has_room(&self, limits: &GroupLimits) -> bool {
        self.members.len() < limits.max_transactions && self.bytes < limits.max_bytes
    }

    pub(crate) fn push(&mut self, member: Member) {
        self.bytes += member.bytes();
        self.members.push(member);
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(crate) fn into_members(self) -> Vec<Member> {
        self.members
    }

    /// The source GTIDs that are done when the group is committed.
    pub(crate) fn covers(&self) -> GtidSet {
        let mut covers = GtidSet::new();
        self.members.iter().for_each(|m| covers.union_with(&m.covers));
        covers
    }

    /// How far the link is with it.
    pub(crate) fn mark(&self) -> Mark {
        self.members.last().map(|m| m.mark.clone()).unwrap_or_default()
    }

    /// The time zone its rows are written under; `None` where none computes by it.
    pub(crate) fn zone(&self) -> Option<&Arc<str>> {
        self.members.iter().find_map(|member| member.zone.as_ref())
    }

    /// May a member that is written under this zone join?
    pub(crate) fn suits(&self, zone: Option<&Arc<str>>) -> bool {
        self.zone().zip(zone).is_none_or(|(own, other)| own == other)
    }

    /// The source's dependency numbers of all its members.
    pub(crate) fn span(&self) -> Option<Span> {
        Span::of(self.members.iter().map(|member| member.order))
    }

    /// Every table it changes, each once.
    pub(crate) fn tables(&self) -> Vec<Arc<TargetTable>> {
        let mut known = HashSet::new();
        let tables = self.members.iter().flat_map(|m| &m.tables);
        tables.filter(|table| known.insert(Arc::as_ptr(table))).cloned().collect()
    }

    /// The `BINLOG` statements: one, unless the row events are more than `max_event_bytes`.
    pub(crate) fn statements(
        &self,
        max_event_bytes: usize,
    ) -> Box<dyn Iterator<Item = Result<Vec<u8>, Error>> + Send + '_> {
        let tables = self.members.iter().flat_map(|m| &m.tables).filter(|table| table.keys.has_identity());
        let keyed: HashSet<(&str, &str)> =
            tables.map(|table| (table.database.as_str(), table.table.as_str())).collect();
        let is_keyed = move |map: &Event| TableMap::names_of(map).is_ok_and(|name| keyed.contains(&name));
        let malformed = |source| {
            let gtid = self.members.first().map(|m| m.gtid.to_string()).unwrap_or_default();
            Error::Event { gtid, source }
        };
        if let [Member { spilled: Some(spilled), .. }] = self.members.as_slice() {
            return Box::new(spilled.batches().flat_map(move |batch| match batch {
                Ok(batch) => {
                    let statements = binlog_statements(batch.iter(), &is_keyed, max_event_bytes);
                    statements.map(|statement| statement.map_err(malformed)).collect()
                }
                Err(error) => vec![Err(error)],
            }));
        }
        let events = self.members.iter().flat_map(|m| &m.events);
        Box::new(binlog_statements(events, is_keyed, max_event_bytes).map(move |s| s.map_err(malformed)))
    }
}

impl FromIterator<Member> for Group {
    fn from_iter<I: IntoIterator<Item = Member>>(members: I) -> Self {
        let mut group = Self::default();
        members.into_iter().for_each(|member| group.push(member));
        group
    }
}

/// `BINLOG` statements with these row events put together, each of about `max_event_bytes`, made as they are asked for.
/// `is_keyed` says of a table map whether a key finds the rows of its table.
pub(crate) fn binlog_statements<'a>(
    events: impl Iterator<Item = &'a Event>,
    is_keyed: impl Fn(&Event) -> bool,
    max_event_bytes: usize,
) -> impl Iterator<Item = Result<Vec<u8>, EventError>> {
    Condenser::new(events, is_keyed, max_event_bytes).map(|buffer| Ok(binlog_statement(&buffer?)))
}

/// A `BINLOG` statement with these whole events.
pub(crate) fn binlog_statement(events: &[u8]) -> Vec<u8> {
    const HEAD: &[u8] = b"BINLOG '";
    let length = base64::encoded_len(events.len(), true).unwrap_or(usize::MAX - HEAD.len() - 1);
    let mut out = vec![0; HEAD.len() + length + 1];
    out[..HEAD.len()].copy_from_slice(HEAD);
    let written =
        STANDARD.encode_slice(events, &mut out[HEAD.len()..]).expect("the space was measured above");
    out[HEAD.len() + written] = b'\'';
    out
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::binlog_statement;

    #[test]
    fn a_statement_is_one_base64_text_of_all_its_bytes() {
        for length in 0..50 {
            let bytes: Vec<u8> = (0..length).collect();
            let statement = String::from_utf8(binlog_statement(&bytes)).unwrap();
            let text = statement.strip_prefix("BINLOG '").unwrap().strip_suffix('\'').unwrap();
            assert_eq!(STANDARD.decode(text).unwrap(), bytes);
            assert!(!text.trim_end_matches('=').contains('='), "padding only at the end");
        }
    }
}
