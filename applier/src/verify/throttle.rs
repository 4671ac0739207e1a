//! Holds a comparison back so that it is not felt: so many rows a second, and none while a server or a link is busy.

use std::time::Duration;

use tokio::time::Instant;

use super::passing::{Passing, Point};
use super::report::{Event, Watch};
use super::session::Session;
use super::{Error, Limits};

/// Between two looks at how busy a server is.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks at how far the links are behind.
const PROBE: Duration = Duration::from_secs(5);
/// Between two looks while it pauses.
const PAUSE: Duration = Duration::from_millis(500);

/// Asked before each chunk is read.
pub(super) struct Throttle {
    limits: Limits,
    /// A session in each of the regions compared.
    sessions: Vec<Session>,
    passing: Passing,
    /// When the rows let through so far are paid for.
    paid: Instant,
    looked: Option<Instant>,
    /// A mark that the links had not passed when it was last looked at.
    probe: Option<(Instant, Point)>,
    probed: Instant,
}

impl Throttle {
    pub(super) fn new(limits: &Limits, sessions: Vec<Session>, passing: Passing) -> Self {
        let now = Instant::now();
        Self { limits: limits.clone(), sessions, passing, paid: now, looked: None, probe: None, probed: now }
    }

    /// Returns when so many rows may be read.
    pub(super) async fn admit(&mut self, rows: u64, watch: &dyn Watch) -> Result<(), Error> {
        tokio::time::sleep_until(self.paid).await;
        if let Some(limit) = self.limits.max_rows_per_second {
            self.paid = self.paid.max(Instant::now()) + time_of(rows, limit);
        }
        if self.looked.is_none_or(|at| at.elapsed() >= LOOK) {
            self.wait_for_servers(watch).await?;
            self.wait_for_links(watch).await?;
            self.looked = Some(Instant::now());
        }
        Ok(())
    }

    async fn wait_for_servers(&mut self, watch: &dyn Watch) -> Result<(), Error> {
        let Some(limit) = self.limits.max_load else { return Ok(()) };
        for session in &mut self.sessions {
            loop {
                let doing = "reading Threads_running";
                let rows = session.ask(doing, "SHOW GLOBAL STATUS LIKE 'Threads_running'").await?;
                let running: Option<u32> = rows.first().and_then(|row| row.text_at(1).ok()?.parse().ok());
                let running = running.ok_or_else(|| Error::answer(session.region(), doing, "no number"))?;
                if running <= limit {
                    break;
                }
                watch.see(&Event::Doing(&format!("pausing: {running} threads run in {}", session.region())));
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Waits while a mark has been on its way for longer than the limit, but not for ever: what is then still behind
    /// stands still, and not because of this.
    async fn wait_for_links(&mut self, watch: &dyn Watch) -> Result<(), Error> {
        let Some(limit) = self.limits.max_lag else { return Ok(()) };
        if self.probe.is_none() && self.probed.elapsed() >= PROBE {
            self.probe = Some((Instant::now(), self.passing.mark().await?));
            self.probed = Instant::now();
        }
        while let Some((since, point)) = &self.probe {
            let Some(lacking) = self.passing.lacking(point).await? else {
                self.probe = None;
                break;
            };
            let lag = since.elapsed();
            if lag > limit + self.limits.wait {
                tracing::warn!(lacking, "going on although a link is behind");
                self.probe = None;
                self.probed = Instant::now() + self.limits.wait;
            } else if lag > limit {
                watch.see(&Event::Doing(&format!("pausing: {lacking}")));
                tokio::time::sleep(PAUSE).await;
            } else {
                break;
            }
        }
        Ok(())
    }
}

/// How long so many rows take at this rate.
fn time_of(rows: u64, per_second: u64) -> Duration {
    let nanos = u128::from(rows) * 1_000_000_000 / u128::from(per_second.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn rows_take_their_time() {
        assert_eq!(super::time_of(500, 1000), Duration::from_millis(500));
        assert_eq!(super::time_of(1, 3), Duration::from_nanos(333_333_333));
        assert_eq!(super::time_of(7, 0), Duration::from_secs(7));
    }
}
