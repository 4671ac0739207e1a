//! A dump: the log from where a downstream asks on, live tail included.
//!
//! **Promise 1**: nothing beyond the durable end is sent; neither the log's reader nor the tail gives more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use storage::RelayLog;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::AckReceiver;

use crate::abreast::Abreast;
use crate::begin::Asked;
use crate::feed::{Feed, Next};
use crate::hear;
use crate::outgoing::Outgoing;
use crate::request::{From, Request};
use crate::seek::{Seek, seek};
use crate::status::Progress;
use crate::tail::Tail;

/// How often one that is ahead of the log is looked at again.
const AHEAD_RETRY: Duration = Duration::from_millis(100);
/// The file in the heartbeats to one that waits for a log to begin.
const NO_FILE: &str = "waiting";
/// The error number of every end of a dump that is the reader's affair.
const ER_SOURCE_FATAL_ERROR_READING_BINLOG: u16 = 1236;

/// One dump.
pub(crate) struct Dump {
    pub(crate) log: RelayLog,
    pub(crate) tail: Tail,
    pub(crate) asked: Asked,
    pub(crate) progress: Progress,
    pub(crate) abreast: Arc<Abreast>,
    pub(crate) request: Request,
    /// Its number, for the status.
    pub(crate) id: u64,
    pub(crate) out: Outgoing,
}

/// Why a dump ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("connection lost")]
    Wire(#[from] wire::Error),
    #[error("refused: {0}")]
    Refused(String),
    #[error("end of the log")]
    Complete,
    #[error("the same replica has attached again")]
    Replaced,
    #[error("the relay is ending")]
    Shutdown,
}

impl Dump {
    /// Serves until the downstream is gone, replaced, refused, or the relay ends. Branches in order: endings
    /// first, then acknowledgements, which are few, then the events.
    pub(crate) async fn run(
        self,
        acks: AckReceiver,
        replaced: CancellationToken,
        shutdown: CancellationToken,
    ) -> Ended {
        let (log, progress) = (self.log.clone(), self.progress.clone());
        let hear = hear::run(log, progress, self.request.link.clone(), self.id, acks);
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Ended::Shutdown,
            () = replaced.cancelled() => Ended::Replaced,
            ended = hear => ended,
            ended = self.serve() => ended,
        }
    }

    async fn serve(mut self) -> Ended {
        if let Some(link) = &self.request.link {
            let (log, link, has) = (self.log.clone(), link.clone(), self.request.has());
            self.asked.note(&link, &has);
            crate::blocking(move || log.attached(&link, &has)).await;
        }
        let ended = match self.seek().await {
            Ok(feed) => self.send_all(feed).await,
            Err(ended) => ended,
        };
        match ended {
            Ended::Refused(message) => {
                let code = ER_SOURCE_FATAL_ERROR_READING_BINLOG;
                let sent = self.out.sender.send_error(code, "HY000", &message).await;
                sent.map_or_else(Ended::from, |()| Ended::Refused(message))
            }
            Ended::Complete => {
                self.out.sender.send_eof().await.map_or_else(Ended::from, |()| Ended::Complete)
            }
            ended => ended,
        }
    }

    /// Finds where to begin; waits while the log does not have what the downstream has already.
    async fn seek(&mut self) -> Result<Feed, Ended> {
        let mut beat = self.next_beat();
        let abreast = self.abreast.clone();
        let mut asking = std::pin::pin!(abreast.wait());
        // One that does not wait for events does not wait for the log either.
        let mut caught_up = self.request.non_block;
        loop {
            let (log, from) = (self.log.clone(), self.request.from.clone());
            match crate::blocking(move || seek(&log, &from, caught_up)).await {
                Seek::Found(reader) => return Ok(Feed::new(self.tail.clone(), *reader, self.request.has())),
                Seek::Refused(message) => return Err(Ended::Refused(message)),
                Seek::NotYet if self.request.non_block => return Err(Ended::Complete),
                // The log has not begun: what is known of the source is too old when it does.
                Seek::NotYet if caught_up => {
                    caught_up = false;
                    asking.set(abreast.wait());
                }
                Seek::NotYet => {}
            }
            tokio::select! {
                biased;
                // The log is looked at once more after that: what the source has said is in it by now.
                () = &mut asking, if !caught_up => caught_up = true,
                () = tokio::time::sleep(AHEAD_RETRY) => {}
            }
            if beat.is_some_and(|at| Instant::now() >= at) {
                let file = match &self.request.from {
                    From::Place(place) if !place.file.is_empty() => &place.file,
                    _ => NO_FILE,
                };
                self.out.wait_at(file).await?;
                beat = self.next_beat();
            }
        }
    }

    fn next_beat(&self) -> Option<Instant> {
        (!self.request.heartbeat.is_zero()).then(|| Instant::now() + self.request.heartbeat)
    }

    async fn send_all(&mut self, mut feed: Feed) -> Ended {
        let mut end = self.tail.follow();
        let mut beat = self.next_beat();
        loop {
            let next = match feed.next().await {
                Ok(next) => next,
                Err(error) => return Ended::Refused(crate::describe(&error)),
            };
            let sent = match next {
                Next::Own(items, bytes) => self.send(&items, bytes, &feed).await,
                Next::Shared(piece) => self.send(&piece.without(feed.has()), piece.bytes(), &feed).await,
                Next::LeftOut if beat.is_some_and(|at| Instant::now() >= at) => self.beat(&feed).await,
                Next::LeftOut => continue,
                Next::End if self.request.non_block => {
                    return self.settle(&feed).await.map_or_else(Ended::from, |()| Ended::Complete);
                }
                Next::End => match self.settle(&feed).await {
                    Ok(()) => self.wait(&feed, &mut end).await,
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = sent {
                return error.into();
            }
            beat = self.next_beat();
        }
    }

    async fn send(&mut self, items: &[storage::Item], bytes: usize, feed: &Feed) -> Result<(), wire::Error> {
        self.out.items(items, feed.at()).await?;
        self.progress.sent(self.id, bytes as u64);
        Ok(())
    }

    /// All that there is goes out, and what was passed over at the end is told.
    async fn settle(&mut self, feed: &Feed) -> Result<(), wire::Error> {
        if let Some(place) = feed.place() {
            self.out.passed_over(place).await?;
        }
        self.out.sender.flush().await
    }

    /// Waits until the log has grown, with signs of life.
    async fn wait(
        &mut self,
        feed: &Feed,
        end: &mut tokio::sync::watch::Receiver<storage::LogPosition>,
    ) -> Result<(), wire::Error> {
        let at = feed.at();
        loop {
            let beat = self.next_beat();
            tokio::select! {
                biased;
                // The tail lives as long as the dump does.
                _ = end.wait_for(|end| *end > at) => return Ok(()),
                () = sleep_until(beat) => {}
            }
            self.beat(feed).await?;
        }
    }

    async fn beat(&mut self, feed: &Feed) -> Result<(), wire::Error> {
        let Some(place) = feed.place() else { return self.out.wait_at(NO_FILE).await };
        self.out.reached(place);
        self.out.heartbeat().await?;
        self.out.sender.flush().await
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Ends an earlier dump of the same replica when it attaches again, as a server does.
#[derive(Clone, Default)]
pub(crate) struct Replicas(Arc<Mutex<HashMap<String, CancellationToken>>>);

impl Replicas {
    /// The token by which this dump is told that it was replaced.
    pub(crate) fn attach(&self, uuid: &str) -> CancellationToken {
        let token = CancellationToken::new();
        if !uuid.is_empty() {
            let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those whose dumps have ended need not be remembered.
            map.retain(|_, known| !known.is_cancelled());
            if let Some(older) = map.insert(uuid.into(), token.clone()) {
                older.cancel();
            }
        }
        token
    }
}
