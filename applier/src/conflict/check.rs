//! Does a group meet a row that changed unseen? Asked under the group's own row locks, before it commits.
//!
//! Nearly free while nothing collides: the target tells what it has executed in the same round trip as the tables'
//! definitions, and the keys of the rows are looked at only where the window holds keys of the same index.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use binlog::row::{RowsEvent, TableMap};
use binlog::{Event, EventKind, GtidSet};

use super::key::RowKey;
use super::rules::Detect;
use super::shared::SharedWindow;
use crate::Error;
use crate::apply::{Applier, Failure};
use crate::catalog::TargetTable;
use crate::ddl::{Fate, Place, fate};
use crate::group::{Group, Member};

/// Own transactions are held against what the window has read when they are more than this.
const MOST_OWN: u64 = 1024;
/// How long a group's locks are held for the window.
const WITH_LOCKS: Duration = Duration::from_millis(500);
/// Keys that are looked up together: the server is asked about the texts of all at once.
const LOOKED_UP_AT_ONCE: usize = 20_000;
/// How often a wait without locks looks around.
const WITHOUT_LOCKS: Duration = Duration::from_millis(200);

impl Applier {
    /// Must the window be brought up before rows of these tables are committed? For their keys, and for statements
    /// that altered them.
    pub(crate) fn watches(&self, tables: &[Arc<TargetTable>]) -> bool {
        let by_row = |t: &Arc<TargetTable>| self.conflicts.of(&t.database, &t.table).detect == Detect::Row;
        self.window.is_some() && tables.iter().any(by_row)
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
        let collide = self.collisions(group).await?;
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
        self.progress.waits_for(Some(window.waits(&self.link.to, needed)));
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
    pub(super) async fn let_go(&mut self, window: &SharedWindow) -> Result<(), Error> {
        let done = window.done();
        if done == *self.checkpoint.done() || self.is_copying() {
            return Ok(());
        }
        let (covers, mark) = (GtidSet::new(), self.checkpoint.mark().clone());
        let fence = self.fence(&covers, &mark);
        self.commit_small(&[&fence]).await?;
        self.persisted(&covers, &mark)
    }

    /// Which members of a group change a row whose key the window holds unseen, by position.
    pub(crate) async fn collisions(&mut self, group: &Group) -> Result<Vec<usize>, Failure> {
        let mut collide = Vec::new();
        let Some(window) = self.window.clone() else { return Ok(collide) };
        let doubts = self.doubts.clone();
        let (mut keys, members) = (Vec::new(), group.members());
        for (i, member) in members.iter().enumerate() {
            altered_since(&window, member)?;
            let is_early = self.is_early(member);
            if is_early {
                collide.push(i);
            }
            let in_doubt = |table: &Arc<TargetTable>| {
                doubts.as_ref().is_some_and(|doubts| doubts.has_any_of(table.keys.buckets()))
            };
            let is_in_it = |table: &Arc<TargetTable>| {
                self.is_watched(table) && (window.has_any_of(table.keys.buckets()) || in_doubt(table))
            };
            if !is_early && member.tables.iter().any(is_in_it) {
                keys_of(member, is_in_it, |key| keys.push((i, key))).map_err(Failure::Fatal)?;
            }
            if keys.len() >= LOOKED_UP_AT_ONCE || i + 1 == members.len() {
                self.look_up(&window, members, &mut keys, &mut collide).await.map_err(Failure::Fatal)?;
            }
        }
        collide.sort_unstable();
        Ok(collide)
    }

    /// Looks keys up, each of a member by its position.
    async fn look_up(
        &mut self,
        window: &SharedWindow,
        members: &[Member],
        keys: &mut Vec<(usize, RowKey)>,
        collide: &mut Vec<usize>,
    ) -> Result<(), Error> {
        let lacking = self.weights.lacking(keys.iter().map(|(_, key)| key));
        self.weights.learn(&mut self.connection, lacking).await?;
        for (i, key) in keys.drain(..) {
            if collide.last() == Some(&i) {
                continue;
            }
            let key = self.weights.key(&key);
            let in_doubt = self.doubts.as_ref().is_some_and(|doubts| doubts.has(&key));
            if in_doubt || !window.unseen(&key, &members[i].seen)?.is_empty() {
                collide.push(i);
            }
        }
        Ok(())
    }
}

/// Did the target alter one of its tables unseen, since it was planned? Then the link begins its round anew.
pub(super) fn altered_since(window: &SharedWindow, member: &Member) -> Result<(), Failure> {
    let unseen = window.alterations(&member.seen);
    let new: Vec<_> = unseen.into_iter().filter(|a| !member.altered.contains(&a.gtid)).collect();
    if new.is_empty() {
        return Ok(());
    }
    let stays = |t: &&Arc<TargetTable>| match fate(&t.database, &t.table, &new) {
        Fate::Here(place) => place == Place::new(&t.database, &t.table),
        Fate::Void(_) | Fate::Unclear(_) => false,
    };
    match member.tables.iter().find(|t| !stays(t)) {
        None => Ok(()),
        Some(table) => Err(Failure::Fatal(Error::DefinitionChanged { table: table.display_name() })),
    }
}

/// Hands over the keys of each row change in tables that are wanted.
fn keys_of(
    member: &Member,
    is_wanted: impl Fn(&Arc<TargetTable>) -> bool,
    mut each: impl FnMut(RowKey),
) -> Result<(), Error> {
    for batch in member.batches() {
        keys_in(member, &batch?, &is_wanted, &mut each)?;
    }
    Ok(())
}

fn keys_in(
    member: &Member,
    events: &[Event],
    is_wanted: &impl Fn(&Arc<TargetTable>) -> bool,
    each: &mut impl FnMut(RowKey),
) -> Result<(), Error> {
    let malformed = |source| Error::Event { gtid: member.gtid.to_string(), source };
    let mut maps: HashMap<u64, (TableMap, &Arc<TargetTable>)> = HashMap::new();
    for event in events {
        let id = TableMap::id_of(event).unwrap_or(u64::MAX);
        if event.kind() == EventKind::TableMap {
            let map = TableMap::parse(event).map_err(malformed)?;
            maps.remove(&id);
            if let Some(table) = member.table(&map.database, &map.table).filter(|table| is_wanted(table)) {
                maps.insert(id, (map, table));
            }
            continue;
        }
        let Some((map, table)) = maps.get(&id) else { continue };
        for change in RowsEvent::parse(event, map).map_err(malformed)?.changes() {
            let keys = table.keys.of(&change.map_err(malformed)?);
            keys.identity.into_iter().chain(keys.unique).for_each(&mut *each);
        }
    }
    Ok(())
}
