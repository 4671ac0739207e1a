//! What a process answers, by path. Who asks has been looked at before ([`super::access`]).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::{Method, StatusCode};
use twinlog::config::File;

use super::call::Call;
use super::reply::Reply;
use super::verify::Job;
use super::{Board, Kind, check, conflicts, links, log, metrics, reload, tables, verify};
use crate::command::{Crew, gather};

/// What this API is, for people and programs.
const OPENAPI: &str = include_str!("openapi.json");

/// A process, as those see it who ask. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Site(Arc<Inner>);

struct Inner {
    kind: Kind,
    name: String,
    /// A relay's or an applier's.
    board: Option<Board>,
    file: Mutex<Arc<File>>,
    hands: Mutex<Hands>,
    verify: Job,
}

/// What can be done to the process's work, once it is there.
#[derive(Clone, Default)]
pub(crate) enum Hands {
    /// It is not built yet.
    #[default]
    None,
    /// A relay's.
    Relay(relay::StatusHandle),
    /// An applier's.
    Applier(applier::Control),
    /// The processes that `up` runs.
    Up(Crew),
}

impl Site {
    /// Of a relay or an applier.
    pub(crate) fn of(board: &Board, kind: Kind, name: &str, file: File) -> Self {
        Self::new(kind, name, Some(board.clone()), file)
    }

    /// Of `twinlog up`.
    pub(crate) fn of_all(file: File) -> Self {
        let name = file.sync.name.clone();
        Self::new(Kind::Up, &name, None, file)
    }

    fn new(kind: Kind, name: &str, board: Option<Board>, file: File) -> Self {
        Self(Arc::new(Inner {
            kind,
            name: name.into(),
            board,
            file: Mutex::new(Arc::new(file)),
            hands: Mutex::default(),
            verify: Job::default(),
        }))
    }

    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// The configuration now.
    pub(crate) fn file(&self) -> Arc<File> {
        self.lock_file().clone()
    }

    /// Another configuration.
    pub(super) fn set_file(&self, file: Arc<File>) {
        *self.lock_file() = file;
    }

    fn lock_file(&self) -> MutexGuard<'_, Arc<File>> {
        self.0.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process is built.
    pub(crate) fn takes(&self, hands: Hands) {
        *self.0.hands.lock().unwrap_or_else(PoisonError::into_inner) = hands;
    }

    pub(super) fn hands(&self) -> Hands {
        self.0.hands.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn verify(&self) -> &Job {
        &self.0.verify
    }

    /// Answers.
    pub(crate) async fn answer(&self, call: &Call) -> Reply {
        self.route(call).await.unwrap_or_else(|refused| refused)
    }

    async fn route(&self, call: &Call) -> Result<Reply, Reply> {
        let steps = call.steps();
        if let ["livez" | "readyz" | "metrics"] | ["api", "v1", "status" | "openapi.json"] = steps[..] {
            call.only(&Method::GET, "GET")?;
            call.knows(&[])?;
        }
        match steps[..] {
            ["livez"] => Ok(Reply::text(StatusCode::OK, "ok")),
            ["readyz"] => Ok(self.readiness().await),
            ["metrics"] => Ok(self.metrics().await),
            ["api", "v1", "openapi.json"] => Ok(Reply::raw_json(StatusCode::OK, OPENAPI.as_bytes().to_vec())),
            ["api", "v1", "status"] => Ok(self.status().await),
            ["api", "v1", "links", name, action] => Box::pin(links::answer(self, call, name, action)).await,
            ["api", "v1", "conflicts", ref rest @ ..] => Box::pin(conflicts::answer(self, call, rest)).await,
            ["api", "v1", "log", ref rest @ ..] => log::answer(self, call, rest).await,
            ["api", "v1", "tables", ref rest @ ..] => Box::pin(tables::answer(self, call, rest)).await,
            ["api", "v1", "check"] => Box::pin(check::answer(self, call)).await,
            ["api", "v1", "verify", ref rest @ ..] => verify::answer(self, call, rest),
            ["api", "v1", "reload"] => Box::pin(reload::answer(self, call)).await,
            _ => Err(Reply::not_found("no such page")),
        }
    }

    async fn readiness(&self) -> Reply {
        let (is_ready, word) = match &self.0.board {
            Some(board) => {
                let status = board.report().status;
                (status.state() == "running", status.state().to_owned())
            }
            None => {
                let is_well = gather(&self.file()).await.is_well();
                (is_well, if is_well { "running" } else { "not everything runs" }.to_owned())
            }
        };
        let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        Reply::text(code, &word)
    }

    async fn metrics(&self) -> Reply {
        match &self.0.board {
            Some(board) => Reply::metrics(metrics::render(&board.report(), board.verified().as_ref())),
            None => Reply::metrics(metrics::of_all(&self.file()).await),
        }
    }

    async fn status(&self) -> Reply {
        match &self.0.board {
            Some(board) => Reply::json(&board.report()),
            None => Reply::json(&gather(&self.file()).await),
        }
    }
}
