//! Servers to measure on: started from a copy of one prepared data folder, with full durability.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tempfile::TempDir;
use twinlog::local_mysql::{Installation, Server, ServerOptions, locate_or_fetch};

/// The account that everything logs in with.
pub(crate) const USER: &str = "bench";
/// Its password.
pub(crate) const PASSWORD: &str = "bench";

/// Alike on every server of a run. `sync_binlog = 1` and `innodb_flush_log_at_trx_commit = 1` are the stage's own.
const SETTINGS: [&str; 5] = [
    "--innodb-buffer-pool-size=512M",
    "--innodb-redo-log-capacity=1G",
    "--max-connections=200",
    "--replica-parallel-workers=4",
    "--skip-replica-start",
];

/// A folder for a run, and the MySQL to use.
pub(crate) struct Stage {
    pub(crate) folder: TempDir,
    installation: Installation,
}

impl Stage {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("twinlog-bench-").tempdir()?;
        Ok(Self { folder, installation: locate_or_fetch()? })
    }

    pub(crate) fn installation(&self) -> &Installation {
        &self.installation
    }

    /// A path in the run's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a server, on a data folder of an earlier one if it is there.
    pub(crate) fn start(&self, name: &str, server_id: u32) -> Result<Server> {
        let options = ServerOptions {
            name: name.into(),
            server_id,
            extra_args: SETTINGS.map(Into::into).to_vec(),
            datadir: Some(self.path(name)),
            ..ServerOptions::default()
        };
        Server::start(&self.installation, options).with_context(|| format!("starting {name}"))
    }

    /// Makes the data folder `to` a copy of `from`, whose server is stopped: another server, the same rows.
    pub(crate) fn copy(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (self.path(from), self.path(to));
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        let done = Command::new("cp").arg("-a").arg(&from).arg(&to).status().context("cp")?;
        ensure!(done.success(), "copying {} failed", from.display());
        let identity = to.join("auto.cnf");
        if identity.exists() {
            fs::remove_file(identity)?;
        }
        Ok(())
    }
}

/// Logs in as root, who has no password on these servers.
pub(crate) async fn root(server: &Server) -> Result<Conn> {
    connect(server.port(), "root", None).await
}

/// Logs in.
pub(crate) async fn connect(port: u16, user: &str, password: Option<&str>) -> Result<Conn> {
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some(user))
        .pass(password)
        .prefer_socket(Some(false))
        .max_allowed_packet(Some(64 << 20))
        .wait_timeout(Some(28800));
    Ok(Conn::new(options).await?)
}

/// Makes the account, with all rights.
pub(crate) async fn make_account(server: &Server) -> Result<()> {
    let mut conn = root(server).await?;
    conn.query_drop(format!("CREATE USER {USER}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")).await?;
    conn.query_drop(format!("GRANT ALL ON *.* TO {USER}@'127.0.0.1'")).await?;
    Ok(conn.disconnect().await?)
}

/// Makes a server a replica of another; it is not started.
pub(crate) async fn replicate(replica: &mut Conn, source: u16) -> Result<()> {
    replica
        .query_drop(format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={source}, SOURCE_USER='{USER}', \
             SOURCE_PASSWORD='{PASSWORD}', SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1"
        ))
        .await?;
    Ok(())
}

/// Waits until a server has executed all of this.
pub(crate) async fn wait_executed(conn: &mut Conn, wanted: &str, within: Duration) -> Result<()> {
    let waited: Option<i64> =
        conn.exec_first("SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)", (wanted, within.as_secs())).await?;
    ensure!(waited == Some(0), "the replica did not catch up within {within:?}");
    Ok(())
}

/// What a server has executed.
pub(crate) async fn executed(conn: &mut Conn) -> Result<String> {
    let set: Option<String> = conn.query_first("SELECT @@GLOBAL.gtid_executed").await?;
    Ok(set.unwrap_or_default().replace('\n', ""))
}

/// The checksums of all tables of a schema.
pub(crate) async fn checksums(server: &Server, schema: &str) -> Result<Vec<(String, Option<u64>)>> {
    let mut conn = root(server).await?;
    let query = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? ORDER BY TABLE_NAME";
    let tables: Vec<String> = conn.exec(query, (schema,)).await?;
    let list: Vec<String> = tables.iter().map(|t| format!("`{schema}`.`{t}`")).collect();
    let sums = conn.query(format!("CHECKSUM TABLE {}", list.join(", "))).await?;
    conn.disconnect().await?;
    Ok(sums)
}

/// The built `twinlog` beside this program.
pub(crate) fn twinlog() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.parent().unwrap_or(Path::new(".")).join("twinlog");
    ensure!(path.exists(), "{} is not there: cargo build --release -p twinlog", path.display());
    Ok(path)
}
