//! Makes rows that differ equal to those of one region.
//!
//! Rows go in transactions of a few, each beginning with the [stamp](stamp) of repairs: to the way back they come from
//! the region they were taken from, and go no further. In a transaction, in this order:
//!
//! 1. the stamp, which fences an earlier repair off;
//! 2. the rows here are locked and read, and the rows there are read: what has changed since it was found to differ on
//!    either side is left alone;
//! 3. the rows are written: deletes, updates, inserts;
//! 4. the rows there are read again, while those here are locked. A change of one that is made there from now on comes
//!    here behind the repair; one made before is seen. The rows here are read again, too, and must be equal to the bit;
//! 5. commit.
//!
//! Foreign keys are not checked meanwhile: what a cascade would do to rows here, it has done to rows there, and those
//! are compared like any other. Triggers would fire and have no part in it: a table with triggers is refused.

mod batch;
mod stamp;
mod triggers;
mod write;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::key::{Key, KeyValue};
use super::report::{Difference, Event, TableReport, Unsettled};
use super::run::Joined;
use super::table::{Found, Table};
use super::{Error, Verifier};
use crate::meta::Meta;
use crate::origin::LinkKey;
use batch::{Outcome, Writer};

/// Rows written in one transaction.
const AT_ONCE: usize = 50;
/// Of a table with long values, which are all in memory.
const LONG_AT_ONCE: usize = 4;

/// What a repair did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RepairReport {
    /// Rows put in.
    pub inserted: u64,
    /// Rows changed.
    pub updated: u64,
    /// Rows taken away.
    pub deleted: u64,
    /// Rows left as they were, and why.
    pub unrepaired: Vec<Unrepaired>,
    /// Rows that differ still or again, after the repair.
    pub differences: Vec<Difference>,
    /// Rows that could not be compared again.
    pub unsettled: Vec<Unsettled>,
}

/// A row that was left as it was.
#[derive(Clone, Debug, Serialize)]
pub struct Unrepaired {
    /// `database.table` in the left region.
    pub table: String,
    /// The region it was to be written in.
    pub region: String,
    /// Its key.
    pub key: Vec<(String, String)>,
    /// Why.
    pub why: String,
}

impl RepairReport {
    /// Is everything equal that was repaired, and was everything repaired?
    pub fn is_equal(&self) -> bool {
        self.unrepaired.is_empty() && self.differences.is_empty() && self.unsettled.is_empty()
    }

    /// Counts what became of a row; gives the reason where the server refused it.
    fn count(&mut self, difference: &Difference, outcome: Outcome) -> Option<String> {
        match outcome {
            Outcome::Inserted => self.inserted += 1,
            Outcome::Updated => self.updated += 1,
            Outcome::Deleted => self.deleted += 1,
            Outcome::Changed => self.leave(difference, "it has changed since it was compared: compare again"),
            Outcome::Inexact => self.leave(difference, "its values can't be written exactly by SQL"),
            Outcome::Refused(why) => return Some(why),
        }
        None
    }

    fn leave(&mut self, difference: &Difference, why: impl Into<String>) {
        self.unrepaired.push(Unrepaired {
            table: difference.table.clone(),
            region: difference.right.clone(),
            key: difference.key.clone(),
            why: why.into(),
        });
    }
}

/// Repairs table by table, in the order of the regions.
pub(super) async fn repair(
    verifier: &Verifier,
    reports: &[TableReport],
    stop: CancellationToken,
) -> Result<RepairReport, Error> {
    let mut done = RepairReport::default();
    for edge in &verifier.edges {
        let of_edge =
            |r: &&TableReport| r.left == edge.left && r.right == edge.right && !r.differences.is_empty();
        let reports: Vec<&TableReport> = reports.iter().filter(of_edge).collect();
        if reports.is_empty() {
            continue;
        }
        let mut joined = Box::pin(Joined::open(verifier, edge)).await?;
        let found = joined.tables(verifier, edge).await?;
        let mut writer = Box::pin(open_writer(verifier, &edge.left, &edge.right)).await?;
        for report in reports {
            if stop.is_cancelled() {
                return Err(Error::Interrupted);
            }
            let table = found.iter().find(|f| f.name() == report.table);
            match table {
                Some(Found::Table(table)) if table.key.is_some() => {
                    Box::pin(repair_table(verifier, &mut joined, &mut writer, table, report, &mut done))
                        .await?;
                }
                Some(Found::Table(_)) => {
                    leave_all(
                        &mut done,
                        report,
                        "its table has no key that names every row: repair it by hand",
                    );
                }
                _ => leave_all(&mut done, report, "its table has been altered since"),
            }
        }
    }
    Ok(done)
}

fn leave_all(done: &mut RepairReport, report: &TableReport, why: &str) {
    report.differences.iter().for_each(|difference| done.leave(difference, why));
}

async fn open_writer(verifier: &Verifier, left: &str, right: &str) -> Result<Writer, Error> {
    let config = &verifier.config;
    // A region that no link writes into has no meta schema yet.
    let place = verifier.place(right);
    let failed = |error: crate::Error| Error::Unrepairable {
        region: right.into(),
        table: format!("schema {}", config.meta_schema),
        why: crate::link::describe(&error),
        remedy: error.remedy().unwrap_or_else(|| "mend what stands in its way".into()),
    };
    let mut connection = crate::target::connect(&place.addresses).await.map_err(failed)?;
    Meta::of(&config.sync, &config.meta_schema).create(&mut connection).await.map_err(failed)?;
    connection.close().await;
    let link = LinkKey { sync: config.sync.clone(), from: left.into(), to: right.into() };
    Writer::open(place, verifier.place(left), &config.meta_schema, &link).await
}

async fn repair_table(
    verifier: &Verifier,
    joined: &mut Joined,
    writer: &mut Writer,
    table: &Table,
    report: &TableReport,
    done: &mut RepairReport,
) -> Result<(), Error> {
    let Some(key) = &table.key else { return Ok(()) };
    match triggers::refuse(&mut joined.right, table).await {
        Err(error @ Error::Unrepairable { .. }) => {
            let remedy = error.remedy().unwrap_or_default();
            leave_all(done, report, &format!("{error} (remedy: {remedy})"));
            return Ok(());
        }
        other => other?,
    }
    verifier.watch.see(&Event::Doing("repairing"));
    let (mut rows, generated): (Vec<&Difference>, Vec<&Difference>) =
        report.differences.iter().partition(|d| !d.generated_only);
    for difference in generated {
        done.leave(difference, "only generated columns differ: their definitions do");
    }
    // Rows that go free values of unique keys for those that come.
    rows.sort_by_key(|d| (d.keys.0.is_some(), d.keys.1.is_none()));
    let at_once = if table.left.columns.iter().any(|c| c.long) { LONG_AT_ONCE } else { AT_ONCE };
    let mut refused = Vec::new();
    let mut replace = false;
    while !rows.is_empty() {
        let before = rows.len();
        refused = Vec::new();
        for batch in rows.chunks(if replace { before } else { at_once }) {
            let outcomes = Box::pin(writer.write(table, key, batch, replace)).await?;
            for (difference, outcome) in batch.iter().zip(outcomes) {
                refused.extend(done.count(difference, outcome).map(|why| (*difference, why)));
            }
        }
        rows = refused.iter().map(|(difference, _)| *difference).collect();
        if replace {
            break;
        }
        // Nothing gave way: rows may hold each other's unique values, and only all at once get past that.
        replace = rows.len() == before;
    }
    for (difference, why) in refused {
        done.leave(difference, why);
    }
    compare_again(verifier, joined, table, key, report, done).await
}

/// What was repaired is compared once more, the links having passed.
async fn compare_again(
    verifier: &Verifier,
    joined: &mut Joined,
    table: &Table,
    key: &Key,
    report: &TableReport,
    done: &mut RepairReport,
) -> Result<(), Error> {
    let mut settler = joined.settler(verifier);
    let names = report.differences.iter().flat_map(|d| [d.keys.0.clone(), d.keys.1.clone()]).flatten();
    let mut keys: Vec<KeyValue> = names.collect();
    keys.sort();
    keys.dedup();
    for keys in keys.chunks(super::settle::BATCH) {
        let stuck = settler.pass().await?;
        if let Some(why) = stuck {
            done.unsettled.push(Unsettled { key: Vec::new(), why });
            break;
        }
        let settled = settler.decide(table, key, keys.to_vec()).await?;
        done.differences.extend(settled.differences);
        done.unsettled.extend(settled.unsettled);
    }
    Ok(())
}
