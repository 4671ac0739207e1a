//! Does a group meet a row that changed unseen? Asked under the group's own row locks, before it commits.
//!
//! Nearly free while nothing collides: the target tells what it has executed in the same round trip as the tables'
//! definitions, and the keys of the rows are looked at only where the window holds keys of the same index.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use binlog::row::{RowsEvent, TableMap};
use binlog::{EventKind, GtidSet};

use super::key::ChangeKeys;
use super::rules::Detect;
use super::shared::SharedWindow;
use crate::Error;
use crate::apply::{Applier, Failure};
use crate::catalog::TargetTable;
use crate::group::{Group, Member};

/// Own transactions are held against what the window has read when they are more than this.
const MOST_OWN: u64 = 1024;
/// How long a group's locks are held for the window.
const WITH_LOCKS: Duration = Duration::from_millis(500);
/// How often a wait without locks looks around.
const WITHOUT_LOCKS: Duration = Duration::from_millis(200);

impl Applier {
    /// Are conflicts on any of these tables found by the window?
    pub(crate) fn watches(&self, tables: &[Arc<TargetTable>]) -> bool {
        self.window.is_some() && tables.iter().any(|table| self.is_watched(table))
    }

    pub(super) fn is_watched(&self, table: &TargetTable) -> bool {
        self.conflicts.of(&table.database, &table.table).detect == Detect::Row && table.keys.has_identity()
    }

    /// Waits, while the group's locks are held, until the window has all that `executed` tells of the target, and looks
    /// the group's rows up in it. An error means that the group is to be rolled back.
    pub(crate) async fn check_window(&mut self, group: &Group, executed: &GtidSet) -> Result<(), Failure> {
        let Some(window) = self.window.clone() else { return Ok(()) };
        let needed = self.needed(executed);
        if !window.reaches(&needed, WITH_LOCKS).await {
            return Err(Failure::WindowBehind(needed));
        }
        let collide = self.collisions(group)?;
        if collide.is_empty() { Ok(()) } else { Err(Failure::Collides(collide)) }
    }

    /// Waits, holding locks, until the window has all that `executed` tells of the target; else rolls back.
    pub(super) async fn reach(&mut self, executed: &GtidSet) -> Result<(), Failure> {
        let Some(window) = self.window.clone() else { return Ok(()) };
        let needed = self.needed(executed);
        if window.reaches(&needed, WITH_LOCKS).await {
            return Ok(());
        }
        self.rollback().await.map_err(Failure::Fatal)?;
        Err(Failure::WindowBehind(needed))
    }

    /// What of the target's transactions the window must have: not those that this link wrote itself.
    fn needed(&self, executed: &GtidSet) -> GtidSet {
        let owners = &self.owners;
        let to = self.link.to.as_str();
        let mut needed = executed.restricted_to(|uuid| owners.of(uuid) == Some(to));
        needed.subtract(&self.own);
        needed
    }

    /// Keeps the GTIDs of the transactions that this link's sessions have committed in the target, until the window has
    /// read them.
    pub(crate) fn note_own_gtids(&mut self, told: Vec<String>) -> Result<(), Error> {
        let Some(window) = &self.window else { return Ok(()) };
        for text in told {
            let malformed = |_| wire::Error::Invalid { what: format!("{text:?} is no GTID set") };
            let gtids: Result<GtidSet, _> = text.parse().map_err(malformed);
            self.own.union_with(&gtids.map_err(Error::target("reading its own GTID"))?);
        }
        if self.own.count() > MOST_OWN {
            self.own.subtract(&window.followed());
        }
        Ok(())
    }

    /// Waits, holding no locks, until the window has these. The link says meanwhile what it waits for.
    pub(crate) async fn wait_for_window(&mut self, needed: &GtidSet) -> Result<(), Error> {
        let Some(window) = self.window.clone() else { return Ok(()) };
        let to = &self.link.to;
        self.progress.waits_for(Some(format!("waiting for relay {to}: the conflict window lacks {needed}")));
        while !window.reaches(needed, WITHOUT_LOCKS).await {
            if self.stop.is_cancelled() {
                return Err(Error::Stopped);
            }
            self.let_go(&window).await?;
        }
        self.progress.waits_for(None);
        Ok(())
    }

    /// A relay that is at its size limit reads no further before more is acknowledged: while waiting for it, the
    /// checkpoint says what the window is done with.
    async fn let_go(&mut self, window: &SharedWindow) -> Result<(), Error> {
        let done = window.done();
        if done == *self.checkpoint.done() || self.is_copying() {
            return Ok(());
        }
        let (covers, mark) = (GtidSet::new(), self.checkpoint.mark().clone());
        let fence = self.fence(&covers, &mark);
        self.commit_small(&[&fence]).await?;
        self.persisted(&covers, &mark)
    }

    /// Is the row of these keys in doubt, or taken to be for a text that folds alike?
    pub(crate) fn are_in_doubt(&self, keys: &ChangeKeys) -> bool {
        let Some(doubts) = &self.doubts else { return false };
        keys.identity.iter().any(|key| doubts.may_have(key))
    }

    /// Which members of a group change a row whose key the window holds unseen, by position.
    pub(crate) fn collisions(&self, group: &Group) -> Result<Vec<usize>, Failure> {
        let mut collide = Vec::new();
        let Some(window) = &self.window else { return Ok(collide) };
        for (i, member) in group.members().iter().enumerate() {
            let in_doubt = |table: &TargetTable| {
                self.doubts.as_ref().is_some_and(|doubts| doubts.has_any_of(table.keys.buckets()))
            };
            let is_in_it = |table: &Arc<TargetTable>| {
                self.is_watched(table) && (window.has_any_of(table.keys.buckets()) || in_doubt(table))
            };
            if !member.tables.iter().any(is_in_it) {
                continue;
            }
            let is_unseen = |keys: &ChangeKeys| {
                self.are_in_doubt(keys)
                    || keys
                        .identity
                        .iter()
                        .chain(&keys.unique)
                        .any(|key| !window.unseen(key, &member.seen).is_empty())
            };
            if each_change(member, |table, keys| is_in_it(table) && is_unseen(&keys))
                .map_err(Failure::Fatal)?
            {
                collide.push(i);
            }
        }
        Ok(collide)
    }
}

/// Looks at the keys of each row change until `found` says so.
fn each_change(
    member: &Member,
    mut found: impl FnMut(&Arc<TargetTable>, ChangeKeys) -> bool,
) -> Result<bool, Error> {
    let malformed = |source| Error::Event { gtid: member.gtid.to_string(), source };
    let mut maps: HashMap<u64, (TableMap, &Arc<TargetTable>)> = HashMap::new();
    for event in &member.events {
        let id = TableMap::id_of(event).unwrap_or(u64::MAX);
        if event.kind() == EventKind::TableMap {
            let map = TableMap::parse(event).map_err(malformed)?;
            if let Some(table) = member.table(&map.database, &map.table) {
                maps.insert(id, (map, table));
            }
            continue;
        }
        let Some((map, table)) = maps.get(&id) else { continue };
        for change in RowsEvent::parse(event, map).map_err(malformed)?.changes() {
            if found(table, table.keys.of(&change.map_err(malformed)?)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
