//! Repeats held back: what goes wrong again and again is said a few times, and then once a minute with how often.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// So many of the same are said at once.
const AT_ONCE: u32 = 5;

/// Then one in this time.
const THEN_EVERY: Duration = Duration::from_secs(60);

/// After so long without, it is new again.
const FORGOTTEN: Duration = Duration::from_secs(300);

/// Kinds of lines remembered; beyond, everything is said.
const MOST: usize = 1000;

/// Fields that differ each time although the same has happened.
const VARYING: [&str; 4] = ["retry_in", "milliseconds", "pid", "address"];

/// What was said, and how often since.
#[derive(Default)]
pub(super) struct Repeats(Mutex<HashMap<u64, Said>>);

struct Said {
    times: u32,
    last_said: Instant,
    last_seen: Instant,
    held: u64,
}

impl Repeats {
    /// Shall it be said? `Some` with how many of the same were held back since the last one; `None`: hold it back.
    /// Only what is odd or wrong is ever held back.
    pub(super) fn shall(&self, event: &Event<'_>) -> Option<u64> {
        if *event.metadata().level() > Level::WARN {
            return Some(0);
        }
        let mut key = Key(DefaultHasher::new());
        event.metadata().callsite().hash(&mut key.0);
        event.record(&mut key);
        self.decide(key.0.finish(), Instant::now())
    }

    fn decide(&self, key: u64, now: Instant) -> Option<u64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST && !all.contains_key(&key) {
            all.retain(|_, said| now.duration_since(said.last_seen) < FORGOTTEN);
            if all.len() >= MOST {
                return Some(0);
            }
        }
        let said = all.entry(key).or_insert(Said { times: 0, last_said: now, last_seen: now, held: 0 });
        if now.duration_since(said.last_seen) >= FORGOTTEN {
            *said = Said { times: 0, last_said: now, last_seen: now, held: said.held };
        }
        said.last_seen = now;
        if said.times >= AT_ONCE && now.duration_since(said.last_said) < THEN_EVERY {
            said.held += 1;
            return None;
        }
        said.times += 1;
        said.last_said = now;
        Some(std::mem::take(&mut said.held))
    }
}

/// Hashes the fields that tell one thing from another.
struct Key(DefaultHasher);

impl Visit for Key {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if !VARYING.contains(&field.name()) {
            field.name().hash(&mut self.0);
            format!("{value:?}").hash(&mut self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{AT_ONCE, FORGOTTEN, Repeats, THEN_EVERY};

    #[test]
    fn the_same_is_said_a_few_times_and_then_once_a_minute_with_how_often() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        let second = Duration::from_secs(1);
        let said: Vec<Option<u64>> =
            (0..AT_ONCE + 3).map(|n| repeats.decide(1, start + second * n)).collect();
        assert_eq!(said.iter().filter(|s| **s == Some(0)).count(), AT_ONCE as usize);
        assert_eq!(said.iter().filter(|s| s.is_none()).count(), 3);
        assert_eq!(repeats.decide(2, start), Some(0), "something else is said");
        let later = start + second * AT_ONCE + THEN_EVERY;
        assert_eq!(repeats.decide(1, later), Some(3));
        assert_eq!(repeats.decide(1, later + second), None);
        assert_eq!(repeats.decide(1, later + FORGOTTEN * 2), Some(1), "after a long time it is new again");
    }
}
