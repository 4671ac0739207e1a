//! A chunk, written into the target: stamp, progress and rows in one transaction.

use std::time::Duration;

use binlog::{Event, GtidSet};
use wire::{Answer, GroupError, ServerError};

use super::careful::malformed;
use super::hand::Hand;
use super::read::Chunk;
use super::run::Placed;
use super::touched::rows_of;
use super::two_way::WITH_LOCKS;
use super::walk::Wanted;
use crate::catalog::definition_in;
use crate::group::binlog_statements;
use crate::{Error, sql, target};

/// How often a chunk is tried while other sessions hold its locks.
const ATTEMPTS: u32 = 20;
/// Most bytes of row events in one `BINLOG` statement.
pub(super) const MAX_EVENT_BYTES: usize = 4 << 20;

/// How an attempt failed. It is rolled back, or its connection is gone.
pub(super) enum Failure {
    Refused(ServerError),
    /// Keys of the chunk are in doubt.
    Doubtful,
    /// A row met another of the same key, and nobody has decided who wins.
    Met,
    /// The conflict window lacks these transactions of the target.
    Behind(GtidSet),
    Fatal(Error),
}

impl Hand {
    /// Writes a chunk at its place.
    pub(super) async fn write(
        &mut self,
        wanted: &Wanted,
        chunk: &Chunk,
        placed: &Placed,
    ) -> Result<(), Error> {
        if self.format.as_ref() != Some(&placed.format) {
            target::describe_format(&mut self.target, &placed.format).await?;
            self.format = Some(placed.format.clone());
        }
        let completed;
        let events = if placed.touched.is_empty() {
            &chunk.events
        } else {
            completed = self.complete(wanted, chunk, placed).await?;
            &completed
        };
        self.check_sizes(wanted, events)?;
        let mut attempt = 0;
        // A row of the target may stand where the source has none any more.
        let may_lack = self.shared.two_way.is_some() && !placed.passed_over.is_none();
        let mut careful = wanted.keys.is_some() || may_lack && wanted.table.key.is_some();
        loop {
            let attempted = if careful {
                Box::pin(self.attempt_carefully(wanted, chunk, placed)).await
            } else {
                self.attempt(wanted, chunk, placed, events).await
            };
            match attempted {
                Ok(()) => return Ok(()),
                Err(Failure::Doubtful) => careful = true,
                Err(Failure::Refused(source)) if source.code == 1062 && !careful && self.may_meet() => {
                    careful = true
                }
                // Another row in doubt may hold the value of a unique key that is settled with it: asked for again.
                Err(Failure::Refused(source)) if source.code == 1062 && wanted.keys.is_some() => {
                    return Ok(());
                }
                Err(Failure::Met) => return Err(met(wanted)),
                Err(Failure::Behind(needed)) => self.wait_for_window(&needed).await?,
                Err(Failure::Refused(source)) if matches!(source.code, 1205 | 1213) => {
                    attempt += 1;
                    if attempt == ATTEMPTS {
                        return Err(refused(wanted, source));
                    }
                    let wait = Duration::from_millis(rand::random_range(5..50) * u64::from(attempt));
                    tokio::time::sleep(wait).await;
                }
                Err(Failure::Refused(source)) => return Err(refused(wanted, source)),
                Err(Failure::Fatal(error)) => return Err(error),
            }
        }
    }

    /// The chunk as it stands at its place: rows that the stream touched as the stream left them.
    async fn complete(
        &mut self,
        wanted: &Wanted,
        chunk: &Chunk,
        placed: &Placed,
    ) -> Result<Vec<Event>, Error> {
        let table = &wanted.table;
        let Some(key) = &table.key else { return Ok(chunk.events.clone()) };
        let malformed = |source| Error::Event { gtid: "of the initial copy".into(), source };
        let (mut keys, images) = rows_of(&chunk.events, &table.map, &key.shape).map_err(malformed)?;
        if key.shape.has_texts() {
            key.shape.weigh(&mut self.target, &mut keys).await?;
        }
        let untouched = keys.iter().zip(&images).filter(|(key, _)| !placed.touched.has(key));
        let rows = untouched.map(|(_, image)| image.as_slice());
        Ok(placed.touched.complete(&table.map, self.shared.server_id, rows))
    }

    /// A row that no statement can carry would make the server end the connection.
    fn check_sizes(&self, wanted: &Wanted, events: &[Event]) -> Result<(), Error> {
        let limit = self.largest_event();
        match events.iter().map(|event| event.bytes().len()).find(|bytes| *bytes > limit) {
            None => Ok(()),
            Some(bytes) => Err(Error::Copy {
                table: wanted.table.name(),
                what: format!(
                    "a row of {bytes} bytes is larger than the target's max_allowed_packet lets through ({limit} bytes)"
                ),
                remedy: format!(
                    "SET PERSIST max_allowed_packet = {} in the target, at least, then start the link again",
                    (bytes / 3 * 4 + (1 << 20)).next_multiple_of(1024)
                ),
            }),
        }
    }

    /// Base64 makes four bytes of three; the rest of the packet is the statement around it.
    pub(super) fn largest_event(&self) -> usize {
        self.shared.max_packet.saturating_sub(1 << 16) / 4 * 3
    }

    /// May rows stand in the target that the copy meets?
    fn may_meet(&self) -> bool {
        self.shared.keeps || self.shared.two_way.is_some()
    }

    /// Waits, holding no locks, until the conflict window has these.
    async fn wait_for_window(&mut self, needed: &GtidSet) -> Result<(), Error> {
        let Some(two_way) = self.shared.two_way.clone() else { return Ok(()) };
        while !two_way.window.reaches(needed, WITH_LOCKS).await {
            if self.shared.stop.is_cancelled() {
                return Err(Error::Stopped);
            }
            self.shared.progress.waits_for(Some(two_way.window.waits(&self.shared.to, needed)));
        }
        Ok(())
    }

    /// Begins a transaction with the stamp.
    pub(super) async fn begin(&mut self, placed: &Placed) -> Result<(), Failure> {
        let fence = self.stamp.statement(&placed.applied, &placed.mark);
        let begun = self.run_all(&[b"BEGIN", fence.as_bytes()]).await?;
        if matches!(begun.get(1), Some(Answer::Ok(ok)) if ok.affected_rows == 1) {
            return Ok(());
        }
        self.rollback().await?;
        Err(Failure::Fatal(Error::Fenced { link: self.shared.load.link_text().into() }))
    }

    /// Holds the target's definition, under the transaction's own metadata lock, against the one the chunk was made for.
    pub(super) async fn check_definition(&mut self, placed: &Placed) -> Result<(), Failure> {
        let table = &placed.target;
        let definition = format!("SHOW CREATE TABLE {}", sql::table(&table.database, &table.table));
        let asked = self.run_all(&[definition.as_bytes()]).await?;
        if asked.first().and_then(definition_in).as_ref() == Some(&table.create) {
            return Ok(());
        }
        self.rollback().await?;
        Err(Failure::Fatal(Error::DefinitionChanged { table: table.display_name() }))
    }

    pub(super) async fn commit(&mut self) -> Result<(), Failure> {
        self.run_all(&[b"COMMIT"]).await?;
        self.stamp.committed();
        Ok(())
    }

    /// Is a key of these rows in doubt? Asked under their own locks.
    async fn check_doubts(&mut self, wanted: &Wanted, events: &[Event]) -> Result<(), Failure> {
        let (Some(key), Some(two_way)) = (&wanted.table.key, self.shared.two_way.clone()) else {
            return Ok(());
        };
        self.reach().await?;
        if !two_way.doubts.has_any_in(wanted.table.index) {
            return Ok(());
        }
        let (mut keys, _) = rows_of(events, &wanted.table.map, &key.shape).map_err(malformed)?;
        if key.shape.has_texts() {
            key.shape.weigh(&mut self.target, &mut keys).await.map_err(Failure::Fatal)?;
        }
        if !self.in_doubt(wanted.table.index, &keys).contains(&true) {
            return Ok(());
        }
        self.rollback().await?;
        Err(Failure::Doubtful)
    }

    /// One attempt: rows, stamp and progress are committed, or nothing.
    async fn attempt(
        &mut self,
        wanted: &Wanted,
        chunk: &Chunk,
        placed: &Placed,
        events: &[Event],
    ) -> Result<(), Failure> {
        self.begin(placed).await?;
        let progress =
            self.shared.load.chunk(&wanted.table, wanted.number, &wanted.range, chunk.rows, chunk.bytes);
        self.run_all(&[progress.as_bytes()]).await?;
        for statement in binlog_statements(events.iter(), |_| true, MAX_EVENT_BYTES.min(self.largest_event()))
        {
            self.run_all(&[statement.map_err(malformed)?.as_slice()]).await?;
        }
        self.mend(placed, events).await?;
        self.check_definition(placed).await?;
        self.check_doubts(wanted, events).await?;
        self.commit().await
    }

    /// Runs statements of the transaction; an error of one rolls it back.
    pub(super) async fn run_all(&mut self, statements: &[&[u8]]) -> Result<Vec<Answer>, Failure> {
        match self.target.ask_group(statements).await {
            Ok(answers) => Ok(answers),
            Err(error) => Err(self.failed(error).await),
        }
    }

    /// How statements of the transaction failed; it is rolled back, or its connection is gone.
    pub(super) async fn failed(&mut self, error: GroupError) -> Failure {
        match error {
            GroupError::Failed { index, source, .. } => {
                if let Err(failure) = self.rollback().await {
                    return failure;
                }
                if index == 1 && source.code == 1048 {
                    return Failure::Fatal(Error::Fenced { link: self.shared.load.link_text().into() });
                }
                Failure::Refused(source)
            }
            GroupError::Unknown { source, .. } | GroupError::NotSent { source } => {
                Failure::Fatal(Error::target("writing copied rows")(source))
            }
        }
    }

    pub(super) async fn rollback(&mut self) -> Result<(), Failure> {
        let rolled_back = self.target.execute("ROLLBACK").await;
        rolled_back.map(drop).map_err(|error| Failure::Fatal(Error::target("rolling back")(error)))
    }
}

fn met(wanted: &Wanted) -> Error {
    Error::Copy {
        table: wanted.table.name(),
        what: "a row in the target has the same key as one that is copied, and another content".into(),
        remedy: "compare them with twinlog verify, then set the link's on_conflict to overwrite, ignore or newest, or remove the row".into(),
    }
}

fn refused(wanted: &Wanted, source: ServerError) -> Error {
    if source.is_transient() {
        return Error::Apply { gtid: format!("of the initial copy of {}", wanted.table.name()), source };
    }
    let remedy = match source.code {
        1062 => "the target holds a row with this key: remove it, then start the link again",
        1105 => "grant the link's account SELECT, INSERT, UPDATE, DELETE on the table in the target",
        _ => "mend what the server names, then start the link again",
    };
    Error::Copy { table: wanted.table.name(), what: source.to_string(), remedy: remedy.into() }
}
