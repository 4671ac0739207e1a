//! The first look at a table: chunk by chunk over the whole key space, both sides at once.
//!
//! ```text
//! walk ──ranges──▶ workers (a session on each side, both ask at once) ──compared──▶ in order again
//! ```
//! One side's rows give the boundaries; where they end, the other side's rows beyond go on giving them, and the last
//! range has no end. A chunk has as many rows as are read in [`Limits::chunk_time`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::column::row_hash;
use super::key::{Key, KeyValue, Range};
use super::report::Watch;
use super::session::{Place, Session};
use super::table::{Side, Table};
use super::throttle::Throttle;
use super::{Error, Limits};

/// Rows of a chunk at first, and how few and how many there may be.
const FIRST_ROWS: u64 = 2_000;
const LEAST_ROWS: u64 = 100;
const MOST_ROWS: u64 = 500_000;

/// The checksum of the rows in a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) rows: u64,
    /// The rows' checksums, all combined; empty without rows.
    sum: Bytes,
}

/// A range and what both sides hold in it.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) range: Range,
    pub(super) left: Digest,
    pub(super) right: Digest,
}

/// The checksum of a range on one side. Rows have different keys, so no two of them cancel each other out.
pub(super) async fn digest(
    session: &mut Session,
    table: &Table,
    side: &Side,
    key: &Key,
    range: &Range,
) -> Result<Digest, Error> {
    let sql = format!(
        "SELECT COUNT(*) AS n, BIT_XOR({}) AS sum FROM {} WHERE {}",
        row_hash(side.columns.iter()),
        side.from(),
        key.within(range)
    );
    let doing = format!("the checksum of rows of {}", table.name);
    let answer = session.ask(&doing, &sql).await?;
    let read = answer.first().and_then(|row| Some((row.parse("n").ok()?, row.bytes("sum").ok()??.clone())));
    let (rows, sum) = read.ok_or_else(|| Error::answer(session.region(), &doing, "no checksum"))?;
    Ok(Digest { rows, sum: if rows == 0 { Bytes::new() } else { sum } })
}

/// Both sides' checksums of a range, asked for at once.
pub(super) async fn digests(
    (left, right): (&mut Session, &mut Session),
    table: &Table,
    key: &Key,
    range: Range,
) -> Result<Chunk, Error> {
    let (l, r) = tokio::join!(
        Box::pin(digest(left, table, &table.left, key, &range)),
        Box::pin(digest(right, table, &table.right, key, &range))
    );
    Ok(Chunk { left: l?, right: r?, range })
}

/// The key of the row that is `rows` rows behind; `None` when there are fewer.
pub(super) async fn boundary(
    session: &mut Session,
    table: &Table,
    side: &Side,
    key: &Key,
    range: &Range,
    rows: u64,
) -> Result<Option<KeyValue>, Error> {
    let sql = format!(
        "SELECT {} FROM {} WHERE {} ORDER BY {} LIMIT 1 OFFSET {}",
        key.select(),
        side.from(),
        key.within(range),
        key.order(),
        rows.saturating_sub(1)
    );
    let doing = format!("looking for a chunk's end in {}", table.name);
    let answer = session.ask(&doing, &sql).await?;
    let Some(row) = answer.rows.into_iter().next() else { return Ok(None) };
    let parts: Option<Vec<Bytes>> = row.into_iter().collect();
    parts
        .map(|parts| Some(KeyValue(parts)))
        .ok_or_else(|| Error::answer(session.region(), &doing, "a NULL in a key"))
}

/// What a scan needs; its tasks share it.
pub(super) struct Scan {
    pub(super) table: Arc<Table>,
    pub(super) key: Key,
    pub(super) limits: Limits,
    pub(super) places: (Place, Place),
    pub(super) watch: Arc<dyn Watch>,
}

/// A scan that runs. Dropping it ends its tasks.
pub(super) struct Running {
    tasks: JoinSet<Result<(), Error>>,
    compared: mpsc::Receiver<(u64, Chunk)>,
    waiting: BTreeMap<u64, Chunk>,
    next: u64,
}

impl Scan {
    /// Begins behind `after`.
    pub(super) fn start(self, throttle: Arc<Mutex<Throttle>>, after: Option<KeyValue>) -> Running {
        let sessions = self.limits.sessions.max(1);
        let (to_workers, ranges) = mpsc::channel(sessions);
        let (done, compared) = mpsc::channel(sessions * 2);
        let ranges = Arc::new(Mutex::new(ranges));
        let rows = Arc::new(AtomicU64::new(FIRST_ROWS));
        let scan = Arc::new(self);
        let mut tasks = JoinSet::new();
        for _ in 0..sessions {
            let (scan, ranges, done, rows) = (scan.clone(), ranges.clone(), done.clone(), rows.clone());
            tasks.spawn(async move { Box::pin(scan.work(&ranges, &done, &rows)).await });
        }
        tasks.spawn(async move { Box::pin(scan.walk(throttle, to_workers, &rows, after)).await });
        Running { tasks, compared, waiting: BTreeMap::new(), next: 0 }
    }

    async fn walk(
        &self,
        throttle: Arc<Mutex<Throttle>>,
        to: mpsc::Sender<(u64, Range)>,
        rows: &AtomicU64,
        mut after: Option<KeyValue>,
    ) -> Result<(), Error> {
        let mut throttle = throttle.lock().await;
        let mut left = Session::open(&self.places.0).await?;
        let mut right = Session::open(&self.places.1).await?;
        let mut number = 0;
        for (session, side) in [(&mut left, &self.table.left), (&mut right, &self.table.right)] {
            loop {
                let wanted = rows.load(Ordering::Relaxed);
                throttle.admit(wanted, self.watch.as_ref()).await?;
                let rest = Range { after: after.clone(), upto: None };
                let end = boundary(session, &self.table, side, &self.key, &rest, wanted).await?;
                let Some(end) = end else { break };
                let range = Range { after: after.replace(end.clone()), upto: Some(end) };
                if to.send((number, range)).await.is_err() {
                    return Ok(());
                }
                number += 1;
            }
        }
        // Nobody there to take it: the scan was given up.
        _ = to.send((number, Range { after, upto: None })).await;
        Ok(())
    }

    async fn work(
        &self,
        ranges: &Mutex<mpsc::Receiver<(u64, Range)>>,
        done: &mpsc::Sender<(u64, Chunk)>,
        rows: &AtomicU64,
    ) -> Result<(), Error> {
        let mut left = Session::open(&self.places.0).await?;
        let mut right = Session::open(&self.places.1).await?;
        loop {
            let next = ranges.lock().await.recv().await;
            let Some((number, range)) = next else { return Ok(()) };
            let began = Instant::now();
            let chunk = match digests((&mut left, &mut right), &self.table, &self.key, range).await {
                Ok(chunk) => chunk,
                Err(error) => {
                    // The walk ends too, and with it the other workers.
                    ranges.lock().await.close();
                    return Err(error);
                }
            };
            let read = chunk.left.rows.max(chunk.right.rows);
            rows.store(
                next_size(rows.load(Ordering::Relaxed), read, began.elapsed(), self.limits.chunk_time),
                Ordering::Relaxed,
            );
            if done.send((number, chunk)).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// How many rows the next chunk should have, when `read` rows took so long.
fn next_size(now: u64, read: u64, took: Duration, wanted: Duration) -> u64 {
    if read < LEAST_ROWS {
        return now;
    }
    let nanos = took.as_nanos().max(1);
    let fitting = u128::from(read) * wanted.as_nanos() / nanos;
    let fitting = u64::try_from(fitting).unwrap_or(MOST_ROWS);
    // A single fast chunk, all of it in memory, says little about the next.
    fitting.clamp(now / 4, now.saturating_mul(2)).clamp(LEAST_ROWS, MOST_ROWS)
}

impl Running {
    /// The next chunk, in the order of the keys; `None` behind the last. Cancellation safe.
    pub(super) async fn next(&mut self) -> Result<Option<Chunk>, Error> {
        loop {
            if let Some(chunk) = self.waiting.remove(&self.next) {
                self.next += 1;
                return Ok(Some(chunk));
            }
            match self.compared.recv().await {
                Some((number, chunk)) => _ = self.waiting.insert(number, chunk),
                None => return self.ended().await.map(|()| None),
            }
        }
    }

    /// All tasks have let go of the channel; the first error is why.
    async fn ended(&mut self) -> Result<(), Error> {
        let mut result = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            let ended = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            result = result.and(ended);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{LEAST_ROWS, MOST_ROWS, next_size};

    #[test]
    fn chunks_grow_and_shrink_towards_the_wanted_time() {
        let wanted = Duration::from_millis(500);
        let ms = Duration::from_millis;
        assert_eq!(next_size(1000, 1000, ms(400), wanted), 1250);
        assert_eq!(next_size(1000, 1000, ms(1), wanted), 2000, "not all at once");
        assert_eq!(next_size(1000, 1000, ms(60_000), wanted), 250);
        assert_eq!(next_size(LEAST_ROWS, LEAST_ROWS, ms(60_000), wanted), LEAST_ROWS);
        assert_eq!(next_size(MOST_ROWS, MOST_ROWS, ms(1), wanted), MOST_ROWS);
        assert_eq!(next_size(1000, 3, ms(1), wanted), 1000, "the end of a table says nothing");
    }
}
