//! A chunk that meets rows, or keys that are read once more: all that stands in the target under its keys is locked first,
//! gaps included, then the conflict window is brought up to what the target has executed, and each key is decided about.

use std::collections::{BTreeSet, HashMap};

use binlog::row::{NO_FOREIGN_KEY_CHECKS, RowsEvent, RowsWriter};
use binlog::{Event, GtidSet};

use super::decide::{Arrival, Here, arrive, may_settle};
use super::doubt::Doubt;
use super::hand::Hand;
use super::order::SortKey;
use super::read::Chunk;
use super::run::Placed;
use super::touched::{is_own, rows_of, updates_of};
use super::value;
use super::walk::{Keys, Wanted};
use super::write::{Failure, MAX_EVENT_BYTES};
use crate::conflict::record::word;
use crate::conflict::{doubt_of, owned};
use crate::group::binlog_statements;
use crate::{Error, sql};

/// Rows by key.
type Rows = HashMap<SortKey, Vec<u8>>;

/// What is to be done.
#[derive(Default)]
struct Plan {
    /// Images that stand in the target and go.
    out: Vec<Vec<u8>>,
    /// Images that come.
    into: Vec<Vec<u8>>,
    /// Keys that are in doubt from now on.
    doubts: Vec<SortKey>,
    /// Keys that are settled with this.
    settled: Vec<SortKey>,
    /// Rows that met another.
    met: u64,
}

impl Hand {
    /// One careful attempt. Gives how many keys were settled.
    pub(super) async fn attempt_carefully(
        &mut self,
        wanted: &Wanted,
        chunk: &Chunk,
        placed: &Placed,
        events: &[Event],
    ) -> Result<(), Failure> {
        let fatal = Failure::Fatal;
        let table = wanted.table.clone();
        let Some(key) = &table.key else {
            return Err(fatal(Error::Copy {
                table: table.name(),
                what: "a row is refused, and the table has no key by which rows could be told apart".into(),
                remedy: "empty the table in the target, or give it a primary key".into(),
            }));
        };
        let malformed = |source| fatal(Error::Event { gtid: "of the initial copy".into(), source });
        let (mut keys, images) = rows_of(events, &table.map, &key.shape).map_err(malformed)?;
        if key.shape.has_texts() {
            key.shape.weigh(&mut self.target, &mut keys).await.map_err(fatal)?;
        }
        let known = match self.shared.two_way {
            Some(_) => self.doubts_of(wanted, placed, events).map_err(malformed)?,
            None => Vec::new(),
        };
        let known: HashMap<SortKey, Doubt> =
            keys.iter().cloned().zip(known).filter_map(|(key, doubt)| Some((key, doubt?))).collect();
        let incoming: Rows = keys.into_iter().zip(images).collect();
        // Keys that are missing are locked by their gaps.
        self.run_all(&[b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"]).await?;
        self.begin(placed).await?;
        let local = self.lock(wanted).await?;
        self.reach().await?;
        let plan = match &wanted.keys {
            None => self.plan_arrival(wanted, placed, &incoming, &local)?,
            Some(keys) => self.plan_settling(keys, &incoming, &local),
        };
        let mut writers = [
            RowsWriter::deleting(&table.map, self.shared.server_id, NO_FOREIGN_KEY_CHECKS),
            RowsWriter::new(&table.map, self.shared.server_id, NO_FOREIGN_KEY_CHECKS),
        ];
        plan.out.iter().for_each(|image| writers[0].push(image));
        plan.into.iter().for_each(|image| writers[1].push(image));
        // First all that goes, so that no unique key is held twice.
        let mut changes: Vec<Event> = writers.into_iter().flat_map(RowsWriter::finish).collect();
        // Updates of parts of JSON documents, behind the rows they change.
        changes.extend(updates_of(events, &table.map).cloned());
        let progress = match &wanted.keys {
            None => self.shared.load.chunk(&table, wanted.number, &wanted.range, chunk.rows, chunk.bytes),
            Some(keys) => {
                let settled: Vec<_> = keys
                    .0
                    .iter()
                    .filter(|(key, _)| plan.settled.contains(key))
                    .map(|(_, d)| d.value.clone())
                    .collect();
                self.shared.load.keys(&table, wanted.number, "settled", settled)
            }
        };
        self.run_all(&[progress.as_bytes()]).await?;
        for statement in
            binlog_statements(changes.iter(), |_| true, MAX_EVENT_BYTES.min(self.largest_event()))
        {
            self.run_all(&[statement.map_err(malformed)?.as_slice()]).await?;
        }
        self.check_definition(placed).await?;
        self.commit().await?;
        if let (Some(two_way), false) = (&self.shared.two_way, plan.doubts.is_empty()) {
            let doubts =
                plan.doubts.into_iter().filter_map(|key| Some((key.clone(), known.get(&key)?.clone())));
            two_way.doubts.passed_over(table.index, doubts.collect());
        }
        let policy = self.shared.conflicts.of(&placed.target.database, &placed.target.table).policy;
        (0..plan.met).for_each(|_| self.shared.progress.conflict("exists".into(), word(policy)));
        Ok(())
    }

    /// What becomes of each row of a chunk.
    fn plan_arrival(
        &self,
        wanted: &Wanted,
        placed: &Placed,
        incoming: &Rows,
        local: &Rows,
    ) -> Result<Plan, Failure> {
        let policy = self.shared.conflicts.of(&placed.target.database, &placed.target.table).policy;
        let passed: BTreeSet<&SortKey> = placed.passed_over.iter().collect();
        let keys: Vec<SortKey> = incoming.keys().cloned().collect();
        let in_doubt = self.in_doubt(wanted.table.index, &keys);
        let mut plan = Plan::default();
        for (key, in_doubt) in keys.iter().zip(in_doubt) {
            let (row, stands) = (&incoming[key], local.get(key));
            let here = match stands {
                None => Here::Nothing,
                Some(stands) if stands == row => Here::Same,
                Some(_) => Here::Another,
            };
            plan.met += u64::from(here == Here::Another && !in_doubt);
            let names = (self.shared.from.as_str(), self.shared.to.as_str());
            match arrive(here, in_doubt, passed.contains(key), policy, names) {
                Arrival::Insert => plan.into.push(row.clone()),
                Arrival::Replace => {
                    plan.out.extend(stands.cloned());
                    plan.into.push(row.clone());
                }
                Arrival::Stay => {}
                Arrival::Doubt => plan.doubts.push(key.clone()),
                Arrival::Report => return Err(Failure::Met),
            }
        }
        Ok(plan)
    }

    /// The keys of a chunk's rows, in order, as the window knows them.
    fn doubts_of(
        &self,
        wanted: &Wanted,
        placed: &Placed,
        events: &[Event],
    ) -> Result<Vec<Option<Doubt>>, binlog::EventError> {
        let (table, mut found) = (&wanted.table, Vec::new());
        for event in events.iter().filter(|event| is_own(event, &table.map)) {
            for change in RowsEvent::parse(event, &table.map)?.changes() {
                let Some(row) = change?.after else { continue };
                found.push(doubt_of(table, &placed.target.keys, &row).map(|(_, doubt)| doubt));
            }
        }
        Ok(found)
    }

    /// Which keys can be settled, and how.
    fn plan_settling(&self, keys: &Keys, incoming: &Rows, local: &Rows) -> Plan {
        let mut plan = Plan::default();
        let Some(two_way) = &self.shared.two_way else { return plan };
        for (key, Doubt { key: folded, .. }) in &keys.0 {
            let unseen = !two_way.window.unseen(folded, &keys.1).is_empty();
            if !may_settle(unseen) {
                continue;
            }
            plan.settled.push(key.clone());
            if incoming.get(key) != local.get(key) {
                plan.out.extend(local.get(key).cloned());
                plan.into.extend(incoming.get(key).cloned());
            }
        }
        plan
    }

    /// Which keys are in doubt.
    pub(super) fn in_doubt(&self, table: usize, keys: &[SortKey]) -> Vec<bool> {
        match &self.shared.two_way {
            Some(two_way) => two_way.doubts.among(table, keys),
            None => vec![false; keys.len()],
        }
    }

    /// Reads and locks what stands in the target under the chunk's keys.
    async fn lock(&mut self, wanted: &Wanted) -> Result<Rows, Failure> {
        let table = &wanted.table;
        let Some(key) = &table.key else { return Ok(Rows::new()) };
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
        let malformed = |source| Failure::Fatal(Error::Event { gtid: "of the initial copy".into(), source });
        let (mut keys, _) = rows_of(&writer.finish(), &table.map, &key.shape).map_err(malformed)?;
        if key.shape.has_texts() {
            key.shape.weigh(&mut self.target, &mut keys).await.map_err(Failure::Fatal)?;
        }
        Ok(keys.into_iter().zip(images).collect())
    }

    /// Brings the conflict window, and with it the keys in doubt, up to what the target has executed.
    pub(super) async fn reach(&mut self) -> Result<(), Failure> {
        let Some(two_way) = self.shared.two_way.clone() else { return Ok(()) };
        let failed = Error::target("asking what it has executed");
        let rows = self.target.query_rows(owned::QUESTION).await.map_err(|e| Failure::Fatal(failed(e)))?;
        let none = || Failure::Fatal(failed(wire::Error::Invalid { what: "not a GTID set".into() }));
        let executed = owned::read_rows(&rows).ok_or_else(none)?;
        let needed: GtidSet =
            executed.restricted_to(|uuid| two_way.owners.of(uuid) == Some(self.shared.to.as_str()));
        if two_way.window.reaches(&needed, super::two_way::WITH_LOCKS).await {
            return Ok(());
        }
        self.rollback().await?;
        Err(Failure::Behind(needed))
    }
}

/// The condition of being one of these keys.
pub(super) fn wanted_keys(wanted: &Wanted, keys: &Keys) -> String {
    let Some(key) = &wanted.table.key else { return "FALSE".into() };
    let each: Vec<String> =
        keys.0.iter().map(|(_, doubt)| format!("({})", key.key.is(&doubt.value))).collect();
    each.join(" OR ")
}
