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
use binlog::{Event, EventKind};
use tokio::sync::{mpsc, watch};
use wire::{Connection, GroupError, ServerError};

use crate::catalog::{TargetTable, show_create};
use crate::checkpoint::Checkpoint;
use crate::group::{Group, Member, binlog_statement};
use crate::origin::LinkKey;
use crate::plan::Work;
use crate::position::SourcePosition;
use crate::status::Progress;
use crate::{Error, target};

/// How often a group is tried while other sessions hold its locks, before the link starts over.
const ATTEMPTS: u32 = 20;
/// Most bytes of row events in one `BINLOG` statement: the server decodes it into memory at once.
const MAX_EVENT_BYTES: usize = 16 << 20;

/// Holds the link's session in the target.
pub(crate) struct Applier {
    pub(crate) connection: Connection,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) schema: String,
    pub(crate) link: LinkKey,
    progress: Progress,
    /// Tells how far the checkpoint is: what may be acknowledged.
    acknowledge: watch::Sender<SourcePosition>,
    /// Most bytes of row events in one `BINLOG` statement.
    pub(crate) max_event_bytes: usize,
    /// Bytes of the largest row event that a statement can carry at all.
    largest_event: usize,
}

/// How an attempt at a group failed.
enum Failure {
    /// A statement was refused; it is rolled back.
    Refused(ServerError),
    /// The link can't go on as it is.
    Fatal(Error),
}

impl Applier {
    pub(crate) fn new(
        connection: Connection,
        checkpoint: Checkpoint,
        schema: &str,
        link: LinkKey,
        progress: Progress,
        max_packet: usize,
    ) -> (Self, watch::Receiver<SourcePosition>) {
        let (acknowledge, acknowledged) = watch::channel(checkpoint.position().clone());
        // Base64 makes four bytes of three; the rest of the packet is the statement around it.
        let fits = max_packet.saturating_sub(1 << 16) / 4 * 3;
        let max_event_bytes = MAX_EVENT_BYTES.min(fits);
        let schema = schema.into();
        let applier = Self {
            connection,
            checkpoint,
            schema,
            link,
            progress,
            acknowledge,
            max_event_bytes,
            largest_event: fits,
        };
        (applier, acknowledged)
    }

    /// Does what it is handed until there is no more. Never cancelled in the middle of a transaction: who
    /// wants it to stop closes the channel.
    pub(crate) async fn run(mut self, mut work: mpsc::Receiver<Work>) -> Result<(), Error> {
        while let Some(work) = work.recv().await {
            match work {
                Work::Format(format) => target::describe_format(&mut self.connection, &format).await?,
                Work::Group(group) => self.apply(group).await?,
                Work::Persist { covers, end } => {
                    let fence = self.checkpoint.statement(&covers, &end);
                    self.commit_small(&[&fence]).await?;
                    self.checkpoint.committed(&covers, &end);
                    self.acknowledge.send_replace(end);
                }
                Work::Ddl { ddl, done } => {
                    self.run_ddl(&ddl).await?;
                    self.checkpoint.committed(&ddl.covers, &ddl.end);
                    self.progress.committed(&ddl.covers, 1, 0, ddl.committed_at);
                    self.progress.ran_ddl();
                    self.acknowledge.send_replace(ddl.end.clone());
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
        match self.try_until_unlocked(&group).await {
            Ok(()) => Ok(()),
            Err(Failure::Fatal(error)) => Err(error),
            Err(Failure::Refused(source)) if group.members().len() == 1 => {
                Err(self.explain(&group.members()[0], source).await)
            }
            Err(Failure::Refused(source)) => {
                tracing::debug!(error = %source, transactions = group.members().len(), "group refused, applying one by one");
                self.apply_one_by_one(group).await
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

    async fn apply_one_by_one(&mut self, group: Group) -> Result<(), Error> {
        for member in group.into_members() {
            let one = Group::of(member);
            match self.try_until_unlocked(&one).await {
                Ok(()) => {}
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::Refused(source)) => return Err(self.explain(&one.members()[0], source).await),
            }
        }
        Ok(())
    }

    /// Tries again while others hold the locks it needs.
    async fn try_until_unlocked(&mut self, group: &Group) -> Result<(), Failure> {
        for attempt in 1.. {
            match self.attempt(group).await {
                Err(Failure::Refused(source)) if matches!(source.code, 1205 | 1213) => {
                    if attempt == ATTEMPTS {
                        return Err(Failure::Fatal(apply_error(group, source)));
                    }
                    tracing::debug!(error = %source, attempt, "group waits for locks");
                    tokio::time::sleep(Duration::from_millis(rand::random_range(5..50) * u64::from(attempt)))
                        .await;
                }
                // Read-only, shutting down, out of resources: nothing is wrong with the rows.
                Err(Failure::Refused(source)) if source.is_transient() => {
                    return Err(Failure::Fatal(apply_error(group, source)));
                }
                other => return other,
            }
        }
        Ok(())
    }

    /// One attempt: all of the group and its checkpoint are committed, or nothing.
    async fn attempt(&mut self, group: &Group) -> Result<(), Failure> {
        let (covers, end) = (group.covers(), group.end());
        let fence = self.checkpoint.statement(&covers, &end);
        let mut statements = group.statements(self.max_event_bytes);
        let rows = statements.next().unwrap_or_default();
        self.run_fenced(&[b"BEGIN", fence.as_bytes(), &rows]).await?;
        drop(rows);
        for statement in statements {
            let ran = self.connection.run_group(&[statement.as_slice()]).await;
            self.settle(ran.map(drop), false).await?;
        }
        self.check_definitions(&group.tables()).await?;
        let ran = self.connection.run_group(&[b"COMMIT"]).await;
        self.settle(ran.map(drop), false).await?;

        self.checkpoint.committed(&covers, &end);
        let rows = group.members().iter().map(count_rows).sum();
        let committed_at = group.members().last().map_or(0, |m| m.committed_at);
        self.progress.committed(&covers, group.members().len() as u64, rows, committed_at);
        self.acknowledge.send_replace(end);
        Ok(())
    }

    /// Runs statements that begin with BEGIN and the fence. A fence that finds no row holds nobody back and
    /// leaves no stamp: rows behind it must not be committed, and the link stops.
    async fn run_fenced(&mut self, statements: &[&[u8]]) -> Result<(), Failure> {
        let ran = self.connection.run_group(statements).await;
        let fenced = ran.as_ref().is_ok_and(|answers| answers.get(1).is_some_and(|ok| ok.affected_rows == 1));
        self.settle(ran.map(drop), true).await?;
        if fenced {
            return Ok(());
        }
        self.rollback().await.map_err(Failure::Fatal)?;
        Err(Failure::Fatal(Error::CheckpointLost {
            link: self.link.text(),
            schema: self.schema.clone(),
            evidence: "its row was there when the link was taken over",
        }))
    }

    /// Turns a failed statement into a rolled-back transaction. `fenced`: its second statement was the fence.
    async fn settle(&mut self, ran: Result<(), GroupError>, fenced: bool) -> Result<(), Failure> {
        let Err(error) = ran else { return Ok(()) };
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

    /// Asks, under the group's own metadata locks, whether each table still is what the group was checked
    /// against. A table altered since would have taken values into the wrong columns.
    async fn check_definitions(&mut self, tables: &[Arc<TargetTable>]) -> Result<(), Failure> {
        for table in tables {
            let now = show_create(&mut self.connection, &table.database, &table.table).await;
            if now.map_err(Failure::Fatal)?.as_ref() != Some(&table.create) {
                self.rollback().await.map_err(Failure::Fatal)?;
                return Err(Failure::Fatal(Error::DefinitionChanged { table: table.display_name() }));
            }
        }
        Ok(())
    }

    async fn rollback(&mut self) -> Result<(), Error> {
        self.connection.execute("ROLLBACK").await.map_err(Error::target("rolling back")).map(drop)
    }

    /// Commits a transaction of the fence and a few statements of our own.
    pub(crate) async fn commit_small(&mut self, statements: &[&str]) -> Result<(), Error> {
        let mut all: Vec<&[u8]> = vec![b"BEGIN"];
        all.extend(statements.iter().map(|s| s.as_bytes()));
        // COMMIT goes with them: there are no rows of tables in step in it that would need the stamp.
        all.push(b"COMMIT");
        self.run_fenced(&all).await.map_err(|failure| match failure {
            Failure::Fatal(error) => error,
            Failure::Refused(source) => Error::Apply { gtid: "of the checkpoint".into(), source },
        })
    }

    /// Finds the row that a refused transaction fails at, and says so. The transaction stays undone.
    async fn explain(&mut self, member: &Member, source: ServerError) -> Error {
        match self.find_row(member).await {
            Ok(Some(error)) | Err(error) => error,
            Ok(None) => Error::Apply { gtid: member.gtid.to_string(), source },
        }
    }

    /// Applies the rows one at a time, in a transaction that is rolled back. It begins with the fence like any
    /// other: behind a change of a table with transactions the server refuses those of one without, which a
    /// ROLLBACK would leave there.
    async fn find_row(&mut self, member: &Member) -> Result<Option<Error>, Error> {
        let fence = self.checkpoint.statement(&member.covers, &member.end);
        match self.run_fenced(&[b"BEGIN", fence.as_bytes()]).await {
            Ok(()) => {}
            Err(Failure::Fatal(error)) => return Err(error),
            Err(Failure::Refused(_)) => return Ok(None),
        }
        let mut maps: Vec<&Event> = Vec::new();
        let mut found = None;
        for event in &member.events {
            if event.kind() == EventKind::TableMap {
                maps.retain(|map| TableMap::id_of(map) != TableMap::id_of(event));
                maps.push(event);
                continue;
            }
            found = self.find_row_in(member, &maps, event).await?;
            if found.is_some() {
                break;
            }
        }
        self.rollback().await?;
        Ok(match found {
            Some((RowFailure { table, column, source, .. }, _)) if source.code == 1105 => {
                let (database, name) = table.split_once('.').unwrap_or_default();
                let missing =
                    target::missing_table_privilege(&mut self.connection, database, name, &column).await;
                Some(missing.unwrap_or(Error::Apply { gtid: member.gtid.to_string(), source }))
            }
            Some((RowFailure { table, operation, source, .. }, key)) => {
                Some(Error::Conflict { gtid: member.gtid.clone(), table, operation, key, source })
            }
            None => None,
        })
    }

    async fn find_row_in(
        &mut self,
        member: &Member,
        maps: &[&Event],
        event: &Event,
    ) -> Result<Option<(RowFailure, String)>, Error> {
        let malformed = |source| Error::Event { gtid: member.gtid.to_string(), source };
        let Some(map_event) = maps.iter().find(|m| TableMap::id_of(m) == TableMap::id_of(event)) else {
            return Ok(None);
        };
        let map = TableMap::parse(map_event).map_err(malformed)?;
        let rows = RowsEvent::parse(event, &map).map_err(malformed)?;
        for one in rows.split().map_err(malformed)? {
            let bytes = [map_event.bytes().as_ref(), one.bytes().as_ref()].concat();
            match self.connection.execute(binlog_statement(&bytes)).await {
                Ok(_) => {}
                Err(wire::Error::Server(source)) => {
                    let column = map.columns.first().map(|c| c.name.clone()).unwrap_or_default();
                    let table = format!("{}.{}", map.database, map.table);
                    let failure = RowFailure { table, column, operation: operation(event.kind()), source };
                    return Ok(Some((failure, key_of(&one, &map))));
                }
                Err(error) => return Err(Error::target("looking for the row that can't be applied")(error)),
            }
        }
        Ok(None)
    }
}

/// A row that the target refused.
struct RowFailure {
    table: String,
    /// Some column of the table.
    column: String,
    operation: &'static str,
    source: ServerError,
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

fn operation(kind: EventKind) -> &'static str {
    match kind {
        EventKind::WriteRows | EventKind::WriteRowsV1 => "insert",
        EventKind::DeleteRows | EventKind::DeleteRowsV1 => "delete",
        _ => "update",
    }
}

/// The row's primary key for people: `(id=5)`; all of its columns where it has none.
fn key_of(event: &Event, map: &TableMap) -> String {
    let change = RowsEvent::parse(event, map).ok().and_then(|rows| rows.changes().next()?.ok());
    let Some(image) = change.and_then(|c| c.before.or(c.after)) else { return "an unreadable row".into() };
    let all: Vec<usize> = (0..map.columns.len()).collect();
    let columns = if map.primary_key.is_empty() { &all } else { &map.primary_key };
    let parts = columns.iter().filter_map(|i| Some(format!("{}={}", map.columns[*i].name, image.get(*i)?)));
    format!("({})", parts.collect::<Vec<_>>().join(", "))
}
