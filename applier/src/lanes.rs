//! Several workers: groups on their way side by side, committed in the source's order.
//!
//! ```text
//! group 1   apply ───────▶ judge ▶ commit
//! group 2     apply ───────▶ (its turn) ▶ judge ▶ commit
//! group 3                          apply ──────▶ …        waits for a row of 1 or 2: begins when both have run
//! ```
//! A group begins when each one before it has run all its rows, and so holds all its locks, or when the source's
//! numbers (`order.rs`) say that it does not wait for it. It is judged and committed only when it is the oldest:
//! **promise 3** (in order) rests here. Its fence counts on those before it (**promise 2**): when one of them comes
//! to nothing, so do all behind it, and begin anew.
//!
//! What does not go smoothly is done alone: a group that the target refuses, that collides, or whose window is behind
//! waits until it is the oldest; all behind it are rolled back; then it goes the way it goes with one worker (`apply.rs`,
//! `conflict/redo.rs`).
//!
//! An earlier group may have to wait for a lock of a later one all the same: the source's numbers do not know of
//! gaps in indexes, where a deleted row leaves its mark. The later waits for the commit of the earlier, which no server
//! can see. So a session here waits a second for a lock, not longer; an earlier group that has waited rolls all
//! later ones back.

use std::collections::VecDeque;
use std::time::Duration;

use binlog::GtidSet;
use binlog::stamp::SLOTS;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use wire::Connection;

use crate::apply::{Applier, Failure};
use crate::attempt::{self, Owner, Told};
use crate::checkpoint::Checkpoint;
use crate::conflict::window::Done;
use crate::group::Group;
use crate::mark::Mark;
use crate::order::Span;
use crate::plan::Work;
use crate::versions::Versions;
use crate::{Error, target};

/// More groups than checkpoint rows can't be on their way.
pub(crate) const MOST: usize = SLOTS as usize;

/// What a session of a worker sets beside that of the link's own session. Locks: see the [module](self). Statements
/// are taken as bytes: else the server would convert the text of every `BINLOG` to its own character set.
const SESSION: &str =
    "SET SESSION innodb_lock_wait_timeout = 1, lock_wait_timeout = 1, character_set_client = binary";

/// Connects the workers' sessions.
pub(crate) async fn connect(addresses: &[wire::ConnectOptions], workers: usize) -> Result<Vec<Lane>, Error> {
    let mut lanes = Vec::new();
    if workers < 2 {
        return Ok(lanes);
    }
    for _ in 0..workers.min(MOST) {
        let mut connection = target::connect(addresses).await?;
        target::prepare(&mut connection).await?;
        connection.execute(SESSION).await.map_err(Error::target("preparing its session"))?;
        lanes.push(Lane { connection, versions: Versions::default() });
    }
    Ok(lanes)
}

/// A worker's session, and what is prepared in it.
#[derive(Debug)]
pub(crate) struct Lane {
    connection: Connection,
    versions: Versions,
}

/// See the [module](self).
pub(crate) struct Lanes {
    applier: Applier,
    owner: Owner,
    free: Vec<Lane>,
    /// In the source's order.
    running: VecDeque<Running>,
    tasks: JoinSet<Ran>,
    /// The checkpoint as it will be when all that is running is committed.
    ahead: Checkpoint,
    /// What comes next, before anything that is still to be received.
    waiting: VecDeque<Work>,
    next_number: u64,
}

/// A group on its way.
struct Running {
    number: u64,
    span: Option<Span>,
    covers: GtidSet,
    mark: Mark,
    /// What its checkpoint row says of the conflict window.
    done: Done,
    state: State,
}

enum State {
    /// A task runs its rows.
    Applying,
    /// It holds its locks and waits for its turn.
    Applied(Group, Lane, Told),
    /// It came to nothing, is rolled back, and waits for its turn.
    Failed(Group, Lane, Failure),
    /// A task commits it.
    Committing,
}

/// What a task gives back.
struct Ran {
    number: u64,
    group: Group,
    lane: Lane,
    outcome: Outcome,
}

enum Outcome {
    Applied(Result<Told, Failure>),
    Committed(Result<Duration, Failure>),
}

impl Lanes {
    pub(crate) fn new(mut applier: Applier) -> Self {
        Self {
            owner: applier.owner.clone(),
            free: std::mem::take(&mut applier.lanes),
            running: VecDeque::new(),
            tasks: JoinSet::new(),
            ahead: applier.checkpoint.clone(),
            waiting: VecDeque::new(),
            next_number: 0,
            applier,
        }
    }

    /// Does what it is handed until there is no more and all of it is done. Branches in order: what has run, then
    /// what is new.
    pub(crate) async fn run(mut self, mut work: mpsc::Receiver<Work>) -> Result<(), Error> {
        let mut open = true;
        loop {
            self.advance().await?;
            self.begin_waiting().await?;
            if !open && self.waiting.is_empty() && self.running.is_empty() {
                break;
            }
            let wants_more = open && self.waiting.is_empty() && self.has_place();
            tokio::select! {
                biased;
                Some(ran) = self.tasks.join_next() => self.note(finished(ran))?,
                next = work.recv(), if wants_more => match next {
                    Some(work) => self.waiting.push_back(work),
                    None => open = false,
                },
            }
        }
        for lane in self.free {
            lane.connection.close().await;
        }
        self.applier.connection.close().await;
        Ok(())
    }

    /// Begins what may begin.
    async fn begin_waiting(&mut self) -> Result<(), Error> {
        while let Some(work) = self.waiting.pop_front() {
            match work {
                Work::Group(group) if self.applier.goes_smoothly(&group).await? => {
                    let span = group.span();
                    if !self.may_begin(span) {
                        self.waiting.push_front(Work::Group(group));
                        return Ok(());
                    }
                    self.begin(group, span)?;
                }
                work if self.running.is_empty() => self.alone(work).await?,
                work => {
                    self.waiting.push_front(work);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Is one more on its way of any use? Not while commits are what takes the time: a group that has run waits for its
    /// turn already, and what comes meanwhile had better gather into one behind it.
    fn has_place(&self) -> bool {
        let waits = |running: &Running| matches!(running.state, State::Applied(..));
        let commits = self.running.front().is_some_and(|oldest| matches!(oldest.state, State::Committing));
        let is_in_vain = commits && self.running.iter().any(waits);
        !is_in_vain && !self.free.is_empty()
    }

    fn may_begin(&self, span: Option<Span>) -> bool {
        let passes = |running: &Running| match running.state {
            State::Applying => {
                span.zip(running.span).is_some_and(|(own, other)| own.is_independent_of(&other))
            }
            State::Applied(..) | State::Committing => true,
            State::Failed(..) => false,
        };
        self.has_place() && self.running.iter().all(passes)
    }

    /// Sends a group on its way.
    fn begin(&mut self, group: Group, span: Option<Span>) -> Result<(), Error> {
        let Some(mut lane) = self.free.pop() else {
            self.waiting.push_front(Work::Group(group));
            return Ok(());
        };
        let (covers, mark) = (group.covers(), group.mark());
        // While rows are copied it stays where the copy began.
        let window = self.applier.window.as_ref().filter(|_| !self.applier.is_copying());
        let done = window.map_or_else(|| self.applier.checkpoint.done().clone(), |window| window.done());
        self.ahead.set_done(done.clone());
        let fence = self.ahead.statement(&covers, &mark);
        let around = self.applier.around(&group, fence)?;
        self.ahead.committed(&covers, &mark);
        let number = self.next_number;
        self.next_number += 1;
        self.running.push_back(Running { number, span, covers, mark, done, state: State::Applying });
        let owner = self.owner.clone();
        self.tasks.spawn(async move {
            let outcome = Outcome::Applied(
                owner.apply(&mut lane.connection, &mut lane.versions, &group, &around).await,
            );
            Ran { number, group, lane, outcome }
        });
        Ok(())
    }

    /// Notes what a task has done.
    fn note(&mut self, ran: Ran) -> Result<(), Error> {
        let Ran { number, group, mut lane, outcome } = ran;
        let Some(at) = self.running.iter().position(|running| running.number == number) else {
            return Ok(());
        };
        match outcome {
            Outcome::Applied(Ok(told)) => {
                self.running[at].state = State::Applied(group, lane, told);
            }
            Outcome::Applied(Err(failure)) | Outcome::Committed(Err(failure)) => {
                self.running[at].state = State::Failed(group, lane, failure);
            }
            Outcome::Committed(Ok(took)) => {
                self.applier.progress.commit_took(took);
                let gtids = lane.connection.take_own_gtids();
                self.free.push(lane);
                if let Some(running) = self.running.remove(at) {
                    self.applier.checkpoint.set_done(running.done);
                    self.applier.group_committed(&group, &running.covers, &running.mark, gtids)?;
                }
            }
        }
        Ok(())
    }

    /// Brings the oldest group on: to its commit, or to its end.
    async fn advance(&mut self) -> Result<(), Error> {
        while let Some(mut oldest) = self.running.pop_front() {
            match oldest.state {
                State::Applied(group, mut lane, told) => match self.applier.judge(&group, told).await {
                    Ok(()) => {
                        oldest.state = State::Committing;
                        self.commit(oldest, group, lane);
                    }
                    Err(failure) => {
                        attempt::rollback(&mut lane.connection).await?;
                        self.free.push(lane);
                        self.begin_anew(group, failure).await?;
                    }
                },
                State::Failed(group, lane, failure) => {
                    self.free.push(lane);
                    self.begin_anew(group, failure).await?;
                }
                State::Applying | State::Committing => {
                    self.running.push_front(oldest);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn commit(&mut self, oldest: Running, group: Group, mut lane: Lane) {
        let (number, owner) = (oldest.number, self.owner.clone());
        self.running.push_front(oldest);
        self.tasks.spawn(async move {
            let outcome = Outcome::Committed(owner.commit(&mut lane.connection).await);
            Ran { number, group, lane, outcome }
        });
    }

    /// The oldest group came to nothing: all behind it are rolled back and wait, and it is done alone.
    async fn begin_anew(&mut self, oldest: Group, failure: Failure) -> Result<(), Error> {
        if let Failure::Fatal(error) = failure {
            return Err(error);
        }
        tracing::debug!(behind = self.running.len(), "the oldest group is done alone");
        let behind = self.roll_back().await?;
        behind.into_iter().rev().for_each(|group| self.waiting.push_front(Work::Group(group)));
        self.alone(Work::Group(oldest)).await
    }

    /// Rolls back all that is running; gives the groups in the source's order. None of them commits: the oldest does,
    /// and it is not among them. Those that hold their locks first, for others may wait for them.
    async fn roll_back(&mut self) -> Result<Vec<Group>, Error> {
        let mut groups: Vec<(u64, Group)> = Vec::new();
        for running in std::mem::take(&mut self.running) {
            let (group, lane) = match running.state {
                State::Applied(group, mut lane, _) => {
                    attempt::rollback(&mut lane.connection).await?;
                    (group, lane)
                }
                State::Failed(group, lane, failure) => {
                    fatal(failure)?;
                    (group, lane)
                }
                State::Applying | State::Committing => continue,
            };
            self.free.push(lane);
            groups.push((running.number, group));
        }
        while let Some(ran) = self.tasks.join_next().await {
            let Ran { number, group, mut lane, outcome } = finished(ran);
            match outcome {
                Outcome::Applied(Ok(_)) => attempt::rollback(&mut lane.connection).await?,
                Outcome::Applied(Err(failure)) | Outcome::Committed(Err(failure)) => fatal(failure)?,
                Outcome::Committed(Ok(_)) => {}
            }
            self.free.push(lane);
            groups.push((number, group));
        }
        groups.sort_by_key(|(number, _)| *number);
        Ok(groups.into_iter().map(|(_, group)| group).collect())
    }

    /// Does one piece of work on the link's own session, with nothing else on its way.
    async fn alone(&mut self, work: Work) -> Result<(), Error> {
        if let Work::Format(format) = &work {
            for lane in &mut self.free {
                target::describe_format(&mut lane.connection, format).await?;
            }
        }
        self.applier.take(work).await?;
        self.ahead = self.applier.checkpoint.clone();
        Ok(())
    }
}

/// A session that failed is of no further use, whoever's turn it is.
fn fatal(failure: Failure) -> Result<(), Error> {
    if let Failure::Fatal(error) = failure { Err(error) } else { Ok(()) }
}

fn finished(ran: Result<Ran, tokio::task::JoinError>) -> Ran {
    ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
