//! One who copies: a session at the source, a session in the target, one chunk after the other.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wire::Connection;

use super::careful::wanted_keys;
use super::chunks::{Registered, Told};
use super::in_flight::InFlight;
use super::load::Load;
use super::ranges::ChunkId;
use super::read::{self, Chunk};
use super::run::{Answer, Placed, sort_key};
use super::stamp::Stamp;
use super::two_way::TwoWay;
use super::walk::{Keys, Wanted};
use crate::Error;
use crate::collations::Collations;
use crate::config::Conflicts;
use crate::life::gate::Gate;
use crate::progress::Progress;

/// What the hands of a copy share.
pub(crate) struct Shared {
    pub(crate) ranges: Mutex<mpsc::Receiver<Wanted>>,
    pub(crate) tell: mpsc::Sender<Told>,
    pub(crate) load: Load,
    pub(crate) in_flight: InFlight,
    /// The target's `max_allowed_packet`, bytes.
    pub(crate) max_packet: usize,
    /// In the events made here.
    pub(crate) server_id: u32,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) conflicts: Conflicts,
    pub(crate) collations: Arc<Collations>,
    /// Rows of the target that are met are kept, or decided about.
    pub(crate) keeps: bool,
    /// Where the other link of a pair goes the other way.
    pub(crate) two_way: Option<TwoWay>,
    pub(crate) progress: Progress,
    pub(crate) gate: Gate,
    pub(crate) stop: CancellationToken,
}

/// See the [module](self).
pub(crate) struct Hand {
    source: Connection,
    pub(super) target: Connection,
    pub(super) stamp: Stamp,
    pub(super) shared: Arc<Shared>,
    /// The format description that the target's session has.
    pub(super) format: Option<binlog::Event>,
    /// The time zone under which columns came out as they are at the source.
    pub(super) zone: Option<String>,
}

impl Hand {
    pub(crate) fn new(source: Connection, target: Connection, stamp: Stamp, shared: Arc<Shared>) -> Self {
        Self { source, target, stamp, shared, format: None, zone: None }
    }

    /// Copies until there is nothing more, or `stop`. What it is writing then it finishes.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => None,
                next = async { self.shared.ranges.lock().await.recv().await } => next,
            };
            let Some(mut wanted) = next else { break };
            // A paused link reads nothing more, and holds no snapshot open at the source.
            if !self.shared.gate.pass(&stop).await {
                break;
            }
            let read = tokio::select! {
                biased;
                () = stop.cancelled() => None,
                read = Box::pin(self.read(&mut wanted)) => read.map_err(|error| wanted.table.unless_gone(error))?,
            };
            // The planner has ended; it tells why.
            let Some((id, chunk, placed)) = read else { break };
            Box::pin(self.write(&wanted, &chunk, &placed)).await?;
            self.shared.in_flight.done(id);
            if let Some(two_way) = self.shared.two_way.as_ref().filter(|_| wanted.keys.is_some()) {
                two_way.finished.send_modify(|finished| *finished += 1);
            }
            let written = Told::Written { id, rows: chunk.rows, bytes: chunk.bytes };
            if self.shared.tell.send(written).await.is_err() {
                break;
            }
        }
        self.source.close().await;
        self.target.close().await;
        Ok(())
    }

    /// Reads a chunk and waits for its place.
    async fn read(&mut self, wanted: &mut Wanted) -> Result<Option<(ChunkId, Chunk, Box<Placed>)>, Error> {
        let Some(Registered { id, seen, mut passed }) = self.register(wanted).await? else { return Ok(None) };
        if let Some(Keys(_, of_keys)) = &mut wanted.keys {
            *of_keys = seen;
        }
        let wanted = &*wanted;
        let Wanted { table, range, .. } = wanted;
        let server_id = self.shared.server_id;
        if let Some(key) = &table.key {
            let condition = match &wanted.keys {
                Some(keys) => wanted_keys(wanted, keys),
                None => key.key.within(range),
            };
            let before = read::executed_with(&mut self.source, &passed, &self.shared.progress).await?;
            let chunk = read::read(&mut self.source, table, &condition, server_id, before).await?;
            let (before, high) = (chunk.before.clone(), chunk.high.clone());
            let answer = self.ask(|reply| Told::Read { id, before, high, reply }).await;
            return Ok(match answer {
                Some(Answer::Go(placed)) => Some((id, chunk, placed)),
                Some(Answer::Again(_)) | None => None,
            });
        }
        // Rows that nothing names can't be told from each other: the whole table is read from a state that the stream
        // did not touch while it was opened.
        loop {
            let before = read::executed_with(&mut self.source, &passed, &self.shared.progress).await?;
            let marks = read::open_snapshot(&mut self.source, before).await?;
            let (before, high) = marks.clone();
            let answer = self.ask(|reply| Told::Read { id, before, high, reply }).await;
            let placed = match answer {
                Some(Answer::Go(placed)) => Some(placed),
                Some(Answer::Again(touched_by)) => {
                    passed = touched_by;
                    None
                }
                None => return Ok(None),
            };
            let chunk = match placed {
                Some(placed) => {
                    let chunk = read::read_whole(&mut self.source, table, marks, server_id).await?;
                    Some((id, chunk, placed))
                }
                None => None,
            };
            self.source.execute("COMMIT").await.map_err(Error::source("closing a snapshot"))?;
            if chunk.is_some() {
                return Ok(chunk);
            }
        }
    }

    /// Has the planner note from now on what the stream says of these keys; `None` when it has ended.
    async fn register(&mut self, wanted: &Wanted) -> Result<Option<Registered>, Error> {
        let table = wanted.table.index;
        if let Some(Keys(keys, _)) = &wanted.keys {
            let sort_keys = keys.iter().map(|(key, _)| key.clone()).collect();
            return Ok(self.ask(|reply| Told::RegisterKeys { table, keys: sort_keys, reply }).await);
        }
        let after = sort_key(&mut self.target, &wanted.table, wanted.range.after.as_ref()).await?;
        let upto = sort_key(&mut self.target, &wanted.table, wanted.range.upto.as_ref()).await?;
        Ok(self.ask(|reply| Told::Register { table, after, upto, reply }).await)
    }

    /// Asks the planner; `None` when it has ended.
    async fn ask<T>(&mut self, told: impl FnOnce(oneshot::Sender<T>) -> Told) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.shared.tell.send(told(reply)).await.ok()?;
        answer.await.ok()
    }
}
