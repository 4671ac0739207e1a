//! `/api/v1/verify`: the last comparison of the regions, starting one, how far it is, stopping it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use applier::verify::{Event, Watch};
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use twinlog::config::{File, verify_config};

use super::call::Call;
use super::reply::Reply;
use super::site::Site;
use super::{Kind, unix_time};
use crate::command::{LastVerified, compare, last_verified};
use crate::failure::Failure;

/// The comparison of a process; one at a time.
#[derive(Default)]
pub(crate) struct Job(Mutex<State>);

#[derive(Default)]
struct State {
    /// Owns the task; its end aborts it.
    task: JoinSet<()>,
    running: Option<Running>,
    ended: Option<f64>,
    last_error: Option<String>,
}

struct Running {
    since: f64,
    stop: CancellationToken,
    progress: Progress,
}

/// How far a comparison is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The table it reads.
    pub(crate) table: String,
    /// In these two regions.
    pub(crate) regions: Vec<String>,
    /// Since when, Unix time in seconds.
    pub(crate) table_since: f64,
    /// Rows of it that are read.
    pub(crate) rows: u64,
    /// About so many are there.
    pub(crate) expected: u64,
    /// What it does when it is not reading on.
    pub(crate) doing: Option<String>,
    /// Tables that are done.
    pub(crate) tables_done: u64,
    /// Rows named as different.
    pub(crate) differences: u64,
}

/// What is known of comparisons.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct View {
    /// Does one run in this process?
    pub(crate) running: bool,
    /// Since when, Unix time in seconds.
    pub(crate) since: Option<f64>,
    /// How far it is.
    pub(crate) progress: Option<Progress>,
    /// When the last one that this process began came to its end, Unix time in seconds.
    pub(crate) ended: Option<f64>,
    /// Why it was broken off.
    pub(crate) last_error: Option<String>,
    /// What the last one on this host found.
    pub(crate) last: Option<LastVerified>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl Job {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Numbers for people: good even if a holder panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn answer(site: &Site, call: &Call, rest: &[&str]) -> Result<Reply, Reply> {
    call.knows(&[])?;
    let looks = rest.is_empty() && matches!(call.method, Method::GET | Method::HEAD);
    match rest {
        [] if looks => {}
        [] => call.only(&Method::POST, "GET, POST")?,
        ["cancel"] => call.only(&Method::POST, "POST")?,
        _ => return Err(Reply::not_found("no such page")),
    }
    if site.kind() == Kind::Relay {
        return Err(Reply::not_found("a relay compares nothing: ask an applier, or twinlog up"));
    }
    if looks {
        return Ok(Reply::json(&view(site)));
    }
    call.body::<Nothing>()?;
    if rest == ["cancel"] {
        if let Some(running) = &site.verify().lock().running {
            running.stop.cancel();
        }
        return Ok(Reply::json(&view(site)));
    }
    start(site)?;
    let mut reply = Reply::json(&view(site));
    reply.code = StatusCode::ACCEPTED;
    Ok(reply)
}

fn view(site: &Site) -> View {
    let state = site.verify().lock();
    let running = state.running.as_ref();
    View {
        running: running.is_some(),
        since: running.map(|running| running.since),
        progress: running.map(|running| running.progress.clone()),
        ended: state.ended,
        last_error: state.last_error.clone(),
        last: last_verified(&site.file().sync.state_dir),
    }
}

fn start(site: &Site) -> Result<(), Reply> {
    let file = site.file();
    // Whoever asked can ask another process, which has what this one lacks.
    verify_config(&file, None)
        .map_err(|faults| Reply::failure(StatusCode::BAD_GATEWAY, &Failure::from(faults)))?;
    let mut state = site.verify().lock();
    if state.running.is_some() {
        return Err(Reply::error(StatusCode::CONFLICT, "a comparison runs already", None));
    }
    while state.task.try_join_next().is_some() {}
    let (since, stop) = (unix_time(), CancellationToken::new());
    (state.last_error, state.ended) = (None, None);
    let progress = Progress { table_since: since, ..Progress::default() };
    state.running = Some(Running { since, stop: stop.clone(), progress });
    let site = site.clone();
    let runtime = tokio::runtime::Handle::current();
    // A comparison stays on the thread that it began on.
    state.task.spawn_blocking(move || runtime.block_on(Box::pin(run(&site, &file, stop))));
    Ok(())
}

async fn run(site: &Site, file: &File, stop: CancellationToken) {
    let done = Box::pin(compare(file, Arc::new(Watcher(site.clone())), stop.clone())).await;
    let mut state = site.verify().lock();
    state.running = None;
    state.ended = Some(unix_time());
    state.last_error = match done {
        Ok(()) => None,
        Err(_) if stop.is_cancelled() => Some("stopped before everything was compared".into()),
        Err(failure) => Some(failure.line()),
    };
}

struct Watcher(Site);

impl Watch for Watcher {
    fn see(&self, event: &Event<'_>) {
        let mut state = self.0.verify().lock();
        let Some(Running { progress, .. }) = state.running.as_mut() else { return };
        match event {
            Event::Begins { table, regions: (left, right), rows } => {
                progress.table = (*table).to_owned();
                progress.regions = vec![(*left).to_owned(), (*right).to_owned()];
                progress.table_since = unix_time();
                (progress.rows, progress.expected, progress.doing) = (0, *rows, None);
            }
            Event::Rows(rows) => {
                progress.rows += rows;
                progress.expected = progress.expected.max(progress.rows);
                progress.doing = None;
            }
            Event::Doing(what) => progress.doing = Some((*what).to_owned()),
            Event::Differs(_) => progress.differences += 1,
            Event::Ends(_) => progress.tables_done += 1,
        }
    }
}
