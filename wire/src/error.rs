//! What can go wrong on the wire, told so that a caller can act on it.
//!
//! Three questions are answered here and nowhere else: which server error it was ([`Error::code`]),
//! whether trying again may help ([`Error::is_transient`]), and what a person should look at (the text
//! of the errors of connecting). A variant's cause is its `source`, never part of its text.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::transient;

/// An error packet: what the server says, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (error {code}, sqlstate {sqlstate})")]
pub struct ServerError {
    /// MySQL's error number.
    pub code: u16,
    /// The five characters of SQLSTATE; `HY000` where the packet has none.
    pub sqlstate: String,
    /// The text.
    pub message: String,
}

impl ServerError {
    /// An error to be sent or compared.
    pub fn new(code: u16, sqlstate: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, sqlstate: sqlstate.into(), message: message.into() }
    }

    /// Has the server no room: a full disk, or a tablespace that may not grow?
    pub fn is_without_room(&self) -> bool {
        transient::is_without_room(self.code, &self.message)
    }

    /// Whether the same command may succeed later with nothing mended: the server is full, going down,
    /// read-only for now, the session was killed, or a lock was in the way.
    pub fn is_transient(&self) -> bool {
        transient::passes(self.code, &self.message)
    }

    /// What a person can do so that it passes sooner, where that is known.
    pub fn help(&self) -> Option<&'static str> {
        transient::help(self.code, &self.message)
    }
}

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the caller passed can't be used.
    #[error("not usable: {what}")]
    Invalid {
        /// Which argument, and why.
        what: String,
    },
    /// No TCP connection, or it broke before the login was over.
    #[error(
        "cannot connect; check that a server listens there and that nothing between blocks it: `{address}`"
    )]
    Connect {
        /// The server's address.
        address: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The login took longer than `connect_timeout`.
    #[error("no login within {} ms: `{address}`", after.as_millis())]
    ConnectTimeout {
        /// The server's address.
        address: String,
        /// The time that was allowed.
        after: Duration,
    },
    /// The server ended the login with an error.
    #[error("login refused; {remedy}: user `{user}` at `{address}`")]
    Login {
        /// The server's address.
        address: String,
        /// The account's user name.
        user: String,
        /// What to look at.
        remedy: &'static str,
        /// What the server said.
        #[source]
        source: ServerError,
    },
    /// The two sides have no way of authenticating in common.
    #[error("cannot authenticate as user `{user}` at `{address}`: {what}")]
    Auth {
        /// The server's address.
        address: String,
        /// The account's user name.
        user: String,
        /// Why.
        what: String,
    },
    /// A client was turned away; it has been told why.
    #[error("client turned away, user `{user}` from `{peer}`: {}", answer.message)]
    Refused {
        /// Where the client comes from.
        peer: String,
        /// Who it wants to be; empty if it did not get that far.
        user: String,
        /// What it was told.
        answer: ServerError,
    },
    /// TLS was asked for and the server has none, or the handshake failed.
    #[error("tls: {what}")]
    Tls {
        /// What failed, and the remedy where there is one.
        what: String,
        /// The TLS layer's reason.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A certificate or key file can't be used.
    #[error("tls file, {what}: {}", path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
        /// The reason.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The peer answered a command, or ended a stream, with an error packet.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Reading or writing the socket failed.
    #[error("connection broke")]
    Io(#[from] io::Error),
    /// The peer closed the connection.
    #[error("connection closed by the other side{}", if *.mid_packet { " in the middle of a packet" } else { "" })]
    Closed {
        /// Bytes of a packet had arrived.
        mid_packet: bool,
    },
    /// The peer took or sent nothing for too long.
    #[error("no progress within {} ms: {what}", after.as_millis())]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        after: Duration,
    },
    /// A source sent neither event nor heartbeat for three heartbeat periods.
    #[error("source is silent, not even a heartbeat, for more than {} ms", after.as_millis())]
    Silent {
        /// Three heartbeat periods.
        after: Duration,
    },
    /// The source has no more events and was asked not to wait for more.
    #[error("end of the event stream")]
    EndOfStream,
    /// The peer does not speak the protocol as we know it.
    #[error("protocol violated: {what}")]
    Protocol {
        /// What was expected or found.
        what: String,
    },
    /// A packet is larger than is allowed.
    #[error("packet too large, limit {limit} bytes: {size}")]
    PacketTooLarge {
        /// Bytes, as far as known.
        size: u64,
        /// The most that is accepted.
        limit: usize,
    },
    /// An earlier call failed or was cancelled between sending and the last answer; only dropping the
    /// connection is left.
    #[error("connection no longer usable, an earlier call did not end: {command}")]
    Poisoned {
        /// The call that did not end.
        command: &'static str,
    },
}

impl Error {
    /// The server's error number, if a server's error packet is what this is about.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Server(error) | Self::Login { source: error, .. } => Some(error.code),
            _ => None,
        }
    }

    /// What a person can do so that a server's error passes sooner, where that is known.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Server(error) | Self::Login { source: error, .. } => error.help(),
            _ => None,
        }
    }

    /// Whether connecting again may help with nothing mended by a person.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Server(error) | Self::Login { source: error, .. } => error.is_transient(),
            Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::Io(_)
            | Self::Closed { .. }
            | Self::Timeout { .. }
            | Self::Silent { .. }
            | Self::EndOfStream
            | Self::Poisoned { .. } => true,
            Self::Invalid { .. }
            | Self::Auth { .. }
            | Self::Refused { .. }
            | Self::Tls { .. }
            | Self::TlsFile { .. }
            | Self::Protocol { .. }
            | Self::PacketTooLarge { .. } => false,
        }
    }

    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self::Protocol { what: what.into() }
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid { what: what.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_only_server_is_worth_another_try_and_a_wrong_password_is_not() {
        assert!(Error::from(ServerError::new(1290, "HY000", "read only")).is_transient());
        let full = "Error writing file (OS errno 28 - No space left on device)";
        assert!(ServerError::new(1026, "HY000", full).is_without_room());
        assert!(Error::from(ServerError::new(1114, "HY000", "The table is full")).is_transient());
        assert!(!ServerError::new(1026, "HY000", "OS errno 280 - odd").is_transient());
        let refused = Error::Login {
            address: "h:1".into(),
            user: "u".into(),
            remedy: "check it",
            source: ServerError::new(1045, "28000", "Access denied"),
        };
        assert!(!refused.is_transient());
        assert_eq!(refused.code(), Some(1045));
    }

    #[test]
    fn the_text_names_user_and_address_and_leaves_the_cause_to_the_source() {
        let refused = Error::Login {
            address: "db:3306".into(),
            user: "twinlog".into(),
            remedy: "check user and password",
            source: ServerError::new(1045, "28000", "Access denied"),
        };
        assert_eq!(
            refused.to_string(),
            "login refused; check user and password: user `twinlog` at `db:3306`"
        );
        assert!(
            std::error::Error::source(&refused).is_some_and(|s| s.to_string().starts_with("Access denied"))
        );
    }
}
