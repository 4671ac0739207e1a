//! A table without a key: compared as a multiset, row by row on this side. Only where it is small.

use std::collections::HashMap;

use super::Error;
use super::column::row_hash;
use super::report::{Difference, Event, TableReport, Unsettled};
use super::rows::{self, Hash};
use super::session::Session;
use super::settle::{Settler, difference};
use super::table::{Side, Table};

/// How often each row is there, on both sides.
type Counts = HashMap<Hash, (u64, u64)>;

impl Settler<'_> {
    /// Compares the whole table.
    pub(super) async fn compare_unkeyed(
        &mut self,
        table: &Table,
        report: &mut TableReport,
    ) -> Result<(), Error> {
        let most = self.limits.max_unkeyed_rows;
        let Some(mut suspects) = self.count(table, report).await? else {
            report.definition.push(format!(
                "it has no key that names every row, and more than {most} rows: give it a primary key, or raise \
                 --max-unkeyed-rows"
            ));
            return Ok(());
        };
        suspects.retain(|_, (left, right)| left != right);
        let mut times: HashMap<Hash, u32> = HashMap::new();
        let mut stuck = None;
        let (mut different, mut round) = (Vec::new(), 1);
        while !suspects.is_empty() && round < self.limits.rounds {
            report.rechecked += 1;
            stuck = self.pass().await?;
            if stuck.is_some() {
                break;
            }
            let Some(now) = self.count(table, report).await? else { break };
            suspects = self.again(suspects, &now, &mut times, &mut different);
            round += 1;
        }
        report.differences = self.name(table, different).await?;
        if !suspects.is_empty() {
            let why = stuck.unwrap_or_else(|| format!("they changed in each of {round} reads"));
            let why = format!("{} rows of a table without a key: {why}", suspects.len());
            report.unsettled.push(Unsettled { key: Vec::new(), why });
        }
        Ok(())
    }

    /// Rows in doubt, counted again: equal ones go, those that stayed as they were are differences.
    fn again(
        &self,
        suspects: Counts,
        now: &Counts,
        times: &mut HashMap<Hash, u32>,
        different: &mut Vec<(Hash, (u64, u64))>,
    ) -> Counts {
        let mut rest = Counts::new();
        for (hash, before) in suspects {
            let counts = now.get(&hash).copied().unwrap_or_default();
            if counts.0 == counts.1 {
                continue;
            }
            let seen = times.entry(hash.clone()).or_insert(1);
            *seen = if counts == before { *seen + 1 } else { 1 };
            if *seen >= self.reads_needed() {
                different.push((hash, counts));
            } else {
                rest.insert(hash, counts);
            }
        }
        rest
    }

    /// Counts every row on both sides; `None` when there are too many.
    async fn count(&mut self, table: &Table, report: &mut TableReport) -> Result<Option<Counts>, Error> {
        let mut counts = Counts::new();
        let most = self.limits.max_unkeyed_rows;
        let left = count(self.left, table, &table.left, most, |hash| {
            counts.entry(hash).or_default().0 += 1;
        });
        let Some(rows) = Box::pin(left).await? else { return Ok(None) };
        let right = count(self.right, table, &table.right, most, |hash| {
            counts.entry(hash).or_default().1 += 1;
        });
        if Box::pin(right).await?.is_none() {
            return Ok(None);
        }
        self.watch.see(&Event::Rows(rows.saturating_sub(report.rows)));
        report.rows = report.rows.max(rows);
        report.chunks += 1;
        Ok(Some(counts))
    }

    async fn name(
        &mut self,
        table: &Table,
        mut different: Vec<(Hash, (u64, u64))>,
    ) -> Result<Vec<Difference>, Error> {
        different.sort();
        let hashes: Vec<Hash> = different.iter().map(|(hash, _)| hash.clone()).collect();
        let left = Box::pin(rows::by_hashes(self.left, table, &table.left, &hashes)).await?;
        let right = Box::pin(rows::by_hashes(self.right, table, &table.right, &hashes)).await?;
        let mut named = Vec::new();
        for (hash, (l, r)) in different {
            let find = |images: &[rows::Image]| images.iter().find(|i| i.hash == hash).cloned();
            // One image tells all of it: the rows are the same, their numbers are not.
            let pair = (if l > r { find(&left) } else { None }, if r > l { find(&right) } else { None });
            let mut one = difference(table, None, (self.left.region(), self.right.region()), &pair, (l, r));
            one.count = (l, r);
            self.watch.see(&Event::Differs(&one));
            named.push(one);
        }
        Ok(named)
    }
}

/// Hands every row's checksum over; gives how many there are, `None` when more than `most`.
async fn count(
    session: &mut Session,
    table: &Table,
    side: &Side,
    most: u64,
    mut each: impl FnMut(Hash),
) -> Result<Option<u64>, Error> {
    let doing = format!("reading {}", table.name);
    // One more than are wanted tells that there are too many.
    let sql = format!(
        "SELECT {} FROM {} LIMIT {}",
        row_hash(side.columns.iter()),
        side.from(),
        most.saturating_add(1)
    );
    let region = session.region().to_owned();
    let mut rows = session.connection().query_stream(sql).await.map_err(Error::wire(&region, &*doing))?;
    let mut number = 0;
    while let Some(mut row) = rows.next().await.map_err(Error::wire(&region, &*doing))? {
        let hash = row.pop().flatten();
        each(hash.ok_or_else(|| Error::answer(&region, &doing, "a row without a checksum"))?);
        number += 1;
    }
    Ok((number <= most).then_some(number))
}
