//! A run over all tables: scan, settle, note how far it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::key::{Key, Range};
use super::names::Edge;
use super::passing::Passing;
use super::report::{Event, TableReport, Unfinished, Unsettled};
use super::scan::Scan;
use super::session::Session;
use super::settle::Settler;
use super::state::{Keeper, State};
use super::table::{self, Found, Table};
use super::throttle::Throttle;
use super::{Error, Verifier};
use crate::filter::Filter;

/// Chunks in doubt that are settled together, before the table's end.
const MOST_SUSPECTS: usize = 64;
/// Between two notes of how far it is.
const NOTE_EVERY: Duration = Duration::from_secs(2);

/// A run: what is done stays here when the run is dropped.
pub(super) struct Run<'a> {
    verifier: &'a Verifier,
    state: State,
    noted: Instant,
}

/// Two regions that are compared, and sessions in them.
pub(super) struct Joined {
    pub(super) left: Session,
    pub(super) right: Session,
    pub(super) passing: Passing,
}

impl Joined {
    pub(super) async fn open(verifier: &Verifier, edge: &Edge) -> Result<Self, Error> {
        Ok(Self {
            left: Session::open(verifier.place(&edge.left)).await?,
            right: Session::open(verifier.place(&edge.right)).await?,
            passing: open_passing(verifier).await?,
        })
    }

    pub(super) fn settler<'s>(&'s mut self, verifier: &'s Verifier) -> Settler<'s> {
        Settler {
            left: &mut self.left,
            right: &mut self.right,
            passing: &mut self.passing,
            limits: &verifier.config.limits,
            watch: verifier.watch.as_ref(),
        }
    }

    /// The tables that are compared between the two.
    pub(super) async fn tables(&mut self, verifier: &Verifier, edge: &Edge) -> Result<Vec<Found>, Error> {
        let config = &verifier.config;
        let filter = Filter::new(edge.objects.clone(), &config.meta_schema);
        let mut found = table::find(&mut self.left, &mut self.right, &filter).await?;
        if let Some(only) = &config.only {
            found.retain(|f| {
                f.name().split_once('.').is_some_and(|(database, table)| only.matches(database, table))
            });
        }
        Ok(found)
    }
}

async fn open_passing(verifier: &Verifier) -> Result<Passing, Error> {
    let config = &verifier.config;
    let wait = config.limits.wait;
    Passing::open(&config.sync, &config.meta_schema, &verifier.places, &config.links, wait).await
}

impl<'a> Run<'a> {
    pub(super) fn new(verifier: &'a Verifier, state: State) -> Self {
        Self { verifier, state, noted: Instant::now() }
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn into_reports(self) -> Vec<TableReport> {
        self.state.done
    }

    pub(super) async fn all(&mut self, keeper: &Keeper) -> Result<(), Error> {
        for edge in &self.verifier.edges {
            self.edge(edge, keeper).await?;
        }
        Ok(())
    }

    async fn edge(&mut self, edge: &Edge, keeper: &Keeper) -> Result<(), Error> {
        let mut joined = Box::pin(Joined::open(self.verifier, edge)).await?;
        let places = [self.verifier.place(&edge.left), self.verifier.place(&edge.right)];
        let sessions = vec![Session::open(places[0]).await?, Session::open(places[1]).await?];
        let limits = &self.verifier.config.limits;
        let throttle = Throttle::new(limits, sessions, Box::pin(open_passing(self.verifier)).await?);
        let throttle = Arc::new(Mutex::new(throttle));
        for found in joined.tables(self.verifier, edge).await? {
            let is_done =
                |r: &TableReport| r.table == found.name() && r.left == edge.left && r.right == edge.right;
            if self.state.done.iter().any(is_done) {
                continue;
            }
            let report = match found {
                Found::Table(table) => {
                    let name = table.name.clone();
                    let compared =
                        Box::pin(self.table(edge, &mut joined, *table, throttle.clone(), keeper)).await;
                    compared.or_else(|error| altered(&name, edge, error))?
                }
                Found::Differs { name, why } => TableReport { definition: why, ..blank(&name, edge) },
            };
            self.verifier.watch.see(&Event::Ends(&report));
            self.state.current = None;
            self.state.done.push(report);
            self.note(keeper)?;
        }
        Ok(())
    }

    async fn table(
        &mut self,
        edge: &Edge,
        joined: &mut Joined,
        table: Table,
        throttle: Arc<Mutex<Throttle>>,
        keeper: &Keeper,
    ) -> Result<TableReport, Error> {
        let mut at = self.begin(edge, &table);
        self.verifier.watch.see(&Event::Begins {
            table: &table.name,
            regions: (&edge.left, &edge.right),
            rows: table.rows,
        });
        let Some(key) = table.key.clone() else {
            joined.settler(self.verifier).compare_unkeyed(&table, &mut at.report).await?;
            return Ok(at.report);
        };
        self.verifier.watch.see(&Event::Rows(at.report.rows));
        let table = Arc::new(table);
        let scan = Scan {
            table: table.clone(),
            key: key.clone(),
            limits: self.verifier.config.limits.clone(),
            places: (self.verifier.place(&edge.left).clone(), self.verifier.place(&edge.right).clone()),
            watch: self.verifier.watch.clone(),
        };
        let mut scan = scan.start(throttle, at.after.clone());
        while let Some(chunk) = scan.next().await? {
            at.report.chunks += 1;
            at.report.rows += chunk.left.rows;
            self.verifier.watch.see(&Event::Rows(chunk.left.rows));
            at.after.clone_from(&chunk.range.upto);
            let is_last = chunk.range.upto.is_none();
            if chunk.left != chunk.right {
                at.report.rechecked += 1;
                at.suspects.push(chunk.range);
            }
            if is_last || at.suspects.len() >= MOST_SUSPECTS {
                self.settle(joined, &table, &key, &mut at).await?;
            }
            if !is_last && self.noted.elapsed() >= NOTE_EVERY {
                self.state.current = Some(at.clone());
                self.note(keeper)?;
            }
        }
        Ok(at.report)
    }

    /// Where an interrupted run was in this table, or its beginning.
    fn begin(&mut self, edge: &Edge, table: &Table) -> Unfinished {
        let blank = blank(&table.name, edge);
        let is_it = |at: &Unfinished| {
            (&at.report.table, &at.report.left, &at.report.right) == (&blank.table, &blank.left, &blank.right)
        };
        let left_off = self.state.current.clone().filter(is_it);
        left_off.unwrap_or(Unfinished { report: blank, ..Unfinished::default() })
    }

    async fn settle(
        &mut self,
        joined: &mut Joined,
        table: &Table,
        key: &Key,
        at: &mut Unfinished,
    ) -> Result<(), Error> {
        let mut suspects: Vec<Range> = std::mem::take(&mut at.suspects);
        suspects.reverse();
        let mut settler = joined.settler(self.verifier);
        while !suspects.is_empty() {
            if at.report.differences.len() >= self.verifier.config.limits.max_named {
                at.report.unnamed_chunks += suspects.len() as u64;
                break;
            }
            if let Some(why) = settler.pass().await? {
                let unsettled = suspects.drain(..).map(|range| unsettled(key, &range, &why));
                at.report.unsettled.extend(unsettled);
                break;
            }
            self.verifier.watch.see(&Event::Doing("looking for rows that differ"));
            let keys = settler.narrow(table, key, &mut suspects).await?;
            let settled = settler.decide(table, key, keys).await?;
            at.report.differences.extend(settled.differences);
            at.report.unsettled.extend(settled.unsettled);
        }
        Ok(())
    }

    fn note(&mut self, keeper: &Keeper) -> Result<(), Error> {
        self.noted = Instant::now();
        keeper.save(&self.state)
    }
}

/// A table that was altered or dropped while it was read, by its name instead of an end of everything.
fn altered(table: &str, edge: &Edge, error: Error) -> Result<TableReport, Error> {
    // No such column, table or index; another definition than that of the statement's snapshot.
    if !matches!(error.code(), Some(1054 | 1146 | 1176 | 1412)) {
        return Err(error);
    }
    let why = format!("it was altered while it was compared; compare it again: {}", describe(&error));
    Ok(TableReport { definition: vec![why], ..blank(table, edge) })
}

fn describe(error: &Error) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

fn unsettled(key: &Key, range: &Range, why: &str) -> Unsettled {
    let shown = range.after.as_ref().or(range.upto.as_ref()).map(|value| key.describe(value));
    let place = match (&range.after, &range.upto) {
        (Some(_), _) => "rows behind this key",
        (None, Some(_)) => "rows up to this key",
        (None, None) => "rows of this table",
    };
    Unsettled { key: shown.unwrap_or_default(), why: format!("{place} differ, and {why}") }
}

fn blank(table: &str, edge: &Edge) -> TableReport {
    TableReport {
        table: table.into(),
        left: edge.left.clone(),
        right: edge.right.clone(),
        ..TableReport::default()
    }
}
