//! What a proxy does with the bytes that pass: shared by all its connections.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// The rules of this moment, and the counters of what has passed.
#[derive(Debug)]
pub(crate) struct Rules {
    state: watch::Sender<State>,
    /// Bytes that may still pass downwards until the proxy cuts by itself.
    cut_after: Mutex<Option<u64>>,
    /// What ends a request whose answer is to be swallowed.
    swallow: Mutex<Option<Vec<u8>>>,
    swallowed: AtomicU64,
    bytes_down: AtomicU64,
}

/// What a connection follows.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Connections are taken; else they are closed at once.
    pub(crate) open: bool,
    /// Nothing is delivered, nothing is lost.
    pub(crate) held: bool,
    /// Each direction takes so long.
    pub(crate) delay: Duration,
    /// At most so many bytes a second downwards.
    pub(crate) bytes_per_second: Option<u64>,
    /// Raised by each cut: a connection of an older generation ends.
    pub(crate) generation: u64,
}

impl Rules {
    pub(crate) fn new() -> Self {
        let state =
            State { open: true, held: false, delay: Duration::ZERO, bytes_per_second: None, generation: 0 };
        Self {
            state: watch::Sender::new(state),
            cut_after: Mutex::default(),
            swallow: Mutex::default(),
            swallowed: AtomicU64::new(0),
            bytes_down: AtomicU64::new(0),
        }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(change);
    }

    pub(crate) fn follow(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(crate) fn cut(&self) {
        self.change(|s| {
            s.open = false;
            s.generation += 1;
        });
    }

    pub(crate) fn set_cut_after(&self, bytes: u64) {
        *self.cut_after.lock().expect("no holder panics") = Some(bytes);
    }

    pub(crate) fn set_swallow(&self, pattern: &[u8]) {
        *self.swallow.lock().expect("no holder panics") = Some(pattern.to_vec());
    }

    pub(crate) fn swallowed(&self) -> u64 {
        self.swallowed.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes_down(&self) -> u64 {
        self.bytes_down.load(Ordering::Relaxed)
    }

    /// Counts bytes on their way down and says how many of them may pass; fewer than asked means: cut after them.
    pub(crate) fn let_down(&self, bytes: usize) -> usize {
        let mut left = self.cut_after.lock().expect("no holder panics");
        let passing = match *left {
            Some(budget) if budget < bytes as u64 => {
                *left = None;
                usize::try_from(budget).unwrap_or(bytes)
            }
            Some(budget) => {
                *left = Some(budget - bytes as u64);
                bytes
            }
            None => bytes,
        };
        self.bytes_down.fetch_add(passing as u64, Ordering::Relaxed);
        passing
    }

    /// Is what is to be swallowed ended by the bytes from `fresh` on? What stood before may only begin it. Once only.
    pub(crate) fn swallows(&self, seen: &[u8], fresh: usize) -> bool {
        let mut swallow = self.swallow.lock().expect("no holder panics");
        let found = swallow.as_ref().is_some_and(|pattern| {
            let from = (fresh + 1).saturating_sub(pattern.len());
            seen[from..].windows(pattern.len()).any(|w| w == pattern)
        });
        if found {
            *swallow = None;
            self.swallowed.fetch_add(1, Ordering::Relaxed);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::Rules;

    #[test]
    fn a_budget_lets_its_bytes_through_and_then_cuts_once() {
        let rules = Rules::new();
        rules.set_cut_after(10);
        assert_eq!(rules.let_down(6), 6);
        assert_eq!(rules.let_down(6), 4);
        assert_eq!(rules.let_down(6), 6);
        assert_eq!(rules.bytes_down(), 16);
    }

    #[test]
    fn a_pattern_is_swallowed_once() {
        let rules = Rules::new();
        rules.set_swallow(b"COMMIT");
        assert!(!rules.swallows(b"ROLLBACK", 0));
        assert!(!rules.swallows(b"COMMIT;BEGIN", 6), "it was there before the rule");
        assert!(rules.swallows(b"COMMIT", 5));
        assert!(!rules.swallows(b"COMMIT", 0));
        assert_eq!(rules.swallowed(), 1);
    }
}
