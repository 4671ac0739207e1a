//! A chunk that meets rows, or keys that are read once more: all that stands in the target under its keys is locked first,
//! gaps included, then the conflict window is brought up to what the target has executed, and each key is decided about.

use std::collections::HashMap;

use binlog::row::{NO_FOREIGN_KEY_CHECKS, RowsEvent, RowsWriter};
use binlog::{Event, EventError, GtidSet};

use super::decide::{Arrival, Here, arrive, lacks, may_settle};
use super::doubt::Doubt;
use super::hand::Hand;
use super::order::SortKey;
use super::read::Chunk;
use super::run::Placed;
use super::touched::{Left, rows_of};
use super::two_way::doubt_number;
use super::value::{self, text_of};
use super::walk::{Keys, Wanted};
use super::write::{Failure, MAX_EVENT_BYTES};
use crate::conflict::owned;
use crate::conflict::record::word;
use crate::group::binlog_statements;
use crate::verify::key::KeyValue;
use crate::{Error, sql};

/// A row that comes.
struct Incoming {
    image: Vec<u8>,
    /// What turns the image into the row: an update told by what changed inside a JSON document, and its table map.
    then: Option<[Event; 2]>,
}

impl Incoming {
    /// How what stands in the target compares with it.
    fn meets(&self, stands: Option<&Vec<u8>>) -> Here {
        match stands {
            None => Here::Nothing,
            Some(stands) if self.then.is_none() && *stands == self.image => Here::Same,
            Some(_) => Here::Another,
        }
    }
}

/// What is to be done.
#[derive(Default)]
struct Plan<'a> {
    /// Images that stand in the target and go.
    out: Vec<&'a Vec<u8>>,
    /// Rows that come.
    into: Vec<&'a Incoming>,
    /// Rows whose keys are in doubt from now on.
    doubts: Vec<&'a Vec<u8>>,
    /// Keys that are settled with this.
    settled: Vec<KeyValue>,
    /// Rows that met another.
    met: u64,
}

impl Hand {
    /// One careful attempt.
    pub(super) async fn attempt_carefully(
        &mut self,
        wanted: &Wanted,
        chunk: &Chunk,
        placed: &Placed,
    ) -> Result<(), Failure> {
        let incoming = self.incoming(wanted, chunk, placed).await?;
        // Keys that are missing are locked by their gaps.
        self.run_all(&[b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"]).await?;
        self.begin(placed).await?;
        let local = self.lock(wanted).await?;
        self.reach().await?;
        let plan = match &wanted.keys {
            None => self.plan_arrival(wanted, placed, &incoming, &local)?,
            Some(keys) => self.plan_settling(keys, &incoming, &local).map_err(Failure::Fatal)?,
        };
        if wanted.keys.is_some() && plan.settled.is_empty() {
            // Nothing to write down: all are asked for again.
            return self.rollback().await;
        }
        for note in self.notes(wanted, chunk, &plan).map_err(malformed)? {
            self.run_all(&[note.as_bytes()]).await?;
        }
        let limit = MAX_EVENT_BYTES.min(self.largest_event());
        let changes = self.changes(wanted, &plan);
        for statement in binlog_statements(changes.iter(), |_| true, limit) {
            self.run_all(&[statement.map_err(malformed)?.as_slice()]).await?;
        }
        self.mend(placed, &changes).await?;
        self.check_definition(placed).await?;
        self.commit().await?;
        let policy = self.shared.conflicts.of(&placed.target.database, &placed.target.table).policy;
        (0..plan.met).for_each(|_| self.shared.progress.conflict("exists".into(), word(policy)));
        Ok(())
    }

    /// The rows as they stand at the chunk's place, by key.
    async fn incoming(
        &mut self,
        wanted: &Wanted,
        chunk: &Chunk,
        placed: &Placed,
    ) -> Result<HashMap<SortKey, Incoming>, Failure> {
        let table = &wanted.table;
        let Some(key) = &table.key else {
            return Err(Failure::Fatal(Error::Copy {
                table: table.name(),
                what: "a row is refused, and the table has no key by which rows could be told apart".into(),
                remedy: "empty the table in the target, or give it a primary key".into(),
            }));
        };
        let (mut keys, images) = rows_of(&chunk.events, &table.map, &key.shape).map_err(malformed)?;
        if key.shape.has_texts() {
            key.shape.weigh(&mut self.target, &mut keys).await.map_err(Failure::Fatal)?;
        }
        let read = keys.into_iter().zip(images).filter(|(key, _)| !placed.touched.has(key));
        let mut incoming: HashMap<SortKey, Incoming> =
            read.map(|(key, image)| (key, Incoming { image, then: None })).collect();
        for (key, left) in placed.touched.all() {
            let row = match left {
                Left::Absent => continue,
                Left::Row(image) => Incoming { image: image.clone(), then: None },
                Left::Changed { before, map, update } => {
                    Incoming { image: before.clone(), then: Some([map.clone(), update.clone()]) }
                }
            };
            incoming.insert(key.clone(), row);
        }
        Ok(incoming)
    }

    /// What becomes of each row of a chunk.
    fn plan_arrival<'a>(
        &self,
        wanted: &Wanted,
        placed: &Placed,
        incoming: &'a HashMap<SortKey, Incoming>,
        local: &'a HashMap<SortKey, Vec<u8>>,
    ) -> Result<Plan<'a>, Failure> {
        let policy = self.shared.conflicts.of(&placed.target.database, &placed.target.table).policy;
        let names = (self.shared.from.as_str(), self.shared.to.as_str());
        let keys: Vec<SortKey> = incoming.keys().cloned().collect();
        let in_doubt = self.in_doubt(wanted.table.index, &keys);
        let mut plan = Plan::default();
        for (key, in_doubt) in keys.iter().zip(in_doubt) {
            let (row, stands) = (&incoming[key], local.get(key));
            let here = row.meets(stands);
            plan.met += u64::from(here == Here::Another && !in_doubt);
            match arrive(here, in_doubt, placed.passed_over.has(key), policy, names) {
                Arrival::Insert => plan.into.push(row),
                Arrival::Replace => {
                    plan.out.extend(stands);
                    plan.into.push(row);
                }
                Arrival::Stay => {}
                Arrival::Doubt => plan.doubts.push(&row.image),
                Arrival::Report => return Err(Failure::Met),
            }
        }
        let alone = local.keys().filter(|key| !incoming.contains_key(*key));
        let lacking: Vec<SortKey> = alone.filter(|key| placed.passed_over.has(key)).cloned().collect();
        let in_doubt = self.in_doubt(wanted.table.index, &lacking);
        for (key, _) in lacking.iter().zip(in_doubt).filter(|(_, in_doubt)| lacks(*in_doubt)) {
            plan.doubts.extend(local.get(key));
        }
        Ok(plan)
    }

    /// Which keys can be settled, and how.
    fn plan_settling<'a>(
        &self,
        Keys(keys, seen): &Keys,
        incoming: &'a HashMap<SortKey, Incoming>,
        local: &'a HashMap<SortKey, Vec<u8>>,
    ) -> Result<Plan<'a>, Error> {
        let mut plan = Plan::default();
        let Some(two_way) = &self.shared.two_way else { return Ok(plan) };
        for (key, Doubt { key: folded, value }) in keys {
            if !may_settle(!two_way.window.unseen(folded, seen)?.is_empty()) {
                continue;
            }
            plan.settled.push(value.clone());
            let (comes, stands) = (incoming.get(key), local.get(key));
            if comes.is_none_or(|row| row.meets(stands) != Here::Same) {
                plan.out.extend(stands);
                plan.into.extend(comes);
            }
        }
        Ok(plan)
    }

    /// The rows of `load` that go with it.
    fn notes(&self, wanted: &Wanted, chunk: &Chunk, plan: &Plan<'_>) -> Result<Vec<String>, EventError> {
        let (table, load) = (&wanted.table, &self.shared.load);
        if wanted.keys.is_some() {
            return Ok(vec![load.keys(table, wanted.number, "settled", plan.settled.clone())]);
        }
        let mut notes = vec![load.chunk(table, wanted.number, &wanted.range, chunk.rows, chunk.bytes)];
        if !plan.doubts.is_empty() {
            let values = values_of(wanted, &plan.doubts)?;
            notes.push(load.keys(table, doubt_number(), "doubt", values));
        }
        Ok(notes)
    }

    /// Row events that bring it about.
    fn changes(&self, wanted: &Wanted, plan: &Plan<'_>) -> Vec<Event> {
        let (map, server_id) = (&wanted.table.map, self.shared.server_id);
        let mut out = RowsWriter::deleting(map, server_id, NO_FOREIGN_KEY_CHECKS);
        plan.out.iter().for_each(|image| out.push(image));
        let mut into = RowsWriter::new(map, server_id, NO_FOREIGN_KEY_CHECKS);
        plan.into.iter().for_each(|row| into.push(&row.image));
        // First all that goes, so that no unique key is held twice; updates behind the rows they change.
        let updates = plan.into.iter().filter_map(|row| row.then.clone()).flatten();
        out.finish().into_iter().chain(into.finish()).chain(updates).collect()
    }

    /// Which keys are in doubt.
    pub(super) fn in_doubt(&self, table: usize, keys: &[SortKey]) -> Vec<bool> {
        match &self.shared.two_way {
            Some(two_way) => two_way.doubts.among(table, keys),
            None => vec![false; keys.len()],
        }
    }

    /// Reads and locks what stands in the target under the chunk's keys.
    async fn lock(&mut self, wanted: &Wanted) -> Result<HashMap<SortKey, Vec<u8>>, Failure> {
        let table = &wanted.table;
        let Some(key) = &table.key else { return Ok(HashMap::new()) };
        let columns: Vec<String> = table.selected.iter().map(|column| column.exact()).collect();
        let condition = match &wanted.keys {
            None => key.key.within(&wanted.range),
            Some(keys) => wanted_keys(wanted, keys),
        };
        let query = format!(
            "SELECT {} FROM {} WHERE {condition} FOR UPDATE",
            columns.join(", "),
            sql::table(&table.map.database, &table.map.table)
        );
        let found = match self.target.query_rows(query).await {
            Ok(found) => found,
            Err(wire::Error::Server(error)) => {
                self.rollback().await?;
                return Err(Failure::Refused(error));
            }
            Err(error) => return Err(Failure::Fatal(Error::target("locking rows")(error))),
        };
        let (mut room, mut images) = (Vec::new(), Vec::with_capacity(found.rows.len()));
        let mut writer = RowsWriter::new(&table.map, self.shared.server_id, 0);
        for row in &found.rows {
            let mut image = Vec::new();
            value::put_row(&table.map.columns, row, &mut room, &mut image).map_err(|column| {
                let what = format!(
                    "a value of column {} in the target is not understood",
                    table.selected[column].name
                );
                Failure::Fatal(Error::Copy {
                    table: table.name(),
                    what,
                    remedy: "compare both definitions".into(),
                })
            })?;
            writer.push(&image);
            images.push(image);
        }
        let (mut keys, _) = rows_of(&writer.finish(), &table.map, &key.shape).map_err(malformed)?;
        if key.shape.has_texts() {
            key.shape.weigh(&mut self.target, &mut keys).await.map_err(Failure::Fatal)?;
        }
        Ok(keys.into_iter().zip(images).collect())
    }

    /// Brings the conflict window, and with it the keys in doubt, up to what the target has executed.
    pub(super) async fn reach(&mut self) -> Result<(), Failure> {
        let Some(two_way) = self.shared.two_way.clone() else { return Ok(()) };
        let executed = owned::ask(&mut self.target).await;
        let executed =
            executed.map_err(Error::target("asking what it has executed")).map_err(Failure::Fatal)?;
        let needed: GtidSet =
            executed.restricted_to(|uuid| two_way.owners.of(uuid) == Some(self.shared.to.as_str()));
        if two_way.window.reaches(&needed, super::two_way::WITH_LOCKS).await {
            return Ok(());
        }
        self.rollback().await?;
        Err(Failure::Behind(needed))
    }
}

pub(super) fn malformed(source: EventError) -> Failure {
    Failure::Fatal(Error::Event { gtid: "of the initial copy".into(), source })
}

/// The keys of row images, as SQL tells them.
fn values_of(wanted: &Wanted, images: &[&Vec<u8>]) -> Result<Vec<KeyValue>, EventError> {
    let (map, mut values) = (&wanted.table.map, Vec::new());
    let Some(key) = &wanted.table.key else { return Ok(values) };
    let mut writer = RowsWriter::new(map, 0, 0);
    images.iter().for_each(|image| writer.push(image));
    for event in writer.finish().iter().skip(1) {
        for change in RowsEvent::parse(event, map)?.changes() {
            let Some(row) = change?.after else { continue };
            let text = |part: &super::order::KeyPart| text_of(&part.column, row.get(part.position)?);
            values.extend(key.shape.parts.iter().map(text).collect::<Option<_>>().map(KeyValue));
        }
    }
    Ok(values)
}

/// The condition of being one of these keys.
pub(super) fn wanted_keys(wanted: &Wanted, keys: &Keys) -> String {
    let Some(key) = &wanted.table.key else { return "FALSE".into() };
    let each: Vec<String> =
        keys.0.iter().map(|(_, doubt)| format!("({})", key.key.is(&doubt.value))).collect();
    each.join(" OR ")
}
