//! When a process is to end: SIGINT, SIGTERM, or its parent is gone.

use std::io::Read;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// A wrapper that passes a signal on to its child and to the whole group delivers it twice; that is one wish.
const ECHO: Duration = Duration::from_secs(1);

/// Cancelled when the process is to end in good order; `now` when it is to end without waiting.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown {
    /// End in good order.
    pub(crate) token: CancellationToken,
    /// End at once: a second signal.
    pub(crate) now: CancellationToken,
}

impl Shutdown {
    /// Listens for signals; the listening task lives in `tasks`.
    pub(crate) fn on_signals(tasks: &mut JoinSet<()>) -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|e| Failure::from_error("cannot listen for signals", &e));
        let (mut interrupt, mut terminate) =
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let shutdown = Self { token: CancellationToken::new(), now: CancellationToken::new() };
        let (token, now) = (shutdown.token.clone(), shutdown.now.clone());
        tasks.spawn(async move {
            let mut first: Option<Instant> = None;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                token.cancel();
                if first.get_or_insert_with(Instant::now).elapsed() >= ECHO {
                    now.cancel();
                }
            }
        });
        Ok(shutdown)
    }

    /// Ends in good order when standard input closes: the parent holds the other end of the pipe.
    pub(crate) fn on_closed_input(&self) -> Result<(), Failure> {
        let token = self.token.clone();
        // A thread of its own, because a read of standard input can't be cancelled; it ends with the process.
        let watch = move || {
            let mut buffer = [0; 64];
            while matches!(std::io::stdin().read(&mut buffer), Ok(n) if n > 0) {}
            token.cancel();
        };
        let thread = std::thread::Builder::new().name("parent watch".into()).spawn(watch);
        thread.map(drop).map_err(|e| Failure::from_error("cannot watch the parent process", &e))
    }

    /// Returns when everything must have ended: `deadline` after the token was cancelled, or at the second signal.
    pub(crate) async fn deadline(&self, deadline: Duration) {
        self.token.cancelled().await;
        tokio::select! {
            () = self.now.cancelled() => {}
            () = tokio::time::sleep(deadline) => {}
        }
    }
}
