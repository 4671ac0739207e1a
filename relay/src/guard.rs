//! Failed logins: counted per address, slowed down, and logged without filling the log.
//!
//! Who guesses passwords waits the longer for the next greeting the more often it did; a minute without failures
//! forgets. Passwords are proved by a hash over random bytes, so guessing is all that is left to an attacker.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Failures that cost nothing: a password mistyped, an applier not told of a new one yet.
const FREE: u32 = 3;
/// The wait after that, doubled with every further failure …
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// … up to this: a client of the same address that knows its password must still get in.
const LAST_WAIT: Duration = Duration::from_secs(3);
/// Without failures for so long, an address is forgotten.
const FORGET: Duration = Duration::from_secs(60);
/// An address that fails all the time is logged this often.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// Addresses that are remembered at a time.
const ADDRESSES: usize = 4096;

/// Watches over logins. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    addresses: Arc<Mutex<HashMap<IpAddr, Record>>>,
    logins: Arc<Semaphore>,
    per_address: usize,
}

#[derive(Debug, Default)]
struct Record {
    /// Wrong passwords: what is slowed down.
    guesses: u32,
    /// With everything else that was refused: what is logged.
    failures: u32,
    last_failure: Option<Instant>,
    logged: Option<Instant>,
    /// Failures since that are not in the log.
    unlogged: u32,
    /// In the middle of logging in.
    logins: usize,
}

/// The right to log in now; given back when dropped.
#[derive(Debug)]
pub(crate) struct Login {
    guard: Guard,
    address: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Guard {
    pub(crate) fn new(logins: usize, per_address: usize) -> Self {
        Self { addresses: Arc::default(), logins: Arc::new(Semaphore::new(logins)), per_address }
    }

    /// Lets one more client log in, and says how long its greeting is to be held back; `None` when too many are
    /// logging in.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<(Login, Duration)> {
        let permit = self.logins.clone().try_acquire_owned().ok()?;
        let address = key(address);
        let mut addresses = self.lock();
        make_room(&mut addresses);
        let record = addresses.entry(address).or_default();
        if record.logins >= self.per_address {
            return None;
        }
        record.logins += 1;
        let wait = record.wait(Instant::now());
        Some((Login { guard: self.clone(), address, _permit: permit }, wait))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Record>> {
        // Whole values under it, whatever panicked.
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Login {
    /// It failed, by a wrong user or password or for another reason. Says whether that should be logged, and how many
    /// failures of this address before it were not.
    pub(crate) fn failed(&self, is_guess: bool) -> Option<u32> {
        let now = Instant::now();
        let mut addresses = self.guard.lock();
        let record = addresses.entry(self.address).or_default();
        record.forget(now);
        record.failures = record.failures.saturating_add(1);
        record.guesses = record.guesses.saturating_add(u32::from(is_guess));
        record.last_failure = Some(now);
        let is_due = record.logged.is_none_or(|at| now.duration_since(at) >= LOG_EVERY);
        if record.failures <= FREE || is_due {
            record.logged = Some(now);
            return Some(std::mem::take(&mut record.unlogged));
        }
        record.unlogged = record.unlogged.saturating_add(1);
        None
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        if let Some(record) = self.guard.lock().get_mut(&self.address) {
            record.logins = record.logins.saturating_sub(1);
        }
    }
}

impl Record {
    fn forget(&mut self, now: Instant) {
        if self.last_failure.is_some_and(|at| now.duration_since(at) >= FORGET) {
            self.failures = 0;
            self.guesses = 0;
        }
    }

    fn wait(&mut self, now: Instant) -> Duration {
        self.forget(now);
        match self.guesses.checked_sub(FREE) {
            Some(over @ 1..) => FIRST_WAIT.saturating_mul(1 << (over - 1).min(16)).min(LAST_WAIT),
            _ => Duration::ZERO,
        }
    }
}

/// One address is one host; in IPv6 a host has a network of its own.
fn key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

/// Forgets what need not be remembered; when all must be, forgets the one whose failure is the longest ago.
fn make_room(addresses: &mut HashMap<IpAddr, Record>) {
    if addresses.len() < ADDRESSES {
        return;
    }
    let now = Instant::now();
    let is_idle = |record: &Record| record.last_failure.is_none_or(|at| now.duration_since(at) >= FORGET);
    addresses.retain(|_, record| record.logins > 0 || !is_idle(record));
    if addresses.len() >= ADDRESSES {
        let oldest = addresses.iter().filter(|(_, record)| record.logins == 0);
        if let Some(address) =
            oldest.min_by_key(|(_, record)| record.last_failure).map(|(address, _)| *address)
        {
            addresses.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::{ADDRESSES, FORGET, Guard, LAST_WAIT};

    fn address(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[tokio::test(start_paused = true)]
    async fn who_fails_again_and_again_waits_longer_and_a_quiet_minute_forgets() {
        let guard = Guard::new(10, 10);
        let mut waits = Vec::new();
        let mut logged = 0;
        for _ in 0..12 {
            let (login, wait) = guard.enter(address(1)).unwrap();
            waits.push(wait);
            logged += u32::from(login.failed(true).is_some());
        }
        assert!(waits[..4].iter().all(Duration::is_zero), "{waits:?}");
        assert_eq!(waits[4..7].iter().map(Duration::as_millis).collect::<Vec<_>>(), [100, 200, 400]);
        assert_eq!(waits.last(), Some(&LAST_WAIT));
        assert_eq!(logged, 3);
        assert!(guard.enter(address(2)).unwrap().1.is_zero(), "another address is not slowed down");
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(
            guard.enter(address(1)).unwrap().0.failed(true),
            Some(9),
            "what was not logged is counted"
        );
        tokio::time::advance(FORGET).await;
        assert!(guard.enter(address(1)).unwrap().1.is_zero());
        for _ in 0..9 {
            guard.enter(address(3)).unwrap().0.failed(false);
        }
        assert!(guard.enter(address(3)).unwrap().1.is_zero(), "noise is no guess");
    }

    #[tokio::test(start_paused = true)]
    async fn logins_at_once_are_bounded_in_all_and_per_address() {
        let guard = Guard::new(3, 2);
        let one = guard.enter(address(1)).unwrap();
        let _two = guard.enter(address(1)).unwrap();
        assert!(guard.enter(address(1)).is_none());
        let _three = guard.enter(address(2)).unwrap();
        assert!(guard.enter(address(3)).is_none());
        drop(one);
        assert!(guard.enter(address(3)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_of_addresses_takes_bounded_memory_and_hosts_of_ipv6_count_by_network() {
        let guard = Guard::new(10, 10);
        for n in 0..3 * ADDRESSES {
            guard.enter(address(u32::try_from(n).unwrap())).unwrap().0.failed(true);
        }
        assert!(guard.lock().len() <= ADDRESSES + 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        let of = |text: &str| guard.enter(text.parse().unwrap()).unwrap();
        for n in 0..5 {
            of(&format!("2001:db8:1:2::{n}")).0.failed(true);
        }
        assert!(!of("2001:db8:1:2:3::9").1.is_zero());
        assert!(of("2001:db8:1:3::9").1.is_zero());
        assert_eq!(super::key("::ffff:10.0.0.1".parse().unwrap()), address(0x0a00_0001));
    }
}
