//! How many pairs run at once: two servers and four processes each are enough for a small machine.

use std::sync::{Arc, OnceLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Two: one pair waits much of its time, three would make each other miss deadlines on two cores.
const SLOTS: usize = 2;

/// The right to run servers; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

/// Waits until fewer than two others run.
pub async fn take_slot() -> Slot {
    static SEMAPHORE: OnceLock<Arc<Semaphore>> = OnceLock::new();
    let semaphore = SEMAPHORE.get_or_init(|| Arc::new(Semaphore::new(SLOTS)));
    let permit = Arc::clone(semaphore).acquire_owned().await.expect("the semaphore is never closed");
    Slot { _permit: permit }
}
