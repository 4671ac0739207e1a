//! The peer: `mysqlbinlog --raw`, which writes what it reads to files and does not flush.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::process::{Measured, measured};
use crate::stage::{PASSWORD, Stage};

/// What it reads.
pub(super) struct From<'a> {
    pub(super) port: u16,
    pub(super) user: &'a str,
    pub(super) tls: bool,
}

/// Reads everything into a folder that is removed again.
pub(super) fn read(stage: &Stage, from: &From<'_>) -> Result<Measured> {
    let folder = stage.path("raw");
    std::fs::create_dir_all(&folder)?;
    let mut command: Command = stage.installation().client("mysqlbinlog");
    command
        .args(["--read-from-remote-source=BINLOG-DUMP-GTIDS", "--raw", "--to-last-log"])
        .args(["--host=127.0.0.1", &format!("--port={}", from.port), &format!("--user={}", from.user)])
        .arg(format!("--password={PASSWORD}"))
        .args([
            if from.tls { "--ssl-mode=REQUIRED" } else { "--ssl-mode=DISABLED" },
            "--get-server-public-key",
        ])
        .arg(format!("--result-file={}/", folder.display()))
        // Stock servers begin with this file.
        .arg("binlog.000001")
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let (measured, output) = measured(|| command.output().context("mysqlbinlog"))?;
    ensure!(output.status.success(), "mysqlbinlog: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_dir_all(&folder)?;
    Ok(measured)
}
