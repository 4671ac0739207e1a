//! The thread that owns the relay log's writer: appends what came, flushes once for all of it.
//!
//! **Promise 1** (only what is durable counts): the durable end moves here or [beside](Beside), after the flush, and
//! everything else (serving, acknowledging) looks at it. While the thread flushes, the next events gather in its inbox:
//! that is the group commit.

use std::time::{Duration, Instant};

use binlog::Event;
use storage::{Appended, LogWriter, OnKnown, SourceFile, SyncPoint};
use tokio::sync::{mpsc, oneshot};

use crate::Error;
use crate::beside::Beside;
use crate::inlet::{Inlet, Sent};
use crate::status::Progress;
use crate::tail::Tail;

/// While more waits, a flush is begun beside the appending for so many bytes: few enough that downstreams see them
/// soon, and enough that flushes are few.
const BESIDE_BYTES: usize = 1 << 20;
/// Most bytes appended while another flush is under way: then it is waited for.
const FLUSH_BYTES: usize = 6 << 20;
/// How often a full disk or a full log is looked at again.
const FULL_RETRY: Duration = Duration::from_millis(500);

/// What the thread is told.
pub(crate) enum Message {
    /// A source begins to send; the answer is what the log has then, and its last transaction.
    Restart(oneshot::Sender<(binlog::GtidSet, Option<binlog::Gtid>)>),
    /// An empty log begins here.
    Start(binlog::GtidSet),
    /// The events that follow are from this file.
    File(Box<SourceFile>),
    /// Events, in order, and their bytes.
    Events(Vec<Event>, usize),
}

/// Tells how the thread ended.
pub(crate) type WriterEnd = oneshot::Receiver<Result<(), Error>>;

/// Runs the writer on a thread of its own, until the sender is dropped.
pub(crate) fn spawn(
    writer: LogWriter,
    tail: Tail,
    progress: Progress,
) -> std::io::Result<(Inlet, WriterEnd)> {
    let (inlet, inbox) = Inlet::new();
    let (done, ended) = oneshot::channel();
    let beside = Beside::spawn(tail.clone(), progress.clone())?;
    let log = tracing::Span::current();
    std::thread::Builder::new().name("relay-log".into()).spawn(move || {
        let _in_span = log.entered();
        let mut thread =
            Thread { writer, inbox, beside, tail, progress, pending: 0, transactions: 0, is_waiting: false };
        let result = thread.run();
        let Thread { writer, beside, .. } = thread;
        let result = result.and_then(|()| writer.close()).map_err(|error| beside.cause(error));
        // Nobody to tell: the relay is gone.
        _ = done.send(result.map_err(Error::from));
    })?;
    Ok((inlet, ended))
}

struct Thread {
    writer: LogWriter,
    inbox: mpsc::Receiver<Sent>,
    beside: Beside,
    tail: Tail,
    progress: Progress,
    /// Bytes appended, for which no flush was begun.
    pending: usize,
    /// Transactions whole and not counted.
    transactions: u64,
    /// There is no room, and somebody was told.
    is_waiting: bool,
}

impl Thread {
    fn run(&mut self) -> Result<(), storage::Error> {
        while let Some(Sent { message, room }) = self.inbox.blocking_recv() {
            self.take(message)?;
            drop(room);
            while self.pending < FLUSH_BYTES {
                let Ok(Sent { message, room: _room }) = self.inbox.try_recv() else { break };
                self.take(message)?;
                if self.pending >= BESIDE_BYTES && self.beside.is_idle() {
                    self.flush_beside()?;
                }
            }
            self.flush()?;
        }
        Ok(())
    }

    /// Makes all durable that is whole.
    fn flush(&mut self) -> Result<(), storage::Error> {
        if let Some(point) = self.prepare()? {
            let began = Instant::now();
            point.complete_then(|end| {
                self.tail.grow(end);
                self.progress.flushed(began.elapsed());
            })?;
        }
        Ok(())
    }

    /// The same, by the other thread.
    fn flush_beside(&mut self) -> Result<(), storage::Error> {
        if let Some(point) = self.prepare()? {
            self.beside.flush(point);
        }
        Ok(())
    }

    fn prepare(&mut self) -> Result<Option<SyncPoint>, storage::Error> {
        self.pending = 0;
        let point = loop {
            match self.writer.prepare_sync() {
                Ok(point) => break point,
                Err(error @ storage::Error::NoSpace { .. }) => {
                    self.wait(&crate::with_remedy(&error, error.remedy()))
                }
                Err(error) => return Err(error),
            }
        };
        self.go_on();
        self.tail.add(self.writer.take_fresh());
        self.progress.received(self.writer.received(), std::mem::take(&mut self.transactions));
        Ok(point)
    }

    fn take(&mut self, message: Message) -> Result<(), storage::Error> {
        match message {
            Message::Restart(answer) => {
                self.writer.discard_unfinished()?;
                self.flush()?;
                let last = self.writer.sync()?.last_gtid;
                self.writer.on_known(OnKnown::Compare);
                // Nobody waits for it when the source is lost again already.
                _ = answer.send((self.writer.received().clone(), last));
            }
            Message::Start(set) => self.writer.set_start(&set)?,
            Message::File(file) => self.writer.source_file(&file)?,
            Message::Events(events, _) => {
                self.writer.keep_fresh(self.tail.is_followed());
                for event in &events {
                    self.append(event)?;
                }
            }
        }
        Ok(())
    }

    fn append(&mut self, event: &Event) -> Result<(), storage::Error> {
        while self.writer.is_full() && !self.inbox.is_closed() {
            if !self.is_waiting {
                self.flush()?;
            }
            self.wait("relay log is at relay.max_size (remedy: raise it, or bring the links forward)");
        }
        loop {
            match self.writer.append(event) {
                Ok(Appended::Whole) => self.transactions += 1,
                Ok(Appended::Inside | Appended::Passed) => {}
                Err(error @ storage::Error::NoSpace { .. }) => {
                    self.wait(&crate::with_remedy(&error, error.remedy()));
                    continue;
                }
                Err(error) => return Err(error),
            }
            break;
        }
        self.go_on();
        self.pending += event.bytes().len();
        Ok(())
    }

    /// Waits a little for room; alarms once.
    fn wait(&mut self, why: &str) {
        if !self.is_waiting {
            tracing::error!(why, "pulling stops until there is room");
            self.progress.state("full");
            self.progress.error(why.into());
            self.is_waiting = true;
        }
        std::thread::sleep(FULL_RETRY);
    }

    fn go_on(&mut self) {
        if std::mem::take(&mut self.is_waiting) {
            tracing::info!("there is room again");
            self.progress.state("running");
        }
    }
}
