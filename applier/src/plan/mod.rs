//! From the stream's transactions to what the target is to do: groups, DDL, drops to be noted.
//!
//! Commits at once when nothing waits, and grows with the backlog: while the target is busy with one group, the
//! next one gathers what arrives.
//!
//! **Promise 4** (no echo) and **promise 7** (a dropped transaction still moves the low-water mark): what is
//! left out rides with the next group; when none comes, it is written down after ten seconds or 64 MiB, but
//! only if something in it carried rows. A transaction that holds nothing but a checkpoint row never causes a
//! write, so idle regions fall silent.

mod copying;
mod fit;
mod flight;
mod passed;
mod statements;
mod work;

use std::collections::VecDeque;
use std::sync::Arc;

use binlog::row::TableMap;
use binlog::stamp::{self, CHECKPOINT_TABLE, Stamp, TRACE_TABLE};
use binlog::{Event, EventKind, Gtid, GtidSet};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::catalog::Catalog;
use crate::conflict::seen::{Follower, Seen};
use crate::conflict::shared::SharedWindow;
use crate::copy::Weaver;
use crate::count::{self, RowCounter};
use crate::group::{Group, Member};
use crate::life::gate::Gate;
use crate::mark::Mark;
use crate::meta::MARK_TABLE;
use crate::origin::{OriginError, Origins};
use crate::position::SourcePosition;
use crate::progress::Progress;
use crate::rows::Rows;
use crate::transaction::{Body, Item, Transaction};

use fit::Fitted;
use flight::Flight;
use passed::Passed;
pub(crate) use statements::xa_end;
pub(crate) use work::{DdlWork, Delivery, Rules, Work};

/// Decides about each transaction, in order.
pub(crate) struct Planner {
    rules: Rules,
    origins: Origins,
    catalog: Catalog,
    counter: RowCounter,
    /// The source's hybrid clock, and what its region has seen.
    follower: Follower,
    /// What the source's region had applied of the others when it last applied rows.
    saw: Arc<Seen>,
    progress: Progress,
    group: Group,
    passed: Passed,
    /// XA transactions that are prepared and not yet committed, in the stream's order.
    prepared: Vec<Prepared>,
    flight: Flight,
    ready: VecDeque<Work>,
    ddl_done: Option<oneshot::Receiver<()>>,
    /// Behind that the round begins anew: this table, which was being copied, is gone or has another name.
    anew_behind_ddl: Option<String>,
    /// The initial copy, while there is one.
    copy: Option<Weaver>,
    /// How the stream's row events are laid out.
    format: Option<Event>,
    /// How far the stream is with what was planned.
    last_mark: Mark,
    /// The time zone that a transaction told last: what one that tells none was most likely written under.
    zone: Option<Arc<str>>,
}

/// The first half of an XA transaction.
#[derive(Debug)]
struct Prepared {
    xid: String,
    gtid: Gtid,
    begin: SourcePosition,
    zone: Option<String>,
    rows: Rows,
}

impl Planner {
    pub(crate) fn new(
        rules: Rules,
        origins: Origins,
        follower: Follower,
        catalog: Catalog,
        copy: Option<Weaver>,
        last_mark: Mark,
        progress: Progress,
    ) -> Self {
        Self {
            rules,
            origins,
            saw: follower.seen.clone(),
            follower,
            catalog,
            counter: RowCounter::default(),
            progress,
            group: Group::default(),
            passed: Passed::default(),
            prepared: Vec::new(),
            flight: Flight::new(None),
            ready: VecDeque::new(),
            ddl_done: None,
            anew_behind_ddl: None,
            copy,
            format: None,
            last_mark,
            zone: None,
        }
    }

    /// Brings rows in flight behind the statements of the target that this window knows.
    pub(crate) fn behind_ddl(mut self, window: Option<SharedWindow>) -> Self {
        self.flight = Flight::new(window);
        self
    }

    /// Runs until the stream's end is closed (`Ok`) or a transaction can't be planned; hands over what was planned
    /// before. A closed gate lets nothing through: what is planned waits behind it, and is dropped at the end. Branches
    /// in order: hear those who copy; take what has arrived while there is room; hand over when the target is free; write
    /// down drops when due.
    pub(crate) async fn run(
        mut self,
        mut from: mpsc::Receiver<Delivery>,
        to: mpsc::Sender<Work>,
        gate: Gate,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        loop {
            let has_work = !self.ready.is_empty() || !self.group.is_empty();
            let has_room = self.ready.is_empty() && self.group.has_room(&self.rules.limits);
            let persist_at = self.passed.due().filter(|_| !has_work);
            tokio::select! {
                biased;
                told = copying::listen(&mut self.copy) => {
                    self.take_told(told);
                    if let Err(error) = self.place_chunks().await {
                        self.hand_over_all(&to, &gate).await;
                        return Err(error);
                    }
                }
                delivery = from.recv(), if has_room => match delivery {
                    Some((item, budget)) => if let Err(error) = self.take(item, budget).await {
                        self.hand_over_all(&to, &gate).await;
                        return Err(error);
                    },
                    None => {
                        self.hand_over_all(&to, &gate).await;
                        return Ok(());
                    }
                },
                permit = reserve(&gate, &stop, &to), if has_work => {
                    let Some(permit) = permit else { return Ok(()) };
                    if let Some(work) = self.next_work() {
                        permit.send(work);
                    }
                    self.after_ddl().await?;
                }
                () = sleep_until(persist_at), if persist_at.is_some() => {
                    let passed = std::mem::take(&mut self.passed);
                    let (covers, mark, notes) = (passed.covers, passed.mark, Vec::new());
                    self.ready.push_back(Work::Persist { covers, mark, notes });
                }
            }
        }
    }

    fn next_work(&mut self) -> Option<Work> {
        self.ready
            .pop_front()
            .or_else(|| (!self.group.is_empty()).then(|| Work::Group(std::mem::take(&mut self.group))))
    }

    /// At the end, good or bad: what was planned is still done, so that a link stops at the transaction that
    /// stops it and not somewhere before.
    async fn hand_over_all(&mut self, to: &mpsc::Sender<Work>, gate: &Gate) {
        if !gate.is_open() {
            return;
        }
        while let Some(work) = self.next_work() {
            if to.send(work).await.is_err() {
                // The target's side has ended; it tells why.
                return;
            }
        }
    }

    /// Nothing behind a DDL is planned before it is committed: definitions change.
    async fn after_ddl(&mut self) -> Result<(), Error> {
        if !self.ready.is_empty() {
            return Ok(());
        }
        let Some(done) = self.ddl_done.take() else { return Ok(()) };
        let is_done = done.await.is_ok();
        self.catalog.forget();
        match self.anew_behind_ddl.take() {
            Some(table) if is_done => Err(Error::SourceMoved { table }),
            _ if is_done => self.place_chunks().await,
            // The target's side has ended; it tells why.
            _ => Ok(()),
        }
    }

    fn close_group(&mut self) {
        if !self.group.is_empty() {
            self.ready.push_back(Work::Group(std::mem::take(&mut self.group)));
        }
    }

    async fn take(&mut self, item: Item, budget: Option<OwnedSemaphorePermit>) -> Result<(), Error> {
        match item {
            Item::Format(format) => {
                self.close_group();
                let format = format.normalised();
                self.format = Some(format.clone());
                self.ready.push_back(Work::Format(format));
                self.place_chunks().await
            }
            Item::Transaction(transaction) => {
                let gtid = transaction.gtid.clone();
                self.take_transaction(*transaction, budget).await?;
                self.passed_by(&gtid);
                self.place_chunks().await
            }
        }
    }

    async fn take_transaction(
        &mut self,
        t: Transaction,
        budget: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Error> {
        self.progress.received(&t.gtid, t.committed_at);
        let origin = self.origin_of(&t)?;
        if origin == self.rules.to {
            self.progress.dropped_echo();
            if matches!(t.body, Body::Statement(_) | Body::CreateSelect { .. }) {
                // What the target altered comes back here: behind it rows have the new definition.
                self.catalog.forget();
                self.follower.ran(&origin, &t.gtid);
            }
            self.pass(&t);
            return Ok(());
        }
        if origin != self.rules.from {
            // In a mesh each region's own link brings its transactions.
            self.progress.filtered();
            self.pass(&t);
            return Ok(());
        }
        match &t.body {
            Body::Rows(rows) => {
                let rows = self.keep(&t.gtid, rows)?;
                self.take_rows(t, rows, budget).await
            }
            Body::Prepared { xid, rows } => {
                // What of them is in step is told by the GTID of their end: until then nobody has seen them.
                let rows = rows.clone();
                // Its GTID stays out of the applied set until XA COMMIT: a restart is sent it again.
                let (xid, gtid, begin) = (xid.clone(), t.gtid.clone(), t.begin.clone());
                self.prepared.push(Prepared { xid, gtid, begin, zone: t.zone.clone(), rows });
                self.progress.prepared(&t.gtid);
                Ok(())
            }
            Body::Statement(event) => {
                let event = event.clone();
                self.take_statement(t, &event, budget).await
            }
            Body::CreateSelect { create, rows } => {
                let (create, rows) = (create.clone(), rows.clone());
                if self.rules.ddl {
                    self.take_ddl(t, create, &rows).await
                } else {
                    self.take_rows_of_created(t, &create, &rows, budget).await
                }
            }
            Body::Incident => Err(Error::NotApplicable {
                gtid: t.gtid.to_string(),
                what: "the source reports an incident: it made changes that it could not log".into(),
                remedy: "compare the regions with twinlog verify, repair what differs, then twinlog link skip --gtid"
                    .into(),
            }),
        }
    }

    fn keep(&self, gtid: &Gtid, rows: &Rows) -> Result<Rows, Error> {
        let malformed = |source| Error::Event { gtid: gtid.to_string(), source };
        let filter = self.rules.filter.at(gtid);
        rows.rewrite(|events| filter.apply(events).map_err(malformed))
    }

    async fn take_rows(
        &mut self,
        t: Transaction,
        rows: Rows,
        budget: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Error> {
        if rows.is_empty() {
            self.progress.filtered();
            self.pass(&t);
            return Ok(());
        }
        let (rows, Fitted { tables, behind, altered }) = self.fit(&t.gtid, rows).await?;
        if rows.is_empty() {
            // Its chunks bring it, or the target has emptied its tables since.
            self.pass(&t);
            return Ok(());
        }
        let covers = self.covers(&t);
        let mark = self.reached(&t);
        let (seen, time) = (self.follower.seen.clone(), self.follower.clock.time());
        let mut changed = count::Rows::default();
        for batch in rows.batches() {
            let counted = self.counter.count(&batch?, &mut changed);
            counted.map_err(|source| Error::Event { gtid: t.gtid.to_string(), source })?;
        }
        let zone = self.zone_of(&t, &tables);
        let Transaction { gtid, committed_at, order, .. } = t;
        let (events, spilled) = match rows {
            Rows::Memory(events) => (events, None),
            Rows::File(spilled) => (Vec::new(), Some(spilled)),
        };
        let is_large = spilled.is_some();
        // A large one is a group of its own: it is read batch by batch.
        if is_large || !self.group.suits(zone.as_ref()) {
            self.close_group();
        }
        self.group.push(Member {
            gtid,
            events,
            spilled,
            tables,
            altered,
            covers,
            mark,
            seen,
            saw: self.saw.clone(),
            time,
            committed_at,
            order,
            rows: changed,
            behind,
            zone,
            _budget: budget,
        });
        if is_large {
            self.close_group();
        }
        Ok(())
    }

    /// The GTIDs that are done with this transaction: its own, and those passed over before it.
    fn covers(&mut self, t: &Transaction) -> GtidSet {
        let mut covers = std::mem::take(&mut self.passed).covers;
        covers.insert(&t.gtid);
        covers
    }

    /// How far the source's files are done with when this transaction is: never beyond the oldest prepared
    /// one, or what is acknowledged could be purged and a restart would not be sent its rows again.
    fn reached(&mut self, t: &Transaction) -> Mark {
        let end = self.prepared.first().map_or(&t.end, |oldest| &oldest.begin).clone();
        let mark = Mark { end, seen: self.follower.seen.clone(), clock: self.follower.clock.time() };
        self.last_mark = mark.clone();
        mark
    }

    fn pass(&mut self, t: &Transaction) {
        self.passed.covers.insert(&t.gtid);
        self.passed.mark = self.reached(t);
        self.passed.bytes += t.bytes;
        let awaited = self.is_mark(t);
        self.passed.awaited |= awaited;
        if awaited || self.carries_more_than_meta(t) {
            self.passed.rows_since.get_or_insert_with(Instant::now);
        }
        self.progress.passed(&t.gtid);
    }

    /// Did it bring rows, or decide about some that it left as they were?
    fn carries_rows(&self, t: &Transaction) -> bool {
        let traced = (self.rules.meta_schema.as_str(), TRACE_TABLE);
        let is_traced = |e: &Event| {
            e.kind() == EventKind::TableMap && TableMap::names_of(e).is_ok_and(|name| name == traced)
        };
        self.carries_more_than_meta(t)
            || matches!(&t.body, Body::Rows(rows) if rows.head().iter().any(is_traced))
    }

    fn carries_more_than_meta(&self, t: &Transaction) -> bool {
        let is_foreign = |e: &Event| {
            e.kind() == EventKind::TableMap
                && TableMap::names_of(e).is_ok_and(|(database, _)| database != self.rules.meta_schema)
        };
        match &t.body {
            Body::Rows(Rows::File(_)) => true,
            Body::Rows(rows) | Body::Prepared { rows, .. } => rows.head().iter().any(is_foreign),
            Body::Statement(_) | Body::CreateSelect { .. } | Body::Incident => true,
        }
    }

    /// Does it write the table of marks? One who compares the regions writes there, and waits for the checkpoint.
    fn is_mark(&self, t: &Transaction) -> bool {
        let is_mark = |e: &Event| {
            e.kind() == EventKind::TableMap
                && TableMap::names_of(e)
                    .is_ok_and(|name| name == (self.rules.meta_schema.as_str(), MARK_TABLE))
        };
        // A mark is a transaction of its own, so that a large one is not searched.
        matches!(&t.body, Body::Rows(rows) if rows.head().first().is_some_and(is_mark))
    }

    fn origin_of(&mut self, t: &Transaction) -> Result<String, Error> {
        let stamps = match &t.body {
            Body::Rows(rows) | Body::Prepared { rows, .. } => stamps(rows.head(), &self.rules.meta_schema)
                .map_err(|source| Error::Event { gtid: t.gtid.to_string(), source })?,
            Body::Statement(_) | Body::CreateSelect { .. } | Body::Incident => Vec::new(),
        };
        let uuid = t.gtid.uuid();
        let origin = self.origins.tell(&self.rules.owners, uuid, &stamps).map_err(|error| match error {
            OriginError::Unowned => Error::UnknownOrigin { gtid: t.gtid.clone(), uuid },
            OriginError::Stamp(what) => Error::BadStamp { gtid: t.gtid.clone(), what },
        })?;
        let ours = self.origins.ours(stamps);
        let is_own = ours.is_empty() && origin == self.rules.from;
        let taken = self.follower.take(&ours, is_own, t.committed_at);
        taken.map_err(|what| Error::BadStamp { gtid: t.gtid.clone(), what })?;
        if !ours.is_empty() && origin != self.rules.to && self.carries_rows(t) {
            self.saw = self.follower.seen.clone();
        }
        Ok(origin)
    }
}

/// A place at the target's side, once the gate is open; `None` when there is nothing more to hand over.
async fn reserve<'a>(
    gate: &Gate,
    stop: &CancellationToken,
    to: &'a mpsc::Sender<Work>,
) -> Option<mpsc::Permit<'a, Work>> {
    if !gate.pass(stop).await {
        return None;
    }
    to.reserve().await.ok()
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

/// The checkpoint rows that a transaction begins with.
pub(crate) fn stamps(events: &[Event], meta_schema: &str) -> Result<Vec<Stamp>, binlog::EventError> {
    let Some(first) = events.first() else { return Ok(Vec::new()) };
    if first.kind() != EventKind::TableMap || TableMap::names_of(first)? != (meta_schema, CHECKPOINT_TABLE) {
        return Ok(Vec::new());
    }
    let map = TableMap::parse(first)?;
    let rows =
        events[1..].iter().take_while(|e| e.kind().is_rows() && TableMap::id_of(e) == Some(map.table_id));
    let mut stamps = Vec::new();
    for event in rows {
        stamps.extend(stamp::read(event, &map)?);
    }
    Ok(stamps)
}
