//! The gate that holds a link where it is without ending its round: a paused link's.
//!
//! Whoever hands something over to be written into the target passes it before each piece, never inside a transaction.
//! So a pause lets what is in hand commit and holds no lock.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// One link's gate; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// An open one.
    pub(crate) fn open() -> Self {
        Self(Arc::new(watch::Sender::new(true)))
    }

    /// Opens or closes it.
    pub(crate) fn set_open(&self, open: bool) {
        self.0.send_if_modified(|now| std::mem::replace(now, open) != open);
    }

    /// Is it open?
    pub(crate) fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is open; `false` when `stop` comes first, and then nothing more is to be done. Cancel safe.
    pub(crate) async fn pass(&self, stop: &CancellationToken) -> bool {
        let mut open = self.0.subscribe();
        if *open.borrow_and_update() {
            return true;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            // The sender lives as long as this.
            opened = open.wait_for(|open| *open) => opened.is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::Gate;

    #[tokio::test]
    async fn who_comes_to_a_closed_gate_waits_for_it_or_for_the_end() {
        let (gate, stop) = (Gate::open(), CancellationToken::new());
        assert!(gate.pass(&stop).await);
        gate.set_open(false);
        let waits = tokio::time::timeout(Duration::from_millis(20), gate.pass(&stop)).await;
        assert!(waits.is_err());
        let other = gate.clone();
        let passed = tokio::join!(gate.pass(&stop), async { other.set_open(true) });
        assert!(passed.0);
        gate.set_open(false);
        stop.cancel();
        assert!(!gate.pass(&stop).await);
    }
}
