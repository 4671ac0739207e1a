//! What tests need beside MySQL: a headless browser and promtool, from the Debian archive. Fetched once into the cache
//! folder; what can't be fetched is a failure that says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use twinlog::local_mysql::debian_packages;

/// The machine's own C library is used; what only drives printers, sound and video cards stays out.
const NOT_NEEDED: [&str; 9] =
    ["libc6_", "libc-bin_", "perl", "libperl", "debconf", "libllvm", "dpkg", "tar_", "chromium-sandbox"];

/// The folder of the cache, as the product finds it.
pub(crate) fn cache() -> PathBuf {
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

/// The same, ready to run: what is unpacked finds the libraries that came with it, also those in a folder of its own.
pub fn debian_command(package: &str, path: &str) -> Command {
    let program = debian_program(package, path);
    let mut command = Command::new(&program);
    if let Some(root) =
        program.ancestors().nth(Path::new(path).components().count()).filter(|r| r.starts_with(cache()))
    {
        let libraries = libraries_of(root).into_iter().flat_map(|folder| [folder.join(package), folder]);
        let libraries = std::env::join_paths(libraries).expect("a cache folder has no colon in its name");
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command
}

pub(crate) fn unpacked(name: &str, packages: &[&str]) -> PathBuf {
    debian_packages(&format!("debian-{name}"), packages, &NOT_NEEDED).unwrap_or_else(|e| {
        panic!("there is no {name}, and it can't be fetched from the Debian archive: {e}")
    })
}

/// Where packages that were unpacked there have their libraries.
pub(crate) fn libraries_of(root: &Path) -> [PathBuf; 2] {
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    ["usr/lib", "lib"].map(|lib| root.join(lib).join(&triplet))
}

/// Chromium without a window: the program, and the environment it runs in.
pub(crate) fn chromium() -> (PathBuf, Vec<(String, String)>) {
    let root = unpacked("chromium", &["chromium-headless-shell", "fonts-inter", "fonts-jetbrains-mono"]);
    let libraries = libraries_of(&root);
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
