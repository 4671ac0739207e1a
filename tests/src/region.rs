//! A region: one real MySQL, its accounts, and short ways to ask it.

use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, OptsBuilder};
use tokio::task::block_in_place;
use twinlog::local_mysql::{Installation, Server, ServerOptions, locate_or_fetch};

use crate::wait::until;

/// How often a deadlock is taken for one that passes.
const MOST_DEADLOCKS: u32 = 20;
/// A MySQL that answers at all does so within this time, crash recovery included.
const ANSWER: Duration = Duration::from_secs(60);

/// The MySQL of this machine, found or fetched once.
pub fn installation() -> &'static Installation {
    static INSTALLATION: OnceLock<Installation> = OnceLock::new();
    INSTALLATION.get_or_init(|| locate_or_fetch().unwrap_or_else(|e| panic!("{e}")))
}

/// What a region's server is to be.
#[derive(Clone, Debug)]
pub struct RegionOptions {
    /// The region's name.
    pub name: &'static str,
    /// Its server's `server_id`.
    pub server_id: u32,
    /// Further options of its server.
    pub extra_args: Vec<String>,
}

/// One region's MySQL.
pub struct Region {
    name: &'static str,
    address: String,
    port: u16,
    server: Mutex<Server>,
}

impl Region {
    /// Starts the server; blocks until it answers.
    pub fn start(options: RegionOptions) -> Self {
        let RegionOptions { name, server_id, extra_args } = options;
        let options = ServerOptions { name: name.into(), server_id, extra_args, ..ServerOptions::default() };
        let server = Server::start(installation(), options).unwrap_or_else(|e| panic!("{e}"));
        Self { name, address: server.address(), port: server.port(), server: Mutex::new(server) }
    }

    /// Starts several at once.
    pub fn start_all<const N: usize>(options: [RegionOptions; N]) -> [Self; N] {
        block_in_place(|| {
            std::thread::scope(|scope| {
                let starting = options.map(|o| scope.spawn(|| Self::start(o)));
                starting.map(|thread| thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e)))
            })
        })
    }

    /// The region's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's data folder.
    pub fn datadir(&self) -> std::path::PathBuf {
        self.server().datadir().to_owned()
    }

    /// The server's Unix socket.
    pub fn socket(&self) -> std::path::PathBuf {
        self.server().socket()
    }

    /// SIGKILL for the server.
    pub fn kill9(&self) {
        block_in_place(|| self.server().kill9());
    }

    /// Starts it again on the same port and data.
    pub fn restart(&self) {
        block_in_place(|| self.server().restart()).unwrap_or_else(|e| panic!("{e}"));
    }

    /// Starts it again with other options; those given at first are gone.
    pub fn restart_with(&self, extra_args: &[&str]) {
        let extra_args = extra_args.iter().map(|&a| a.to_owned()).collect();
        block_in_place(|| self.server().restart_with(extra_args)).unwrap_or_else(|e| panic!("{e}"));
    }

    /// The end of the server's own log.
    pub fn log_tail(&self) -> String {
        self.server().log_tail()
    }

    /// A client program that logs in to it as root.
    pub fn client(&self, name: &str) -> std::process::Command {
        self.server().client(name)
    }

    fn server(&self) -> std::sync::MutexGuard<'_, Server> {
        // A panic while it was held has failed the test already.
        self.server.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// How to log in as root.
    pub fn options(&self) -> OptsBuilder {
        // Naming both limits saves mysql_async a query for each connection.
        OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .user(Some("root"))
            .prefer_socket(false)
            .max_allowed_packet(Some(64 << 20))
            .wait_timeout(Some(28_800))
    }

    /// A session as root; an error when the server is not there.
    pub async fn try_connect(&self) -> mysql_async::Result<Conn> {
        Conn::new(self.options()).await
    }

    /// A session as root; waits for a server that is coming back.
    pub async fn connect(&self) -> Conn {
        let what = format!("mysql of {} answers", self.name);
        until(&what, ANSWER, async || self.try_connect().await.map_err(|e| e.to_string())).await
    }

    /// Runs statements in one session, one after the other. What a deadlock rolls back is tried again, from its `BEGIN`, as an
    /// application does: a link is one more session that locks rows.
    pub async fn run_all<S: AsRef<str>>(&self, statements: &[S]) {
        let mut session = self.connect().await;
        let (mut next, mut begun, mut deadlocks) = (0, None, 0);
        while let Some(statement) = statements.get(next).map(AsRef::as_ref) {
            match statement {
                "BEGIN" | "START TRANSACTION" => begun = Some(next),
                "COMMIT" | "ROLLBACK" => begun = None,
                _ => {}
            }
            match session.query_drop(statement).await {
                Err(mysql_async::Error::Server(e)) if e.code == 1213 && deadlocks < MOST_DEADLOCKS => {
                    deadlocks += 1;
                    next = begun.unwrap_or(next);
                }
                Err(e) => panic!("{}: {e}: {statement}", self.name),
                Ok(()) => next += 1,
            }
        }
        // A lost farewell changes nothing.
        let _ = session.disconnect().await;
    }

    /// Runs one statement.
    pub async fn run(&self, statement: &str) {
        self.run_all(&[statement]).await;
    }

    /// Runs one statement that is expected to fail, and gives the server's error number.
    pub async fn run_failing(&self, statement: &str) -> u16 {
        match self.connect().await.query_drop(statement).await {
            Err(mysql_async::Error::Server(e)) => e.code,
            other => panic!("{}: not refused by the server: {other:?}: {statement}", self.name),
        }
    }

    /// All rows of a query.
    pub async fn rows<T: FromRow + Send + 'static>(&self, query: &str) -> Vec<T> {
        let mut session = self.connect().await;
        let rows = session.query(query).await;
        rows.unwrap_or_else(|e| panic!("{}: {e}: {query}", self.name))
    }

    /// The one row of a query.
    pub async fn row<T: FromRow + Send + 'static>(&self, query: &str) -> T {
        self.rows(query).await.pop().unwrap_or_else(|| panic!("{}: no row: {query}", self.name))
    }

    /// From now on a COMMIT here is written to the binary log and sent, and then held, its rows unseen: as by a slow disk
    /// or a replica that is away.
    pub async fn hold_commits(&self) {
        self.run_all(&[
            "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'",
            "SET GLOBAL rpl_semi_sync_source_timeout = 3600000",
            "SET GLOBAL rpl_semi_sync_source_wait_no_replica = ON",
            "SET GLOBAL rpl_semi_sync_source_enabled = ON",
        ])
        .await;
    }

    /// Lets them through.
    pub async fn release_commits(&self) {
        self.run("SET GLOBAL rpl_semi_sync_source_enabled = OFF").await;
    }

    /// Purges all binary logs but a fresh one. A file that a dump still reads stays, and a reader that was killed is
    /// noticed only a moment later.
    pub async fn purge_binlogs(&self) {
        self.run("FLUSH BINARY LOGS").await;
        until("all binary logs but one are purged", ANSWER, async || {
            let files: Vec<(String, u64, String)> = self.rows("SHOW BINARY LOGS").await;
            let (last, ..) = files.last().ok_or("no binary log")?;
            if files.len() == 1 {
                return Ok(());
            }
            self.run(&format!("PURGE BINARY LOGS TO '{last}'")).await;
            Err(format!("{} files", files.len()))
        })
        .await;
    }

    /// `gtid_executed`.
    pub async fn gtid_executed(&self) -> String {
        self.row::<String>("SELECT REPLACE(@@gtid_executed, '\n', '')").await
    }
}
