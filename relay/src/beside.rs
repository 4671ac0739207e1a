//! The thread that flushes while the log's writer goes on appending.
//!
//! It is given work only while more events wait than the writer has taken: then the disk and the processor work at the
//! same time. When nothing waits the writer flushes by itself, which saves the way to another thread and back.
//!
//! **Promise 1**: the tail's end moves here too, once [`SyncPoint::complete_then`] has flushed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use storage::SyncPoint;

use crate::status::Progress;
use crate::tail::Tail;

/// The thread; ends when this is dropped, and is waited for.
pub(crate) struct Beside {
    to_thread: Option<SyncSender<SyncPoint>>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    is_busy: AtomicBool,
    failed: Mutex<Option<storage::Error>>,
}

impl Beside {
    pub(crate) fn spawn(tail: Tail, progress: Progress) -> std::io::Result<Self> {
        let (to_thread, points) = mpsc::sync_channel::<SyncPoint>(1);
        let state = Arc::new(State::default());
        let shared = state.clone();
        let thread = std::thread::Builder::new().name("relay-log-sync".into()).spawn(move || {
            for point in points {
                let began = Instant::now();
                let completed = point.complete_then(|end| {
                    tail.grow(end);
                    progress.flushed(began.elapsed());
                });
                if let Err(error) = completed {
                    *shared.failed() = Some(error);
                }
                shared.is_busy.store(false, Ordering::Release);
            }
        })?;
        Ok(Self { to_thread: Some(to_thread), state, thread: Some(thread) })
    }

    pub(crate) fn is_idle(&self) -> bool {
        !self.state.is_busy.load(Ordering::Acquire)
    }

    /// Has it flushed. To be called only while it is idle: else the caller waits.
    pub(crate) fn flush(&self, point: SyncPoint) {
        self.state.is_busy.store(true, Ordering::Release);
        if let Some(to_thread) = &self.to_thread {
            // The thread ends only by a panic; then the writer's own flush covers what is dropped here.
            _ = to_thread.send(point);
        }
    }

    /// The error behind an error: who comes after a failed flush hears only that there was one.
    pub(crate) fn cause(&self, error: storage::Error) -> storage::Error {
        match error {
            storage::Error::Poisoned => self.state.failed().take().unwrap_or(error),
            other => other,
        }
    }
}

impl State {
    fn failed(&self) -> MutexGuard<'_, Option<storage::Error>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.to_thread = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell.
            _ = thread.join();
        }
    }
}
