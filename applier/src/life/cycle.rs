//! The cycle of a link: what is wanted of it, a round, and what to do when one ends.
//!
//! ```text
//!      ┌──────────────────────── wish, schedule, order ───────────────────────┐
//!      ▼                                                                      │
//! checking ──▶ hold (scheduled, paused, stopped) ──wish changes, time comes──▶┤
//!      │                                                                      │
//!      └─────▶ round ── told to end ─────────────────────────────────────────▶┤
//!                │  └── transient error ──back-off────────────────────────────▶┤
//!                └───── definite error ──▶ failed ──somebody says start───────▶┘
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::Connection;

use super::gate::Gate;
use super::{Course, Life, Wish, table};
use crate::conflict::record;
use crate::conflict::shelf::Shelf;
use crate::link::{Link, Opened, describe, status_error};
use crate::origin::LinkKey;
use crate::progress::Progress;
use crate::pulse;
use crate::source::Attach;
use crate::status::State;
use crate::{Config, Error, mended, target};

/// First wait before a link is tried again; doubled up to the last.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(15);
/// How often the regions are asked for a uuid that nobody owns.
const ASK_AGAIN: u32 = 3;
/// How often it is looked whether something else is wanted: for those who can't nudge the process.
const LOOK: Duration = Duration::from_secs(2);
/// How often a link that a conflict stopped looks for the decision.
const LOOK_FOR_DECISION: Duration = Duration::from_millis(500);

/// What is to happen on an error that trying again can't mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The link stays, in state `failed`, until somebody starts it again.
    Stay,
    /// It ends with the error.
    End,
}

/// A link with its place among processes: it outlives its rounds.
#[derive(Clone, Debug)]
pub(crate) struct Cycle {
    shared: Arc<Shared>,
    key: LinkKey,
    progress: Progress,
    gate: Gate,
    /// The conflict window, between a round and the next.
    shelf: Shelf,
}

#[derive(Debug)]
struct Shared {
    config: Mutex<Arc<Config>>,
    /// Something was ordered: look at once.
    nudge: Notify,
    /// The configuration has changed: the round ends, and the next one has it.
    reconfigured: Notify,
}

impl Cycle {
    pub(crate) fn new(config: Config) -> Self {
        let key = LinkKey { sync: config.sync.clone(), from: config.from.clone(), to: config.to.clone() };
        let progress = Progress::new(&config.link);
        let shared = Shared {
            config: Mutex::new(Arc::new(config)),
            nudge: Notify::new(),
            reconfigured: Notify::new(),
        };
        Self { shared: Arc::new(shared), key, progress, gate: Gate::open(), shelf: Shelf::default() }
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The configuration of the next round.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.shared.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another configuration of the same link: the group in hand is committed, and the next round has it.
    pub(crate) fn reconfigure(&self, config: Config) {
        *self.shared.config.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        self.shared.reconfigured.notify_one();
        self.shared.nudge.notify_one();
    }

    /// Asks the source how far it is, until `end`, whatever the link does.
    pub(crate) fn pulse(&self, end: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let (cycle, progress) = (self.clone(), self.progress.clone());
        pulse::run(move || Attach::to_source(&cycle.config(), &cycle.key), progress, end)
    }

    /// Looks at once what is wanted.
    pub(crate) fn nudge(&self) {
        self.shared.nudge.notify_one();
    }

    /// Checks what can be checked before the first round: the target's settings, privileges, meta schema.
    pub(crate) async fn check(&self) -> Result<(), Error> {
        self.link().open_target().await.map(drop)
    }

    /// The next round's link.
    fn link(&self) -> Link {
        let (progress, gate) = (self.progress.clone(), self.gate.clone());
        Link::new(self.config(), self.key.clone(), progress, gate, self.shelf.clone())
    }

    /// Goes round until `shutdown`: `Ok`, or the error that the link has stopped for.
    pub(crate) async fn run(&self, shutdown: &CancellationToken, on_failure: OnFailure) -> Result<(), Error> {
        let (mut backoff, mut asked_again) = (FIRST_BACKOFF, 0);
        let mut life = Life::default();
        while !shutdown.is_cancelled() {
            let (began, committed) = (Instant::now(), self.progress.groups_committed());
            let Err(error) = self.once(&mut life, shutdown).await else { continue };
            // Who reset the link or skipped a transaction cut this round off, and left a note.
            let is_cut_off = matches!(error, Error::Fenced { .. } | Error::CheckpointLost { .. });
            if is_cut_off && self.has_orders_beyond(life.count).await {
                tracing::info!(link = self.key.text(), "beginning again: an order cut the round off");
                continue;
            }
            // A new server of a region is known to its relay before its transactions arrive: ask again.
            let unowned = matches!(error, Error::UnknownOrigin { .. });
            asked_again = if unowned { asked_again + 1 } else { 0 };
            if !(error.is_transient() || unowned && asked_again <= ASK_AGAIN) {
                if on_failure == OnFailure::End {
                    return Err(error);
                }
                if !self.stay_failed(&error, &life, shutdown).await {
                    return Err(error);
                }
                continue;
            }
            if began.elapsed() > LAST_BACKOFF || self.progress.groups_committed() > committed {
                backoff = FIRST_BACKOFF;
            }
            let wait = backoff.mul_f64(rand::random_range(0.5..1.5));
            tracing::warn!(link = self.key.text(), error = describe(&error), retry_in = ?wait, "link interrupted");
            self.progress.interrupted(status_error(&error, Some(wait)));
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                () = self.shared.nudge.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
            backoff = (backoff * 2).min(LAST_BACKOFF);
        }
        Ok(())
    }

    /// Looks what is wanted, and does it: a round, or a wait until something else is wanted.
    async fn once(&self, life: &mut Life, shutdown: &CancellationToken) -> Result<(), Error> {
        let link = self.link();
        self.progress.checking();
        let opened = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            opened = link.open_target() => opened?,
        };
        let Opened { mut connection, facts, meta } = opened;
        *life = table::read(&mut connection, &meta.schema, &self.key).await?;
        match life.course(link.config().start_at, SystemTime::now()) {
            Course::Hold { state, reason, until } => {
                // A link that waits holds no connection.
                connection.close().await;
                self.hold(state, reason, until, life.count, shutdown).await;
                Ok(())
            }
            Course::Go => {
                self.gate.set_open(true);
                let stop = shutdown.child_token();
                let opened = Opened { connection, facts, meta };
                link.round(opened, life, self.follow(life.clone(), stop.clone()), stop).await
            }
        }
    }

    /// Stays in a state until something else is wanted, or until a time.
    async fn hold(
        &self,
        state: State,
        reason: String,
        until: Option<SystemTime>,
        count: u64,
        shutdown: &CancellationToken,
    ) {
        self.progress.hold(state, reason);
        self.shelf.clear();
        let time = async {
            match until {
                // Looked at again and again: a clock that is set does not move a timer.
                Some(until) => {
                    while let Ok(left) = until.duration_since(SystemTime::now()) {
                        tokio::time::sleep(left.min(Duration::from_secs(1))).await;
                    }
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = self.shared.reconfigured.notified() => {}
            () = time => {}
            () = self.orders_beyond(count) => {}
        }
    }

    /// Stays `failed` until somebody starts the link again, decides its conflict, alters the table that does not fit, or
    /// changes its configuration. `false` when it is to end instead.
    async fn stay_failed(&self, error: &Error, life: &Life, shutdown: &CancellationToken) -> bool {
        self.progress.failed(status_error(error, None));
        self.shelf.clear();
        tracing::error!(link = self.key.text(), error = describe(error), "link stopped");
        let mended = async {
            match error {
                Error::Conflict { number, .. } => self.is_decided(*number).await,
                _ => match mended::table_of(error) {
                    Some(table) => mended::is_altered(&self.config().targets, table).await,
                    None => std::future::pending().await,
                },
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => false,
            () = self.shared.reconfigured.notified() => true,
            () = mended => true,
            () = self.orders_beyond(life.count) => true,
        }
    }

    /// Follows what is wanted while a round runs: closes and opens the gate, and ends the round for anything else.
    fn follow(
        &self,
        mut life: Life,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let cycle = self.clone();
        async move {
            let mut session = None;
            loop {
                let now = tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(()),
                    () = cycle.shared.reconfigured.notified() => {
                        tracing::info!(link = cycle.key.text(), "the configuration has changed");
                        return Ok(());
                    }
                    now = cycle.next_life(life.count, &mut session) => now,
                };
                // A skip, a reset: the next round begins with it.
                if now.since == life.since || now.anew && !life.anew {
                    return Ok(());
                }
                match now.wish {
                    Wish::Stopped => return Ok(()),
                    Wish::Paused => {
                        cycle.gate.set_open(false);
                        cycle.progress.hold(State::Paused, now.order.text());
                    }
                    Wish::Run if life.wish == Wish::Paused => {
                        cycle.progress.resumes();
                        cycle.gate.set_open(true);
                    }
                    // It runs.
                    Wish::Run => {}
                }
                life = now;
            }
        }
    }

    /// Waits for an order beyond this count. Holds no connection between looks.
    async fn orders_beyond(&self, count: u64) {
        loop {
            let mut session = None;
            if self.look(&mut session).await.is_some_and(|life| life.count > count) {
                return;
            }
            drop(session);
            self.until_next_look().await;
        }
    }

    /// Waits for an order beyond this count, and gives what is wanted then. A target that can't be reached has none.
    async fn next_life(&self, count: u64, session: &mut Option<Connection>) -> Life {
        loop {
            if let Some(life) = self.look(session).await.filter(|life| life.count > count) {
                return life;
            }
            self.until_next_look().await;
        }
    }

    async fn until_next_look(&self) {
        tokio::select! {
            () = self.shared.nudge.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }

    async fn has_orders_beyond(&self, count: u64) -> bool {
        self.look(&mut None).await.is_some_and(|life| life.count > count)
    }

    /// Looks once, on a connection of its own.
    async fn look(&self, session: &mut Option<Connection>) -> Option<Life> {
        let config = self.config();
        let mut connection = match session.take() {
            Some(connection) => connection,
            None => target::connect(&config.targets).await.ok()?,
        };
        let life = table::read(&mut connection, &config.meta_schema, &self.key).await.ok()?;
        *session = Some(connection);
        Some(life)
    }

    /// Waits until somebody has decided a conflict.
    async fn is_decided(&self, number: u64) {
        let config = self.config();
        let mut session: Option<Connection> = None;
        loop {
            tokio::time::sleep(LOOK_FOR_DECISION).await;
            if session.is_none() {
                // A target that can't be reached has no decision: it is tried again.
                session = target::connect(&config.targets).await.ok();
            }
            let Some(connection) = &mut session else { continue };
            match record::is_waiting(connection, &config.meta_schema, number).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => session = None,
            }
        }
    }
}
