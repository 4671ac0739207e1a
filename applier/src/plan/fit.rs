//! A transaction's rows as the target takes them, batch by batch: brought behind DDL they have not seen, without what an
//! initial copy brings, and written anew where the target's columns are others.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use binlog::row::TableMap;
use binlog::{Event, EventKind, Gtid, GtidSet};

use super::Planner;
use super::flight::bring;
use crate::Error;
use crate::catalog::{Fit, TargetTable};
use crate::copy::ChunkId;
use crate::ddl::Alteration;
use crate::remap::Remap;
use crate::rows::{Rewriting, Rows};
use crate::transaction::Transaction;

/// What is known of a transaction whose rows fit.
#[derive(Default)]
pub(super) struct Fitted {
    /// The tables they change.
    pub(super) tables: Vec<Arc<TargetTable>>,
    /// Chunks of an initial copy that must be committed before.
    pub(super) behind: Vec<ChunkId>,
    /// Statements of the target that they were brought behind.
    pub(super) altered: GtidSet,
}

impl Planner {
    /// The rows as the target takes them now. None: nothing of them is left.
    pub(super) async fn fit(&mut self, gtid: &Gtid, rows: Rows) -> Result<(Rows, Fitted), Error> {
        let unseen = self.unseen_by(gtid, &rows).await?;
        let mut fitted =
            Fitted { altered: unseen.iter().map(|a| a.gtid.clone()).collect(), ..Fitted::default() };
        let mut behind = BTreeSet::new();
        let rows = match rows {
            Rows::Memory(events) => {
                Rows::Memory(self.fit_batch(gtid, events, &unseen, &mut fitted.tables, &mut behind).await?)
            }
            Rows::File(spilled) => {
                let mut rewriting = Rewriting::of(&spilled);
                for batch in spilled.batches() {
                    let before = batch?;
                    let events = before.clone();
                    let after =
                        self.fit_batch(gtid, events, &unseen, &mut fitted.tables, &mut behind).await?;
                    rewriting.take(&before, after)?;
                }
                rewriting.finish()?
            }
        };
        fitted.behind = behind.into_iter().collect();
        Ok((rows, fitted))
    }

    async fn fit_batch(
        &mut self,
        gtid: &Gtid,
        events: Vec<Event>,
        unseen: &[Arc<Alteration>],
        tables: &mut Vec<Arc<TargetTable>>,
        behind: &mut BTreeSet<ChunkId>,
    ) -> Result<Vec<Event>, Error> {
        let events = if unseen.is_empty() { events } else { bring(gtid, &events, unseen)? };
        let (mut events, chunks) = self.weave(gtid, events).await?;
        behind.extend(chunks);
        let mut remaps: HashMap<u64, (Arc<Remap>, Arc<TargetTable>)> = HashMap::new();
        for event in &mut events {
            let id = TableMap::id_of(event).unwrap_or(u64::MAX);
            if event.kind() != EventKind::TableMap {
                if let Some((remap, table)) = remaps.get(&id) {
                    *event = self.catalog.remapped(remap, table, event, gtid).await?;
                }
                continue;
            }
            let Fit { target, remap } = self.catalog.fitting(event, gtid).await?;
            remaps.remove(&id);
            if let Some(remap) = remap {
                *event = remap.map(event);
                remaps.insert(id, (remap, target.clone()));
            }
            if !tables.iter().any(|known| Arc::ptr_eq(known, &target)) {
                tables.push(target);
            }
        }
        Ok(events)
    }

    /// The time zone to write a transaction's rows under, where that matters.
    pub(super) fn zone_of(&mut self, t: &Transaction, tables: &[Arc<TargetTable>]) -> Option<Arc<str>> {
        if let Some(told) = t.zone.as_deref().filter(|told| self.zone.as_deref() != Some(told)) {
            self.zone = Some(told.into());
        }
        tables.iter().any(|table| table.zoned).then(|| self.zone.clone()).flatten()
    }
}
