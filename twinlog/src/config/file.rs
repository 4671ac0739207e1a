//! The configuration as types: what the file says, with defaults filled in and nothing derived from elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use applier::verify::Limits;
use applier::{GroupLimits, TablePatterns};
use uuid::Uuid;
use wire::{ListenerTls, Secret, TlsMode, TlsOptions};

use super::{Fault, PasswordSource};

/// A configuration file that has no fault.
#[derive(Clone, Debug)]
pub struct File {
    /// Where it was read from.
    pub path: PathBuf,
    /// What was read; a secret, because passwords may stand in it.
    pub text: Secret,
    /// `[sync]`.
    pub sync: Sync,
    /// `[region.NAME]`.
    pub regions: BTreeMap<String, Region>,
    /// `[link.NAME]`.
    pub links: BTreeMap<String, Link>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Fault>,
}

/// `[sync]`: what holds for every region and link.
#[derive(Clone, Debug)]
pub struct Sync {
    /// Its name.
    pub name: String,
    /// What is in step, in the names of each link's `from` region.
    pub tables: TablePatterns,
    /// The schema of checkpoints and metadata, in every region.
    pub meta_schema: String,
    /// Where processes publish their admin address and relays keep their log by default.
    pub state_dir: PathBuf,
    /// Passwords may stand in the file.
    pub allow_inline_secrets: bool,
    /// The admin listener of `twinlog up`.
    pub admin: Admin,
    /// The console's listener, of `twinlog up` and `twinlog console`.
    pub console: Admin,
}

/// `[region.NAME]`: one MySQL and the relay beside it.
#[derive(Clone, Debug)]
pub struct Region {
    /// Its name, which is its origin id.
    pub name: String,
    /// How to reach its MySQL.
    pub mysql: Mysql,
    /// Further uuids this region owns.
    pub gtid_uuids: Vec<Uuid>,
    /// Its relay; a region nobody reads from needs none.
    pub relay: Option<Relay>,
}

/// `mysql.*` of a region.
#[derive(Clone, Debug)]
pub struct Mysql {
    /// `host:port`, in order of preference.
    pub addresses: Vec<String>,
    /// Who reads: the relay.
    pub reader: Account,
    /// Who writes: the applier.
    pub writer: Account,
    /// TLS towards it.
    pub tls: TlsOptions,
    /// From the first packet to the end of the login.
    pub connect_timeout: Duration,
}

/// A user and where the password is.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// The user's name.
    pub user: String,
    /// Where the password is.
    pub password: PasswordSource,
}

/// `relay.*` of a region.
#[derive(Clone, Debug)]
pub struct Relay {
    /// Where downstreams attach.
    pub listen: String,
    /// How the others reach it.
    pub address: String,
    /// TLS of the listener; `None` is plain TCP.
    pub tls: Option<ListenerTls>,
    /// `tls = "disabled"` was said: plain TCP may be beyond loopback.
    pub plain_by_hand: bool,
    /// TLS of those who attach.
    pub client_tls: TlsOptions,
    /// Who may attach.
    pub account: Account,
    /// The relay log's folder.
    pub dir: PathBuf,
    /// `server_id` towards the source.
    pub server_id: u32,
    /// Where an empty log starts.
    pub start: relay::Start,
    /// Acknowledge to the source.
    pub semi_sync: bool,
    /// Segments are kept at least this long.
    pub retain: Duration,
    /// Bytes at which the relay stops pulling.
    pub max_size: u64,
    /// Its admin listener.
    pub admin: Admin,
}

/// `admin.*` of a relay, of a link, or of `[sync]` for `twinlog up`; and `console.*` of `[sync]`.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where it listens; `None`: a free loopback port that is published in the state folder.
    pub listen: Option<String>,
    /// How the others reach it; `None`: where it listens.
    pub address: Option<String>,
    /// The token that every request carries; none on loopback, unless it is given.
    pub token: PasswordSource,
    /// TLS of the listener; `None` is plain HTTP, on loopback only.
    pub tls: Option<ListenerTls>,
    /// TLS of those who ask.
    pub client_tls: TlsOptions,
}

impl Default for Admin {
    fn default() -> Self {
        let plain = TlsOptions { mode: TlsMode::Disabled, ..TlsOptions::default() };
        Self { listen: None, address: None, token: PasswordSource::Empty, tls: None, client_tls: plain }
    }
}

/// `[link.NAME]`: one direction.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// The region it reads.
    pub from: String,
    /// The region it writes into.
    pub to: String,
    /// What is copied before the stream.
    pub initial: Initial,
    /// What to do with a table that is there already.
    pub existing: Existing,
    /// How it is copied; what of it is said elsewhere is as that says.
    pub load: applier::Load,
    /// What to do about a conflict; `None` where the file does not say.
    pub on_conflict: Option<Policy>,
    /// How a conflict is found; `None` where the file does not say.
    pub detect: Option<Detect>,
    /// Which row operations cross.
    pub operations: BTreeSet<Operation>,
    /// DDL crosses.
    pub ddl: bool,
    /// Names of databases and tables that differ in the target; the inverse on the way back is filled in.
    pub rename: BTreeMap<String, String>,
    /// The file states them on the way back: the patterns of `[sync] tables` are in the names of this link's target.
    pub renames_are_derived: bool,
    /// Groups side by side.
    pub workers: usize,
    /// Whether what crosses is packed; `None`: beyond loopback.
    pub compress: Option<bool>,
    /// How large a group may grow.
    pub group: GroupLimits,
    /// Not before this time.
    pub start_at: Option<SystemTime>,
    /// `server_id` as a replica.
    pub server_id: u32,
    /// The certificate it shows to a relay that wants one.
    pub tls_cert: Option<PathBuf>,
    /// Its key.
    pub tls_key: Option<PathBuf>,
    /// Its admin listener.
    pub admin: Admin,
    /// When its regions are compared beside it.
    pub verify: Option<Verify>,
    /// Where single tables differ.
    pub tables: BTreeMap<String, TableSettings>,
}

/// `verify = { every = "24h" }` of a link.
#[derive(Clone, Debug)]
pub struct Verify {
    /// From the beginning of one round to that of the next.
    pub every: Duration,
    /// Only those of the tables in step.
    pub only: Option<TablePatterns>,
    /// How much it may ask of the servers.
    pub limits: Limits,
}

/// `[link.NAME.table."DATABASE.TABLE"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSettings {
    /// What to do about a conflict.
    pub on_conflict: Option<Policy>,
    /// How a conflict is found.
    pub detect: Option<Detect>,
    /// Which row operations cross.
    pub operations: Option<BTreeSet<Operation>>,
}

/// What is copied before the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initial {
    /// Tables and rows.
    StructureAndData,
    /// Tables only.
    Structure,
    /// Rows only.
    Data,
    /// Nothing: both sides are equal already.
    None,
}

/// What to do with a table that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Stop.
    Error,
    /// Use it.
    Keep,
}

/// What to do about a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Stop and show both rows.
    Report,
    /// The target's row stays.
    Ignore,
    /// The incoming row wins.
    Overwrite,
    /// The later one wins.
    Newest,
}

/// How a conflict is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detect {
    /// By the window of keys the target changed unseen.
    Row,
    /// By what strict apply reports.
    Key,
}

/// A row operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Insert, Self::Update, Self::Delete];
}

impl File {
    /// The link that goes the other way.
    pub fn way_back(&self, link: &Link) -> Option<&Link> {
        self.links.values().find(|l| l.from == link.to && l.to == link.from)
    }
}
