//! A transaction of the stream, held against what is copied: what of it is applied, what its chunks bring, and behind
//! which chunks it has to stand.
//!
//! Owned by the planner, so that a chunk's place is a place in the stream and nothing happens in between.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use binlog::row::{NO_FOREIGN_KEY_CHECKS, RawRow, RowChange, RowsEvent, STATEMENT_END, TableMap};
use binlog::{Event, EventError, EventKind, Gtid, GtidSet};
use tokio::sync::{mpsc, watch};
use wire::Connection;

use super::chunks::{Open, Told};
use super::in_flight::InFlight;
use super::indexes::Waiting;
use super::load::Load;
use super::order::SortKey;
use super::passed::PassedOver;
use super::ranges::{ChunkId, Part, Ranges};
use super::table::SourceTable;
use super::touched::Left;
use crate::Error;
use crate::names::Name;
use crate::progress::Progress;

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
    pub(super) fn name_there(&self) -> Name {
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

/// See the [module](self).
pub(crate) struct Weaver {
    pub(super) tables: Vec<Copied>,
    by_name: HashMap<Name, usize>,
    pub(super) gone: Vec<Name>,
    is_reopened: bool,
    /// What of the source's log the stream has passed.
    pub(super) passed: GtidSet,
    /// What of that no read has found executed at the source yet: its rows may not be seen there.
    pub(super) unsure: GtidSet,
    pub(super) chunks: HashMap<ChunkId, Open>,
    pub(super) next: ChunkId,
    pub(super) told: mpsc::Receiver<Told>,
    pub(super) in_flight: InFlight,
    pub(super) indexes: Waiting,
    pub(super) load: Load,
    pub(super) progress: Progress,
    /// Told when every table is copied; keys in doubt are settled then.
    pub(super) complete: Option<watch::Sender<bool>>,
    pub(super) over: bool,
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
