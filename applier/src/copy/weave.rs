//! A transaction of the stream, held against what is copied: what of it is applied, what its chunks bring, and behind
//! which chunks it has to stand.
//!
//! Owned by the planner, so that a chunk's place is a place in the stream and nothing happens in between.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use binlog::row::{NO_FOREIGN_KEY_CHECKS, RawRow, RowChange, RowsEvent, STATEMENT_END, TableMap};
use binlog::{Event, EventError, EventKind, Gtid, GtidSet};
use tokio::sync::{mpsc, oneshot, watch};
use wire::Connection;

use super::in_flight::InFlight;
use super::indexes::Waiting;
use super::load::Load;
use super::order::SortKey;
use super::passed::PassedOver;
use super::ranges::{ChunkId, Part, Ranges};
use super::run::Answer;
use super::table::SourceTable;
use super::touched::{Left, Touched};
use crate::Error;
use crate::conflict::seen::Seen;
use crate::names::Name;
use crate::progress::Progress;

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

/// A table map of a transaction, and how its rows are flagged; with its table, where that is not copied yet.
type Mapped<'a> = (&'a Event, u16, Option<(usize, TableMap)>);

/// What of a transaction is applied.
#[derive(Debug, Default)]
pub(crate) struct Woven {
    pub(crate) events: Vec<Event>,
    /// Chunks that must be committed before.
    pub(crate) behind: Vec<ChunkId>,
}

/// A table that is copied.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) source: Arc<SourceTable>,
    pub(crate) ranges: Ranges,
    pub(crate) done: bool,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Keys whose changes were passed over before their chunk came, where the target may hold rows of them.
    pub(crate) passed_over: PassedOver,
}

impl Copied {
    /// Its name in the target.
    fn name_there(&self) -> Name {
        (self.source.map.database.clone(), self.source.map.table.clone())
    }
}

/// All that is copied.
pub(crate) struct Copies {
    pub(crate) tables: Vec<Copied>,
    /// Tables whose copy has begun and that the source has no more, by their names in the target: a statement that drops
    /// or renames them is still to come.
    pub(crate) gone: Vec<Name>,
    /// Tables beside these are complete: their foreign keys hold.
    pub(crate) is_reopened: bool,
    /// Indexes that wait for rows.
    pub(crate) indexes: Waiting,
}

#[derive(Debug)]
struct Open {
    table: usize,
    touched: Touched,
    /// The mark behind which it stands, once it is read.
    read: Option<(GtidSet, oneshot::Sender<Answer>)>,
}

/// See the [module](self).
pub(crate) struct Weaver {
    pub(super) tables: Vec<Copied>,
    by_name: HashMap<Name, usize>,
    pub(super) gone: Vec<Name>,
    is_reopened: bool,
    /// What of the source's log the stream has passed.
    passed: GtidSet,
    /// What of that no read has found executed at the source yet: its rows may not be seen there.
    unsure: GtidSet,
    chunks: HashMap<ChunkId, Open>,
    next: ChunkId,
    told: mpsc::Receiver<Told>,
    in_flight: InFlight,
    indexes: Waiting,
    pub(super) load: Load,
    progress: Progress,
    /// Told when every table is copied; keys in doubt are settled then.
    complete: Option<watch::Sender<bool>>,
    over: bool,
}

impl Weaver {
    pub(crate) fn new(
        copies: Copies,
        passed: GtidSet,
        told: mpsc::Receiver<Told>,
        load: Load,
        progress: Progress,
        complete: Option<watch::Sender<bool>>,
    ) -> Self {
        let Copies { tables, gone, is_reopened, indexes } = copies;
        let by_name: HashMap<Name, usize> =
            tables.iter().enumerate().map(|(i, copied)| (copied.name_there(), i)).collect();
        let in_flight = InFlight::new(by_name.keys().cloned().collect());
        let weaver = Self {
            tables,
            by_name,
            gone,
            is_reopened,
            unsure: passed.clone(),
            passed,
            chunks: HashMap::new(),
            next: 1,
            told,
            in_flight,
            indexes,
            load,
            progress,
            complete,
            over: false,
        };
        for copied in weaver.tables.iter().filter(|copied| copied.done) {
            weaver.indexes.copied(&copied.name_there());
        }
        if let Some(complete) = weaver.complete.as_ref().filter(|_| weaver.is_complete()) {
            complete.send_replace(true);
        }
        weaver
    }

    /// Is every table copied, with its indexes? Says so where one can't be, and what that waits for.
    fn is_complete(&self) -> bool {
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

    /// Holds a transaction's rows against what is copied. `session` weighs texts.
    ///
    /// Foreign keys of what is copied are not looked at meanwhile: a row's parent may come with a later chunk. The source
    /// has looked at them, and what they cascade to is in its log.
    pub(crate) async fn weave(
        &mut self,
        gtid: &Gtid,
        events: &[Event],
        session: &mut Connection,
    ) -> Result<Woven, Error> {
        let malformed = |source| Error::Event { gtid: gtid.to_string(), source };
        let mut woven = Woven::default();
        let mut behind = BTreeSet::new();
        let mut maps: HashMap<u64, Mapped<'_>> = HashMap::new();
        for event in events {
            let id = TableMap::id_of(event).unwrap_or(u64::MAX);
            if event.kind() == EventKind::TableMap {
                let (database, table) = TableMap::names_of(event).map_err(malformed)?;
                let name = (database.to_owned(), table.to_owned());
                maps.remove(&id);
                if self.gone.contains(&name) {
                    continue;
                }
                let index = self.by_name.get(&name).copied();
                let copied =
                    match index.filter(|i| !self.tables[*i].done || self.tables[*i].ranges.has_keys()) {
                        Some(index) => Some((index, TableMap::parse(event).map_err(malformed)?)),
                        None => None,
                    };
                let is_complete = self.is_reopened && index.is_none();
                let flags = if is_complete { STATEMENT_END } else { STATEMENT_END | NO_FOREIGN_KEY_CHECKS };
                maps.insert(id, (event, flags, copied));
                continue;
            }
            let Some((map_event, flags, copied)) = maps.get(&id) else { continue };
            let flagged = |event: &Event| RowsEvent::with_flags(event, *flags);
            let Some((table, map)) = copied else {
                woven.events.extend([(*map_event).clone(), flagged(event)]);
                continue;
            };
            let rows = RowsEvent::parse(event, map).map_err(malformed)?;
            let changes: Vec<RowChange<'_>> = rows.changes().collect::<Result<_, _>>().map_err(malformed)?;
            let keys = self.keys(*table, map, &changes, session).await?;
            if self.complete.is_some() {
                self.note_passed(*table, &keys);
            }
            let mut fates = Vec::with_capacity(changes.len());
            for (i, pair) in keys.iter().enumerate() {
                let fate = self.fate(*table, pair, &mut behind);
                fates.push((i, fate));
            }
            if fates
                .iter()
                .all(|(_, fate)| matches!(fate, [Half::Applied, _] | [_, Half::Applied]) && !is_torn(fate))
            {
                woven.events.extend([(*map_event).clone(), flagged(event)]);
                continue;
            }
            for ((i, fate), one) in fates.into_iter().zip(rows.split().map_err(malformed)?) {
                for kept in self.one_row(gtid, fate, &keys[i], &one, map_event, map).map_err(malformed)? {
                    woven.events.extend([(*map_event).clone(), flagged(&kept)]);
                }
            }
        }
        woven.behind = behind.into_iter().collect();
        Ok(woven)
    }

    /// The keys of changes before and after, weighed.
    async fn keys(
        &self,
        table: usize,
        map: &TableMap,
        changes: &[RowChange<'_>],
        session: &mut Connection,
    ) -> Result<Vec<[Option<SortKey>; 2]>, Error> {
        let Some(shape) = self.tables[table].ranges.shape() else {
            // Rows that nothing names belong to the whole.
            let whole = |image: bool| image.then(SortKey::new);
            return Ok(changes
                .iter()
                .map(|c| [whole(c.before.is_some()), whole(c.after.is_some())])
                .collect());
        };
        let lacking = || Error::Copy {
            table: self.tables[table].source.name(),
            what: "a change at the source does not tell its key".into(),
            remedy: "SET GLOBAL binlog_row_image = FULL at the source".into(),
        };
        let places =
            shape.places_in(map, &self.tables[table].source.map.columns).ok_or_else(|| Error::Copy {
                table: self.tables[table].source.name(),
                what: "a row of the stream does not have the columns of its key".into(),
                remedy: "was the key altered while the table was copied? Begin anew with twinlog link reset"
                    .into(),
            })?;
        let mut keys = Vec::with_capacity(changes.len());
        let mut flat = Vec::new();
        for change in changes {
            let mut at = [None, None];
            for (at, image) in at.iter_mut().zip([&change.before, &change.after]) {
                let Some(image) = image else { continue };
                *at = Some(flat.len());
                flat.push(shape.of_places(image, &places).ok_or_else(lacking)?);
            }
            keys.push(at);
        }
        if shape.has_texts() {
            shape.weigh(session, &mut flat).await?;
        }
        Ok(keys.into_iter().map(|pair| pair.map(|at| at.map(|i| flat[i].clone()))).collect())
    }

    /// Keys whose changes are passed over: rows of them may stand in the target.
    fn note_passed(&mut self, table: usize, keys: &[[Option<SortKey>; 2]]) {
        let copied = &mut self.tables[table];
        for key in keys.iter().flatten().flatten() {
            if matches!(copied.ranges.part_of(Some(key)), Part::NotYet | Part::Reading(_)) {
                copied.passed_over.insert(key.clone());
            }
        }
    }

    /// What becomes of a change before and after: by where its keys belong.
    fn fate(&self, table: usize, keys: &[Option<SortKey>; 2], behind: &mut BTreeSet<ChunkId>) -> [Half; 2] {
        let ranges = &self.tables[table].ranges;
        [&keys[0], &keys[1]].map(|key| {
            let Some(key) = key else { return Half::None };
            match ranges.part_of(Some(key)) {
                Part::NotYet => Half::Passed,
                Part::Reading(id) => Half::Noted(id),
                Part::Placed(id) => {
                    behind.insert(id);
                    Half::Applied
                }
                Part::Done => Half::Applied,
            }
        })
    }

    /// The events by which one row's change is applied, as far as it is; the rest is noted or passed over.
    fn one_row(
        &mut self,
        gtid: &Gtid,
        fate: [Half; 2],
        keys: &[Option<SortKey>; 2],
        one: &Event,
        map_event: &Event,
        map: &TableMap,
    ) -> Result<Vec<Event>, EventError> {
        let mut note = |id: ChunkId, key: &Option<SortKey>, left: Left| {
            if let (Some(open), Some(key)) = (self.chunks.get_mut(&id), key) {
                open.touched.note(key.clone(), gtid.clone(), left);
            }
        };
        let [before, after] = fate;
        if let Half::Noted(id) = before
            && (keys[0] != keys[1] || after == Half::None)
        {
            note(id, &keys[0], Left::Absent);
        }
        if let Half::Noted(id) = after {
            note(id, &keys[1], Left::after(one, map_event, map)?);
        }
        let is_live = |half: Half| half == Half::Applied;
        Ok(match (before, after) {
            (Half::None, half) | (half, Half::None) => {
                if is_live(half) {
                    vec![one.clone()]
                } else {
                    Vec::new()
                }
            }
            (before, after) if is_live(before) && is_live(after) => vec![one.clone()],
            (before, after) => {
                let raw = RawRow::of(one, map, &[])?;
                match (is_live(before), is_live(after), &raw.before, &raw.after) {
                    (true, _, Some(old), _) => vec![raw.delete(one, map, old)],
                    (_, true, _, Some(new)) => vec![raw.insert(one, map, new)],
                    // Told by what changed inside a JSON document: the row before is put there first.
                    (_, true, Some(old), None) => vec![raw.insert(one, map, old), one.clone()],
                    _ => Vec::new(),
                }
            }
        })
    }
}

/// What becomes of one side of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    /// There is none.
    None,
    Applied,
    /// Its chunk brings it, read later.
    Passed,
    /// Its chunk is being read.
    Noted(ChunkId),
}

/// Is a row moved between what is copied and what is not?
fn is_torn(fate: &[Half; 2]) -> bool {
    let [before, after] = fate;
    *before != Half::None && *after != Half::None && (*before == Half::Applied) != (*after == Half::Applied)
}
