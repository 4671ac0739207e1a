//! From the source into the log: find it, compare, read, and begin again after what passes.

use std::convert::Infallible;
use std::time::Duration;

use storage::RelayLog;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wire::{AckSender, Checksum};

use crate::begin::{Asked, where_asked};
use crate::choose::{NoSource, choose};
use crate::frames::Frames;
use crate::inlet::{Inlet, WriterGone};
use crate::status::Progress;
use crate::upstream::Upstream;
use crate::writer::Message;
use crate::{Config, Error, Start};

/// First wait before the source is tried again; doubled up to the last.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(15);

/// Pulls from the source.
pub(crate) struct Ingest {
    pub(crate) config: Config,
    pub(crate) log: RelayLog,
    pub(crate) to_writer: Inlet,
    pub(crate) asked: Asked,
    pub(crate) progress: Progress,
}

enum Ended {
    /// Trying again may help.
    Lost(Error),
    /// It will not.
    Failed(Error),
    WriterGone,
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        if error.is_transient() { Self::Lost(error) } else { Self::Failed(error) }
    }
}

impl From<WriterGone> for Ended {
    fn from(_: WriterGone) -> Self {
        Self::WriterGone
    }
}

impl From<NoSource> for Ended {
    fn from(no: NoSource) -> Self {
        if no.may_come { Self::Lost(no.error) } else { Self::Failed(no.error) }
    }
}

impl Ingest {
    /// Pulls until `shutdown`, until the writer is gone (`Ok` both), or an error that trying again can't mend.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut backoff = FIRST_BACKOFF;
        loop {
            let began = tokio::time::Instant::now();
            let ended = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                ended = self.round() => ended,
            };
            let error = match ended {
                Ended::WriterGone => return Ok(()),
                Ended::Failed(error) => {
                    self.progress.state("failed");
                    self.progress.error(crate::with_remedy(&error, error.remedy()));
                    return Err(error);
                }
                Ended::Lost(error) => error,
            };
            if began.elapsed() > LAST_BACKOFF {
                backoff = FIRST_BACKOFF;
            }
            let wait = backoff.mul_f64(rand::random_range(0.5..1.5));
            tracing::warn!(error = crate::describe(&error), retry_in = ?wait, "source lost");
            self.progress.state(if error.is_transient() { "waiting" } else { "diverged" });
            self.progress.error(crate::with_remedy(&error, error.remedy()));
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait) => {}
            }
            backoff = (backoff * 2).min(LAST_BACKOFF);
        }
    }

    /// One connection, until it is lost.
    async fn round(&self) -> Ended {
        match self.pull().await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn pull(&self) -> Result<Infallible, Ended> {
        // Not over the error that is being tried again.
        if !matches!(self.progress.get().state.as_str(), "waiting" | "diverged") {
            self.progress.state("connecting");
        }
        let config = &self.config;
        if self.log.is_fresh() {
            self.begin().await?;
        }
        let (answer, has) = oneshot::channel();
        self.send(Message::Restart(answer)).await?;
        let (has, last) = has.await.map_err(|_| WriterGone)?;
        let upstream = choose(&config.sources, config.server_id, &has).await?;
        self.progress.source(&upstream);
        let address = upstream.address.clone();
        let (stream, info) = upstream.dump(config, self.log.server_uuid(), &has, last.as_ref()).await?;
        tracing::info!(source = address, semi_sync = info.semi_sync, "pulling");
        if config.semi_sync && !info.semi_sync {
            tracing::warn!(
                source = address,
                "relay.semi_sync is on, and the source has no semi-synchronous replication"
            );
        }
        self.progress.running(info.semi_sync);
        let (events, acknowledge) = stream.split();
        let frames = Frames::new(events, info.server_uuid, info.checksum == Checksum::Crc32);
        tokio::select! {
            biased;
            ended = self.read(frames) => ended,
            ended = send_acknowledgements(acknowledge, info.server_uuid, self.log.durable()) => ended,
        }
    }

    /// Says where an empty log begins.
    async fn begin(&self) -> Result<(), Ended> {
        let config = &self.config;
        let mut upstream = Upstream::connect_first(&config.sources, config.server_id).await?;
        self.progress.source(&upstream);
        let start = match &config.start {
            Start::Now => upstream.executed.clone(),
            Start::Oldest => upstream.purged.clone(),
            Start::After(set) => set.clone(),
            Start::Asked if config.links.is_empty() => upstream.executed.clone(),
            Start::Asked => {
                self.progress.state("waiting for links");
                let (asked, silent) = self.asked.wait(config.limits.start_patience).await;
                upstream.ask_sets().await?;
                if !silent.is_empty() {
                    tracing::warn!(links = ?silent, "links have not asked where the relay log is to begin");
                }
                let found = where_asked(&asked, &upstream.executed, &upstream.purged);
                if found.is_none() && !asked.is_empty() {
                    tracing::error!(purged = %upstream.purged, "source has purged what links ask for");
                }
                found.unwrap_or_else(|| upstream.executed.clone())
            }
        };
        tracing::info!(after = %start, "relay log begins");
        self.send(Message::Start(start)).await?;
        Ok(())
    }

    async fn read(&self, mut frames: Frames) -> Result<Infallible, Ended> {
        loop {
            let batch = frames.batch().await?;
            self.progress.heard(batch.bytes);
            for message in batch.messages {
                self.send(message).await?;
            }
        }
    }

    async fn send(&self, message: Message) -> Result<(), WriterGone> {
        self.to_writer.send(message).await
    }
}

/// Tells a semi-synchronous source how far the log is durable: nothing before that (**promise 1**). The place means
/// something only to the server that it is of: another one would take it for more than there is.
async fn send_acknowledgements(
    mut sender: AckSender,
    server: Uuid,
    mut durable: watch::Receiver<storage::DurableEnd>,
) -> Result<Infallible, Ended> {
    if !sender.is_semi_sync() {
        std::future::pending::<()>().await;
    }
    loop {
        let end = durable.borrow_and_update().source.clone();
        if let Some(end) = end.filter(|end| end.server_uuid == server) {
            let sent = sender.acknowledge(end.file.as_bytes(), end.position).await;
            sent.map_err(Error::source("acknowledging"))?;
        }
        durable.changed().await.map_err(|_| WriterGone)?;
    }
}
