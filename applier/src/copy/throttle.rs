//! Holds the copy back so that it is not felt: so many rows a second, and none while the source is busy or the link behind.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use wire::Connection;

use super::config::Load;
use super::walk::Wanted;
use crate::Error;
use crate::progress::Progress;

/// Between two looks at how busy the source is.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks while it pauses.
const PAUSE: Duration = Duration::from_millis(500);

/// Asked before each chunk.
pub(crate) struct Throttle {
    limits: Load,
    progress: Progress,
    /// When the rows let through so far are paid for.
    paid: Instant,
    looked: Option<Instant>,
    /// The status says that it pauses.
    said: bool,
}

impl Throttle {
    pub(crate) fn new(limits: Load, progress: Progress) -> Self {
        Self { limits, progress, paid: Instant::now(), looked: None, said: false }
    }

    /// Returns when so many rows may be read.
    pub(crate) async fn admit(&mut self, rows: u64, source: &mut Connection) -> Result<(), Error> {
        tokio::time::sleep_until(self.paid).await;
        if let Some(limit) = self.limits.max_rows_per_second {
            self.paid = self.paid.max(Instant::now()) + time_of(rows, limit);
        }
        if self.looked.is_none_or(|at| at.elapsed() >= LOOK) {
            while self.is_busy(source).await? {
                tokio::time::sleep(PAUSE).await;
            }
            self.looked = Some(Instant::now());
        }
        Ok(())
    }

    /// Hands a chunk over. Where nobody takes it, because the stream that its place is in comes to nothing, the status
    /// says why.
    pub(crate) async fn hand_over(
        &mut self,
        wanted: Wanted,
        to: &mpsc::Sender<Wanted>,
        source: &mut Connection,
    ) -> Result<bool, Error> {
        loop {
            tokio::select! {
                biased;
                // Those who copy may have ended; they tell why.
                permit = to.reserve() => return Ok(permit.map(|permit| permit.send(wanted)).is_ok()),
                () = tokio::time::sleep(LOOK) => {}
            }
            self.is_busy(source).await?;
        }
    }

    /// Should it pause now? Then the status says why. What others wait for stands otherwise.
    async fn is_busy(&mut self, source: &mut Connection) -> Result<bool, Error> {
        let why = self.busy(source).await?;
        let is_busy = why.is_some();
        if is_busy || self.said {
            self.progress.waits_for(why.map(|why| format!("pausing: {why}")));
        }
        self.said = is_busy;
        Ok(is_busy)
    }

    /// Why it should pause now.
    async fn busy(&self, source: &mut Connection) -> Result<Option<String>, Error> {
        if let Some(limit) = self.limits.max_load {
            let failed = Error::source("reading Threads_running");
            let rows =
                source.query_rows("SHOW GLOBAL STATUS LIKE 'Threads_running'").await.map_err(&failed)?;
            let running: Option<u32> = rows.first().and_then(|row| row.text_at(1).ok()?.parse().ok());
            if let Some(running) = running.filter(|running| *running > limit) {
                return Ok(Some(format!(
                    "{running} threads run in the source, more than load.max_load = {limit}"
                )));
            }
        }
        if let Some(limit) = self.limits.max_lag {
            let lag = self.progress.get().lag_seconds;
            if lag > limit.as_secs_f64() {
                return Ok(Some(format!(
                    "the link is {lag:.1} s behind, more than load.max_lag = {limit:?}"
                )));
            }
        }
        Ok(None)
    }
}

/// How long so many rows take at this rate.
fn time_of(rows: u64, per_second: u64) -> Duration {
    let nanos = u128::from(rows) * 1_000_000_000 / u128::from(per_second.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
