//! The one who writes into the target: groups, drops, DDL, each with its checkpoint.
//!
//! After any error of a statement the session sends ROLLBACK and reads its OK before anything else: a failed
//! `BINLOG` leaves the row events before the failing one in the open transaction, and a COMMIT or BEGIN would
//! commit them. After an error of the connection nothing is sent at all: the link begins again, and the fence
//! decides what was committed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use binlog::row::{RowsEvent, TableMap};
use binlog::{EventKind, Gtid, GtidSet};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wire::{Answer, Connection, GroupError, ServerError};

use crate::catalog::{TargetTable, definition_in};
use crate::checkpoint::Checkpoint;
use crate::collations::Collations;
use crate::config::Conflicts;
use crate::conflict::owned;
use crate::conflict::record::Conflict;
use crate::conflict::shared::SharedWindow;
use crate::group::{Group, Member};
use crate::mark::Mark;
use crate::origin::{LinkKey, Owners};
use crate::plan::Work;
use crate::position::SourcePosition;
use crate::progress::Progress;
use crate::{Error, sql, target};

/// How often a group is tried while other sessions hold its locks, before the link starts over.
pub(crate) const ATTEMPTS: u32 = 20;
/// Most bytes of row events in one `BINLOG` statement: the server decodes it into memory at once.
const MAX_EVENT_BYTES: usize = 16 << 20;

/// Holds the link's session in the target.
pub(crate) struct Applier {
    pub(crate) connection: Connection,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) schema: String,
    pub(crate) link: LinkKey,
    pub(crate) progress: Progress,
    /// Tells how far the checkpoint is: what may be acknowledged.
    acknowledge: watch::Sender<SourcePosition>,
    /// Most bytes of row events in one `BINLOG` statement.
    pub(crate) max_event_bytes: usize,
    /// Bytes of the largest row event that a statement can carry at all.
    largest_event: usize,
    pub(crate) conflicts: Conflicts,
    /// The conflict window, where one is kept.
    pub(crate) window: Option<SharedWindow>,
    pub(crate) owners: Owners,
    pub(crate) collations: Arc<Collations>,
    /// Transactions that wait for a person, or have an answer: done row by row.
    open: Vec<Gtid>,
    /// GTIDs of this session's own transactions, as far as the window has not read them.
    pub(crate) own: GtidSet,
    pub(crate) stop: CancellationToken,
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
    pub(crate) owners: Owners,
    pub(crate) collations: Arc<Collations>,
    pub(crate) open: Vec<Gtid>,
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
        let applier = Self {
            connection,
            checkpoint,
            schema: tools.schema,
            link: tools.link,
            progress: tools.progress,
            acknowledge,
            max_event_bytes: MAX_EVENT_BYTES.min(fits),
            largest_event: fits,
            conflicts: tools.conflicts,
            window: tools.window,
            owners: tools.owners,
            collations: tools.collations,
            open: tools.open,
            own: GtidSet::new(),
            stop: CancellationToken::new(),
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
        while let Some(work) = work.recv().await {
            match work {
                Work::Format(format) => target::describe_format(&mut self.connection, &format).await?,
                Work::Group(group) => self.apply(group).await?,
                Work::Persist { covers, mark } => {
                    // Nothing is in hand that could have seen less.
                    if let Some(window) = &self.window {
                        window.prune(&mark.seen);
                    }
                    let fence = self.fence(&covers, &mark);
                    self.commit_small(&[&fence]).await?;
                    self.persisted(&covers, &mark)?;
                }
                Work::Ddl { ddl, done } => {
                    self.run_ddl(&ddl).await?;
                    self.committed(&ddl.covers, &ddl.mark, 1, 0, ddl.committed_at)?;
                    self.progress.ran_ddl();
                    _ = done.send(());
                }
            }
        }
        self.connection.close().await;
        Ok(())
    }

    /// Commits a group, or finds what in it can't be.
    async fn apply(&mut self, group: Group) -> Result<(), Error> {
        if let Some(at) = group.members().iter().position(|m| m.largest_event() > self.largest_event) {
            return self.apply_up_to(group, at).await;
        }
        let known = match self.known_collisions(&group) {
            Ok(known) => known,
            Err(Failure::Fatal(error)) => return Err(error),
            Err(_) => Vec::new(),
        };
        if !known.is_empty() {
            return self.apply_around(group, &known).await;
        }
        match self.try_until_unlocked(&group).await {
            Ok(()) => Ok(()),
            Err(Failure::Fatal(error)) => Err(error),
            Err(Failure::Collides(members)) => self.apply_around(group, &members).await,
            Err(_) if group.members().len() == 1 => self.redo(&group.members()[0]).await,
            Err(_) => {
                let mut first = group.into_members();
                let second = first.split_off(first.len() / 2);
                tracing::debug!(
                    transactions = first.len() + second.len(),
                    "group refused, applying its halves"
                );
                Box::pin(self.apply(first.into_iter().collect())).await?;
                Box::pin(self.apply(second.into_iter().collect())).await
            }
        }
    }

    /// Applies what stands before a transaction with a row that no statement can carry, and stops there: such a
    /// packet would make the server end the connection.
    async fn apply_up_to(&mut self, group: Group, at: usize) -> Result<(), Error> {
        let mut before = group.into_members();
        let too_large = before.drain(at..).next();
        if !before.is_empty() {
            Box::pin(self.apply(before.into_iter().collect())).await?;
        }
        let Some(member) = too_large else { return Ok(()) };
        Err(Error::RowTooLarge {
            gtid: member.gtid.clone(),
            bytes: member.largest_event(),
            limit: self.largest_event,
        })
    }

    /// Members that are to be done row by row, as far as that is known before the group is tried.
    fn known_collisions(&self, group: &Group) -> Result<Vec<usize>, Failure> {
        let mut known = self.collisions(group)?;
        if !self.open.is_empty() {
            let waits = |m: &Member| self.open.contains(&m.gtid);
            known.extend(group.members().iter().enumerate().filter(|(_, m)| waits(m)).map(|(i, _)| i));
            known.sort_unstable();
            known.dedup();
        }
        Ok(known)
    }

    /// Applies the members that collide row by row, and those between them as groups.
    async fn apply_around(&mut self, group: Group, colliding: &[usize]) -> Result<(), Error> {
        let mut run = Group::default();
        for (i, member) in group.into_members().into_iter().enumerate() {
            if !colliding.contains(&i) {
                run.push(member);
                continue;
            }
            if !run.is_empty() {
                Box::pin(self.apply(std::mem::take(&mut run))).await?;
            }
            self.redo(&member).await?;
        }
        if run.is_empty() { Ok(()) } else { Box::pin(self.apply(run)).await }
    }

    /// Tries again while others hold the locks it needs.
    async fn try_until_unlocked(&mut self, group: &Group) -> Result<(), Failure> {
        let mut attempt = 0;
        loop {
            match self.attempt(group).await {
                Err(Failure::Refused(source)) if matches!(source.code, 1205 | 1213) => {
                    attempt += 1;
                    if attempt == ATTEMPTS {
                        return Err(Failure::Fatal(apply_error(group, source)));
                    }
                    tracing::debug!(error = %source, attempt, "group waits for locks");
                    tokio::time::sleep(Duration::from_millis(rand::random_range(5..50) * u64::from(attempt)))
                        .await;
                }
                Err(Failure::WindowBehind(needed)) => {
                    self.wait_for_window(&needed).await.map_err(Failure::Fatal)?;
                }
                // Read-only, shutting down, out of resources: nothing is wrong with the rows.
                Err(Failure::Refused(source)) if source.is_transient() => {
                    return Err(Failure::Fatal(apply_error(group, source)));
                }
                other => return other,
            }
        }
    }

    /// One attempt: all of the group and its checkpoint are committed, or nothing.
    async fn attempt(&mut self, group: &Group) -> Result<(), Failure> {
        let (covers, mark) = (group.covers(), group.mark());
        let fence = self.fence(&covers, &mark);
        let tables = group.tables();
        let questions = self.questions(&tables);
        let mut chunks = group.statements(self.max_event_bytes).peekable();
        let first = chunks.next().unwrap_or_default();
        let mut statements: Vec<&[u8]> = vec![b"BEGIN", fence.as_bytes(), &first];
        let in_one = chunks.peek().is_none();
        if in_one {
            statements.extend(questions.iter().map(String::as_bytes));
        }
        let mut answers = self.run_fenced(&statements).await?.split_off(3);
        drop(first);
        for chunk in chunks {
            let ran = self.connection.run_group(&[chunk.as_slice()]).await;
            self.settle(ran, false).await?;
        }
        if !in_one {
            let questions: Vec<&[u8]> = questions.iter().map(String::as_bytes).collect();
            let ran = self.connection.ask_group(&questions).await;
            answers = self.settle(ran, false).await?;
        }
        self.check_definitions(&tables, &answers).await?;
        if let Some(executed) = answers.get(tables.len()) {
            let malformed = || {
                Error::target("asking what it has executed")(wire::Error::Invalid {
                    what: "not a GTID set".into(),
                })
            };
            let executed = owned::read(executed).ok_or_else(malformed).map_err(Failure::Fatal)?;
            self.check_window(group, &executed).await?;
        }
        let ran = self.connection.run_group(&[b"COMMIT"]).await;
        self.settle(ran, false).await?;

        let rows = group.members().iter().map(count_rows).sum();
        let committed_at = group.members().last().map_or(0, |m| m.committed_at);
        let transactions = group.members().len() as u64;
        self.committed(&covers, &mark, transactions, rows, committed_at).map_err(Failure::Fatal)
    }

    /// What is asked under a group's locks: the definition of each of its tables, and where conflicts are looked for
    /// by rows, what the target has executed.
    fn questions(&self, tables: &[Arc<TargetTable>]) -> Vec<String> {
        let definition =
            |t: &Arc<TargetTable>| format!("SHOW CREATE TABLE {}", sql::table(&t.database, &t.table));
        let executed = self.watches(tables).then(|| owned::QUESTION.to_owned());
        tables.iter().map(definition).chain(executed).collect()
    }

    /// What a transaction of the target begins with.
    pub(crate) fn fence(&mut self, covers: &GtidSet, mark: &Mark) -> String {
        if let Some(window) = &self.window {
            self.checkpoint.set_done(window.done());
        }
        self.checkpoint.statement(covers, mark)
    }

    /// Notes that a transaction of the checkpoint alone is committed.
    pub(crate) fn persisted(&mut self, covers: &GtidSet, mark: &Mark) -> Result<(), Error> {
        self.note_own_gtids()?;
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
            self.progress.conflict();
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

    /// Runs statements that begin with BEGIN and the fence. A fence that finds no row holds nobody back and
    /// leaves no stamp: rows behind it must not be committed, and the link stops.
    pub(crate) async fn run_fenced(&mut self, statements: &[&[u8]]) -> Result<Vec<Answer>, Failure> {
        let ran = self.connection.ask_group(statements).await;
        let answers = self.settle(ran, true).await?;
        if matches!(answers.get(1), Some(Answer::Ok(ok)) if ok.affected_rows == 1) {
            return Ok(answers);
        }
        self.rollback().await.map_err(Failure::Fatal)?;
        Err(Failure::Fatal(Error::CheckpointLost {
            link: self.link.text(),
            schema: self.schema.clone(),
            evidence: "its row was there when the link was taken over",
        }))
    }

    /// Turns a failed statement into a rolled-back transaction. `fenced`: its second statement was the fence.
    async fn settle<T>(&mut self, ran: Result<T, GroupError>, fenced: bool) -> Result<T, Failure> {
        let error = match ran {
            Ok(answers) => return Ok(answers),
            Err(error) => error,
        };
        match error {
            GroupError::Failed { index, source, .. } => {
                self.rollback().await.map_err(Failure::Fatal)?;
                if fenced && index == 1 && source.code == 1048 {
                    return Err(Failure::Fatal(Error::Fenced { link: self.link.text() }));
                }
                Err(Failure::Refused(source))
            }
            GroupError::Unknown { source, .. } | GroupError::NotSent { source } => {
                Err(Failure::Fatal(Error::target("applying a group")(source)))
            }
        }
    }

    /// Holds the definitions, asked for under the group's own metadata locks, against what the group was checked
    /// against. A table altered since would have taken values into the wrong columns.
    async fn check_definitions(
        &mut self,
        tables: &[Arc<TargetTable>],
        answers: &[Answer],
    ) -> Result<(), Failure> {
        for (table, answer) in tables.iter().zip(answers) {
            if definition_in(answer).as_ref() != Some(&table.create) {
                self.rollback().await.map_err(Failure::Fatal)?;
                return Err(Failure::Fatal(Error::DefinitionChanged { table: table.display_name() }));
            }
        }
        Ok(())
    }

    /// Asks for the definitions, and holds them against what the group was checked against.
    pub(crate) async fn check_definitions_now(&mut self, tables: &[Arc<TargetTable>]) -> Result<(), Failure> {
        let question =
            |t: &Arc<TargetTable>| format!("SHOW CREATE TABLE {}", sql::table(&t.database, &t.table));
        let questions: Vec<String> = tables.iter().map(question).collect();
        let questions: Vec<&[u8]> = questions.iter().map(String::as_bytes).collect();
        let ran = self.connection.ask_group(&questions).await;
        let answers = self.settle(ran, false).await?;
        self.check_definitions(tables, &answers).await
    }

    pub(crate) async fn rollback(&mut self) -> Result<(), Error> {
        self.connection.execute("ROLLBACK").await.map_err(Error::target("rolling back")).map(drop)
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

fn apply_error(group: &Group, source: ServerError) -> Error {
    let gtid = group.members().first().map(|m| m.gtid.to_string()).unwrap_or_default();
    Error::Apply { gtid, source }
}

fn count_rows(member: &Member) -> u64 {
    let (mut maps, mut rows) = (HashMap::new(), 0);
    for event in &member.events {
        if event.kind() == EventKind::TableMap {
            maps.extend(TableMap::parse(event).ok().map(|map| (Some(map.table_id), map)));
        } else if let Some(map) = maps.get(&TableMap::id_of(event)) {
            rows += RowsEvent::parse(event, map).and_then(|r| r.count()).unwrap_or(0) as u64;
        }
    }
    rows
}
