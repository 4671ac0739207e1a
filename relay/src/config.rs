//! What a relay is told.

use std::path::PathBuf;
use std::time::Duration;

use binlog::GtidSet;
use wire::{ConnectOptions, ListenerTls, Secret};

/// Everything one relay needs to know. Made by the command line from the configuration file.
#[derive(Clone, Debug)]
pub struct Config {
    /// The sync's name.
    pub sync: String,
    /// The region beside whose MySQL this relay stands.
    pub region: String,
    /// The source's addresses, in order of preference.
    pub sources: Vec<ConnectOptions>,
    /// The relay's own `server_id` towards its source.
    pub server_id: u32,
    /// Where an empty log starts.
    pub start: Start,
    /// Acknowledge each transaction to the source once it is durable.
    pub semi_sync: bool,
    /// The relay log's folder.
    pub dir: PathBuf,
    /// Segments are kept at least this long.
    pub retain: Duration,
    /// Bytes of relay log at which pulling stops.
    pub max_size: u64,
    /// Where downstreams attach, `host:port`; port 0 takes a free one.
    pub listen: String,
    /// TLS of the listener; `None` is plain TCP.
    pub tls: Option<ListenerTls>,
    /// Plain TCP may be offered beyond loopback: somebody said so by hand.
    pub plain_beyond_loopback: bool,
    /// Who may attach.
    pub user: String,
    /// With which password.
    pub password: Secret,
    /// The links that start here, as `sync/from/to`: nothing they still need is purged.
    pub links: Vec<String>,
    /// Bounds on what clients can ask of the listener.
    pub limits: Limits,
}

/// Bounds on what clients can ask of the listener, logged in or not. The defaults are meant to be right.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From accept to the end of the login.
    pub login_timeout: Duration,
    /// How long a session may be without a command. A dump is one.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub write_timeout: Duration,
    /// Connections at once, logged in or not. One more is told so (1040).
    pub connections: usize,
    /// Of these, how many may be in the middle of logging in,
    pub logins: usize,
    /// and how many of them from one address.
    pub logins_per_address: usize,
    /// The largest command after the login, bytes: a dump request holds a GTID set, nothing else is large.
    pub command: usize,
    /// How long an empty log waits for its links to ask where it is to begin.
    pub start_patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            login_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(3600),
            // As `net_write_timeout` of a server.
            write_timeout: Duration::from_secs(60),
            connections: 500,
            logins: 200,
            logins_per_address: 64,
            command: 64 << 20,
            start_patience: Duration::from_secs(10),
        }
    }
}

/// Where an empty relay log starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Where the links ask it to begin; at the source's current `gtid_executed` when none does.
    Asked,
    /// At the source's current `gtid_executed`.
    Now,
    /// At the oldest transaction the source still has.
    Oldest,
    /// After this set.
    After(GtidSet),
}
