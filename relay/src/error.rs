//! What can go wrong in a relay, and what to do about it.

use std::net::SocketAddr;

use binlog::GtidSet;
use binlog::event::EventError;

/// Why a relay could not start or go on. [`Error::is_transient`] says whether trying again may help,
/// [`Error::remedy`] what a person can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source can't be talked to.
    #[error("source: {doing}")]
    Source {
        /// What was being done.
        doing: &'static str,
        /// How it failed.
        #[source]
        source: wire::Error,
    },
    /// A setting of the source makes a relay impossible.
    #[error("source {address}: {name} is {value}, and must be {wanted}")]
    Setting {
        /// The source's address.
        address: String,
        /// The variable.
        name: &'static str,
        /// What it is.
        value: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// The source has the relay's own server id.
    #[error("source {address} has server_id {server_id}, which is the relay's own")]
    SameServerId {
        /// The source's address.
        address: String,
        /// The id.
        server_id: u32,
    },
    /// The source lacks transactions that the relay has had from it.
    #[error("source {address} lacks transactions that the relay log has: {lacks}")]
    Diverged {
        /// The source's address.
        address: String,
        /// The transactions.
        lacks: GtidSet,
    },
    /// The source has purged transactions that the relay lacks.
    #[error("source {address} has purged transactions that the relay log lacks: {missing}")]
    Purged {
        /// The source's address.
        address: String,
        /// The transactions.
        missing: GtidSet,
    },
    /// An event of the source can't be read.
    #[error("source sent a malformed event, after position {position} of {file}")]
    Event {
        /// The source's file.
        file: String,
        /// Where the last good event ended.
        position: u64,
        /// What is wrong with it.
        #[source]
        source: EventError,
    },
    /// The relay log.
    #[error("relay log")]
    Log(#[from] storage::Error),
    /// The listener could not be opened.
    #[error("can't listen on {address}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The listener's TLS files.
    #[error("listener's TLS")]
    Tls(#[source] wire::Error),
    /// Everybody could attach.
    #[error("the account that may attach has no name or no password")]
    Anonymous,
    /// Plain TCP beyond loopback was not allowed by hand.
    #[error("listener {address} is beyond loopback and has no TLS")]
    PlainBeyondLoopback {
        /// The address.
        address: SocketAddr,
    },
}

impl Error {
    pub(crate) fn source(doing: &'static str) -> impl Fn(wire::Error) -> Self {
        move |source| Self::Source { doing, source }
    }

    /// May the same thing go well when it is tried again?
    pub fn is_transient(&self) -> bool {
        match self {
            // 1236 other than "purged": the source could not read its own log just now.
            Self::Source { source, .. } => source.is_transient() || source.code() == Some(1236),
            _ => false,
        }
    }

    /// Must the process end? What a failed flush has left on the disk can't be known.
    pub fn must_end(&self) -> bool {
        matches!(self, Self::Log(storage::Error::SyncFailed { .. } | storage::Error::Poisoned))
    }

    /// What a person can do about it.
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Source { source, .. } if matches!(source.code(), Some(1045 | 1227 | 1142)) => {
                "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* to the account, and check its password".into()
            }
            Self::Setting { name: "gtid_mode", .. } => {
                "switch GTIDs on: SET GLOBAL enforce_gtid_consistency = ON, then gtid_mode step by step to ON".into()
            }
            Self::Setting { name, wanted, .. } => format!("SET PERSIST {name} = {wanted}"),
            Self::SameServerId { .. } => "give the relay another relay.server_id".into(),
            Self::Diverged { .. } => {
                "the source was restored, or lost transactions in a crash, or is another server: compare it with the \
                 regions before anything else; a new beginning needs an empty relay.dir"
                    .into()
            }
            Self::Purged { .. } => {
                "what is gone must be copied: begin the links anew with twinlog link reset; raise \
                 binlog_expire_logs_seconds at the source for the future"
                    .into()
            }
            Self::Log(error) => return error.remedy(),
            Self::Listen { .. } => "choose another relay.listen, or end what listens there".into(),
            Self::PlainBeyondLoopback { .. } => {
                "set relay.tls_cert and relay.tls_key, or relay.tls = \"disabled\" by hand".into()
            }
            Self::Anonymous => "set relay.user and relay.password_file".into(),
            Self::Source { .. } | Self::Event { .. } | Self::Tls(_) => return None,
        })
    }
}
