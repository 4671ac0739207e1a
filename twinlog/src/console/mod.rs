//! The console: one page that shows the whole sync and passes on what a person decides.
//!
//! ```text
//! every process ◀─ status, each second ─ watch ─▶ hub ── server-sent events ─▶ page
//!   ▲                                     (snapshot, points of the last hour)   │
//!   └──────────── actions ◀── server (sessions; guard: Host, Origin) ◀── POST ┘
//! ```
//!
//! It asks the admin addresses of the file and nobody else, so that it needs no way to a MySQL server and no password of
//! one; and it keeps nothing on disk: the hour it shows lives in its memory, bounded by [`history`]. The page is in
//! [`assets`], compiled into the binary. Nothing is changed by GET, and a page of another origin can neither read nor ask for anything.

mod actions;
mod assets;
mod conflicts;
mod draft;
mod events;
mod guard;
mod history;
mod hub;
mod peers;
mod rates;
mod server;
mod sessions;
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

/// Gives the configuration as it is now: a reload may have changed it.
pub(crate) type Files = Arc<dyn Fn() -> Arc<File> + Send + Sync>;

/// A console that is bound and will serve.
pub(crate) struct Console {
    url: String,
    listener: Listener,
}

impl Console {
    /// Binds: at `exactly`, else where the file says, else at the usual address, and at a free port when that has an
    /// owner.
    pub(crate) async fn bind(file: &File, exactly: Option<&str>) -> Result<Self, Failure> {
        let console = &file.sync.console;
        let listener = match exactly.or(console.listen.as_deref()) {
            Some(address) => Listener::bind(address, console).await?,
            None => match Listener::bind(USUAL, console).await {
                Ok(listener) => listener,
                Err(_) => Listener::bind("127.0.0.1:0", console).await?,
            },
        };
        let scheme = if listener.has_tls() { "https" } else { "http" };
        let at = console.address.clone().unwrap_or_else(|| listener.address().to_string());
        Ok(Self { url: format!("{scheme}://{at}/"), listener })
    }

    /// What a browser opens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Serves what these files are about until `end`. Cancelling it leaves nothing behind.
    pub(crate) async fn serve(self, files: Files, end: CancellationToken) {
        let hub = Arc::new(Hub::new(files));
        let mut tasks = JoinSet::new();
        tasks.spawn(watch::run(hub.clone(), end.clone()));
        tasks.spawn(self.listener.serve(hub, end));
        while tasks.join_next().await.is_some() {}
    }
}
