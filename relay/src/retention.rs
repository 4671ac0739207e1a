//! Purging, now and then: what is old and needed by no link.
//!
//! **Promise 6**: [`storage::RelayLog::purge`] removes nothing that a registered link has not acknowledged, and
//! nothing younger than `relay.retain`.

use std::time::{Duration, SystemTime};

use storage::RelayLog;
use tokio_util::sync::CancellationToken;

use crate::Error;

/// Segments are large and `retain` is long: a few seconds more do not matter.
const EVERY: Duration = Duration::from_secs(5);

/// Purges until the relay ends. What can't be removed is tried again.
pub(crate) async fn run(log: RelayLog, retain: Duration, stop: CancellationToken) -> Result<(), Error> {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
        let log = log.clone();
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
