//! The thread that owns the relay log's writer: appends what came, flushes once for all of it.
//!
//! **Promise 1** (only what is durable counts): the durable end moves here, after the flush, and everything else
//! (serving, acknowledging) looks at it. While the thread flushes, the next events gather in its channel: that
//! is the group commit.

use std::time::Duration;

use binlog::Event;
use storage::{Appended, LogWriter, OnKnown, SourceFile};
use tokio::sync::{mpsc, oneshot};

use crate::Error;
use crate::status::Progress;
use crate::tail::Tail;

/// Most bytes appended before a flush: a downstream sees none of them until then.
const FLUSH_BYTES: usize = 4 << 20;
/// Batches of events on their way to the thread; each is at most a read's worth.
const QUEUE: usize = 8;
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
    /// Events, in order.
    Events(Vec<Event>),
}

/// Tells how the thread ended.
pub(crate) type WriterEnd = oneshot::Receiver<Result<(), Error>>;

/// Runs the writer on a thread of its own, until the sender is dropped.
pub(crate) fn spawn(
    writer: LogWriter,
    tail: Tail,
    progress: Progress,
) -> std::io::Result<(mpsc::Sender<Message>, WriterEnd)> {
    let (to_thread, inbox) = mpsc::channel(QUEUE);
    let (done, ended) = oneshot::channel();
    let log = tracing::Span::current();
    std::thread::Builder::new().name("relay-log".into()).spawn(move || {
        let _in_span = log.entered();
        let mut thread =
            Thread { writer, inbox, tail, progress, pending: 0, transactions: 0, is_waiting: false };
        let result = thread.run().map_err(Error::from);
        let result = result.and_then(|()| thread.writer.close().map_err(Error::from));
        // Nobody to tell: the relay is gone.
        _ = done.send(result);
    })?;
    Ok((to_thread, ended))
}

struct Thread {
    writer: LogWriter,
    inbox: mpsc::Receiver<Message>,
    tail: Tail,
    progress: Progress,
    /// Bytes appended and not flushed.
    pending: usize,
    /// Transactions whole and not counted.
    transactions: u64,
    /// There is no room, and somebody was told.
    is_waiting: bool,
}

impl Thread {
    fn run(&mut self) -> Result<(), storage::Error> {
        while let Some(message) = self.inbox.blocking_recv() {
            self.take(message)?;
            while self.pending < FLUSH_BYTES {
                let Ok(message) = self.inbox.try_recv() else { break };
                self.take(message)?;
            }
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), storage::Error> {
        self.pending = 0;
        let end = loop {
            match self.writer.sync() {
                Ok(end) => break end,
                Err(error @ storage::Error::NoSpace { .. }) => self.wait(&error.to_string()),
                Err(error) => return Err(error),
            }
        };
        self.tail.grow(self.writer.take_fresh(), end.position);
        self.progress.received(self.writer.received(), std::mem::take(&mut self.transactions));
        Ok(())
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
            Message::Events(events) => {
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
                    self.wait(&error.to_string());
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
