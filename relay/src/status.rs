//! What a relay says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use binlog::GtidSet;
use measure::Histogram;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::upstream::{Says, Upstream};

/// A relay's state at one moment, as `status` shows it and the admin API serves it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// The region's name.
    pub region: String,
    /// `connecting`, `waiting for links` (to say where an empty log begins), `running`, `waiting` (to try again),
    /// `diverged` (the servers that answer lack what the log has; those that don't are waited for), `full` (the log
    /// is at its limit), `failed`.
    pub state: String,
    /// The source listens to acknowledgements: a commit there can wait until it is durable here.
    #[serde(default)]
    pub semi_sync: bool,
    /// Since when, Unix time in seconds.
    pub since: f64,
    /// The source's address.
    pub source: String,
    /// Where downstreams attach: the bound address.
    pub listen: String,
    /// The relay's own server uuid.
    pub server_uuid: String,
    /// GTIDs received from the source, those of an unfinished transaction not counted.
    pub gtid_received: String,
    /// GTIDs on disk, what was purged included.
    pub gtid_durable: String,
    /// GTIDs no longer in the log.
    pub gtid_purged: String,
    /// Bytes received from the source since start.
    pub bytes_received: u64,
    /// Transactions received since start.
    pub transactions_received: u64,
    /// Bytes on disk.
    pub log_bytes: u64,
    /// Segments on disk.
    pub segments: u64,
    /// When the first transaction that is still there was committed at its source, Unix time in seconds; 0 for none.
    #[serde(default)]
    pub oldest_segment_at: f64,
    /// Bytes at which pulling stops.
    #[serde(default)]
    pub log_max_bytes: u64,
    /// Segments are kept at least so many seconds.
    #[serde(default)]
    pub retain_seconds: f64,
    /// The segment that is written, and how far it is on disk.
    #[serde(default)]
    pub durable_segment: u64,
    /// Bytes of it that are durable.
    #[serde(default)]
    pub durable_offset: u64,
    /// How long flushes to the disk took.
    #[serde(skip)]
    pub flush: Histogram,
    /// Unix time in seconds when the source was last heard.
    pub last_heard: f64,
    /// Who is attached.
    pub downstreams: Vec<DownstreamStatus>,
    /// The last error, with its remedy, until the relay runs again.
    pub last_error: Option<String>,
}

/// One attached downstream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DownstreamStatus {
    /// The link's name, or the peer's address when it is no link.
    pub name: String,
    /// The peer's address.
    pub address: String,
    /// The replica uuid it gave.
    pub uuid: String,
    /// Bytes sent to it.
    pub bytes_sent: u64,
    /// What it has acknowledged, as source file and position; empty when nothing.
    pub acknowledged: String,
}

/// Where the tasks of a relay note what they did. Cheap to clone; locks are held for a few instructions only.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    status: Status,
    received: GtidSet,
    downstreams: BTreeMap<u64, DownstreamStatus>,
    /// The source's own uuids, and those it knows of its region.
    source_uuids: BTreeSet<Uuid>,
    source_says: Says,
}

impl Progress {
    pub(crate) fn new(region: &str) -> Self {
        let status =
            Status { region: region.into(), state: "connecting".into(), since: now(), ..Status::default() };
        Self(Arc::new(Mutex::new(Inner { status, ..Inner::default() })))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.lock().expect("nothing panics while it is held"))
    }

    /// The state now, without what only the log knows.
    pub(crate) fn get(&self) -> Status {
        self.with(|inner| Status {
            gtid_received: inner.received.to_string(),
            downstreams: inner.downstreams.values().cloned().collect(),
            ..inner.status.clone()
        })
    }

    pub(crate) fn state(&self, state: &str) {
        self.with(|inner| {
            if inner.status.state != state {
                tracing::info!(region = inner.status.region, state, was = inner.status.state, "relay state");
                inner.status.state = state.into();
                inner.status.since = now();
            }
            if state == "running" {
                inner.status.last_error = None;
            }
        });
    }

    pub(crate) fn error(&self, text: String) {
        self.with(|inner| inner.status.last_error = Some(text));
    }

    /// A source was found.
    pub(crate) fn source(&self, upstream: &Upstream) {
        self.with(|inner| {
            inner.status.source.clone_from(&upstream.address);
            inner.source_uuids.extend(&upstream.uuids);
            inner.source_says = upstream.says.clone();
        });
    }

    /// What it says of itself.
    pub(crate) fn source_says(&self) -> Says {
        self.with(|inner| inner.source_says.clone())
    }

    /// Events are coming.
    pub(crate) fn running(&self, semi_sync: bool) {
        self.state("running");
        self.with(|inner| inner.status.semi_sync = semi_sync);
    }

    pub(crate) fn source_uuids(&self) -> BTreeSet<Uuid> {
        self.with(|inner| inner.source_uuids.clone())
    }

    pub(crate) fn listening(&self, address: &str, uuid: &str) {
        self.with(|inner| {
            inner.status.listen = address.into();
            inner.status.server_uuid = uuid.into();
        });
    }

    /// What the configuration allows the log.
    pub(crate) fn limits(&self, max_size: u64, retain: Duration) {
        self.with(|inner| {
            inner.status.log_max_bytes = max_size;
            inner.status.retain_seconds = retain.as_secs_f64();
        });
    }

    /// A flush took so long.
    pub(crate) fn flushed(&self, took: Duration) {
        self.with(|inner| inner.status.flush.note(took));
    }

    /// Bytes came from the source.
    pub(crate) fn heard(&self, bytes: u64) {
        self.with(|inner| {
            inner.status.bytes_received += bytes;
            inner.status.last_heard = now();
        });
    }

    /// So many more transactions are whole.
    pub(crate) fn received(&self, set: &GtidSet, transactions: u64) {
        self.with(|inner| {
            inner.received = set.clone();
            inner.status.transactions_received += transactions;
        });
    }

    /// Notes a downstream, or what it has come to.
    pub(crate) fn downstream(&self, id: u64, status: DownstreamStatus) {
        self.with(|inner| _ = inner.downstreams.insert(id, status));
    }

    pub(crate) fn sent(&self, id: u64, bytes: u64) {
        self.with(|inner| {
            if let Some(downstream) = inner.downstreams.get_mut(&id) {
                downstream.bytes_sent += bytes;
            }
        });
    }

    pub(crate) fn acknowledged(&self, id: u64, place: String) {
        self.with(|inner| {
            if let Some(downstream) = inner.downstreams.get_mut(&id) {
                downstream.acknowledged = place;
            }
        });
    }

    pub(crate) fn gone(&self, id: u64) {
        self.with(|inner| _ = inner.downstreams.remove(&id));
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}
