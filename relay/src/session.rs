//! One client of the listener: logs in, asks, and perhaps becomes a downstream.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use binlog::GtidSet;
use tokio::net::TcpStream;
use wire::{Command, Peer, Session};

use crate::answers::{Asker, Table, UnknownVariable};
use crate::guard::Login;
use crate::outgoing::Outgoing;
use crate::request::Request;
use crate::retention::{self, Refused};
use crate::serve::{Dump, Ended};
use crate::shared::Shared;
use crate::statement::{self, Purge, Statement};
use crate::status::DownstreamStatus;
use crate::upstream::Upstream;

/// Serves one connection to its end; its greeting is held back for `wait`.
pub(crate) async fn run(shared: Arc<Shared>, stream: TcpStream, peer: Peer, login: Login, wait: Duration) {
    let address = peer.address;
    let accept = async {
        tokio::time::sleep(wait).await;
        wire::accept(stream, peer, &shared.login).await
    };
    let session = tokio::select! {
        biased;
        () = shared.shutdown.cancelled() => return,
        session = accept => session,
    };
    match session {
        Ok(session) => {
            drop(login);
            let variables = HashMap::new();
            Client { shared, session, variables }.run().await;
        }
        Err(wire::Error::Refused { user, answer, .. }) => {
            if let Some(unlogged) = login.failed(answer.code == ER_ACCESS_DENIED) {
                // A name can be anything: quoted, and not all of a long one.
                let user: String = user.chars().take(LOGGED_NAME).collect();
                tracing::warn!(%address, ?user, code = answer.code, unlogged, "login refused");
            }
        }
        Err(error) => tracing::debug!(%address, error = crate::describe(&error), "no login"),
    }
}

/// A wrong user or password.
const ER_ACCESS_DENIED: u16 = 1045;
/// A user's name in MySQL has at most 32 characters.
const LOGGED_NAME: usize = 64;

struct Client {
    shared: Arc<Shared>,
    session: Session,
    /// User variables, by lower-case name.
    variables: HashMap<String, String>,
}

impl Client {
    async fn run(mut self) {
        let shutdown = self.shared.shutdown.clone();
        loop {
            let command = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                command = self.session.next_command() => command,
            };
            let command = match command {
                Ok(command) => command,
                Err(error) => {
                    tracing::debug!(error = crate::describe(&error), "client gone");
                    return;
                }
            };
            let answered = match command {
                Command::Quit => return,
                Command::BinlogDump { .. } | Command::BinlogDumpGtid { .. } => {
                    return self.dump(&command).await;
                }
                other => self.answer(other).await,
            };
            if let Err(error) = answered {
                tracing::debug!(error = crate::describe(&error), "client gone");
                return;
            }
        }
    }

    async fn answer(&mut self, command: Command) -> Result<(), wire::Error> {
        match command {
            Command::Query(sql) => self.query(&String::from_utf8_lossy(&sql)).await,
            Command::Ping | Command::InitDb(_) | Command::RegisterReplica { .. } => {
                self.session.send_ok().await
            }
            Command::ResetConnection => {
                self.variables.clear();
                self.session.send_ok().await
            }
            Command::SetOption(_) => self.session.send_eof().await,
            Command::Statistics => self.session.send_text("twinlog relay").await,
            _ => self.session.send_error(1047, "08S01", "Unknown command").await,
        }
    }

    async fn query(&mut self, sql: &str) -> Result<(), wire::Error> {
        match statement::parse(sql) {
            Statement::Nothing => self.session.send_ok().await,
            Statement::Set(assignments) => {
                self.variables.extend(assignments);
                self.session.send_ok().await
            }
            Statement::Select(list) if asks_source(&list) => self.ask_source().await,
            Statement::Select(list) => {
                let asker = Asker {
                    variables: &self.variables,
                    user: self.session.user(),
                    host: self.session.peer().ip().to_string(),
                    connection_id: self.session.connection_id(),
                };
                match self.shared.facts.select(&list, &asker) {
                    Ok(table) => self.rows(table).await,
                    Err(UnknownVariable(name)) => {
                        let text = format!("Unknown system variable '{name}'");
                        self.session.send_error(1193, "HY000", &text).await
                    }
                }
            }
            Statement::ShowVariables(pattern) => self.rows(self.shared.facts.show_variables(&pattern)).await,
            Statement::ShowLogs => self.rows(self.shared.facts.show_logs()).await,
            Statement::ShowLogStatus => self.rows(self.shared.facts.show_log_status()).await,
            Statement::ShowStatus => {
                self.rows((
                    vec![wire::Column::text("Variable_name"), wire::Column::text("Value")],
                    Vec::new(),
                ))
                .await
            }
            Statement::ShowWarnings => {
                let columns = ["Level", "Code", "Message"].map(wire::Column::text).to_vec();
                self.rows((columns, Vec::new())).await
            }
            Statement::Purge(what) => self.purge(what).await,
            Statement::Forget(name) => self.forget(name).await,
            Statement::Other => {
                let text = "This is a twinlog relay: it serves binary logs and answers what replicas ask, nothing else";
                self.session.send_error(1235, "42000", text).await
            }
        }
    }

    async fn rows(&mut self, (columns, rows): Table) -> Result<(), wire::Error> {
        self.session.send_rows(&columns, &rows).await
    }

    /// What the source has executed *now*, which only the source knows: asked on a connection of its own.
    async fn ask_source(&mut self) -> Result<(), wire::Error> {
        let config = &self.shared.config;
        match Upstream::executed_now(&config.sources, config.server_id).await {
            Ok(executed) => {
                let row = vec![wire::Column::value(executed.to_string())];
                self.session.send_rows(&[wire::Column::text(SOURCE_EXECUTED)], &[row]).await
            }
            // 2013 is what a proxy says of a server that it lost: worth another try.
            Err(error) => self.session.send_error(2013, "HY000", &crate::describe(&error)).await,
        }
    }

    /// Purges by hand. `SET @twinlog_purge_up_to` beforehand narrows it to a GTID set.
    async fn purge(&mut self, what: Purge) -> Result<(), wire::Error> {
        let up_to = self.variables.get("twinlog_purge_up_to").map(|text| text.parse::<GtidSet>()).transpose();
        let up_to = match up_to {
            Ok(up_to) => up_to,
            Err(error) => {
                let text = format!("@twinlog_purge_up_to is no GTID set: {error}");
                return self.session.send_error(1231, "42000", &text).await;
            }
        };
        let log = self.shared.facts.log.clone();
        match crate::blocking(move || retention::by_hand(&log, &what, up_to)).await {
            Ok(purged) => {
                let user = self.session.user();
                tracing::info!(user, segments = purged.segments, bytes = purged.bytes, "purged by hand");
                self.session.send_ok().await
            }
            Err(error @ Refused::NoFile) => self.session.send_error(1373, "HY000", &error.to_string()).await,
            Err(error) => {
                tracing::warn!(error = crate::describe(&error), "purging by hand failed");
                self.session.send_error(1377, "HY000", &crate::describe(&error)).await
            }
        }
    }

    /// Forgets a downstream, and what it has acknowledged: the log is no longer kept for it until it attaches again.
    async fn forget(&mut self, name: String) -> Result<(), wire::Error> {
        let log = self.shared.facts.log.clone();
        tracing::info!(user = self.session.user(), downstream = name, "forgotten by hand");
        crate::blocking(move || log.forget(&name)).await;
        self.session.send_ok().await
    }

    async fn dump(mut self, command: &Command) {
        let facts = &self.shared.facts;
        let resolve = |name: &str| self.variables.get(name).map(|v| facts.resolve(v)).unwrap_or_default();
        let request = match Request::read(command, &self.variables, resolve) {
            Ok(request) => request,
            Err(text) => {
                // The client is wrong; whether it hears so makes no difference here.
                _ = self.session.send_error(1236, "HY000", &text).await;
                return;
            }
        };
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let address = self.session.peer().to_string();
        let status = DownstreamStatus {
            name: request.link.clone().unwrap_or_else(|| address.clone()),
            address: address.clone(),
            uuid: request.uuid.clone(),
            ..DownstreamStatus::default()
        };
        let name = status.name.clone();
        if self.shared.live.is_link(&name) {
            // One that was forgotten by hand holds the log again.
            facts.log.register(&name);
        }
        self.shared.progress.downstream(id, status);
        tracing::info!(downstream = name, address, from = %request.from, "downstream attached");
        let shared = self.shared.clone();
        let replaced = shared.replicas.attach(&request.uuid);
        let _forgotten_at_the_end = replaced.clone().drop_guard();
        if request.pack_on {
            self.session.pack_on();
        }
        let (sender, acks) = self.session.into_dump(request.semi_sync);
        let out = Outgoing::new(sender, shared.facts.server_id, &request);
        let dump = Dump {
            log: shared.facts.log.clone(),
            tail: shared.tail.clone(),
            asked: shared.asked.clone(),
            progress: shared.progress.clone(),
            abreast: shared.abreast.clone(),
            request,
            id,
            out,
        };
        let ended = dump.run(acks, replaced, shared.shutdown.clone()).await;
        shared.progress.gone(id);
        match ended {
            Ended::Refused(reason) => tracing::warn!(downstream = name, reason, "downstream refused"),
            ended => {
                tracing::info!(downstream = name, ended = crate::describe(&ended), "downstream detached")
            }
        }
    }
}

const SOURCE_EXECUTED: &str = "twinlog_source_gtid_executed";

fn asks_source(list: &[statement::Selected]) -> bool {
    matches!(list, [(_, statement::Expression::System(name))] if name == SOURCE_EXECUTED)
}
