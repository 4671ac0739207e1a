//! From chunks that differ to rows that differ, with the links having passed in between.
//!
//! ```text
//! ranges ─ links pass ─▶ narrow: checksums again, in ever smaller ranges ─▶ keys of rows that differ
//!        ─▶ read ─ links pass ─▶ read ─▶ … until a row is equal, or stays as it was on both sides
//! ```
//! A row that is the same in two reads on both sides, although every link has passed what the first read saw, differs.
//! One that changes from read to read is busy; after so many rounds it is told as that, and not as a difference.

use std::collections::HashSet;

use super::column::Column;
use super::key::{Key, KeyValue, Range};
use super::passing::Passing;
use super::report::{ColumnDifference, Difference, Event, Unsettled, Watch};
use super::rows::{self, Hash, Image, Shown};
use super::scan::{boundary, digests};
use super::session::Session;
use super::table::Table;
use super::{Error, Limits};

/// A range of at most so many rows is read row by row.
const LEAF: u64 = 256;
/// A larger one is cut into so many.
const PARTS: u64 = 8;
/// Rows that are settled together.
pub(super) const BATCH: usize = 500;

/// Sessions on both sides, and the links between.
pub(super) struct Settler<'a> {
    pub(super) left: &'a mut Session,
    pub(super) right: &'a mut Session,
    pub(super) passing: &'a mut Passing,
    pub(super) limits: &'a Limits,
    pub(super) watch: &'a dyn Watch,
}

/// A row in doubt: what names it on either side, and both sides as they were last read.
struct Suspect {
    key: KeyValue,
    seen: Option<Pair>,
    /// How often it was read like that, one read after the other.
    times: u32,
    /// Every state it was seen in, on either side.
    states: (HashSet<Hash>, HashSet<Hash>),
}

impl Suspect {
    fn new(key: KeyValue) -> Self {
        Self { key, seen: None, times: 0, states: Default::default() }
    }

    /// Has one side now what the other had before? Then the change has crossed: a row that is written all the time is
    /// never the same on both sides at once, and is in step none the less.
    fn has_crossed(&self, pair: &Pair) -> bool {
        let was = |states: &HashSet<Hash>, image: &Option<Image>| {
            image.as_ref().is_some_and(|image| states.contains(&image.hash))
        };
        was(&self.states.1, &pair.0) || was(&self.states.0, &pair.1)
    }

    fn note(&mut self, pair: Pair) {
        self.states.0.extend(pair.0.as_ref().map(|image| image.hash.clone()));
        self.states.1.extend(pair.1.as_ref().map(|image| image.hash.clone()));
        self.seen = Some(pair);
    }
}

pub(super) type Pair = (Option<Image>, Option<Image>);

/// What became of rows in doubt.
#[derive(Default)]
pub(super) struct Settled {
    pub(super) differences: Vec<Difference>,
    pub(super) unsettled: Vec<Unsettled>,
}

impl Settler<'_> {
    /// Waits until the links have passed what is there now; else says which has not.
    pub(super) async fn pass(&mut self) -> Result<Option<String>, Error> {
        self.watch.see(&Event::Doing("waiting for the links to pass"));
        self.passing.pass().await
    }

    /// How many equal reads in a row make a difference. Without marks, a read may see what is not yet in
    /// `gtid_executed`; the read after it does not.
    pub(super) fn reads_needed(&self) -> u32 {
        if self.passing.is_marked() { 2 } else { 3 }
    }

    /// The keys of rows that differ now, in these ranges. Takes from the end of `ranges` and stops when there are
    /// enough for a batch, so that a table that differs in every row does not fill the memory.
    pub(super) async fn narrow(
        &mut self,
        table: &Table,
        key: &Key,
        ranges: &mut Vec<Range>,
    ) -> Result<Vec<KeyValue>, Error> {
        let mut keys = Vec::new();
        while keys.len() < BATCH {
            let Some(range) = ranges.pop() else { break };
            let chunk = Box::pin(digests((self.left, self.right), table, key, range)).await?;
            let most = chunk.left.rows.max(chunk.right.rows);
            if chunk.left == chunk.right {
                continue;
            }
            if most <= LEAF {
                keys.extend(self.differing(table, key, &chunk.range).await?);
            } else {
                let on_left = chunk.left.rows == most;
                ranges.extend(self.cut(table, key, chunk.range, on_left, most).await?);
            }
        }
        Ok(keys)
    }

    /// Cuts a range into parts of as many rows each, by the side that has more.
    async fn cut(
        &mut self,
        table: &Table,
        key: &Key,
        range: Range,
        on_left: bool,
        rows: u64,
    ) -> Result<Vec<Range>, Error> {
        let (session, side) =
            if on_left { (&mut *self.left, &table.left) } else { (&mut *self.right, &table.right) };
        let mut parts = Vec::new();
        let mut rest = range;
        for _ in 1..PARTS {
            let end = Box::pin(boundary(session, table, side, key, &rest, rows.div_ceil(PARTS))).await?;
            let Some(end) = end else { break };
            if rest.upto.as_ref() == Some(&end) {
                break;
            }
            parts.push(Range { after: rest.after.replace(end.clone()), upto: Some(end) });
        }
        parts.push(rest);
        // The first part is taken first.
        parts.reverse();
        Ok(parts)
    }

    /// The keys of a small range whose rows are not the same on both sides, as either side writes them.
    async fn differing(&mut self, table: &Table, key: &Key, range: &Range) -> Result<Vec<KeyValue>, Error> {
        let (left, right) = tokio::join!(
            Box::pin(rows::hashes(self.left, table, &table.left, key, range)),
            Box::pin(rows::hashes(self.right, table, &table.right, key, range))
        );
        let (left, right): (HashSet<_>, HashSet<_>) =
            (left?.into_iter().collect(), right?.into_iter().collect());
        let mut keys: Vec<KeyValue> = left.symmetric_difference(&right).map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    /// Reads rows again and again, the links passing in between, until each is decided or the rounds are over.
    pub(super) async fn decide(
        &mut self,
        table: &Table,
        key: &Key,
        keys: Vec<KeyValue>,
    ) -> Result<Settled, Error> {
        let mut suspects: Vec<Suspect> = keys.into_iter().map(Suspect::new).collect();
        let mut settled = Settled::default();
        let mut stuck = None;
        for round in 0..self.limits.rounds {
            if suspects.is_empty() {
                break;
            }
            if round > 0 {
                stuck = self.pass().await?;
                if stuck.is_some() {
                    break;
                }
            }
            let pairs = self.read(table, &suspects).await?;
            suspects = self.sort_out(table, key, suspects, pairs, &mut settled.differences);
        }
        let why = stuck.unwrap_or_else(|| format!("it changed in each of {} reads", self.limits.rounds));
        let unsettled = suspects.iter().map(|s| Unsettled { key: key.describe(&s.key), why: why.clone() });
        settled.unsettled = unsettled.collect();
        Ok(settled)
    }

    async fn read(&mut self, table: &Table, suspects: &[Suspect]) -> Result<Vec<Pair>, Error> {
        let keys: Vec<&KeyValue> = suspects.iter().map(|s| &s.key).collect();
        let (left, right) = tokio::join!(
            Box::pin(rows::by_keys(self.left, table, &table.left, &keys)),
            Box::pin(rows::by_keys(self.right, table, &table.right, &keys))
        );
        Ok(left?.into_iter().zip(right?).collect())
    }

    /// Equal rows go, rows seen often enough are differences, the rest stays in doubt. Two spellings of one key that
    /// its collation takes for the same are one row.
    fn sort_out(
        &self,
        table: &Table,
        key: &Key,
        suspects: Vec<Suspect>,
        pairs: Vec<Pair>,
        differences: &mut Vec<Difference>,
    ) -> Vec<Suspect> {
        let mut rest = Vec::new();
        let mut spellings = HashSet::new();
        for (mut suspect, pair) in suspects.into_iter().zip(pairs) {
            let hash = |image: &Option<Image>| image.as_ref().map(|i| i.hash.clone());
            if hash(&pair.0) == hash(&pair.1) || suspect.has_crossed(&pair) {
                continue;
            }
            let name = |image: &Option<Image>| image.as_ref().and_then(|i| i.key.clone());
            if !spellings.insert((name(&pair.0), name(&pair.1))) {
                continue;
            }
            let same = suspect
                .seen
                .as_ref()
                .is_some_and(|seen| (hash(&seen.0), hash(&seen.1)) == (hash(&pair.0), hash(&pair.1)));
            suspect.times = if same { suspect.times + 1 } else { 1 };
            if suspect.times >= self.reads_needed() {
                let regions = (self.left.region(), self.right.region());
                let difference = difference(table, Some(key), regions, &pair, (1, 1));
                self.watch.see(&Event::Differs(&difference));
                differences.push(difference);
            } else {
                suspect.note(pair);
                rest.push(suspect);
            }
        }
        rest
    }
}

/// What is told of a row that differs. `count`: how often it is there, where it is there at all.
pub(super) fn difference(
    table: &Table,
    key: Option<&Key>,
    regions: (&str, &str),
    pair: &Pair,
    count: (u64, u64),
) -> Difference {
    let (left, right) = pair;
    let columns = columns(&table.left.columns, left.as_ref(), right.as_ref());
    let generated = |name: &String| table.left.columns.iter().any(|c| c.name == *name && c.generated);
    let both = left.is_some() && right.is_some();
    let value = |image: &Option<Image>| image.as_ref().and_then(|i| i.key.clone());
    let keys = (value(left), value(right));
    let shown = keys.0.as_ref().or(keys.1.as_ref()).zip(key).map(|(value, key)| key.describe(value));
    Difference {
        table: table.name.clone(),
        left: regions.0.into(),
        right: regions.1.into(),
        key: shown.unwrap_or_default(),
        count: (if left.is_some() { count.0 } else { 0 }, if right.is_some() { count.1 } else { 0 }),
        generated_only: both && columns.iter().all(|c| generated(&c.name)),
        columns,
        keys,
        hashes: (left.as_ref().map(|i| i.hash.clone()), right.as_ref().map(|i| i.hash.clone())),
    }
}

fn columns(columns: &[Column], left: Option<&Image>, right: Option<&Image>) -> Vec<ColumnDifference> {
    let mut differing = Vec::new();
    for (i, column) in columns.iter().enumerate() {
        let cell = |image: Option<&Image>| image.and_then(|image| image.cells.get(i).cloned());
        let (l, r) = (cell(left), cell(right));
        if left.is_some() && right.is_some() && l.as_ref().map(|c| &c.exact) == r.as_ref().map(|c| &c.exact) {
            continue;
        }
        let show = |cell: &Option<rows::Cell>| cell.as_ref().map_or(Shown::Nothing, |c| c.show(column));
        let bytes =
            |cell: &Option<rows::Cell>| cell.as_ref().map_or(Shown::Nothing, |c| c.show_bytes(column));
        let alike = show(&l) == show(&r);
        let (left, right) = if alike { (bytes(&l), bytes(&r)) } else { (show(&l), show(&r)) };
        differing.push(ColumnDifference { name: column.name.clone(), left, right });
    }
    differing
}
