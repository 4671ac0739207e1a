//! Writers in both regions, each on rows of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::known::Known;
use crate::schema::{TABLES, rows_of};
use crate::writer::{Writer, WriterOptions};
use crate::{Pair, Region, until};

/// Writers of each region.
const WRITERS: i32 = 2;

/// How fast each writer goes.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// A few dozen transactions a second: the appliers never fall behind.
    Calm,
    /// As fast as the server commits.
    Full,
}

/// Running writers. Dropping it stops them without asking what they know.
pub struct Workload {
    writers: JoinSet<Known>,
    stop: CancellationToken,
    written: Arc<AtomicU64>,
}

/// All that was committed.
pub struct Committed(Vec<Known>);

impl Workload {
    /// The writers' tables and their first rows, the same in each region. Before the processes are started, because
    /// nothing of it travels with `initial = "none"`.
    pub async fn prepare(pair: &Pair) {
        tokio::join!(Box::pin(Self::prepare_in(&pair.eu)), Box::pin(Self::prepare_in(&pair.us)));
    }

    /// The tables and first rows in one region: those of the other region's writers too.
    pub async fn prepare_in(region: &Region) {
        region.run_all(&TABLES).await;
        for writer in 1..=2 * WRITERS {
            region.run_all(&rows_of(writer)).await;
        }
    }

    /// Writers in both regions.
    pub fn start(pair: &Pair, seed: u64, pace: Pace) -> Self {
        Self::start_in(&[&pair.eu, &pair.us], seed, pace)
    }

    /// Writers in these regions only.
    pub fn start_in(regions: &[&Region], seed: u64, pace: Pace) -> Self {
        let (stop, written) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let mut writers = JoinSet::new();
        for region in regions {
            for writer in writers_of(region) {
                writers.spawn(Box::pin(
                    Writer::new(WriterOptions {
                        writer,
                        server: region.options(),
                        offset: if region.name() == "eu" { 1 } else { 2 },
                        seed,
                        pause: match pace {
                            Pace::Calm => Duration::from_millis(20),
                            Pace::Full => Duration::ZERO,
                        },
                        written: Arc::clone(&written),
                        stop: stop.clone(),
                    })
                    .run(),
                ));
            }
        }
        Self { writers, stop, written }
    }

    /// Transactions committed so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Waits until so many more transactions are committed.
    pub async fn wait_for_more(&self, transactions: u64) {
        let goal = self.written() + transactions;
        let what = format!("the writers commit {transactions} more transactions");
        until(&what, Duration::from_secs(60), async || {
            let written = self.written();
            if written >= goal { Ok(()) } else { Err(format!("{written} of {goal}")) }
        })
        .await;
    }

    /// Stops the writers and gives what they know. Panics with the first writer that panicked.
    pub async fn stop(mut self) -> Committed {
        self.stop.cancel();
        let mut known = Vec::new();
        while let Some(ended) = self.writers.join_next().await {
            known.push(ended.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic())));
        }
        println!("{} transactions committed", self.written());
        Committed(known)
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Committed {
    /// Asserts that both regions hold exactly what the writers committed.
    pub async fn assert_in_both(&self, pair: &Pair) {
        self.assert_in(&pair.eu).await;
        self.assert_in(&pair.us).await;
    }

    /// Asserts that a region holds exactly what the writers committed.
    pub async fn assert_in(&self, region: &Region) {
        for known in &self.0 {
            known.check(region).await.unwrap_or_else(|e| panic!("{e}"));
        }
    }
}

fn writers_of(region: &Region) -> impl Iterator<Item = i32> + use<> {
    let first = if region.name() == "eu" { 1 } else { 1 + WRITERS };
    first..first + WRITERS
}
