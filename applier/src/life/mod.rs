//! A link's life: what people want of it, kept in its target, and what the link makes of that.
//!
//! ```text
//! twinlog link … ──▶ meta table `life` ◀──looks every two seconds, or when it is nudged── cycle ──▶ rounds
//!                    (the wish outlives every process)                                      │
//!                                                                              gate ──▶ applier, initial copy
//! ```
//! A command is written down first and takes effect from there: so it reaches a process that can't be reached, survives
//! restarts, and waits for a process that is not there yet. [`cycle`] runs the rounds between; [`gate`] holds one
//! without ending it; [`orders`] is what people do to the metadata.

pub(crate) mod cycle;
pub(crate) mod gate;
pub(crate) mod orders;
mod stakes;
pub(crate) mod table;

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::status::State;

pub use stakes::Stakes;

/// What people want a link to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// To apply; from its schedule on, where it has one.
    #[default]
    Run,
    /// To hold where it is.
    Paused,
    /// To hold where it is and let go of every connection.
    Stopped,
}

impl Wish {
    /// As the meta table has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Run, Self::Paused, Self::Stopped].into_iter().find(|wish| wish.as_str() == text)
    }
}

/// Who gives an order, and why: kept beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Order {
    /// `user@host`, or what else names the one who asks.
    pub by: String,
    /// In their own words; may be empty.
    pub reason: String,
}

/// What is kept of a link's life. A link that nobody has said anything about runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Life {
    /// What it is to do.
    pub wish: Wish,
    /// Since when, Unix time in seconds; 0 when nobody has said anything.
    pub since: f64,
    /// Who said so, and why.
    pub order: Order,
    /// The schedule that a `start` overruled, as [`schedule_text`] writes it.
    pub overrules: Option<String>,
    /// The next start is a new beginning: the relay may remember the link, and that is no sign of a lost checkpoint.
    pub anew: bool,
    /// Grows with every order, also with those that change nothing else.
    pub count: u64,
}

/// What a link does now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Course {
    /// It runs.
    Go,
    /// It stays in a state until the wish changes, or until a time.
    Hold { state: State, reason: String, until: Option<SystemTime> },
}

impl Life {
    /// What to do at `now`, given the link's schedule.
    pub(crate) fn course(&self, start_at: Option<SystemTime>, now: SystemTime) -> Course {
        let hold = |state| Course::Hold { state, reason: self.order.text(), until: None };
        match self.wish {
            Wish::Paused => hold(State::Paused),
            Wish::Stopped => hold(State::Stopped),
            Wish::Run => match start_at {
                Some(at) if at > now && self.overrules.as_deref() != Some(&schedule_text(at)) => {
                    let reason = format!("starts at {}", schedule_text(at));
                    Course::Hold { state: State::Scheduled, reason, until: Some(at) }
                }
                _ => Course::Go,
            },
        }
    }
}

impl Order {
    /// For a status: `by ops@db1: maintenance`.
    pub(crate) fn text(&self) -> String {
        match (self.by.is_empty(), self.reason.is_empty()) {
            (true, true) => String::new(),
            (true, false) => self.reason.clone(),
            (false, true) => format!("by {}", self.by),
            (false, false) => format!("by {}: {}", self.by, self.reason),
        }
    }
}

/// A time as the configuration file has it, in whole seconds, UTC.
pub(crate) fn schedule_text(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{Course, Life, Order, Wish, schedule_text};
    use crate::status::State;

    const NOON: Duration = Duration::from_secs(1_796_083_200);

    fn state(life: &Life, start_at: Option<SystemTime>, now: SystemTime) -> State {
        match life.course(start_at, now) {
            Course::Go => State::Running,
            Course::Hold { state, .. } => state,
        }
    }

    #[test]
    fn a_wish_holds_a_link_and_a_schedule_holds_one_that_may_run() {
        let noon = SystemTime::UNIX_EPOCH + NOON;
        let (before, after) = (noon - Duration::from_secs(1), noon + Duration::from_secs(1));
        let run = Life::default();
        assert_eq!(state(&run, None, before), State::Running);
        assert_eq!(state(&run, Some(noon), before), State::Scheduled);
        assert_eq!(state(&run, Some(noon), noon), State::Running);
        assert_eq!(state(&run, Some(noon), after), State::Running);
        let paused = Life { wish: Wish::Paused, ..Life::default() };
        assert_eq!(state(&paused, Some(noon), before), State::Paused);
        let stopped = Life { wish: Wish::Stopped, ..Life::default() };
        assert_eq!(state(&stopped, None, after), State::Stopped);
    }

    #[test]
    fn a_start_overrules_the_schedule_it_was_said_of_and_no_other() {
        let noon = SystemTime::UNIX_EPOCH + NOON;
        let started = Life { overrules: Some(schedule_text(noon)), ..Life::default() };
        let before = noon - Duration::from_secs(60);
        assert_eq!(state(&started, Some(noon), before), State::Running);
        assert_eq!(state(&started, Some(noon + Duration::from_secs(5)), before), State::Scheduled);
    }

    #[test]
    fn who_gave_an_order_and_why_is_told() {
        let order = |by: &str, reason: &str| Order { by: by.into(), reason: reason.into() }.text();
        assert_eq!(order("ops@db1", "new index"), "by ops@db1: new index");
        assert_eq!((order("ops@db1", ""), order("", "x")), ("by ops@db1".into(), "x".into()));
    }
}
