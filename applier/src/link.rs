//! One round of a link: take the checkpoint over, attach, and run to the first error.
//!
//! ```text
//! source ──events──▶ reader ──transactions──▶ planner ──groups──▶ applier ──▶ target
//!            ◀──acknowledgements── what the checkpoint covers ──────┘
//! ```
//! Data flows one way. Whatever fails, the three end together, and the next round starts from the checkpoint
//! alone: nothing in memory survives a round but what was read of the target's log (`conflict/shelf.rs`). What happens
//! between rounds is `life/cycle.rs`.

use std::sync::Arc;
use std::time::Duration;

use binlog::GtidSet;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::apply::{Applier, Tools};
use crate::catalog::Catalog;
use crate::checkpoint::Checkpoint;
use crate::collations::Collations;
use crate::conflict::follow::{self, TargetLog};
use crate::conflict::pair::Pair;
use crate::conflict::record;
use crate::conflict::rules::HybridClock;
use crate::conflict::seen::{Follower, Seen};
use crate::conflict::shared::SharedWindow;
use crate::conflict::shelf::{ReadFor, Shelf};
use crate::copy::{self, Copy, Doubts};
use crate::executed::executed;
use crate::filter::Filter;
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
        let Prepared { applier, acknowledged, planner, stream, target_log, copy } = prepared;
        match copy {
            Some(_) => self.progress.state(State::Copying),
            None => self.progress.flows(),
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
        let checkpoint = self.checkpoint(&mut connection, &meta, &mut source, life, stop).await?;
        let goal = source.available().await?;
        self.progress.attached(&config.source.address, connection.address(), checkpoint.applied(), goal);
        let stream = source.dump(checkpoint.applied()).await?.telling(self.progress.clone());
        let mut catalog_session = target::connect(&config.targets).await?;
        target::prepare(&mut catalog_session).await?;
        let collations = Arc::new(Collations::read(&mut catalog_session).await?);
        let catalog = Catalog::new(catalog_session, collations.clone());
        let open = record::open(&mut connection, &meta.schema, &self.key, None).await?;
        let origins = Origins::new(&config.sync, &config.from, config.regions.keys().cloned());
        let rules = Rules {
            filter: Filter::new(config.objects.clone(), &config.meta_schema),
            meta_schema: config.meta_schema.clone(),
            from: config.from.clone(),
            to: config.to.clone(),
            ddl: config.ddl,
            limits: config.group,
            owners: owners.clone(),
        };
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
        let (begun, doubts) = found.as_ref().map_or((None, None), |f| (f.begun.clone(), f.doubts.clone()));
        let read_for = ReadFor {
            config: config.clone(),
            target: facts.server_uuid,
            owners: owners.clone(),
            orders: life.count,
        };
        let (target_log, window) =
            self.watch_target(&checkpoint, read_for, &collations, begun, doubts.clone()).await?;
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
            owners,
            collations,
            open: open.into_iter().map(|(gtid, _)| gtid).collect(),
            lanes: lanes::connect(&config.targets, config.workers).await?,
            in_flight,
            doubts,
            pair: Pair::new(config, &self.key),
        };
        let (applier, acknowledged) = Applier::new(connection, checkpoint, tools);
        Ok(Prepared { applier, acknowledged, planner, stream, target_log, copy })
    }

    /// The conflict window and its reader, where a table's conflicts are found by it. It begins behind what the
    /// source's region had seen of the target at the checkpoint.
    async fn watch_target(
        &self,
        checkpoint: &Checkpoint,
        read_for: ReadFor,
        collations: &Arc<Collations>,
        begun: Option<GtidSet>,
        doubts: Option<Doubts>,
    ) -> Result<(Option<Following>, Option<SharedWindow>), Error> {
        let config = &self.config;
        let Some(relay) = config.target_relay.as_ref().filter(|_| config.conflicts.any_by_row()) else {
            return Ok((None, None));
        };
        let mut session = target::connect(&config.targets).await?;
        let seen = &checkpoint.mark().seen;
        let copies = begun.is_some() || doubts.is_some();
        if let Some(log) = self.shelf.take(&read_for, seen).filter(|_| !copies) {
            let (window, log) = (log.window(), log.with_session(session));
            return Ok((Some((log, Some(read_for))), Some(window)));
        }
        let of_target = seen.of(&config.to);
        let mut behind = of_target.gtids;
        behind.union_with(&checkpoint.done().gtids);
        let clock = of_target.clock.max(checkpoint.done().clock);
        // DDL of other regions ran in the target under its original GTIDs. Their rows did not: a relay that knows a uuid
        // from the former would take who asks behind the latter for one that is ahead of it.
        let executed = self.executed_in_target(&mut session).await?;
        for (_, applied) in Checkpoint::applied_by_link(&mut session, &config.meta_schema).await? {
            behind.union_with(&applied.intersection(&executed));
        }
        // While rows are copied every write here counts that the way back brings: from where that began.
        let (behind, clock) = begun.map_or((behind, clock), |begun| (begun, 0));
        let window = SharedWindow::behind(behind, clock, config.state_dir.clone());
        let rules = follow::Rules {
            link: self.key.clone(),
            filter: Filter::new(config.objects.clone(), &config.meta_schema),
            meta_schema: config.meta_schema.clone(),
            owners: read_for.owners.clone(),
            regions: config.regions.keys().cloned().collect(),
            ddl_back: config.ddl_back,
        };
        let attach = Attach::to_target(config, &self.key, relay);
        let log = TargetLog::new(attach, rules, window.clone(), session, collations.clone()).noting(doubts);
        Ok((Some((log, (!copies).then_some(read_for))), Some(window)))
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

    /// The link's checkpoint, taken over; or its first, when it was never born. A link that has run and has no
    /// checkpoint stops (**promise 5**): beginning at "now" would skip what lies between.
    async fn checkpoint(
        &self,
        connection: &mut wire::Connection,
        meta: &Meta,
        source: &mut Source,
        life: &Life,
        stop: &CancellationToken,
    ) -> Result<Checkpoint, Error> {
        if let Some(checkpoint) = Checkpoint::take_over(connection, &meta.schema, &self.key).await? {
            return Ok(checkpoint);
        }
        let lost =
            |evidence| Error::CheckpointLost { link: self.key.text(), schema: meta.schema.clone(), evidence };
        if meta.is_born(connection, &self.key).await? {
            return Err(lost("its birth record is there"));
        }
        if source.remembers_link && !life.anew {
            return Err(lost("the relay remembers its acknowledgements"));
        }
        let start = if self.config.load.initial.has_structure() {
            self.wait_for_way_back(&meta.schema).await?;
            self.progress.state(State::Structure);
            let pause = structure::Pause { gate: &self.gate, stop };
            structure::make(&self.config, &self.key, connection, meta, source, pause).await?
        } else {
            source.executed().await?
        };
        tracing::info!(link = self.key.text(), after = %start, "link begins");
        let seen = self.seen_at_birth(connection, &meta.schema).await?;
        let copies = self.config.load.initial.has_data();
        meta.give_birth(connection, &self.key, &start, &seen, copies).await?;
        let born = Checkpoint::take_over(connection, &meta.schema, &self.key).await?;
        born.ok_or_else(|| lost("it was just begun"))
    }

    /// Whoever finds new tables in the target writes them: the way back must be there before they are.
    async fn wait_for_way_back(&self, schema: &str) -> Result<(), Error> {
        let makes_tables = self.config.way_back.as_ref().is_some_and(|back| back.makes_tables);
        let copies = self.config.load.initial.has_data() && !makes_tables;
        if let Some(back) = copy::WayBack::of(&self.config, schema, &self.key).filter(|_| copies) {
            back.begin(&self.progress).await?;
        }
        Ok(())
    }

    /// What the source's region is taken to have seen when a link begins between regions that are equal: all that the
    /// target has, of its own and of others. Where rows are copied, what the way back is still to bring it has not.
    async fn seen_at_birth(&self, connection: &mut wire::Connection, schema: &str) -> Result<Seen, Error> {
        let mut seen = Seen::default();
        let mut of_target = self.executed_in_target(connection).await?;
        if let Some(back) =
            copy::WayBack::of(&self.config, schema, &self.key).filter(|_| self.config.load.initial.has_data())
            && let Some(begun) = back.begun().await?
        {
            of_target = of_target.intersection(&begun);
        }
        seen.add(&self.config.to, &of_target, 0);
        for (link, applied) in Checkpoint::applied_by_link(connection, schema).await? {
            if let Some(key) =
                LinkKey::parse(&link).filter(|k| k.sync == self.key.sync && k.to == self.key.to)
            {
                seen.add(&key.from, &applied, 0);
            }
        }
        Ok(seen)
    }

    async fn executed_in_target(&self, connection: &mut wire::Connection) -> Result<GtidSet, Error> {
        executed(connection).await.map_err(Error::target("asking what it has executed"))
    }
}

/// The reader of the target's log, and what it reads for if it may be kept.
type Following = (TargetLog, Option<ReadFor>);

struct Prepared {
    applier: Applier,
    acknowledged: tokio::sync::watch::Receiver<crate::position::SourcePosition>,
    planner: Planner,
    stream: Stream,
    target_log: Option<Following>,
    copy: Option<Copy>,
}

/// Reads the target's log until `stop`. The window is kept for the next round, but for that of a copy: it holds keys in
/// doubt.
async fn follow(
    mut log: TargetLog,
    read_for: Option<ReadFor>,
    shelf: Shelf,
    stop: CancellationToken,
) -> Result<(), Error> {
    log.run(stop).await?;
    if let Some(read_for) = read_for {
        shelf.put(log, read_for);
    }
    Ok(())
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
