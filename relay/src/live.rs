//! What can be changed while a relay runs: how long it keeps what nobody needs, how much, and for which links.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use storage::RelayLog;

use crate::Config;

/// Settings that hold from the moment they are changed. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Live(Arc<Mutex<Now>>);

#[derive(Debug)]
struct Now {
    retain: Duration,
    max_size: u64,
    links: Vec<String>,
}

/// A relay's log, for people.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LogStatus {
    /// The region.
    pub region: String,
    /// On disk, or purged since.
    pub gtid_durable: String,
    /// No longer there.
    pub gtid_purged: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes at which pulling stops.
    pub max_size: u64,
    /// Segments are kept at least so many seconds.
    pub retain_seconds: u64,
    /// Oldest first.
    pub segments: Vec<SegmentStatus>,
    /// Who has ever attached under a name, and what is kept for whom.
    pub downstreams: Vec<KeptFor>,
}

/// One segment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SegmentStatus {
    /// Its number, from 1.
    pub segment: u64,
    /// The server its events were read from.
    pub server_uuid: String,
    /// That server's file.
    pub file: String,
    /// Where its first event begins in that file.
    pub source_begin: u64,
    /// Where its last event ends in that file.
    pub source_end: u64,
    /// Bytes that are durable.
    pub bytes: u64,
    /// Commit time of its first transaction, Unix time in seconds; `null` where it has none.
    pub first_commit: Option<f64>,
    /// Commit time of its last one.
    pub last_commit: Option<f64>,
    /// Its transactions.
    pub gtids: String,
}

/// A downstream as the log knows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct KeptFor {
    /// Its name.
    pub name: String,
    /// Is the log kept for it?
    pub holds_log: bool,
    /// The oldest segment that it may still need; `null`: all of them.
    pub needs_segment: Option<u64>,
    /// The place it acknowledged last, as source file and position.
    pub acknowledged: Option<String>,
}

impl Live {
    pub(crate) fn new(config: &Config) -> Self {
        let now = Now { retain: config.retain, max_size: config.max_size, links: config.links.clone() };
        Self(Arc::new(Mutex::new(now)))
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn retain(&self) -> Duration {
        self.now().retain
    }

    /// Does the log have to be kept for a downstream of this name?
    pub(crate) fn is_link(&self, name: &str) -> bool {
        self.now().links.iter().any(|link| link == name)
    }

    /// Takes over what can be changed of a configuration. Links that are new in it hold the log from now on; those
    /// that are no longer in it hold nothing.
    pub(crate) fn reconfigure(&self, config: &Config, log: &RelayLog) {
        let mut now = self.now();
        for gone in now.links.iter().filter(|link| !config.links.contains(link)) {
            log.forget(gone);
        }
        for new in config.links.iter().filter(|link| !now.links.contains(link)) {
            log.register(new);
        }
        log.set_max_size(config.max_size);
        *now = Now { retain: config.retain, max_size: config.max_size, links: config.links.clone() };
    }

    /// The log now.
    pub(crate) fn log_status(&self, region: &str, log: &RelayLog) -> LogStatus {
        let (retain, max_size) = {
            let now = self.now();
            (now.retain, now.max_size)
        };
        LogStatus {
            region: region.into(),
            gtid_durable: log.gtids_durable().to_string(),
            gtid_purged: log.gtids_purged().to_string(),
            bytes: log.size_on_disk(),
            max_size,
            retain_seconds: retain.as_secs(),
            segments: log.segments().iter().map(segment).collect(),
            downstreams: log.downstreams().into_iter().map(kept_for).collect(),
        }
    }
}

fn segment(info: &storage::SegmentInfo) -> SegmentStatus {
    #[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 fit 52 bits")]
    let time = |micros: u64| (micros > 0).then(|| micros as f64 / 1e6);
    SegmentStatus {
        segment: info.segment,
        server_uuid: info.server_uuid.to_string(),
        file: info.file.to_string(),
        source_begin: info.source_begin,
        source_end: info.source_end,
        bytes: info.bytes,
        first_commit: time(info.first_commit),
        last_commit: time(info.last_commit),
        gtids: info.gtids.to_string(),
    }
}

fn kept_for(info: storage::DownstreamInfo) -> KeptFor {
    KeptFor {
        name: info.name,
        holds_log: info.registered,
        needs_segment: info.needs,
        acknowledged: info.acknowledged.map(|place| format!("{}:{}", place.file, place.position)),
    }
}
