//! Clients of a pair's relays that are no link's.

use std::process::Command;
use std::time::Duration;

use wire::{ConnectOptions, Connection, Secret, TlsMode, TlsOptions};

use crate::{Pair, installation};

impl Pair {
    /// A `mysqlbinlog` that reads all of a relay's log by GTIDs, up to its end.
    pub fn mysqlbinlog(&self, region: &str) -> Command {
        let (host, port) = self.file.relay_listen(region).rsplit_once(':').expect("host:port");
        let (user, password) = self.file.relay_account();
        let mut command = installation().client("mysqlbinlog");
        command.args([
            "--read-from-remote-source=BINLOG-DUMP-GTIDS",
            "--verify-binlog-checksum",
            "--verbose",
        ]);
        command.args(["--host", host, "--port", port, "--user", user]).arg(format!("--password={password}"));
        // By GTIDs the file's name is only asked for, not used.
        command.args(["--to-last-log", "binlog.000001"]);
        command
    }

    /// A session of the account that may attach to a relay, with no proxy between.
    pub async fn connect_relay(&self, region: &str) -> Connection {
        let (user, password) = self.file.relay_account();
        let options = ConnectOptions {
            address: self.file.relay_listen(region).into(),
            user: user.into(),
            password: Secret::new(password),
            tls: TlsOptions { mode: TlsMode::Preferred, ..TlsOptions::default() },
            connect_timeout: Duration::from_secs(20),
        };
        Connection::connect(&options).await.unwrap_or_else(|e| panic!("relay {region}: {e}"))
    }
}
