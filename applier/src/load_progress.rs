//! How far the initial copy is: rows and bytes done of those estimated, how fast, how long yet.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::status::{LoadStatus, TableLoad};

/// The rate is that of so long a time.
const LATELY: Duration = Duration::from_secs(10);

/// The state of a copy; without tables there is none.
#[derive(Debug, Default)]
pub(crate) struct LoadProgress {
    tables: Vec<TableLoad>,
    in_doubt: u64,
    /// How fast each table is copied, and all of them.
    rates: Vec<Rate>,
    rate: Rate,
}

/// How far it was when, rows and bytes.
#[derive(Clone, Debug, Default)]
struct Rate(VecDeque<(Instant, u64, u64)>);

impl LoadProgress {
    /// These tables are copied, or are to be.
    pub(crate) fn begin(&mut self, tables: Vec<TableLoad>) {
        self.rates = tables.iter().map(Rate::of).collect();
        self.tables = tables;
        self.rate = Rate::default();
        self.note();
    }

    /// A chunk of a table is copied; with `done` it was the last.
    pub(crate) fn add(&mut self, table: usize, rows: u64, bytes: u64, done: bool) {
        let Some((table, rate)) = self.tables.get_mut(table).zip(self.rates.get_mut(table)) else { return };
        table.rows_done += rows;
        table.bytes_done += bytes;
        table.state = if done { "done" } else { "copying" }.into();
        // What is done is known; until then a guess that proved too low is raised.
        table.rows_estimated = if done { table.rows_done } else { table.rows_estimated.max(table.rows_done) };
        table.bytes_estimated =
            if done { table.bytes_done } else { table.bytes_estimated.max(table.bytes_done) };
        rate.note(table.rows_done, table.bytes_done);
        self.note();
    }

    /// How many keys are in doubt now.
    pub(crate) fn doubts(&mut self, keys: u64) {
        self.in_doubt = keys;
    }

    fn sums(&self) -> (u64, u64) {
        let rows = self.tables.iter().map(|t| t.rows_done).sum();
        (rows, self.tables.iter().map(|t| t.bytes_done).sum())
    }

    fn note(&mut self) {
        let (rows, bytes) = self.sums();
        self.rate.note(rows, bytes);
    }

    /// As the status shows it; `None` where nothing is copied.
    pub(crate) fn status(&self) -> Option<LoadStatus> {
        if self.tables.is_empty() {
            return None;
        }
        let (rows_done, bytes_done) = self.sums();
        let rows_estimated = self.tables.iter().map(|t| t.rows_estimated).sum();
        let bytes_estimated: u64 = self.tables.iter().map(|t| t.bytes_estimated).sum();
        let done = self.tables.iter().all(|t| t.state == "done");
        let (rows_per_second, bytes_per_second, seconds_left) =
            self.rate.now(rows_done, bytes_done, bytes_estimated, done);
        Some(LoadStatus {
            tables: self.tables.iter().zip(&self.rates).map(|(table, rate)| rate.shown(table)).collect(),
            rows_done,
            rows_estimated,
            bytes_done,
            bytes_estimated,
            rows_per_second,
            bytes_per_second,
            seconds_left,
            in_doubt: self.in_doubt,
        })
    }
}

impl Rate {
    /// Of a table whose copy begins, or goes on, now or later.
    fn of(table: &TableLoad) -> Self {
        let mut rate = Self::default();
        rate.note(table.rows_done, table.bytes_done);
        rate
    }

    /// It is so far now.
    fn note(&mut self, rows: u64, bytes: u64) {
        let now = Instant::now();
        self.0.push_back((now, rows, bytes));
        while self.0.get(1).is_some_and(|(at, ..)| now.duration_since(*at) > LATELY) {
            self.0.pop_front();
        }
    }

    fn shown(&self, table: &TableLoad) -> TableLoad {
        let done = table.state == "done";
        let (rows_per_second, bytes_per_second, seconds_left) =
            self.now(table.rows_done, table.bytes_done, table.bytes_estimated, done);
        TableLoad { rows_per_second, bytes_per_second, seconds_left, ..table.clone() }
    }

    /// Rows and bytes a second, and the seconds left of so many bytes.
    #[expect(clippy::cast_precision_loss, reason = "rates are shown to a few digits")]
    fn now(&self, rows: u64, bytes: u64, estimated: u64, done: bool) -> (f64, f64, Option<f64>) {
        if done {
            return (0.0, 0.0, Some(0.0));
        }
        let Some((since, rows_then, bytes_then)) = self.0.front() else { return (0.0, 0.0, None) };
        let seconds = since.elapsed().as_secs_f64().max(0.001);
        let rate = |now: u64, then: &u64| now.saturating_sub(*then) as f64 / seconds;
        let bytes_per_second = rate(bytes, bytes_then);
        let left = estimated.saturating_sub(bytes) as f64 / bytes_per_second;
        (rate(rows, rows_then), bytes_per_second, Some(left).filter(|left| left.is_finite()))
    }
}

#[cfg(test)]
mod tests {
    use super::LoadProgress;
    use crate::status::TableLoad;

    fn table(name: &str, rows_estimated: u64) -> TableLoad {
        let (table, state) = (name.into(), "waiting".into());
        TableLoad {
            table,
            state,
            rows_estimated,
            bytes_estimated: rows_estimated * 10,
            ..TableLoad::default()
        }
    }

    #[test]
    fn what_is_done_is_counted_against_what_was_estimated() {
        let mut load = LoadProgress::default();
        assert!(load.status().is_none());
        load.begin(vec![table("shop.a", 100), table("shop.b", 10)]);
        load.add(0, 40, 400, false);
        let status = load.status().unwrap();
        assert_eq!((status.rows_done, status.rows_estimated), (40, 110));
        assert_eq!(
            (status.tables[0].state.as_str(), status.tables[1].state.as_str()),
            ("copying", "waiting")
        );
        let (moves, waits) = (&status.tables[0], &status.tables[1]);
        assert!(moves.rows_per_second > 0.0 && moves.bytes_per_second > moves.rows_per_second, "{moves:?}");
        assert!(moves.seconds_left > Some(0.0) && status.seconds_left > moves.seconds_left, "{status:?}");
        assert_eq!((waits.rows_per_second, waits.seconds_left), (0.0, None));
        load.add(1, 25, 250, false);
        assert_eq!(load.status().unwrap().tables[1].rows_estimated, 25, "a guess that was too low is raised");
        load.add(0, 20, 200, true);
        load.add(1, 0, 0, true);
        let status = load.status().unwrap();
        assert_eq!((status.rows_done, status.rows_estimated, status.seconds_left), (85, 85, Some(0.0)));
    }
}
