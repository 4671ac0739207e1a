//! Global transaction identifiers: one ([`Gtid`]), and sets of them ([`GtidSet`]).
//!
//! A GTID is `uuid:gno`, or `uuid:tag:gno` since MySQL 8.3. Sets are compared by containment, never by
//! "smaller": two sets can each hold something the other lacks.
//!
//! Text is as the manual's chapter "GTID Format and Storage" has it; bytes as `Gtid_set::encode` in the
//! server's `sql/rpl_gtid_set.cc` writes them.

mod intervals;
mod set;
mod text;
mod wire;

use std::fmt;

use uuid::Uuid;

pub use intervals::Intervals;
pub use set::GtidSet;
pub use text::GtidParseError;
pub use wire::GtidWireError;

/// The largest transaction number plus one: the server's `GNO_END`.
pub(crate) const GNO_END: u64 = i64::MAX as u64;

/// The tag of a GTID: empty, or up to 32 of `[a-z0-9_]` that do not begin with a digit.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Box<str>);

impl Tag {
    /// The longest tag, in bytes.
    pub const MAX_LENGTH: usize = 32;

    /// A tag from its normalised text; empty is "no tag". Upper case is folded as the server does.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let fits = text.len() <= Self::MAX_LENGTH
            && !text.as_bytes().first().is_some_and(u8::is_ascii_digit)
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        fits.then(|| Self(text.into()))
    }

    /// Is there no tag?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its length in bytes, at most [`Self::MAX_LENGTH`]: seven bits hold it.
    pub(crate) fn length(&self) -> u8 {
        u8::try_from(self.0.len()).unwrap_or(u8::MAX)
    }

    /// The tag's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Who numbers transactions: a uuid, and a tag where the session gave one. The server's "TSID".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence {
    /// The server's, group's or link's uuid.
    pub uuid: Uuid,
    /// The tag; empty for none.
    pub tag: Tag,
}

impl From<Uuid> for Sequence {
    fn from(uuid: Uuid) -> Self {
        Self { uuid, tag: Tag::default() }
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.uuid.as_hyphenated())?;
        if self.tag.is_empty() { Ok(()) } else { write!(f, ":{}", self.tag.as_str()) }
    }
}

/// One transaction's identifier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gtid {
    /// Who numbered it.
    pub sequence: Sequence,
    /// Its number, from 1.
    pub gno: u64,
}

impl Gtid {
    /// An untagged GTID.
    pub fn new(uuid: Uuid, gno: u64) -> Self {
        Self { sequence: uuid.into(), gno }
    }

    /// The uuid of the server (group, link) that numbered it.
    pub fn uuid(&self) -> Uuid {
        self.sequence.uuid
    }
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, self.gno)
    }
}
