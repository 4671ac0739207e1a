//! Where transactions begin and end in a stream of events.
//!
//! ```text
//! GTID  Query(BEGIN) … Xid                 rows in a transactional engine
//! GTID  Query(BEGIN) … Query(COMMIT)       rows in another engine; Query(ROLLBACK) likewise
//! GTID  Query(XA START) … XaPrepare        the first half of an XA transaction
//! GTID  [Intvar Rand UserVar]* Query       a statement that commits by itself: DDL, XA COMMIT
//! GTID  TransactionPayload                 a compressed transaction
//! GTID  Incident                           changes that the source could not log
//! ```
//! What stands between transactions (rotate, format description, previous GTIDs, stop, heartbeat, an incident without
//! a GTID) belongs to none. There an event of an unknown type must say that it may be passed over.

use crate::event::{Event, EventError, EventKind, GtidEvent, Query};

/// What one event is in its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// It belongs to no transaction.
    Between,
    /// It begins one.
    Begins(Box<GtidEvent>),
    /// It is inside one.
    Inside,
    /// It ends one.
    Ends,
}

/// Why a sequence of events is no sequence of transactions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// A transaction's event without a GTID event before it.
    #[error("a {0:?} event stands outside any transaction")]
    Outside(EventKind),
    /// An event of a type that is not known, between transactions, and not to be passed over.
    #[error(
        "an event of unknown type {0} stands between transactions, and does not say that it may be passed over"
    )]
    Unknown(u8),
    /// An event that can't stand inside a transaction.
    #[error("a {0:?} event stands inside a transaction")]
    Inside(EventKind),
    /// An event that can't be read.
    #[error(transparent)]
    Event(#[from] EventError),
}

impl SequenceError {
    /// What a person can do; `None` where the log itself is wrong.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Unknown(_) => {
                Some("upgrade twinlog: a version that knows the source's server knows its events")
            }
            _ => None,
        }
    }
}

/// Follows a stream and tells what each event is. A whole transaction leaves it where it began, so that
/// it can start at any transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionTracker {
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Between,
    /// After the GTID event.
    Begun,
    /// After BEGIN or XA START.
    Open,
}

impl TransactionTracker {
    /// Is no transaction begun and not ended?
    pub fn is_between(&self) -> bool {
        self.state == State::Between
    }

    /// Forgets an unfinished transaction: the stream starts again.
    pub fn reset(&mut self) {
        self.state = State::Between;
    }

    /// Takes the next event.
    pub fn observe(&mut self, event: &Event) -> Result<Part, SequenceError> {
        let kind = event.kind();
        if kind.is_gtid() {
            if !self.is_between() {
                return Err(SequenceError::Inside(kind));
            }
            let gtid = GtidEvent::parse(event)?;
            self.state = State::Begun;
            return Ok(Part::Begins(Box::new(gtid)));
        }
        let begins_none = kind != EventKind::Incident || self.is_between();
        if stands_between(kind) && begins_none {
            // Heartbeats come at any time, also between the events of one transaction.
            let anywhere = matches!(kind, EventKind::Heartbeat | EventKind::HeartbeatV2);
            let fits = anywhere || self.is_between();
            return if fits { Ok(Part::Between) } else { Err(SequenceError::Inside(kind)) };
        }
        let (state, part) = match self.state {
            State::Between => return Self::between(event),
            State::Begun => Self::first(event)?,
            State::Open => Self::inside(event)?,
        };
        self.state = state;
        Ok(part)
    }

    /// An event of no known place: ignorable ones may pass.
    fn between(event: &Event) -> Result<Part, SequenceError> {
        let ignorable = event.flags() & crate::event::FLAG_IGNORABLE != 0;
        match event.kind() {
            _ if ignorable => Ok(Part::Between),
            EventKind::Ignorable => Ok(Part::Between),
            EventKind::Other(code) => Err(SequenceError::Unknown(code)),
            kind => Err(SequenceError::Outside(kind)),
        }
    }

    fn first(event: &Event) -> Result<(State, Part), SequenceError> {
        match event.kind() {
            EventKind::Query => {
                let query = Query::parse(event)?;
                let opens = query.is("BEGIN") || query.starts_with("XA START");
                Ok(if opens { (State::Open, Part::Inside) } else { (State::Between, Part::Ends) })
            }
            EventKind::TransactionPayload | EventKind::Xid | EventKind::Incident => {
                Ok((State::Between, Part::Ends))
            }
            _ => Ok((State::Begun, Part::Inside)),
        }
    }

    fn inside(event: &Event) -> Result<(State, Part), SequenceError> {
        let ends = match event.kind() {
            EventKind::Xid | EventKind::XaPrepare => true,
            EventKind::Query => {
                let query = Query::parse(event)?;
                query.is("COMMIT") || query.is("ROLLBACK")
            }
            _ => false,
        };
        Ok(if ends { (State::Between, Part::Ends) } else { (State::Open, Part::Inside) })
    }
}

fn stands_between(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Rotate
            | EventKind::FormatDescription
            | EventKind::PreviousGtids
            | EventKind::Stop
            | EventKind::Incident
            | EventKind::Heartbeat
            | EventKind::HeartbeatV2
    )
}
