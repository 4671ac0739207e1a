//! Is the log behind its source at this moment? Only the source knows.
//!
//! Who asks from transactions on that the log lacks is ahead of it: rightly, if the relay is behind, and then it waits;
//! or it has what nobody has, and is refused. A note of having caught up once would be stale as soon as the source
//! commits, so the source is asked each time, on a connection of its own, and the log must come to have what it says.

use std::time::Duration;

use binlog::GtidSet;
use storage::RelayLog;
use tokio::sync::Mutex;
use tokio::time::Instant;
use wire::ConnectOptions;

use crate::status::Progress;
use crate::upstream::Upstream;

/// The source is not asked more often, however many wait.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// A transaction is sent to replicas before it enters the source's `gtid_executed`: for so long, what is sent and not
/// executed may still be on its way here.
const IN_FLIGHT: Duration = Duration::from_secs(3);

/// A source that takes longer is asked again: the connection may be the one thing that does not work.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How often the log is looked at, and whether it is time to ask.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What the source was last heard to have.
pub(crate) struct Abreast {
    sources: Vec<ConnectOptions>,
    server_id: u32,
    log: RelayLog,
    progress: Progress,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    /// When it was asked, and what it had executed then.
    answer: Option<(Instant, GtidSet)>,
    /// When it was last asked, answered or not.
    tried: Option<Instant>,
}

impl Abreast {
    pub(crate) fn new(
        sources: &[ConnectOptions],
        server_id: u32,
        log: &RelayLog,
        progress: &Progress,
    ) -> Self {
        let (sources, log, progress) = (sources.to_vec(), log.clone(), progress.clone());
        Self { sources, server_id, log, progress, heard: Mutex::default() }
    }

    /// Waits until the log has all that the source has, asked once somebody who came now has waited long enough: what
    /// such a one is ahead by, nobody will send. Without a source there is nothing to wait for.
    pub(crate) async fn wait(&self) {
        if self.sources.is_empty() {
            return;
        }
        let due = Instant::now() + IN_FLIGHT;
        tokio::time::sleep_until(due).await;
        while !self.is_since(due).await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Has the log all that the source had when it was asked, no earlier than `due`?
    async fn is_since(&self, due: Instant) -> bool {
        let mut heard = self.heard.lock().await;
        let is_old = heard.answer.as_ref().is_none_or(|(asked, _)| *asked < due);
        let may_ask = heard.tried.is_none_or(|tried| tried.elapsed() >= ASK_EVERY);
        if is_old && may_ask {
            heard.tried = Some(Instant::now());
            heard.answer = self.ask().await;
        }
        let gtids = self.log.gtids_durable();
        heard.answer.as_ref().is_some_and(|(asked, executed)| *asked >= due && gtids.contains_all(executed))
    }

    /// Asks the server that is being pulled from; `None` when none is.
    async fn ask(&self) -> Option<(Instant, GtidSet)> {
        let status = self.progress.get();
        if !matches!(status.state.as_str(), "running" | "full") {
            return None;
        }
        let source = self.sources.iter().find(|source| source.address == status.source)?;
        let asked = Instant::now();
        let answer = Upstream::executed_now(std::slice::from_ref(source), self.server_id);
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(executed)) => Some((asked, executed)),
            Ok(Err(error)) => {
                tracing::debug!(error = crate::describe(&error), "source does not tell what it has");
                None
            }
            Err(_) => {
                tracing::debug!(within = ?ANSWER_WITHIN, "source does not tell what it has");
                None
            }
        }
    }
}
