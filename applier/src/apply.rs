//! The one who writes into the target: groups, drops, DDL, each with its checkpoint.
//!
//! What is here happens one after the other, on one session. With several workers `lanes.rs` has groups on their way
//! side by side, and comes here with whatever does not go smoothly.

use std::sync::Arc;

use binlog::{Gtid, GtidSet};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wire::{Answer, Connection, ServerError};

use crate::attempt::{self, Around, Owner};
use crate::catalog::TargetTable;
use crate::checkpoint::Checkpoint;
use crate::collations::Collations;
use crate::config::Conflicts;
use crate::conflict::pair::Pair;
use crate::conflict::record::{self, Conflict};
use crate::conflict::shared::SharedWindow;
use crate::conflict::trace::Early;
use crate::conflict::weights::Weights;
use crate::copy::{ChunkId, Doubts, InFlight};
use crate::group::Group;
use crate::lanes::{Lane, Lanes};
use crate::mark::Mark;
use crate::names::Name;
use crate::origin::{LinkKey, Owners};
use crate::plan::Work;
use crate::position::SourcePosition;
use crate::progress::Progress;
use crate::versions::Versions;
use crate::{Error, target};

/// How often a group is tried while other sessions hold its locks, before the link starts over.
pub(crate) const ATTEMPTS: u32 = 20;
/// Most bytes of row events in one `BINLOG` statement: the server decodes it into memory at once.
const MAX_EVENT_BYTES: usize = 16 << 20;

/// Holds the link's session in the target.
pub(crate) struct Applier {
    pub(crate) connection: Connection,
    /// What is prepared there to ask whether tables are as they were.
    pub(crate) versions: Versions,
    /// Sessions of their own for groups side by side; none where there is one worker.
    pub(crate) lanes: Vec<Lane>,
    pub(crate) owner: Owner,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) schema: String,
    pub(crate) link: LinkKey,
    pub(crate) progress: Progress,
    /// Tells how far the checkpoint is: what may be acknowledged.
    acknowledge: watch::Sender<SourcePosition>,
    /// Most bytes of row events in one `BINLOG` statement.
    pub(crate) max_event_bytes: usize,
    /// Bytes of the largest row event that a statement can carry at all.
    pub(crate) largest_event: usize,
    pub(crate) conflicts: Conflicts,
    /// The conflict window, where one is kept.
    pub(crate) window: Option<SharedWindow>,
    /// There where further regions write into the target.
    pub(crate) early: Option<Early>,
    pub(crate) owners: Owners,
    pub(crate) collations: Arc<Collations>,
    /// By what texts in keys are compared.
    pub(crate) weights: Weights,
    /// Transactions that wait for a person, or have an answer: done row by row.
    pub(crate) open: Vec<Gtid>,
    /// GTIDs of this session's own transactions, as far as the window has not read them.
    pub(crate) own: GtidSet,
    pub(crate) stop: CancellationToken,
    /// Chunks of the initial copy on their way into the target, while there is one.
    in_flight: Option<InFlight>,
    /// Keys in doubt, while a copy runs.
    pub(crate) doubts: Option<Doubts>,
    pub(crate) pair: Option<Pair>,
}

/// What an applier is told beside its session.
pub(crate) struct Tools {
    pub(crate) schema: String,
    pub(crate) link: LinkKey,
    pub(crate) progress: Progress,
    /// The target's `max_allowed_packet`, bytes.
    pub(crate) max_packet: usize,
    pub(crate) conflicts: Conflicts,
    pub(crate) window: Option<SharedWindow>,
    /// Further regions that write into the target.
    pub(crate) others: Vec<String>,
    pub(crate) owners: Owners,
    pub(crate) collations: Arc<Collations>,
    pub(crate) open: Vec<Gtid>,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) in_flight: Option<InFlight>,
    pub(crate) doubts: Option<Doubts>,
    pub(crate) pair: Option<Pair>,
}

/// How an attempt at a transaction of the target failed. It is rolled back in every case, or its connection is gone.
pub(crate) enum Failure {
    /// A statement was refused.
    Refused(ServerError),
    /// These (members of a group, rows of a transaction) meet rows that changed unseen.
    Collides(Vec<usize>),
    /// The conflict window lacks these transactions of the target.
    WindowBehind(GtidSet),
    /// A conflict that no rule decides.
    Undecided(Box<Conflict>),
    /// The link can't go on as it is.
    Fatal(Error),
}

impl Applier {
    pub(crate) fn new(
        connection: Connection,
        checkpoint: Checkpoint,
        tools: Tools,
    ) -> (Self, watch::Receiver<SourcePosition>) {
        let (acknowledge, acknowledged) = watch::channel(checkpoint.mark().end.clone());
        // Base64 makes four bytes of three; the rest of the packet is the statement around it.
        let fits = tools.max_packet.saturating_sub(1 << 16) / 4 * 3;
        let max_event_bytes = MAX_EVENT_BYTES.min(fits);
        let owner = Owner {
            link: tools.link.clone(),
            schema: tools.schema.clone(),
            max_event_bytes,
            collations: tools.collations.clone(),
        };
        let applier = Self {
            connection,
            versions: Versions::default(),
            lanes: tools.lanes,
            owner,
            checkpoint,
            schema: tools.schema,
            link: tools.link,
            progress: tools.progress,
            acknowledge,
            max_event_bytes,
            largest_event: fits,
            conflicts: tools.conflicts,
            window: tools.window,
            early: Early::new(tools.others),
            owners: tools.owners,
            weights: Weights::new(tools.collations.clone()),
            collations: tools.collations,
            open: tools.open,
            own: GtidSet::new(),
            stop: CancellationToken::new(),
            in_flight: tools.in_flight,
            doubts: tools.doubts,
            pair: tools.pair,
        };
        (applier, acknowledged)
    }

    /// Does what it is handed until there is no more. Never cancelled in the middle of a transaction: who
    /// wants it to stop closes the channel; `stop` only ends its waits for the conflict window.
    pub(crate) async fn run(
        mut self,
        mut work: mpsc::Receiver<Work>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        self.stop = stop;
        if !self.lanes.is_empty() {
            return Lanes::new(self).run(work).await;
        }
        while let Some(work) = work.recv().await {
            self.take(work).await?;
        }
        self.connection.close().await;
        Ok(())
    }

    /// Does this link copy rows, or settle keys in doubt?
    pub(crate) fn is_copying(&self) -> bool {
        self.in_flight.as_ref().is_some_and(InFlight::is_copying)
    }

    /// Does either link of the pair?
    pub(crate) async fn pair_copies(&mut self) -> bool {
        if self.is_copying() {
            return true;
        }
        match &mut self.pair {
            Some(pair) => pair.is_copying().await,
            None => false,
        }
    }

    /// Does either link of the pair copy this table, by its name here?
    pub(crate) async fn pair_copies_table(&mut self, table: &Name) -> bool {
        if self.in_flight.as_ref().is_some_and(|in_flight| in_flight.copies(table)) {
            return true;
        }
        match &mut self.pair {
            Some(pair) => pair.copies(table).await,
            None => false,
        }
    }

    /// Waits for chunks of the initial copy that bring rows which the group changes.
    async fn wait_for_chunks(&mut self, group: &Group) -> Result<(), Error> {
        let Some(in_flight) = &self.in_flight else { return Ok(()) };
        let behind = behind(group);
        tokio::select! {
            biased;
            () = in_flight.passes(&behind) => Ok(()),
            () = self.stop.cancelled() => Err(Error::Stopped),
        }
    }

    /// Waits for every chunk that has its place: definitions change.
    async fn wait_for_all_chunks(&mut self) -> Result<(), Error> {
        let Some(in_flight) = &self.in_flight else { return Ok(()) };
        tokio::select! {
            biased;
            () = in_flight.empties() => Ok(()),
            () = self.stop.cancelled() => Err(Error::Stopped),
        }
    }

    /// Does one piece of work.
    pub(crate) async fn take(&mut self, work: Work) -> Result<(), Error> {
        match work {
            Work::Format(format) => target::describe_format(&mut self.connection, &format).await?,
            Work::Group(group) => {
                self.wait_for_chunks(&group).await?;
                self.apply(group).await?;
            }
            Work::Place(place) => place.go(self.checkpoint.applied(), self.checkpoint.mark()),
            Work::Persist { covers, mark, notes } => {
                // Nothing is in hand that could have seen less.
                if let Some(window) = &self.window {
                    window.prune(&mark.seen);
                }
                let fence = self.fence(&covers, &mark);
                let mut statements = vec![fence.as_str()];
                statements.extend(notes.iter().map(String::as_str));
                self.commit_small(&statements).await?;
                self.persisted(&covers, &mark)?;
            }
            Work::Ddl { ddl, done } => {
                self.wait_for_all_chunks().await?;
                self.run_ddl(&ddl).await?;
                self.committed(&ddl.covers, &ddl.mark, 1, 0, ddl.committed_at)?;
                self.progress.ran_ddl();
                _ = done.send(());
            }
        }
        Ok(())
    }

    /// Would a group go to its end by itself, as far as is known before it is tried?
    pub(crate) async fn goes_smoothly(&mut self, group: &Group) -> Result<bool, Error> {
        if group.members().iter().any(|m| m.largest_event() > self.largest_event) {
            return Ok(false);
        }
        if self.in_flight.as_ref().is_some_and(|in_flight| in_flight.has_any(&behind(group))) {
            return Ok(false);
        }
        match self.known_collisions(group).await {
            Ok(known) => Ok(known.is_empty()),
            Err(Failure::Fatal(error)) => Err(error),
            Err(_) => Ok(true),
        }
    }

    /// Notes that a group is committed. `told` are the GTIDs it got in the target.
    pub(crate) fn group_committed(
        &mut self,
        group: &Group,
        covers: &GtidSet,
        mark: &Mark,
        told: Vec<String>,
    ) -> Result<(), Error> {
        self.note_own_gtids(told)?;
        let members = group.members();
        let rows = members.iter().map(|m| m.rows.total()).sum();
        self.progress.applied(members.iter().map(|m| (m.committed_at, &m.rows)));
        let committed_at = members.last().map_or(0, |m| m.committed_at);
        self.committed(covers, mark, members.len() as u64, rows, committed_at)
    }

    /// What goes around a group's rows.
    pub(crate) fn around(&self, group: &Group, fence: String) -> Result<Around, Error> {
        let below = self.cascade_questions(group)?;
        let tables = group.tables();
        // Where conflicts are looked for by rows.
        let asks_executed = self.watches(&tables);
        Ok(Around { fence, below, tables, asks_executed })
    }

    /// What a transaction of the target begins with.
    pub(crate) fn fence(&mut self, covers: &GtidSet, mark: &Mark) -> String {
        // While rows are copied a restart reads the target's log from where the copy began: keys in doubt follow from it.
        if let Some(window) = self.window.as_ref().filter(|_| !self.is_copying()) {
            self.checkpoint.set_done(window.done());
        }
        self.checkpoint.statement(covers, mark)
    }

    /// Notes that a transaction of the checkpoint alone is committed.
    pub(crate) fn persisted(&mut self, covers: &GtidSet, mark: &Mark) -> Result<(), Error> {
        let told = self.connection.take_own_gtids();
        self.note_own_gtids(told)?;
        self.checkpoint.committed(covers, mark);
        if let Some(window) = &self.window {
            window.keep(self.checkpoint.done());
            window.prune(&mark.seen);
        }
        self.acknowledge.send_replace(mark.end.clone());
        Ok(())
    }

    /// Notes that transactions of the source are committed in the target.
    pub(crate) fn committed(
        &mut self,
        covers: &GtidSet,
        mark: &Mark,
        transactions: u64,
        rows: u64,
        committed_at: u64,
    ) -> Result<(), Error> {
        self.persisted(covers, mark)?;
        self.progress.committed(covers, transactions, rows, committed_at);
        Ok(())
    }

    /// Counts what was decided.
    pub(crate) fn note_conflicts(&self, decided: &[Conflict]) {
        for conflict in decided {
            self.progress.conflict(record::word(conflict.kind), record::word(conflict.policy));
            tracing::info!(
                link = self.link.text(),
                gtid = %conflict.gtid,
                table = format!("{}.{}", conflict.database, conflict.table),
                kind = ?conflict.kind,
                winner = ?conflict.winner,
                "conflict decided"
            );
        }
    }

    /// See [`Owner::run_fenced`].
    pub(crate) async fn run_fenced(&mut self, statements: &[&[u8]]) -> Result<Vec<Answer>, Failure> {
        self.owner.run_fenced(&mut self.connection, statements).await
    }

    /// Asks for the definitions, and holds them against what the group was checked against.
    pub(crate) async fn check_definitions_now(&mut self, tables: &[Arc<TargetTable>]) -> Result<(), Failure> {
        let answers = self.owner.definitions(&mut self.connection, tables).await?;
        let Some(table) = attempt::altered(tables, &answers) else { return Ok(()) };
        self.rollback().await.map_err(Failure::Fatal)?;
        Err(Failure::Fatal(Error::DefinitionChanged { table: table.display_name() }))
    }

    pub(crate) async fn rollback(&mut self) -> Result<(), Error> {
        attempt::rollback(&mut self.connection).await
    }

    /// Commits a transaction of the fence and a few statements of our own; gives the last AUTO_INCREMENT value.
    pub(crate) async fn commit_small(&mut self, statements: &[&str]) -> Result<u64, Error> {
        let mut all: Vec<&[u8]> = vec![b"BEGIN"];
        all.extend(statements.iter().map(|s| s.as_bytes()));
        // COMMIT goes with them: there are no rows of tables in step in it that would need the stamp.
        all.push(b"COMMIT");
        let ran = self.run_fenced(&all).await.map_err(|failure| match failure {
            Failure::Fatal(error) => error,
            Failure::Refused(source) => Error::Apply { gtid: "of the checkpoint".into(), source },
            _ => Error::Stopped,
        })?;
        let ids = ran.iter().filter_map(|answer| match answer {
            Answer::Ok(ok) => Some(ok.last_insert_id),
            Answer::Rows(_) => None,
        });
        Ok(ids.max().unwrap_or(0))
    }
}

/// Chunks of the initial copy that bring rows which the group changes.
fn behind(group: &Group) -> Vec<ChunkId> {
    let mut behind: Vec<_> = group.members().iter().flat_map(|m| m.behind.iter().copied()).collect();
    behind.sort_unstable();
    behind.dedup();
    behind
}
