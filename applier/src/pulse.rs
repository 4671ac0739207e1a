//! How far a link is behind, asked rather than measured: every few seconds the source is asked what it has executed.
//!
//! A relay passes the question on to its server, so an answer holds also what the relay has not received yet. Nothing is
//! written for it: regions in which nobody writes stay silent (promise 7), and their lag is truly nothing. While nobody
//! answers nobody knows, and the lag grows from when it was known last. It goes on whatever the link does, so that one
//! that is paused, has failed or can't attach is seen to fall behind.
//!
//! A heartbeat row would tell the same only where it is written, would have to be written everywhere all the time, and
//! would be silent about the one thing that matters: a source that has more than what came.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::progress::Progress;
use crate::source::{Attach, Source};

/// Between two questions. Lag between them is what the stream tells.
const PERIOD: Duration = Duration::from_secs(5);

/// And as long as nothing can be said: before the link has attached, or while nobody answers. Or while something is
/// missing: what was on its way when the question was put has come meanwhile, and a link at rest is to be seen at rest.
const SOON: Duration = Duration::from_secs(1);

/// A source that takes longer is as good as gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks until `end`. Cancelling it loses nothing.
pub(crate) async fn run(attach: impl Fn() -> Attach, progress: Progress, end: CancellationToken) {
    let mut source: Option<Source> = None;
    loop {
        let asked = tokio::select! {
            biased;
            () = end.cancelled() => return,
            asked = tokio::time::timeout(PATIENCE, ask(source.take(), &attach)) => asked,
        };
        let mut wait = SOON;
        match asked {
            Ok(Ok((answering, executed))) => {
                if progress.source_has(&executed) == Some(0) {
                    wait = PERIOD;
                }
                source = Some(answering);
            }
            // Why is told by the link itself, which attaches to the same.
            Ok(Err(error)) => tracing::debug!(%error, "the source can't be asked how far it is"),
            Err(_) => tracing::debug!("the source does not answer how far it is"),
        }
        tokio::select! {
            biased;
            () = end.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn ask(
    source: Option<Source>,
    attach: &impl Fn() -> Attach,
) -> Result<(Source, binlog::GtidSet), crate::Error> {
    let mut source = match source {
        Some(source) => source,
        None => Source::connect(attach()).await?,
    };
    let executed = source.executed().await?;
    Ok((source, executed))
}
