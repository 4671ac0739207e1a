//! What can go wrong while regions are compared, and what to do about it.

use std::path::PathBuf;

/// Why a comparison or a repair could not go on. That rows differ is no error, but the outcome.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server can't be talked to, or refuses a statement.
    #[error("region {region}: {doing}")]
    Wire {
        /// Which region's server.
        region: String,
        /// What was being done.
        doing: String,
        /// How it failed.
        #[source]
        source: wire::Error,
    },
    /// What a server answered is not what was asked for.
    #[error("region {region}: {doing}: unexpected answer: {what}")]
    Answer {
        /// Which region's server.
        region: String,
        /// What was being done.
        doing: String,
        /// What is odd about it.
        what: String,
    },
    /// A server's setting makes exact checksums impossible.
    #[error("region {region}: max_allowed_packet is {value}, and rows need at least {wanted}")]
    Packet {
        /// Which region's server.
        region: String,
        /// What it is.
        value: u64,
        /// What it must be.
        wanted: u64,
    },
    /// The rows of a region can't be repaired.
    #[error("region {region}: {table} can't be repaired: {why}")]
    Unrepairable {
        /// Which region's server.
        region: String,
        /// `database.table`.
        table: String,
        /// What stands in the way.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// Another repair of the same direction has begun.
    #[error("region {region}: another repair from {from} has taken over")]
    Fenced {
        /// The region that is written.
        region: String,
        /// The region whose rows are taken.
        from: String,
    },
    /// The file that tells how far a comparison is can't be used.
    #[error("state file {path}: {what}")]
    State {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// It was told to stop. What is done is kept for `--resume`.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    pub(super) fn wire(region: &str, doing: impl Into<String>) -> impl FnOnce(wire::Error) -> Self {
        move |source| Self::Wire { region: region.into(), doing: doing.into(), source }
    }

    pub(super) fn answer(region: &str, doing: &str, what: impl Into<String>) -> Self {
        Self::Answer { region: region.into(), doing: doing.into(), what: what.into() }
    }

    /// The server's error number, if a statement was refused.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Wire { source, .. } => source.code(),
            _ => None,
        }
    }

    /// May the same thing go well when it is tried again?
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Wire { source, .. } if source.is_transient())
    }

    /// What a person can do about it.
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Wire { source, region, .. } => match source.code()? {
                1044 | 1142 | 1143 => format!(
                    "grant the account of region {region} SELECT on the tables in step, and ALL on the meta schema"
                ),
                1227 => format!("grant the account of region {region} REPLICATION CLIENT ON *.*"),
                _ => return None,
            },
            Self::Packet { wanted, .. } => format!("SET PERSIST max_allowed_packet = {wanted}"),
            Self::Unrepairable { remedy, .. } => remedy.clone(),
            Self::Fenced { .. } => "run one repair of a direction at a time".into(),
            Self::State { path, .. } => {
                format!("compare from the beginning, without --resume; it replaces {}", path.display())
            }
            Self::Answer { .. } | Self::Interrupted => return None,
        })
    }
}
