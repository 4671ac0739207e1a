//! A disk of a few megabytes that fills up and can be made larger.
//!
//! A tmpfs in a mount namespace of its own, which any user may make, held by a shell that waits. Others reach it by the
//! shell's root in /proc.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

/// Mounts it, and gives it every size that it reads.
const HOLD: &str = "mount -t tmpfs -o size=$1m none \"$2\" && echo ready && \
    while read size; do mount -o remount,size=${size}m \"$2\" && echo ready; done";

/// A small disk; gone with everything on it when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    holder: Child,
    said: BufReader<ChildStdout>,
    path: PathBuf,
    _folder: TempDir,
}

impl SmallDisk {
    /// An empty one of so many MiB.
    pub fn new(mebibytes: u32) -> Self {
        let folder = tempfile::Builder::new().prefix("twinlog-disk-").tempdir().expect("a temporary folder");
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", HOLD, "sh"])
            .arg(mebibytes.to_string())
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("can't start unshare: {e}"));
        let said = BufReader::new(holder.stdout.take().expect("it is piped"));
        let inside = folder.path().strip_prefix("/").expect("an absolute path");
        let path = Path::new("/proc").join(holder.id().to_string()).join("root").join(inside);
        let mut disk = Self { holder, said, path, _folder: folder };
        disk.wait_ready();
        disk
    }

    /// Where it is for the processes under test.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it another size, MiB.
    pub fn resize(&mut self, mebibytes: u32) {
        let stdin = self.holder.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "{mebibytes}").expect("the holder reads");
        self.wait_ready();
    }

    fn wait_ready(&mut self) {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("the holder writes");
        assert_eq!(
            line, "ready\n",
            "this machine does not let users mount a tmpfs in a namespace of their own"
        );
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
