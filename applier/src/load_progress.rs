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
    /// When the copy was so far, rows and bytes.
    lately: VecDeque<(Instant, u64, u64)>,
}

impl LoadProgress {
    /// These tables are copied, or are to be.
    pub(crate) fn begin(&mut self, tables: Vec<TableLoad>) {
        self.tables = tables;
        self.lately.clear();
        self.note();
    }

    /// A chunk of a table is copied; with `done` it was the last.
    pub(crate) fn add(&mut self, table: usize, rows: u64, bytes: u64, done: bool) {
        let Some(table) = self.tables.get_mut(table) else { return };
        table.rows_done += rows;
        table.bytes_done += bytes;
        table.state = if done { "done" } else { "copying" }.into();
        // What is done is known; until then a guess that proved too low is raised.
        table.rows_estimated = if done { table.rows_done } else { table.rows_estimated.max(table.rows_done) };
        table.bytes_estimated =
            if done { table.bytes_done } else { table.bytes_estimated.max(table.bytes_done) };
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
        let ((rows, bytes), now) = (self.sums(), Instant::now());
        self.lately.push_back((now, rows, bytes));
        while self.lately.get(1).is_some_and(|(at, ..)| now.duration_since(*at) > LATELY) {
            self.lately.pop_front();
        }
    }

    /// As the status shows it; `None` where nothing is copied.
    pub(crate) fn status(&self) -> Option<LoadStatus> {
        if self.tables.is_empty() {
            return None;
        }
        let (rows_done, bytes_done) = self.sums();
        let rows_estimated = self.tables.iter().map(|t| t.rows_estimated).sum();
        let bytes_estimated: u64 = self.tables.iter().map(|t| t.bytes_estimated).sum();
        let (rows_per_second, bytes_per_second) = self.rates(rows_done, bytes_done);
        let left = bytes_estimated.saturating_sub(bytes_done);
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let seconds = left as f64 / bytes_per_second;
        let done = self.tables.iter().all(|t| t.state == "done");
        let seconds_left = if done { Some(0.0) } else { Some(seconds).filter(|s| s.is_finite()) };
        Some(LoadStatus {
            tables: self.tables.clone(),
            rows_done,
            rows_estimated,
            bytes_done,
            bytes_estimated,
            rows_per_second: if done { 0.0 } else { rows_per_second },
            seconds_left,
            in_doubt: self.in_doubt,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "rates are shown to a few digits")]
    fn rates(&self, rows: u64, bytes: u64) -> (f64, f64) {
        let Some((since, rows_then, bytes_then)) = self.lately.front() else { return (0.0, 0.0) };
        let seconds = since.elapsed().as_secs_f64().max(0.001);
        ((rows - rows_then) as f64 / seconds, (bytes - bytes_then) as f64 / seconds)
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
        load.add(1, 25, 250, false);
        assert_eq!(load.status().unwrap().tables[1].rows_estimated, 25, "a guess that was too low is raised");
        load.add(0, 20, 200, true);
        load.add(1, 0, 0, true);
        let status = load.status().unwrap();
        assert_eq!((status.rows_done, status.rows_estimated, status.seconds_left), (85, 85, Some(0.0)));
    }
}
