//! The target's own log, read into the conflict window.
//!
//! The applier is one more downstream of the target's relay. Local transactions, and those that other links applied,
//! leave their keys in the window; what came from the link's own source is passed over. The relay keeps what a restart
//! would need: acknowledged is what the checkpoint says the window is done with, which is all before the first writer
//! that a transaction still to come may not have seen.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use binlog::event::Query;
use binlog::row::{RowsEvent, TableMap};
use binlog::stamp::TRACE_TABLE;
use binlog::{Event, EventKind, Gtid, GtidSet};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wire::Connection;

use super::key::{Key, RowKey, TableKeys, UniqueKey};
use super::rules::{Effective, HybridClock};
use super::seen::Follower;
use super::shared::SharedWindow;
use super::trace;
use super::weights::Weights;
use super::window::Writer;
use crate::collations::{Collations, Folding};
use crate::copy::Doubts;
use crate::ddl::{self, Alteration, Change, Clause, ObjectName};
use crate::filter::Filter;
use crate::origin::{LinkKey, Origins, Owners};
use crate::plan::{Delivery, stamps, xa_end};
use crate::position::SourcePosition;
use crate::rows::Rows;
use crate::source::{Attach, IN_FLIGHT, Source};
use crate::transaction::{Body, Item, Transaction};
use crate::{Error, unique_keys};

/// Transactions that are put into the window together, and keys: the server is asked about the texts of all at once.
const TOGETHER: usize = 256;
const KEYS_TOGETHER: usize = 20_000;
/// Characters of a statement that are kept for people.
const MOST_SHOWN: usize = 1000;
/// First and longest wait before the relay is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Places that could be acknowledged are kept this far apart.
const ACKNOWLEDGE_STEP: u64 = 64 << 10;

/// A block of the window is of so much of the log at most: what is not seen yet holds no more of it back.
const BLOCK_OF_LOG: u64 = 64 << 20;

/// What a reader of the target's log is told.
pub(crate) struct Rules {
    pub(crate) link: LinkKey,
    pub(crate) filter: Filter,
    pub(crate) meta_schema: String,
    pub(crate) owners: Owners,
    pub(crate) regions: Vec<String>,
    /// DDL of the target reaches the source's region by the link the other way.
    pub(crate) ddl_back: bool,
}

/// Reads the target's log. What it has read stays read when it is told to stop, and it can go on from there.
pub(crate) struct TargetLog {
    attach: Attach,
    pub(super) rules: Rules,
    window: SharedWindow,
    /// A session of its own, for the keys of tables.
    pub(super) catalog: Connection,
    /// Keys in doubt, while an initial copy runs.
    pub(super) doubts: Option<Doubts>,
    collations: Arc<Collations>,
    pub(super) weights: Weights,
    tables: HashMap<(String, String), Vec<UniqueKey>>,
    follower: Follower,
    /// As it was when the window had all that it had taken.
    settled: Follower,
    prepared: HashMap<String, (Gtid, Vec<RowKey>)>,
    /// Where transactions of the target ended, until the window is done with them.
    ends: VecDeque<(Gtid, SourcePosition)>,
    /// Where the window's open block began.
    block_at: SourcePosition,
}

/// What is to be put into the window of one transaction.
struct Taken {
    /// Who wrote, and which keys; nobody where it is of no concern.
    written: Option<(Writer, Vec<RowKey>)>,
    /// What of the log is followed with it, and its clock there.
    passed: GtidSet,
    clock: u64,
}

impl Taken {
    fn keys(&self) -> usize {
        self.written.as_ref().map_or(0, |(_, keys)| keys.len())
    }
}

impl TargetLog {
    /// A reader that begins where the window does.
    pub(crate) fn new(
        attach: Attach,
        rules: Rules,
        window: SharedWindow,
        catalog: Connection,
        collations: Arc<Collations>,
    ) -> Self {
        let clock = HybridClock::at(window.done().clock);
        let follower = Follower { clock, ..Follower::default() };
        Self {
            attach,
            rules,
            window,
            catalog,
            weights: Weights::new(collations.clone()),
            doubts: None,
            collations,
            tables: HashMap::new(),
            settled: follower.clone(),
            follower,
            prepared: HashMap::new(),
            ends: VecDeque::new(),
            block_at: SourcePosition::default(),
        }
    }

    /// It notes keys in doubt as well.
    pub(crate) fn noting(mut self, doubts: Option<Doubts>) -> Self {
        self.doubts = doubts;
        self
    }

    /// The window that it reads into.
    pub(crate) fn window(&self) -> SharedWindow {
        self.window.clone()
    }

    /// Goes on with another session in the target: definitions may have changed unseen by the one before.
    pub(crate) fn with_session(mut self, session: Connection) -> Self {
        self.catalog = session;
        self.tables.clear();
        self
    }

    /// Reads until `stop`. A relay that can't be reached is tried again: only a group that needs the window waits
    /// for it.
    pub(crate) async fn run(&mut self, stop: CancellationToken) -> Result<(), Error> {
        let mut backoff = BACKOFF.0;
        loop {
            let before = self.window.followed();
            let error = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                read = self.read(&before) => match read {
                    Ok(()) => return Ok(()),
                    Err(error) => error,
                },
            };
            // Without its session in the target it can't go on; the link begins again with a new one.
            if !error.is_transient() || error.is_of_target() {
                return Err(error);
            }
            if self.window.followed() != before {
                backoff = BACKOFF.0;
            }
            tracing::debug!(error = %error, "the conflict window waits for the target's relay");
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(backoff.mul_f64(rand::random_range(0.5..1.5))) => {}
            }
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    /// Reads until an error.
    async fn read(&mut self, after: &GtidSet) -> Result<(), Error> {
        // What was prepared is sent again: its GTID is not among what was followed. What was taken and not put into
        // the window is as well, and has the same time again.
        self.prepared.clear();
        self.follower = self.settled.clone();
        let source = Source::connect(self.attach.clone()).await?;
        let stream = source.dump(after).await?;
        let (to, mut from) = mpsc::channel::<Delivery>(IN_FLIGHT);
        let (acknowledge, acknowledged) = watch::channel(SourcePosition::default());
        let origins =
            Origins::new(&self.rules.link.sync, &self.rules.link.to, self.rules.regions.iter().cloned());
        let reading = stream.run(to, acknowledged, CancellationToken::new());
        tokio::pin!(reading);
        let mut kept = self.window.kept();
        loop {
            tokio::select! {
                biased;
                delivery = from.recv() => match delivery {
                    Some((Item::Transaction(t), _budget)) => {
                        self.take_some(*t, &mut from, &origins).await?;
                    }
                    Some((Item::Format(_), _)) => {}
                    None => return reading.await,
                },
                ended = &mut reading => return ended,
                // The sender lives in the window.
                Ok(()) = kept.changed() => {
                    let done = kept.borrow_and_update().clone();
                    self.acknowledge(&done, &acknowledge);
                }
            }
        }
    }

    /// Takes a transaction, and those behind it that have come already.
    async fn take_some(
        &mut self,
        first: Transaction,
        from: &mut mpsc::Receiver<Delivery>,
        origins: &Origins,
    ) -> Result<(), Error> {
        let mut taken = vec![self.take(first, origins).await?];
        let mut keys = taken[0].keys();
        while taken.len() < TOGETHER && keys < KEYS_TOGETHER {
            match from.try_recv() {
                Ok((Item::Transaction(t), _budget)) => {
                    let one = self.take(*t, origins).await?;
                    keys += one.keys();
                    taken.push(one);
                }
                Ok((Item::Format(_), _)) => {}
                Err(_) => break,
            }
        }
        let written = taken.iter().filter_map(|one| one.written.as_ref());
        let lacking = self.weights.lacking(written.flat_map(|(_, keys)| keys));
        self.weights.learn(&mut self.catalog, lacking).await?;
        if self.rules.regions.len() > 2 {
            // Before what shows that the window has it.
            self.window.applied(&self.follower.seen);
        }
        for one in taken {
            if let Some((writer, keys)) = one.written {
                let keys: Vec<Key> = keys.iter().map(|key| self.weights.key(key)).collect();
                self.window.write(&writer, &keys);
            }
            self.window.follow(&one.passed, one.clock);
        }
        self.settled = self.follower.clone();
        Ok(())
    }

    async fn take(&mut self, t: Transaction, origins: &Origins) -> Result<Taken, Error> {
        let malformed = |source| Error::Event { gtid: t.gtid.to_string(), source };
        let ours = match &t.body {
            Body::Rows(rows) | Body::Prepared { rows, .. } => {
                origins.ours(stamps(rows.head(), &self.rules.meta_schema).map_err(malformed)?)
            }
            Body::Statement(_) | Body::CreateSelect { .. } | Body::Incident => Vec::new(),
        };
        let is_own =
            ours.is_empty() && self.rules.owners.of(t.gtid.uuid()) == Some(self.rules.link.to.as_str());
        let origin = ours.last().map(|stamp| stamp.origin.clone());
        let known = origin.as_deref().map(|region| self.follower.seen.of(region).gtids);
        let time = self.follower.take(&ours, is_own, t.committed_at);
        let time = time.map_err(|what| Error::BadStamp { gtid: t.gtid.clone(), what })?;
        let writer = match origin {
            Some(region) if region == self.rules.link.from => None,
            Some(region) => {
                let now = self.follower.seen.of(&region);
                let gtids = now.gtids.minus(&known.unwrap_or_default());
                Some(Writer { gtids, effective: Effective { time: now.clock, region } })
            }
            None if is_own => {
                let gtids = [t.gtid.clone()].into_iter().collect();
                Some(Writer { gtids, effective: Effective { time, region: self.rules.link.to.clone() } })
            }
            // DDL under another region's GTID.
            None => None,
        };
        if let Body::Rows(rows) | Body::Prepared { rows, .. } = &t.body {
            // What is only prepared counts as written: should it be rolled back, a key more is settled.
            for batch in rows.batches() {
                self.note_doubts(&t.gtid, &batch?, &ours, writer.is_some()).await?;
            }
        }
        let taken = self.written(&t, writer).await?;
        self.note_end(t);
        Ok(taken)
    }

    /// A transaction's keys, and what of the log is followed with it.
    async fn written(&mut self, t: &Transaction, writer: Option<Writer>) -> Result<Taken, Error> {
        let mut passed: GtidSet = [t.gtid.clone()].into_iter().collect();
        let keys = match &t.body {
            Body::Rows(rows) | Body::CreateSelect { rows, .. } if writer.is_some() => {
                self.keys_of(&t.gtid, rows).await?
            }
            Body::Prepared { xid, rows } if writer.is_some() => {
                // Its rows are nobody's before XA COMMIT; a reader that begins anew is sent them again.
                let keys = self.keys_of(&t.gtid, rows).await?;
                self.prepared.insert(xid.clone(), (t.gtid.clone(), keys));
                passed = GtidSet::new();
                Vec::new()
            }
            Body::Statement(event) => match self.ended_xa(&t.gtid, event)? {
                Some((gtid, keys)) => {
                    passed.insert(&gtid);
                    keys
                }
                None => {
                    self.note_alteration(t, event)?;
                    Vec::new()
                }
            },
            _ => Vec::new(),
        };
        let written = writer.filter(|_| !keys.is_empty()).map(|writer| (writer, keys));
        Ok(Taken { written, passed, clock: self.follower.clock.time() })
    }

    /// Remembers a statement of the target that altered tables in step, and that the link the other way carries:
    /// rows that have not seen it go where the tables have gone.
    fn note_alteration(&self, t: &Transaction, event: &Event) -> Result<(), Error> {
        let region = &self.rules.link.to;
        if !self.rules.ddl_back || self.rules.owners.of(t.gtid.uuid()) != Some(region) {
            return Ok(());
        }
        let malformed = |source| Error::Event { gtid: t.gtid.to_string(), source };
        let query = Query::parse(event).map_err(malformed)?;
        let changes = ddl::changes_of(&query);
        if !changes.iter().any(|change| self.is_in_step(change)) {
            return Ok(());
        }
        let effective = Effective { time: self.follower.clock.time(), region: region.clone() };
        let writer = Writer { gtids: [t.gtid.clone()].into_iter().collect(), effective };
        let statement = String::from_utf8_lossy(query.sql).chars().take(MOST_SHOWN).collect();
        self.window.alter(writer, Alteration { gtid: t.gtid.clone(), statement, changes });
        Ok(())
    }

    fn is_in_step(&self, change: &Change) -> bool {
        let keeps = |name: &ObjectName| self.rules.filter.keeps_there(&name.database, &name.name);
        match change {
            Change::Creates(name) | Change::Empties(name) | Change::Drops(name) => keeps(name),
            Change::Renames(old, new) => keeps(old) || keeps(new),
            Change::Alters(name, clauses) => keeps(name) && clauses.iter().any(|c| *c != Clause::Harmless),
            Change::DropsDatabase(_) => true,
        }
    }

    /// The rows of an XA transaction that a statement ends: its keys if it is committed, none if not.
    fn ended_xa(&mut self, gtid: &Gtid, event: &Event) -> Result<Option<(Gtid, Vec<RowKey>)>, Error> {
        let malformed = |source| Error::Event { gtid: gtid.to_string(), source };
        let query = Query::parse(event).map_err(malformed)?;
        let Some((xid, commits)) = xa_end(&query) else {
            // It may have altered a table.
            self.tables.clear();
            return Ok(None);
        };
        let Some((gtid, keys)) = self.prepared.remove(&xid) else { return Ok(None) };
        Ok(Some((gtid, if commits { keys } else { Vec::new() })))
    }

    /// The keys of every row changed in tables in step.
    async fn keys_of(&mut self, gtid: &Gtid, rows: &Rows) -> Result<Vec<RowKey>, Error> {
        let mut keys = Vec::new();
        for batch in rows.batches() {
            self.add_keys(gtid, &batch?, &mut keys).await?;
        }
        Ok(keys)
    }

    async fn add_keys(&mut self, gtid: &Gtid, events: &[Event], keys: &mut Vec<RowKey>) -> Result<(), Error> {
        let malformed = |source| Error::Event { gtid: gtid.to_string(), source };
        let mut maps: HashMap<u64, (TableMap, TableKeys)> = HashMap::new();
        let mut traces: Option<TableMap> = None;
        for event in events {
            if event.kind() == EventKind::TableMap {
                let (database, table) = TableMap::names_of(event).map_err(malformed)?;
                let id = TableMap::id_of(event).unwrap_or(u64::MAX);
                if (database, table) == (self.rules.meta_schema.as_str(), TRACE_TABLE) {
                    traces = Some(TableMap::parse(event).map_err(malformed)?);
                } else if self.rules.filter.keeps_there(database, table) {
                    let map = TableMap::parse(event).map_err(malformed)?;
                    let table_keys = self.table_keys(&map).await?;
                    maps.insert(id, (map, table_keys));
                } else {
                    maps.remove(&id);
                }
                continue;
            }
            if let Some(map) = traces.as_ref().filter(|map| TableMap::id_of(event) == Some(map.table_id)) {
                let traced = trace::read(event, map).map_err(malformed)?;
                Box::pin(self.add_keys(gtid, &traced, keys)).await?;
                continue;
            }
            let Some((map, table_keys)) = TableMap::id_of(event).and_then(|id| maps.get(&id)) else {
                continue;
            };
            for change in RowsEvent::parse(event, map).map_err(malformed)?.changes() {
                let of_row = table_keys.of(&change.map_err(malformed)?);
                keys.extend(of_row.identity.into_iter().chain(of_row.unique));
            }
        }
        Ok(())
    }

    pub(super) async fn table_keys(&mut self, map: &TableMap) -> Result<TableKeys, Error> {
        let name = (map.database.clone(), map.table.clone());
        if !self.tables.contains_key(&name) {
            let keys = unique_keys::read(&mut self.catalog, &map.database, &map.table).await?;
            self.tables.insert(name.clone(), keys);
        }
        let folding = |id: Option<u32>| id.map_or(Folding::Bytes, |id| self.collations.folding(id));
        let columns: HashMap<String, (usize, Folding)> = map
            .columns
            .iter()
            .enumerate()
            .map(|(i, c)| (c.name.to_lowercase(), (i, folding(c.collation))))
            .collect();
        Ok(TableKeys::new((&map.database, &map.table), &self.tables[&name], |column| {
            columns.get(column).copied()
        }))
    }

    /// Remembers where a transaction ended: once the window is done with it, what lies before is no longer needed.
    fn note_end(&mut self, t: Transaction) {
        if t.end.file != self.block_at.file
            || t.end.position.saturating_sub(self.block_at.position) >= BLOCK_OF_LOG
        {
            self.window.begin_block();
            self.block_at = t.end.clone();
        }
        let is_far = self.ends.back().is_none_or(|(_, last)| {
            last.file != t.end.file || t.end.position.saturating_sub(last.position) >= ACKNOWLEDGE_STEP
        });
        if is_far && self.prepared.is_empty() {
            self.ends.push_back((t.gtid, t.end));
        }
    }

    fn acknowledge(&mut self, done: &GtidSet, to: &watch::Sender<SourcePosition>) {
        let mut reached = None;
        while self.ends.front().is_some_and(|(gtid, _)| done.contains(gtid)) {
            reached = self.ends.pop_front().map(|(_, end)| end);
        }
        if let Some(end) = reached {
            to.send_replace(end);
        }
    }
}
