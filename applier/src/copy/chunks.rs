//! The chunks of a copy, as those who copy tell of them: registered, read, given their places, written; and when all is
//! copied.

use std::collections::HashSet;
use std::sync::Arc;

use binlog::{Gtid, GtidSet};
use tokio::sync::oneshot;

use super::in_flight::InFlight;
use super::order::SortKey;
use super::passed::PassedOver;
use super::ranges::{ChunkId, Part};
use super::run::Answer;
use super::table::SourceTable;
use super::touched::Touched;
use super::weave::{Copied, Weaver};
use crate::Error;
use crate::conflict::seen::Seen;
use crate::names::Name;

/// What those who copy tell.
#[derive(Debug)]
pub(crate) enum Told {
    /// This range is about to be read: from now on what the stream says of it is noted.
    Register {
        table: usize,
        after: Option<SortKey>,
        upto: Option<SortKey>,
        reply: oneshot::Sender<Registered>,
    },
    /// These keys are about to be read once more.
    RegisterKeys { table: usize, keys: Vec<SortKey>, reply: oneshot::Sender<Registered> },
    /// It is read: all of `before` and nothing beyond `high` is in it.
    Read { id: ChunkId, before: GtidSet, high: GtidSet, reply: oneshot::Sender<Answer> },
    /// It is committed in the target.
    Written { id: ChunkId, rows: u64, bytes: u64 },
    /// The indexes of this table of the target are made.
    Indexed { table: Name },
    /// These statements note how far the copy is.
    Note { notes: Vec<String> },
    /// No key is in doubt any more; these statements note it.
    Settled { notes: Vec<String> },
}

/// A chunk is registered.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) id: ChunkId,
    /// What the source's region has seen of the others by now.
    pub(crate) seen: Arc<Seen>,
    /// What the stream has passed, and a read at the source might not see yet: a log is sent before its commits are done.
    pub(crate) passed: GtidSet,
}

/// A chunk that has its place here.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) table: Arc<SourceTable>,
    pub(crate) touched: Touched,
    /// Keys of the chunk whose changes were passed over.
    pub(crate) passed_over: PassedOver,
    pub(crate) reply: oneshot::Sender<Answer>,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) table: usize,
    pub(super) touched: Touched,
    /// The mark behind which it stands, once it is read.
    pub(super) read: Option<(GtidSet, oneshot::Sender<Answer>)>,
}

impl Weaver {
    /// Is every table copied, with its indexes? Says so where one can't be, and what that waits for.
    pub(super) fn is_complete(&self) -> bool {
        let all_done = self.tables.iter().all(|copied| copied.done);
        if let Some((database, table)) = self.gone.first().filter(|_| all_done) {
            self.progress.waits_for(Some(format!(
                "{database}.{table} is not copied to its end, and the source has it no more: waiting for the statement \
                 that dropped or renamed it; where that was skipped, leave the table out of [sync] tables"
            )));
        }
        all_done && self.gone.is_empty() && self.indexes.is_empty()
    }

    pub(crate) fn in_flight(&self) -> InFlight {
        self.in_flight.clone()
    }

    /// What is told next. Cancellation safe.
    pub(crate) async fn listen(&mut self) -> Told {
        tokio::select! {
            table = self.indexes.next_made() => Told::Indexed { table },
            // When those who copy have ended, indexes may still be made.
            Some(told) = self.told.recv() => told,
        }
    }

    /// Takes what was told; gives statements that note the progress, if there is something to note.
    pub(crate) fn take(&mut self, told: Told, seen: &Arc<Seen>) -> Vec<String> {
        match told {
            Told::Register { table, after, upto, reply } => {
                let id = self.open(table);
                self.tables[table].ranges.add(after, upto, Part::Reading(id));
                // Who asked has ended otherwise; it tells why.
                _ = reply.send(self.registered(id, seen));
                Vec::new()
            }
            Told::RegisterKeys { table, keys, reply } => {
                let id = self.open(table);
                self.tables[table].ranges.add_keys(&keys, Part::Reading(id));
                _ = reply.send(self.registered(id, seen));
                Vec::new()
            }
            Told::Note { notes } => notes,
            Told::Settled { notes } => {
                self.over = true;
                self.in_flight.end();
                notes
            }
            Told::Read { id, before, high, reply } => {
                self.unsure.subtract(&before);
                if let Some(open) = self.chunks.get_mut(&id) {
                    open.touched.forget_seen(&before);
                    open.read = Some((high, reply));
                }
                Vec::new()
            }
            Told::Written { id, rows, bytes } => self.written(id, rows, bytes),
            Told::Indexed { table } => {
                self.indexes.made(&table);
                self.completed()
            }
        }
    }

    fn registered(&self, id: ChunkId, seen: &Arc<Seen>) -> Registered {
        Registered { id, seen: seen.clone(), passed: self.unsure.clone() }
    }

    fn open(&mut self, table: usize) -> ChunkId {
        let id = self.next;
        self.next += 1;
        self.chunks.insert(id, Open { table, touched: Touched::default(), read: None });
        id
    }

    fn written(&mut self, id: ChunkId, rows: u64, bytes: u64) -> Vec<String> {
        let of_chunk = |copied: &&mut Copied| copied.ranges.has(id);
        let Some(copied) = self.tables.iter_mut().find(of_chunk) else { return Vec::new() };
        copied.ranges.move_on(id, Part::Done);
        if copied.done {
            // Keys that were settled.
            return Vec::new();
        }
        copied.rows += rows;
        copied.bytes += bytes;
        copied.done = copied.ranges.is_complete();
        self.progress.copied(copied.source.index, rows, bytes, copied.done);
        if !copied.done {
            return Vec::new();
        }
        tracing::info!(table = copied.source.name(), rows = copied.rows, "table copied");
        let mut notes: Vec<String> = self.load.end_table(&copied.source, copied.rows, copied.bytes).into();
        let table = copied.name_there();
        self.indexes.copied(&table);
        notes.extend(self.completed());
        notes
    }

    /// Looks whether all is copied now; what notes it, if the copy ends with it.
    fn completed(&mut self) -> Vec<String> {
        if self.over || !self.is_complete() {
            return Vec::new();
        }
        if let Some(complete) = &self.complete {
            complete.send_replace(true);
            return Vec::new();
        }
        self.over = true;
        self.in_flight.end();
        self.load.end().into()
    }

    /// Makes indexes that wait and that a statement with these names may be about.
    pub(crate) async fn make_indexes_of(&self, names: &HashSet<String>) -> Result<(), Error> {
        self.indexes.make_of(names, &self.progress).await
    }

    /// Is everything copied, and nothing in doubt?
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// The stream has passed this transaction.
    pub(crate) fn pass(&mut self, gtid: &Gtid) {
        self.passed.insert(gtid);
        self.unsure.insert(gtid);
    }

    /// Chunks whose place is here. A table without a key whose rows were touched has none yet: it is read again.
    pub(crate) fn ready(&mut self) -> Vec<Ready> {
        let passed = &self.passed;
        let is_ready = |open: &Open| open.read.as_ref().is_some_and(|(high, _)| passed.contains_all(high));
        let mut ids: Vec<ChunkId> =
            self.chunks.iter().filter(|(_, open)| is_ready(open)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        let mut ready = Vec::new();
        for id in ids {
            let Some(open) = self.chunks.get_mut(&id) else { continue };
            let Some((_, reply)) = open.read.take() else { continue };
            let copied = &mut self.tables[open.table];
            if copied.ranges.shape().is_none() && !open.touched.is_empty() {
                open.touched = Touched::default();
                _ = reply.send(Answer::Again(self.unsure.clone()));
                continue;
            }
            copied.ranges.move_on(id, Part::Placed(id));
            let touched = std::mem::take(&mut open.touched);
            let is_of_chunk = |key: &SortKey| copied.ranges.part_of(Some(key)) == Part::Placed(id);
            let passed_over = copied.passed_over.take(is_of_chunk);
            ready.push(Ready { table: copied.source.clone(), touched, passed_over, reply });
            self.chunks.remove(&id);
            self.in_flight.insert(id);
        }
        ready
    }
}
