//! One round of a link: take the checkpoint over, attach, and run to the first error.
//!
//! ```text
//! source ──events──▶ reader ──transactions──▶ planner ──groups──▶ applier ──▶ target
//!            ◀──acknowledgements── what the checkpoint covers ──────┘
//! ```
//! Data flows one way. Whatever fails, the three end together, and the next round starts from the checkpoint
//! alone: nothing in memory survives a round but what was read of the target's log (`conflict/shelf.rs`). What happens
//! between rounds is `life/cycle.rs`.

mod birth;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::apply::{Applier, Tools};
use crate::catalog::Catalog;
use crate::collations::Collations;
use crate::conflict::pair::Pair;
use crate::conflict::record;
use crate::conflict::rules::HybridClock;
use crate::conflict::seen::Follower;
use crate::conflict::shelf::Shelf;
use crate::copy::{self, Copy};
use crate::joining::{self, InStep};
use crate::lanes;
use crate::life::Life;
use crate::life::gate::Gate;
use crate::meta::{Meta, SaidBy};
use crate::origin::{LinkKey, Origins, Owners};
use crate::plan::{Planner, Rules};
use crate::progress::{Progress, now};
use crate::source::{Attach, IN_FLIGHT, Source, Stream};
use crate::status::{State, StatusError};
use crate::target::{self, TargetFacts};
use crate::{Config, Error, structure};

use watch::{CopyFound, Following, follow};

/// How long the group in hand may take once the link is to stop.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// A link, for one round.
pub(crate) struct Link {
    config: Arc<Config>,
    key: LinkKey,
    progress: Progress,
    gate: Gate,
    shelf: Shelf,
}

/// The target, looked at.
pub(crate) struct Opened {
    pub(crate) connection: wire::Connection,
    pub(crate) facts: TargetFacts,
    pub(crate) meta: Meta,
}

impl Link {
    pub(crate) fn new(
        config: Arc<Config>,
        key: LinkKey,
        progress: Progress,
        gate: Gate,
        shelf: Shelf,
    ) -> Self {
        Self { config, key, progress, gate, shelf }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Connects to the target, and checks its settings, the account's privileges, and the meta schema.
    pub(crate) async fn open_target(&self) -> Result<Opened, Error> {
        let mut connection = target::connect(&self.config.targets).await?;
        let facts = target::check(&mut connection).await?;
        target::prepare(&mut connection).await?;
        let meta = Meta::new(&self.config);
        meta.create(&mut connection).await?;
        meta.claim(&mut connection, &self.config.to, facts.server_uuid).await?;
        Ok(Opened { connection, facts, meta })
    }

    /// One round: from taking the link over to the first error, or until `stop`, or until `orders` ends, which follows
    /// what people want. What is in hand then is committed.
    pub(crate) async fn round(
        &self,
        opened: Opened,
        life: &Life,
        orders: impl Future<Output = Result<(), Error>> + Send + 'static,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let mut tasks = JoinSet::new();
        tasks.spawn(orders);
        let prepared = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            Some(ended) = tasks.join_next() => return joined(ended),
            prepared = Box::pin(self.prepare(opened, life, &stop)) => prepared?,
        };
        let Prepared { applier, acknowledged, planner, stream, target_log, copy, waits } = prepared;
        match copy {
            Some(_) => self.progress.state(State::Copying),
            None => self.progress.flows(),
        }
        if let Some((tables, what)) = waits {
            tracing::info!(link = self.key.text(), what, "a table has to wait");
            self.progress.waits_for(Some(what));
            let ready = joining::until_ready(
                self.config.clone(),
                self.key.clone(),
                tables,
                self.progress.clone(),
                stop.clone(),
            );
            tasks.spawn(ready);
        }
        let (to_planner, from_reader) = mpsc::channel(IN_FLIGHT);
        // One group may wait while one is applied: behind that, the next one grows.
        let (to_applier, from_planner) = mpsc::channel(1);
        tasks.spawn(stream.run(to_planner, acknowledged, stop.clone()));
        tasks.spawn(planner.run(from_reader, to_applier, self.gate.clone(), stop.clone()));
        tasks.spawn(applier.run(from_planner, stop.clone()));
        if let Some((log, read_for)) = target_log {
            tasks.spawn(follow(log, read_for, self.shelf.clone(), stop.clone()));
        }
        if let Some(copy) = copy {
            tasks.spawn(copy.run(stop.clone()));
        }
        let result = finish(&mut tasks, &stop).await;
        tasks.shutdown().await;
        result
    }

    async fn prepare(
        &self,
        opened: Opened,
        life: &Life,
        stop: &CancellationToken,
    ) -> Result<Prepared, Error> {
        let config = &self.config;
        let Opened { mut connection, facts, meta } = opened;
        let mut source = Source::connect(Attach::to_source(config, &self.key)).await?;
        let owners = self.learn_owners(&mut connection, &meta, &facts, &source).await?;
        let mut checkpoint = self.checkpoint(&mut connection, &meta, &mut source, life, stop).await?;
        let begin = joining::Begin {
            config,
            link: &self.key,
            connection: &mut connection,
            meta: &meta,
            source: &mut source,
            checkpoint: &mut checkpoint,
            progress: &self.progress,
            pause: structure::Pause { gate: &self.gate, stop },
        };
        let InStep { filter, waits } = Box::pin(joining::settle(begin)).await?;
        let goal = source.available().await?;
        self.progress.attached(&config.source.address, connection.address(), checkpoint.applied(), goal);
        let stream = source.dump(checkpoint.applied()).await?.telling(self.progress.clone());
        let mut catalog_session = target::connect(&config.targets).await?;
        target::prepare(&mut catalog_session).await?;
        let collations = Arc::new(Collations::read(&mut catalog_session).await?);
        let catalog = Catalog::new(catalog_session, collations.clone());
        let open = record::open(&mut connection, &meta.schema, &self.key, None).await?;
        let origins = Origins::new(&config.sync, &config.from, config.regions.keys().cloned());
        let rules = Rules::of(config, filter, owners.clone());
        let mark = checkpoint.mark().clone();
        let follower = Follower { seen: mark.seen.clone(), clock: HybridClock::at(mark.clock) };
        let places = copy::Places {
            config,
            schema: &meta.schema,
            link: &self.key,
            filter: &rules.filter,
            collations: &collations,
            max_packet: facts.max_packet,
            applied: checkpoint.applied(),
            progress: &self.progress,
            gate: &self.gate,
        };
        let found = Box::pin(copy::find(&mut connection, &places)).await?;
        let copies = found.as_ref().map(CopyFound::of);
        let doubts = copies.as_ref().and_then(|copies| copies.doubts.clone());
        let read_for = self.read_for(facts.server_uuid, owners.clone(), life.count);
        let (target_log, window) = self.watch_target(&checkpoint, read_for, &collations, copies).await?;
        self.progress.window(window.clone());
        let two_way = doubts.clone().zip(window.clone()).map(|(doubts, window)| copy::TwoWay {
            doubts,
            window,
            owners: owners.clone(),
            collations: collations.clone(),
            finished: Arc::new(tokio::sync::watch::Sender::new(0)),
        });
        let (copy, weaver) = match found {
            Some(found) => Some(Box::pin(found.start(&places, two_way, stop.clone())).await?).unzip(),
            None => (None, None),
        };
        let in_flight = weaver.as_ref().map(copy::Weaver::in_flight);
        let knows_ddl = window.clone().filter(|_| config.ddl_back);
        let planner = Planner::new(rules, origins, follower, catalog, weaver, mark, self.progress.clone())
            .behind_ddl(knows_ddl);
        let tools = Tools {
            schema: meta.schema.clone(),
            link: self.key.clone(),
            progress: self.progress.clone(),
            max_packet: facts.max_packet,
            conflicts: config.conflicts.clone(),
            window,
            others: config.others.clone(),
            owners,
            collations,
            open: open.into_iter().map(|(gtid, _)| gtid).collect(),
            lanes: lanes::connect(&config.targets, config.workers).await?,
            in_flight,
            doubts,
            pair: Pair::new(config, &self.key),
        };
        let (applier, acknowledged) = Applier::new(connection, checkpoint, tools);
        Ok(Prepared { applier, acknowledged, planner, stream, target_log, copy, waits })
    }

    /// Who owns which uuid: what the servers say, what the file says, what was noted before.
    async fn learn_owners(
        &self,
        connection: &mut wire::Connection,
        meta: &Meta,
        facts: &TargetFacts,
        source: &Source,
    ) -> Result<Owners, Error> {
        for (region, uuids) in &self.config.regions {
            meta.note_uuids(connection, region, uuids, SaidBy::File).await?;
        }
        meta.note_uuids(connection, &self.config.to, &[facts.server_uuid], SaidBy::Servers).await?;
        meta.note_uuids(connection, &self.config.from, &source.uuids, SaidBy::Servers).await?;
        let mut owners = meta.owners(connection).await?;
        self.add_links(&mut owners);
        Ok(owners)
    }

    /// What a link runs by itself is its source region's: of every link there could be.
    fn add_links(&self, owners: &mut Owners) {
        let regions = || self.config.regions.keys();
        for (from, to) in regions().flat_map(|from| regions().map(move |to| (from, to))) {
            let link = LinkKey { sync: self.config.sync.clone(), from: from.clone(), to: to.clone() };
            owners.add(from, structure::link_uuid(&link));
        }
    }
}

struct Prepared {
    applier: Applier,
    acknowledged: tokio::sync::watch::Receiver<crate::position::SourcePosition>,
    planner: Planner,
    stream: Stream,
    target_log: Option<Following>,
    copy: Option<Copy>,
    waits: Option<joining::Waits>,
}

/// Waits for the three tasks. The first to end stops the reader; the others finish what they hold, so that a
/// group in hand is committed and not left in doubt.
async fn finish(tasks: &mut JoinSet<Result<(), Error>>, stop: &CancellationToken) -> Result<(), Error> {
    let mut result = Ok(());
    let mut deadline = None;
    loop {
        let next = match deadline {
            None => tokio::select! {
                biased;
                () = stop.cancelled() => {
                    deadline = Some(tokio::time::Instant::now() + STOP_WITHIN);
                    continue;
                }
                next = tasks.join_next() => next,
            },
            Some(at) => tokio::time::timeout_at(at, tasks.join_next()).await.unwrap_or(None),
        };
        let Some(ended) = next else { return result };
        stop.cancel();
        let ended = joined(ended);
        // The first error is the cause; those of the others follow from it.
        if result.is_ok() {
            result = ended;
        }
    }
}

/// How a task of the link ended; a panic goes on here.
fn joined(ended: Result<Result<(), Error>, JoinError>) -> Result<(), Error> {
    ended.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        // Cancelled: only the end of the process does that.
        Err(_) => Ok(()),
    })
}

/// An error with its causes and its remedy, in one line.
pub(crate) fn describe(error: &Error) -> String {
    status_error(error, None).text()
}

/// An error as the status tells it. With `retry_in` it is one that may pass.
pub(crate) fn status_error(error: &Error, retry_in: Option<Duration>) -> StatusError {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    StatusError {
        message,
        remedy: error.remedy(),
        transient: retry_in.is_some(),
        since: now(),
        next_try_at: retry_in.map(|wait| now() + wait.as_secs_f64()),
    }
}
