//! Purging, now and then and by hand: what is old and needed by no link.
//!
//! **Promise 6**: [`storage::RelayLog::purge`] removes nothing that a registered link has not acknowledged, and
//! nothing younger than `relay.retain`. By hand, `relay.retain` does not count, and the links do.

use std::time::{Duration, SystemTime};

use binlog::GtidSet;
use storage::{PurgeLimit, Purged, RelayLog};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::live::Live;
use crate::statement::Purge;

/// Segments are large and `retain` is long: a few seconds more do not matter.
const EVERY: Duration = Duration::from_secs(5);

/// Purges until the relay ends. What can't be removed is tried again.
pub(crate) async fn run(log: RelayLog, live: Live, stop: CancellationToken) -> Result<(), Error> {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
        let (log, retain) = (log.clone(), live.retain());
        let purged = tokio::task::spawn_blocking(move || log.purge(SystemTime::now(), retain)).await;
        match purged.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
            Ok(purged) if purged.segments > 0 => {
                tracing::info!(segments = purged.segments, bytes = purged.bytes, "purged");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = crate::describe(&error), "purging failed"),
        }
    }
}

/// Why nothing was purged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The log has no such file.
    #[error("Target log not found in binlog index")]
    NoFile,
    /// It can't be removed.
    #[error(transparent)]
    Log(#[from] storage::Error),
}

/// Purges what somebody asks for, of what no link needs; with `up_to`, only what is in these transactions. Blocks.
pub(crate) fn by_hand(log: &RelayLog, what: &Purge, up_to: Option<GtidSet>) -> Result<Purged, Refused> {
    let mut limit = PurgeLimit { up_to, ..PurgeLimit::written_by(SystemTime::now()) };
    match what {
        Purge::Before(time) => limit.written_by = *time,
        Purge::To(file) => {
            let segments = log.segments();
            let server = segments.last().map(|newest| newest.server_uuid);
            // Of the files of that name those of the source of now are meant.
            let first = segments.iter().find(|s| *s.file == **file && Some(s.server_uuid) == server);
            limit.before_segment = Some(first.ok_or(Refused::NoFile)?.segment);
        }
    }
    Ok(log.purge_within(&limit)?)
}
