//! One transaction of a repair: rows that are locked, read, written, read again.

use std::time::Duration;

use super::super::Error;
use super::super::key::{Key, KeyValue};
use super::super::report::Difference;
use super::super::rows::{self, Whole};
use super::super::session::{Place, Session};
use super::super::table::Table;
use super::stamp::Stamp;
use super::write;
use crate::origin::LinkKey;

/// How often a transaction is tried while others hold its locks.
const ATTEMPTS: u32 = 10;

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Inserted,
    Updated,
    Deleted,
    /// It is not what it was when it was found to differ; left alone.
    Changed,
    /// What was written is not what was to be; taken back.
    Inexact,
    /// The server refused it, and says why.
    Refused(String),
}

/// Writes into one region what another has.
pub(super) struct Writer {
    left: Session,
    right: Session,
    stamp: Stamp,
}

/// A transaction that was tried.
enum Tried {
    /// It is committed, or nothing was left to commit: what became of each row of it.
    Done(Vec<Outcome>),
    /// It was rolled back for the sake of these rows; the others may go well without them.
    Without(Vec<(usize, Outcome)>),
    /// It met locks.
    Locked(Error),
}

impl Writer {
    pub(super) async fn open(to: &Place, from: &Place, schema: &str, link: &LinkKey) -> Result<Self, Error> {
        let left = Session::open(from).await?;
        let mut right = Session::open(to).await?;
        right.run("preparing a repair", "SET SESSION foreign_key_checks = OFF").await?;
        let stamp = Stamp::take(&mut right, schema, link).await?;
        Ok(Self { left, right, stamp })
    }

    /// Writes rows in one transaction; what can't be written is left out, and the rest is done without it. With
    /// `replace`, rows are taken away before they are put in.
    pub(super) async fn write(
        &mut self,
        table: &Table,
        key: &Key,
        batch: &[&Difference],
        replace: bool,
    ) -> Result<Vec<Outcome>, Error> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
        let mut attempt = 0;
        loop {
            let open: Vec<usize> = (0..batch.len()).filter(|i| outcomes[*i].is_none()).collect();
            if open.is_empty() {
                break;
            }
            let rows: Vec<&Difference> = open.iter().map(|i| batch[*i]).collect();
            match Box::pin(self.attempt(table, key, &rows, replace)).await? {
                Tried::Done(done) => {
                    open.into_iter().zip(done).for_each(|(i, outcome)| outcomes[i] = Some(outcome));
                }
                Tried::Without(bad) => {
                    bad.into_iter().for_each(|(i, outcome)| outcomes[open[i]] = Some(outcome))
                }
                Tried::Locked(error) => {
                    attempt += 1;
                    if attempt == ATTEMPTS {
                        return Err(error);
                    }
                    let pause = Duration::from_millis(rand::random_range(5..50) * u64::from(attempt));
                    tokio::time::sleep(pause).await;
                }
            }
        }
        // The loop ends when every row has one.
        Ok(outcomes.into_iter().map(|o| o.unwrap_or(Outcome::Changed)).collect())
    }

    async fn attempt(
        &mut self,
        table: &Table,
        key: &Key,
        rows: &[&Difference],
        replace: bool,
    ) -> Result<Tried, Error> {
        self.stamp.begin(&mut self.right).await?;
        match self.fill(table, key, rows, replace).await {
            Ok(tried) => Ok(tried),
            Err(error) => {
                // A connection that broke has rolled back already, and says so below.
                self.rollback().await?;
                if matches!(error.code(), Some(1205 | 1213)) { Ok(Tried::Locked(error)) } else { Err(error) }
            }
        }
    }

    async fn fill(
        &mut self,
        table: &Table,
        key: &Key,
        rows: &[&Difference],
        replace: bool,
    ) -> Result<Tried, Error> {
        let names: Vec<&KeyValue> = rows
            .iter()
            .map(|d| d.keys.1.as_ref().or(d.keys.0.as_ref()).expect("a row has a key on some side"))
            .collect();
        let here = Box::pin(rows::lock_keys(&mut self.right, table, &table.right, &names)).await?;
        let there = Box::pin(rows::whole_by_keys(&mut self.left, table, &table.left, &names)).await?;
        let mut outcomes = vec![Outcome::Changed; rows.len()];
        let as_found = |i: usize| {
            let hashes = (there[i].as_ref().map(|w| &w.hash), here[i].as_ref().map(|image| &image.hash));
            hashes == (rows[i].hashes.0.as_ref(), rows[i].hashes.1.as_ref())
        };
        let fitting: Vec<usize> = (0..rows.len()).filter(|i| as_found(*i)).collect();
        let mut refused = Vec::new();
        for (i, outcome, statement) in plan(table, key, rows, &there, &fitting, replace) {
            outcomes[i] = outcome;
            if let Err(error) = self.run(table, &statement).await {
                match (error.code(), error.is_transient()) {
                    (Some(_), false) => refused.push((i, Outcome::Refused(refusal(&error)))),
                    _ => return Err(error),
                }
            }
        }
        if replace && !refused.is_empty() {
            // Half of them would be taken away and not put in.
            self.rollback().await?;
            return Ok(Tried::Without(refused));
        }
        for (i, outcome) in &refused {
            outcomes[*i] = outcome.clone();
        }
        let written: Vec<usize> =
            fitting.into_iter().filter(|i| !matches!(outcomes[*i], Outcome::Refused(_))).collect();
        let bad = self.look_again(table, rows, &there, &written).await?;
        if !bad.is_empty() {
            self.rollback().await?;
            return Ok(Tried::Without(bad));
        }
        if written.is_empty() {
            self.rollback().await?;
        } else {
            self.run(table, "COMMIT").await?;
            self.stamp.committed();
        }
        Ok(Tried::Done(outcomes))
    }

    /// While the rows here are locked: are those there still what they were, and is what was written the same?
    async fn look_again(
        &mut self,
        table: &Table,
        rows: &[&Difference],
        there: &[Option<Whole>],
        written: &[usize],
    ) -> Result<Vec<(usize, Outcome)>, Error> {
        let mut bad = Vec::new();
        for written in written.chunks(rows::AT_ONCE) {
            let names: Vec<&KeyValue> = written
                .iter()
                .map(|i| {
                    rows[*i]
                        .keys
                        .0
                        .as_ref()
                        .or(rows[*i].keys.1.as_ref())
                        .expect("a row has a key on some side")
                })
                .collect();
            let left = Box::pin(rows::hash_by_keys(&mut self.left, table, &table.left, &names)).await?;
            let right = Box::pin(rows::hash_by_keys(&mut self.right, table, &table.right, &names)).await?;
            for ((i, left), right) in written.iter().zip(left).zip(right) {
                let read = there[*i].as_ref().map(|w| w.hash.clone());
                if left != read {
                    bad.push((*i, Outcome::Changed));
                } else if right != left {
                    bad.push((*i, Outcome::Inexact));
                }
            }
        }
        Ok(bad)
    }

    async fn run(&mut self, table: &Table, statement: &str) -> Result<(), Error> {
        let region = self.right.region().to_owned();
        let ran = self.right.connection().execute(statement).await;
        ran.map(drop).map_err(Error::wire(&region, format!("repairing {}", table.name)))
    }

    async fn rollback(&mut self) -> Result<(), Error> {
        let region = self.right.region().to_owned();
        let ran = self.right.connection().execute("ROLLBACK").await;
        ran.map(drop).map_err(Error::wire(&region, "rolling a repair back"))
    }
}

/// The statements, in the order in which they stand least in each other's way.
fn plan(
    table: &Table,
    key: &Key,
    rows: &[&Difference],
    there: &[Option<Whole>],
    fitting: &[usize],
    replace: bool,
) -> Vec<(usize, Outcome, String)> {
    let side = &table.right;
    let (mut deletes, mut updates, mut inserts) = (Vec::new(), Vec::new(), Vec::new());
    for &i in fitting {
        let at = rows[i].keys.1.as_ref();
        match (&there[i], at) {
            (None, Some(at)) => deletes.push((i, Outcome::Deleted, write::delete(side, key, at))),
            (Some(row), Some(at)) if replace => {
                deletes.push((i, Outcome::Updated, write::delete(side, key, at)));
                inserts.push((i, Outcome::Updated, write::insert(side, row)));
            }
            (Some(row), Some(at)) => updates.push((i, Outcome::Updated, write::update(side, key, at, row))),
            (Some(row), None) => inserts.push((i, Outcome::Inserted, write::insert(side, row))),
            (None, None) => {}
        }
    }
    deletes.into_iter().chain(updates).chain(inserts).collect()
}

fn refusal(error: &Error) -> String {
    match error {
        Error::Wire { source, .. } => format!("the server refuses it: {source}"),
        other => other.to_string(),
    }
}
