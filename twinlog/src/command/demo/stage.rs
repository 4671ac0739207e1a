//! What the demo plays on: a temporary folder, two servers with the shop in them, and a configuration file.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use twinlog::config::{self, File};
use twinlog::local_mysql::{self, Installation, Server, ServerOptions, free_port, locate_or_fetch_with};
use uuid::Uuid;

use super::shop;
use crate::failure::Failure;
use crate::shutdown::Shutdown;

/// The two regions, in the order of their key offsets.
pub(super) const REGIONS: [&str; 2] = ["eu", "us"];

/// How much of the processes' log a failed demo shows, in lines.
const LOG_SHOWN: usize = 40;

/// Servers, folder and configuration; dropping it ends and removes them.
pub(super) struct Stage {
    // Dropped in this order: nobody writes into the folder when it goes.
    servers: Vec<Server>,
    file: File,
    folder: TempDir,
}

impl Stage {
    /// Sets everything up, saying what it does.
    pub(super) async fn set_up(shutdown: &Shutdown) -> Result<Self, Failure> {
        let fetched = spawn_blocking(|| locate_or_fetch_with(&mut |message| println!("{message}")));
        let installation = tokio::select! {
            biased;
            () = shutdown.token.cancelled() => return Err(Failure::interrupted()),
            fetched = fetched => joined(fetched)??,
        };
        println!("starting two MySQL {} servers", installation.version());
        let servers = joined(spawn_blocking(move || start_servers(&installation)).await)??;
        let folder = tempfile::Builder::new().prefix("twinlog-demo-").tempdir();
        let folder = folder.map_err(|e| Failure::from_error("cannot make a temporary folder", &e))?;
        let password = Uuid::new_v4().to_string();
        for (server, region) in servers.iter().zip(REGIONS) {
            fill(server, region, &password).await?;
        }
        let file = write_config(&servers, folder.path(), &password)?;
        for (server, region) in servers.iter().zip(REGIONS) {
            write_client(server, region, folder.path())?;
            println!(
                "region {region}: MySQL on {}, pid {}",
                server.address(),
                server.pid().unwrap_or_default()
            );
        }
        Ok(Self { servers, file, folder })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Each region with its server.
    pub(super) fn regions(&self) -> impl Iterator<Item = (&'static str, &Server)> {
        REGIONS.into_iter().zip(&self.servers)
    }

    /// Where relays and appliers log.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.path().join("twinlog.log")
    }

    /// Shows the end of that log.
    pub(super) fn show_log(&self) {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(LOG_SHOWN)..] {
            eprintln!("{line}");
        }
    }

    /// For `--keep`.
    pub(super) fn how_to_connect(&self) -> String {
        let folder = self.folder.path().display();
        let mut text =
            String::from("\nleft running until Ctrl-C; the writers have stopped, both links are alive\n");
        for (region, server) in self.regions() {
            text += &format!("  region {region}: {folder}/mysql-{region} shop\n");
            text +=
                &format!("             (any client: user root without password on {})\n", server.address());
        }
        text + &format!(
            "  status:    twinlog status -c {} --watch\n  log:       {}",
            self.file.path.display(),
            self.log().display()
        )
    }
}

/// A connection as root.
pub(super) async fn connect(server: &Server) -> Result<Conn, Failure> {
    // Never by the socket that the server names: it could lead elsewhere.
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(server.port())
        .user(Some("root"))
        .prefer_socket(false);
    Conn::new(options).await.map_err(|e| sql_failed(server, &e))
}

/// A statement on a server that did not work.
pub(super) fn sql_failed(server: &Server, error: &mysql_async::Error) -> Failure {
    Failure::from_error(&format!("MySQL of region {} refuses what the demo asks", server.name()), error)
}

fn joined<T>(result: Result<T, tokio::task::JoinError>) -> Result<T, Failure> {
    result.map_err(|e| Failure::from_error("a task of the demo ended badly", &e))
}

fn start_servers(installation: &Installation) -> Result<Vec<Server>, local_mysql::Error> {
    let start = |(region, id): (&str, u32)| {
        // Keys of one region never meet those of the other.
        let keys = ["--auto-increment-increment=2".to_owned(), format!("--auto-increment-offset={id}")];
        let options = ServerOptions {
            name: region.into(),
            server_id: id,
            extra_args: keys.into(),
            ..ServerOptions::default()
        };
        Server::start(installation, options)
    };
    thread::scope(|scope| {
        let started: Vec<_> =
            REGIONS.into_iter().zip(1..).map(|region| scope.spawn(move || start(region))).collect();
        started
            .into_iter()
            .map(|s| s.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// The shop and the accounts of relays and appliers, with the privileges these need and no others.
async fn fill(server: &Server, region: &str, password: &str) -> Result<(), Failure> {
    let mut conn = connect(server).await?;
    let accounts = [
        format!("CREATE USER 'reader'@'127.0.0.1' IDENTIFIED BY '{password}'"),
        "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'reader'@'127.0.0.1'".into(),
        "GRANT SELECT ON shop.* TO 'reader'@'127.0.0.1'".into(),
        format!("CREATE USER 'writer'@'127.0.0.1' IDENTIFIED BY '{password}'"),
        "GRANT REPLICATION_APPLIER, REPLICATION CLIENT ON *.* TO 'writer'@'127.0.0.1'".into(),
        "GRANT SELECT, INSERT, UPDATE, DELETE ON shop.* TO 'writer'@'127.0.0.1'".into(),
        "GRANT ALL ON twinlog.* TO 'writer'@'127.0.0.1'".into(),
    ];
    tracing::debug!(region, "filling the shop");
    for statement in shop::statements().into_iter().chain(accounts) {
        conn.query_drop(statement).await.map_err(|e| sql_failed(server, &e))?;
    }
    conn.disconnect().await.map_err(|e| sql_failed(server, &e))
}

fn write_config(servers: &[Server], folder: &Path, password: &str) -> Result<File, Failure> {
    let mut text = String::from("[sync]\nname = \"demo\"\ntables = [\"shop.*\"]\nstate_dir = \"state\"\n");
    for (server, region) in servers.iter().zip(REGIONS) {
        let port = free_port().ok_or_else(|| Failure::failed("no free port for a relay"))?;
        text += &format!(
            "\n[region.{region}]\nmysql.address = \"{}\"\n\
             mysql.reader_user = \"reader\"\nmysql.reader_password_file = \"password\"\n\
             mysql.writer_user = \"writer\"\nmysql.writer_password_file = \"password\"\n\
             relay.listen = \"127.0.0.1:{port}\"\nrelay.password_file = \"password\"\n\
             relay.dir = \"relay-{region}\"\nrelay.max_size = \"8GiB\"\n",
            server.address()
        );
    }
    for [from, to] in [REGIONS, [REGIONS[1], REGIONS[0]]] {
        text += &format!("\n[link.{from}-{to}]\nfrom = \"{from}\"\nto = \"{to}\"\n");
    }
    write(&folder.join("password"), password, 0o600)?;
    let path = folder.join("twinlog.toml");
    write(&path, &text, 0o600)?;
    Ok(config::load(&path)?)
}

/// A script that opens the region's MySQL with the client that belongs to it.
fn write_client(server: &Server, region: &str, folder: &Path) -> Result<(), Failure> {
    let command = server.client("mysql");
    let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''"));
    let words: Vec<String> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
    let path = folder.join(format!("mysql-{region}"));
    write(&path, &format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")), 0o700)?;
    // A umask may have taken the right to run it.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(|e| cannot_write(&path, &e))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let file = fs::File::options().create_new(true).write(true).mode(mode).open(path);
    file.and_then(|mut f| f.write_all(text.as_bytes())).map_err(|e| cannot_write(path, &e))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::from_error(&format!("cannot write {}", path.display()), error)
}
