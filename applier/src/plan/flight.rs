//! Rows in flight, brought behind the statements of the target that they have not seen: see [`crate::ddl::fate`].
//!
//! Which statements these are the conflict window knows, once it has read as much of the target's log as the target has
//! executed. A statement that it learns of only while a group is applied makes the link begin its round anew.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use binlog::row::TableMap;
use binlog::{Event, EventKind, Gtid};

use super::Planner;
use crate::Error;
use crate::conflict::shared::SharedWindow;
use crate::ddl::{Alteration, Fate, Place, fate};
use crate::filter::Sieve;
use crate::rows::Rows;

/// How long the window is waited for, before the round begins anew.
const WITHIN: Duration = Duration::from_secs(15);

/// What a planner needs for rows in flight.
pub(super) struct Flight {
    /// The conflict window, where the link the other way carries DDL.
    window: Option<SharedWindow>,
    /// The window has read what the target had executed when the round began.
    is_caught_up: bool,
}

impl Flight {
    pub(super) fn new(window: Option<SharedWindow>) -> Self {
        Self { window, is_caught_up: false }
    }
}

impl Planner {
    /// The statements of the target that these rows have not seen: rows fit once they are brought behind them.
    pub(super) async fn unseen_by(
        &mut self,
        gtid: &Gtid,
        rows: &Rows,
    ) -> Result<Vec<Arc<Alteration>>, Error> {
        if self.flight.window.is_none() {
            return Ok(Vec::new());
        }
        if !self.flight.is_caught_up {
            self.catch_up().await?;
        }
        loop {
            let unseen = self.unseen();
            match self.try_behind(gtid, rows, &unseen).await {
                Ok(()) => return Ok(unseen),
                // Altered just now, perhaps, by a statement that the window has not read yet.
                Err(error @ (Error::NoTable { .. } | Error::TableDiffers { .. })) => {
                    self.catch_up().await?;
                    if self.unseen() == unseen {
                        return Err(explained(error, &unseen));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn unseen(&self) -> Vec<Arc<Alteration>> {
        self.flight.window.as_ref().map(|w| w.alterations(&self.follower.seen)).unwrap_or_default()
    }

    /// Would they fit behind these statements?
    async fn try_behind(
        &mut self,
        gtid: &Gtid,
        rows: &Rows,
        unseen: &[Arc<Alteration>],
    ) -> Result<(), Error> {
        for batch in rows.batches() {
            let maps: Vec<Event> = match unseen {
                [] => batch?.iter().filter(|e| e.kind() == EventKind::TableMap).cloned().collect(),
                unseen => {
                    let brought = bring(gtid, &batch?, unseen)?;
                    brought.into_iter().filter(|e| e.kind() == EventKind::TableMap).collect()
                }
            };
            for map in &maps {
                self.catalog.fitting(map, gtid).await?;
            }
        }
        Ok(())
    }

    /// Waits until the window has read what the target has executed of its own region.
    async fn catch_up(&mut self) -> Result<(), Error> {
        let Some(window) = self.flight.window.clone() else { return Ok(()) };
        let executed = self.catalog.executed().await?;
        let (owners, to) = (&self.rules.owners, self.rules.to.as_str());
        let needed = executed.restricted_to(|uuid| owners.of(uuid) == Some(to));
        if !window.reaches(&needed, WITHIN).await {
            return Err(Error::WindowBehind { region: to.to_owned() });
        }
        self.flight.is_caught_up = true;
        Ok(())
    }
}

/// Brings events behind these statements: renames their tables and columns, leaves out rows that are void.
pub(super) fn bring(gtid: &Gtid, events: &[Event], unseen: &[Arc<Alteration>]) -> Result<Vec<Event>, Error> {
    let malformed = |source| Error::Event { gtid: gtid.to_string(), source };
    let mut sieve = Sieve::with_capacity(events.len());
    let mut tables = HashSet::new();
    let mut void: HashMap<u64, (String, Arc<Alteration>)> = HashMap::new();
    for event in events {
        let id = TableMap::id_of(event).unwrap_or(u64::MAX);
        if event.kind() == EventKind::TableMap {
            let (database, table) = TableMap::names_of(event).map_err(malformed)?;
            match fate(database, table, unseen) {
                Fate::Here(place) => {
                    tables.insert(id);
                    sieve.keep_map(moved(event, &place).map_err(malformed)?);
                }
                Fate::Void(by) => {
                    tables.remove(&id);
                    sieve.leave_out();
                    void.insert(id, (format!("{database}.{table}"), by));
                }
                Fate::Unclear(by) => return Err(unclear(gtid, &format!("{database}.{table}"), &by)),
            }
            continue;
        }
        if tables.contains(&id) {
            sieve.keep_rows(event);
        } else if let Some((table, by)) = void.remove(&id) {
            tracing::warn!(
                gtid = %gtid, table, by = %by.gtid, statement = by.statement,
                "rows in flight are left out: the target has emptied or dropped their table, and so will their region"
            );
        }
        if sieve.ends_statement(event) {
            tables.clear();
        }
    }
    Ok(sieve.finish())
}

/// Names the statements that a row has not seen and that its table does not fit since.
fn explained(mut error: Error, unseen: &[Arc<Alteration>]) -> Error {
    if let Error::TableDiffers { difference, .. } = &mut error {
        for alteration in unseen {
            difference.push_str(&format!(
                "; the target has run {} ({}), which the transaction has not seen",
                alteration.statement, alteration.gtid
            ));
        }
    }
    error
}

/// A table map where its table is now, with its columns as they are called now; one that is gone has no name.
fn moved(event: &Event, place: &Place) -> Result<Event, binlog::EventError> {
    let event = if place.columns.is_empty() {
        event.clone()
    } else {
        let called = |name: &str| {
            let now = place.columns.get(&name.to_lowercase())?;
            Some(now.clone().unwrap_or_default())
        };
        TableMap::with_columns_called(event, called)?
    };
    if TableMap::names_of(&event)? == (&place.database, &place.table) {
        return Ok(event);
    }
    TableMap::renamed(&event, &place.database, &place.table)
}

fn unclear(gtid: &Gtid, table: &str, by: &Alteration) -> Error {
    Error::NotApplicable {
        gtid: gtid.to_string(),
        what: format!(
            "its rows of {table} were written before their region ran a statement that the target has run, and which \
             of them are still there only that region can tell: {} ({})",
            by.statement, by.gtid
        ),
        remedy:
            "skip it with twinlog link skip --gtid, then compare and repair the table with twinlog verify \
                 --repair"
                .into(),
    }
}
