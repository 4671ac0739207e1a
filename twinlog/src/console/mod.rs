//! The console: one page that shows the whole sync and passes on what a person decides.
//!
//! ```text
//! every process ◀─ status, each second ─ watch ─▶ hub ── server-sent events ─▶ page
//!   ▲                                     (snapshot, points of the last hour)   │
//!   └────────────── actions ◀── server (guard: loopback, Host, Origin) ◀── POST ┘
//! ```
//!
//! It needs no process but those of the sync and keeps nothing on disk: the hour it shows lives in its memory, bounded
//! by [`history`]. It reaches regions' servers only for what is asked of it: conflicts, a comparison, the check, a new
//! link's tables; without their passwords these say so and everything else works. The page is in [`assets`], compiled
//! into the binary. Nothing is changed by GET, and a page of another origin can neither read nor ask for anything.

mod actions;
mod assets;
mod conflicts;
mod draft;
mod events;
mod guard;
mod history;
mod hub;
mod rates;
mod server;
mod snapshot;
mod tables;
mod verify;
mod watch;

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use twinlog::config::File;

use crate::failure::Failure;
use hub::Hub;
pub(crate) use rates::Moments;
use server::Listener;
pub(crate) use snapshot::counted;

/// Where it listens unless told otherwise.
pub(crate) const USUAL: &str = "127.0.0.1:7490";

/// A console that is bound and will serve.
pub(crate) struct Console {
    file: Arc<File>,
    listener: Listener,
}

impl Console {
    /// Binds. With `exactly` absent the usual address is taken, and a free port when that has an owner.
    pub(crate) async fn bind(file: &File, exactly: Option<&str>) -> Result<Self, Failure> {
        let listener = match exactly {
            Some(address) => Listener::bind(address).await?,
            None => match Listener::bind(USUAL).await {
                Ok(listener) => listener,
                Err(_) => Listener::bind("127.0.0.1:0").await?,
            },
        };
        Ok(Self { file: Arc::new(file.clone()), listener })
    }

    /// What a browser opens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.listener.address())
    }

    /// Serves until `end`. Cancelling it leaves nothing behind.
    pub(crate) async fn serve(self, end: CancellationToken) {
        let hub = Arc::new(Hub::new(self.file));
        let mut tasks = JoinSet::new();
        tasks.spawn(watch::run(hub.clone(), end.clone()));
        tasks.spawn(self.listener.serve(hub.clone(), end));
        while tasks.join_next().await.is_some() {}
        hub.verify.end().await;
    }
}
