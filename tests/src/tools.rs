//! What tests need beside MySQL: a headless browser and promtool from the Debian archive, packages of npm. Fetched once
//! into the cache folder; what can't be fetched is a failure that says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use twinlog::local_mysql::debian_packages;

use crate::binary::Finished;

/// The machine's own C library is used; what only drives printers, sound and video cards stays out.
const NOT_NEEDED: [&str; 9] =
    ["libc6_", "libc-bin_", "perl", "libperl", "debconf", "libllvm", "dpkg", "tar_", "chromium-sandbox"];

/// For an installation.
const INSTALL: Duration = Duration::from_secs(180);

/// The folder of the cache, as the product finds it.
fn cache() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
    set("TWINLOG_CACHE").unwrap_or_else(|| set("XDG_CACHE_HOME").unwrap_or_else(home).join("twinlog"))
}

/// A program of Debian's: on the PATH, else unpacked into the cache. `path` is where the package has it.
pub fn debian_program(package: &str, path: &str) -> PathBuf {
    let name = Path::new(path).file_name().expect("a path of a program has a name");
    let on_path = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join(name))
        .find(|program| program.is_file());
    on_path.unwrap_or_else(|| unpacked(package, &[package]).join(path))
}

fn unpacked(name: &str, packages: &[&str]) -> PathBuf {
    debian_packages(&format!("debian-{name}"), packages, &NOT_NEEDED).unwrap_or_else(|e| {
        panic!("there is no {name}, and it can't be fetched from the Debian archive: {e}")
    })
}

/// Chromium without a window: the program, and the environment it runs in.
pub(crate) fn chromium() -> (PathBuf, Vec<(String, String)>) {
    let root = unpacked("chromium", &["chromium-headless-shell", "fonts-inter", "fonts-jetbrains-mono"]);
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    let libraries = ["usr/lib", "lib"].map(|lib| root.join(lib).join(&triplet));
    let mut path: Vec<PathBuf> = libraries.to_vec();
    // Some keep parts in a folder of their own.
    path.push(libraries[0].join("pulseaudio"));
    let fonts = root.join("fonts.conf");
    let text = format!(
        "<?xml version=\"1.0\"?><!DOCTYPE fontconfig SYSTEM \"fonts.dtd\"><fontconfig><dir>{}</dir><cachedir>{}</cachedir></fontconfig>\n",
        root.join("usr/share/fonts").display(),
        root.join("fonts-cache").display()
    );
    fs::write(&fonts, text).expect("the cache can be written");
    let path = std::env::join_paths(path).expect("a cache folder has no colon in its name");
    let environment = vec![
        ("LD_LIBRARY_PATH".into(), path.to_string_lossy().into_owned()),
        ("FONTCONFIG_FILE".into(), fonts.to_string_lossy().into_owned()),
    ];
    (root.join("usr/lib/chromium/chromium-headless-shell"), environment)
}

/// A folder of the cache with this package of npm in its `node_modules`.
pub(crate) async fn npm_package(name: &str, version: &str) -> PathBuf {
    node_is_there().await;
    let finished = cache().join(format!("npm-{name}-{version}"));
    if finished.is_dir() {
        return finished;
    }
    fs::create_dir_all(cache()).expect("the cache folder can be made");
    let making =
        tempfile::Builder::new().prefix("making-npm-").tempdir_in(cache()).expect("a folder in the cache");
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(making.path());
    npm.arg(format!("{name}@{version}"));
    let said = Finished::of_command(&mut npm, INSTALL).await;
    assert_eq!(said.code, 0, "{name} can't be installed; is a package registry reachable? {said}");
    // Another test process may have been faster: then it is there.
    if fs::rename(making.path(), &finished).is_err() {
        assert!(finished.is_dir(), "can't move into {}", finished.display());
    }
    finished
}

/// A folder of the cache with these packages of Python, each with its version; it is also their `PYTHONPATH`.
pub async fn pip_packages(name: &str, packages: &[&str]) -> PathBuf {
    let finished = cache().join(format!("pip-{name}-{}", packages.join("-").replace("==", "-")));
    if finished.is_dir() {
        return finished;
    }
    fs::create_dir_all(cache()).expect("the cache folder can be made");
    let making =
        tempfile::Builder::new().prefix("making-pip-").tempdir_in(cache()).expect("a folder in the cache");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
        .arg(making.path());
    let said = Finished::of_command(pip.args(packages), INSTALL).await;
    assert_eq!(said.code, 0, "{name} can't be installed; is a package registry reachable? {said}");
    if fs::rename(making.path(), &finished).is_err() {
        assert!(finished.is_dir(), "can't move into {}", finished.display());
    }
    finished
}

/// Debian's node can't be unpacked elsewhere: it is installed where it is missing and that is allowed.
async fn node_is_there() {
    if Command::new("npm").arg("--version").output().is_ok_and(|said| said.status.success()) {
        return;
    }
    let mut install = Command::new("sh");
    install.args(["-c", "apt-get -q update && apt-get -q -y --no-install-recommends install nodejs npm"]);
    let said = Finished::of_command(install.env("DEBIAN_FRONTEND", "noninteractive"), INSTALL).await;
    assert_eq!(
        said.code, 0,
        "there is no node, and it can't be installed: apt-get install nodejs npm; {said}"
    );
}
