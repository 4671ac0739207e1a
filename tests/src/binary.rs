//! The binary under test: found beside the test executable, built when it is not there or stale.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// A `twinlog` command, to which the caller adds arguments. Blocks for a build at the first call.
pub fn twinlog() -> Command {
    Command::new(path())
}

/// What a command that ran to its end said.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Finished {
    /// Runs `twinlog` with these arguments to its end; panics when that does not come in time.
    pub async fn of(args: &[&str], within: Duration) -> Self {
        Self::of_command(twinlog().args(args), within).await
    }

    /// Runs any command to its end; panics when that does not come in time.
    pub async fn of_command(command: &mut Command, within: Duration) -> Self {
        let shown = format!("{command:?}");
        let command = std::mem::replace(command, Command::new("true"));
        let child = tokio::process::Command::from(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|e| panic!("can't start {shown}: {e}"));
        let output = tokio::time::timeout(within, child.wait_with_output()).await;
        let output = output.unwrap_or_else(|_| panic!("still running after {} s: {shown}", within.as_secs()));
        let output = output.unwrap_or_else(|e| panic!("can't wait for {shown}: {e}"));
        Self {
            code: output.status.code().unwrap_or_else(|| panic!("{shown} ended by {}", output.status)),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts the exit code and that what it said on standard error names all of `words`.
    pub fn assert_failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "exit code; {self}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not named; {self}");
        }
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "it exited with {}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.out, self.err)
    }
}

/// Its path. Cargo makes another package's binary only when asked: `cargo test --workspace` does, a run of this package
/// alone does not, and then it is asked here, once per test process.
fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let this = std::env::current_exe().expect("a process knows its executable");
        let profile_dir = this.ancestors().nth(2).expect("a test executable is in <target>/<profile>/deps");
        let binary = profile_dir.join("twinlog");
        if !is_fresh(&binary) {
            build(profile_dir);
        }
        binary
    })
}

/// Is it newer than every file that cargo noted it was made from?
fn is_fresh(binary: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|m| m.modified()).ok();
    let (Some(made), Ok(noted)) = (modified(binary), std::fs::read_to_string(binary.with_extension("d")))
    else {
        return false;
    };
    // One line of a makefile: `binary: source source …`, blanks in names escaped.
    let sources = noted.split_once(": ").map_or("", |(_, sources)| sources).replace("\\ ", "\0");
    let mut sources = sources.split_whitespace().map(|name| name.replace('\0', " "));
    sources.all(|source| modified(Path::new(&source)).is_some_and(|changed| changed <= made))
}

fn build(profile_dir: &Path) {
    let target_dir = profile_dir.parent().expect("a profile's folder is in the target folder");
    let profile = match profile_dir.file_name().and_then(|n| n.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "twinlog", "--bin", "twinlog", "--profile", profile])
        .arg("--target-dir")
        .arg(target_dir)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "no binary: {}", String::from_utf8_lossy(&output.stderr));
}
