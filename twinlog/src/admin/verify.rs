//! `/api/v1/verify`: the last comparison of the regions, and starting one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use applier::verify::{Event, Watch};
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use twinlog::config::File;

use super::call::Call;
use super::reply::Reply;
use super::site::Site;
use super::{Kind, unix_time};
use crate::command::{LastVerified, compare, last_verified};

/// The comparison of a process; one at a time.
#[derive(Default)]
pub(crate) struct Job(Mutex<State>);

#[derive(Default)]
struct State {
    /// Owns the task; its end aborts it.
    task: JoinSet<()>,
    since: Option<f64>,
    last_error: Option<String>,
}

/// What is known of comparisons.
#[derive(Serialize)]
struct View {
    /// Does one run in this process?
    running: bool,
    /// Since when, Unix time in seconds.
    since: Option<f64>,
    /// Why the last one that this process began was broken off.
    last_error: Option<String>,
    /// What the last one on this host found.
    last: Option<LastVerified>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Nobody looks on.
struct Unwatched;

impl Watch for Unwatched {
    fn see(&self, _: &Event<'_>) {}
}

impl Job {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn answer(site: &Site, call: &Call) -> Result<Reply, Reply> {
    call.knows(&[])?;
    let looks = matches!(call.method, Method::GET | Method::HEAD);
    if !looks {
        call.only(&Method::POST, "GET, POST")?;
    }
    if site.kind() == Kind::Relay {
        return Err(Reply::not_found("a relay compares nothing: ask an applier, or twinlog up"));
    }
    if looks {
        return Ok(Reply::json(&view(site)));
    }
    call.body::<Nothing>()?;
    start(site)?;
    let mut reply = Reply::json(&view(site));
    reply.code = StatusCode::ACCEPTED;
    Ok(reply)
}

fn view(site: &Site) -> View {
    let mut state = site.verify().lock();
    while state.task.try_join_next().is_some() {}
    let running = !state.task.is_empty();
    View {
        running,
        since: state.since.filter(|_| running),
        last_error: state.last_error.clone(),
        last: last_verified(&site.file().sync.state_dir),
    }
}

fn start(site: &Site) -> Result<(), Reply> {
    let file = site.file();
    let mut state = site.verify().lock();
    while state.task.try_join_next().is_some() {}
    if !state.task.is_empty() {
        return Err(Reply::error(StatusCode::CONFLICT, "a comparison runs already", None));
    }
    state.since = Some(unix_time());
    state.last_error = None;
    let site = site.clone();
    let runtime = tokio::runtime::Handle::current();
    // A comparison stays on the thread that it began on.
    state.task.spawn_blocking(move || runtime.block_on(Box::pin(run(&site, &file))));
    Ok(())
}

async fn run(site: &Site, file: &File) {
    let done = Box::pin(compare(file, Arc::new(Unwatched), CancellationToken::new())).await;
    site.verify().lock().last_error = done.err().map(|failure| failure.line());
}
