//! Fetching MySQL, and what tests need besides, from the Debian archive, without touching the machine's own packages.
//!
//! apt runs with a state folder, a cache, a source list and an empty dpkg status of its own; the machine's apt
//! configuration still counts (proxies, authentication). It verifies signatures and checksums as always. The packages
//! are unpacked, not installed: the server brings its own C library and is started through its own loader.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::apt_sources::{Archive, archives};
use super::cache::Cache;
use super::command::run;
use super::{Error, Result};

/// MySQL 9.7, which is in Debian's unstable suite only. It brings its own C library.
pub(super) const MYSQL: Wanted<'_> = Wanted {
    what: "MySQL",
    suite: Some("sid"),
    packages: &["mysql-server-core", "mysql-client-core"],
    not_needed: &["perl_", "perl-base_", "perl-modules-", "libperl"],
    alone: false,
};

/// What is to be fetched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// For people.
    pub(super) what: &'a str,
    /// The suite it is in; the machine's own when none is named.
    pub(super) suite: Option<&'a str>,
    /// The packages; what they need comes with them.
    pub(super) packages: &'a [&'a str],
    /// How the names of packages begin that come with them and are not unpacked.
    pub(super) not_needed: &'a [&'a str],
    /// What they need does not come with them.
    pub(super) alone: bool,
}

/// Keyrings of the archive, under the names Debian's releases give them.
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// Fetches and unpacks into a folder inside `work`, and names that folder.
pub(super) fn fetch(work: &Path, wanted: &Wanted<'_>, progress: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let mut last = Error::NoArchive;
    for (n, archive) in archives(Path::new("/etc/apt")).iter().enumerate() {
        let apt = Apt { work: work.join(format!("apt{n}")) };
        match apt.download(archive, wanted, progress) {
            Ok(()) => return apt.unpack(wanted, progress),
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// Packages of the machine's own suite, unpacked into a folder of the cache under this name, once. Programs in it that
/// want no path of their own run with the machine's C library; what they bring is found by `LD_LIBRARY_PATH`.
///
/// # Errors
///
/// What apt or the disk says; no Debian archive in the machine's configuration.
pub fn debian_packages(name: &str, packages: &[&str], not_needed: &[&str]) -> Result<PathBuf> {
    let cache = Cache::open()?;
    let root = cache.folder(name);
    let wanted = Wanted { what: name, suite: None, packages, not_needed, alone: false };
    cache.once(&root, &mut |message| tracing::info!("{message}"), |work, progress| {
        fetch(work, &wanted, progress)
    })?;
    Ok(root)
}

/// An apt with folders of its own.
struct Apt {
    work: PathBuf,
}

impl Apt {
    fn download(&self, archive: &Archive, wanted: &Wanted<'_>, progress: &mut dyn FnMut(&str)) -> Result<()> {
        for dir in ["state/lists/partial", "cache/archives/partial"] {
            let dir = self.work.join(dir);
            fs::create_dir_all(&dir).map_err(Error::io("cannot make a folder for apt", &dir))?;
        }
        let architecture = run(Command::new("dpkg").arg("--print-architecture"))?;
        self.write("status", "")?;
        self.write(
            "sources.list",
            &source_line(archive, wanted.suite.unwrap_or(&archive.suite), architecture.trim()),
        )?;
        self.write("apt.conf", &self.configuration())?;
        progress(&format!("asking the Debian archive for {}", wanted.what));
        run(self.apt_get().arg("update"))?;
        progress(&format!("downloading {} from the Debian archive", wanted.what));
        let mut command = self.apt_get();
        if wanted.alone {
            command.current_dir(self.work.join("cache/archives")).arg("download");
        } else {
            command.args(["--download-only", "--yes", "--no-install-recommends", "install"]);
        }
        run(command.args(wanted.packages)).map(drop)
    }

    fn unpack(&self, wanted: &Wanted<'_>, progress: &mut dyn FnMut(&str)) -> Result<PathBuf> {
        let (debs, root) = (self.work.join("cache/archives"), self.work.join("root"));
        progress(&format!("unpacking {}", wanted.what));
        for entry in fs::read_dir(&debs).map_err(Error::io("cannot read", &debs))? {
            let deb = entry.map_err(Error::io("cannot read", &debs))?.path();
            let name = deb.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(".deb") && !wanted.not_needed.iter().any(|n| name.starts_with(n)) {
                run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&root))?;
            }
        }
        Ok(root)
    }

    fn apt_get(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.arg("-q").arg("-c").arg(self.work.join("apt.conf"));
        command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// What differs from the machine's own configuration. Its hooks are left out: they clean the machine's cache.
    fn configuration(&self) -> String {
        let dir = |sub: &str| quoted(&self.work.join(sub));
        let mut text = format!(
            "Dir::State {state};\nDir::State::status {status};\nDir::Cache {cache};\n\
             Dir::Etc::sourcelist {list};\nDir::Etc::sourceparts \"-\";\n\
             Dir::Etc::preferences \"-\";\nDir::Etc::preferencesparts \"-\";\n\
             APT::Default-Release \"\";\nAcquire::Languages \"none\";\nAcquire::Retries \"3\";\n",
            state = dir("state/"),
            status = dir("status"),
            cache = dir("cache/"),
            list = dir("sources.list"),
        );
        for hook in [
            "APT::Update::Pre-Invoke",
            "APT::Update::Post-Invoke",
            "APT::Update::Post-Invoke-Success",
            "DPkg::Post-Invoke",
        ] {
            text.push_str(&format!("#clear {hook};\n"));
        }
        if rustix::process::geteuid().is_root() {
            // apt's download user may not enter the cache folder, which is often inside root's home.
            text.push_str("APT::Sandbox::User \"root\";\n");
        }
        text
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.work.join(name);
        fs::write(&path, text).map_err(Error::io("cannot write", &path))
    }
}

/// The source list: one archive, one suite, this machine's architecture, the archive's keyring where it is found.
fn source_line(archive: &Archive, suite: &str, architecture: &str) -> String {
    let known = KEYRINGS.iter().map(PathBuf::from);
    let keyring = archive.signed_by.clone().into_iter().chain(known).find(|k| k.is_file());
    let signed_by = keyring.map(|k| format!(" signed-by={}", k.display())).unwrap_or_default();
    format!("deb [arch={architecture}{signed_by}] {} {suite} main\n", archive.uri)
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

#[cfg(test)]
mod tests {
    use super::{Archive, source_line};

    #[test]
    fn the_suite_is_asked_from_the_archive_the_machine_uses_with_its_keyring() {
        let keyring = tempfile::NamedTempFile::new().unwrap();
        let path = keyring.path().to_path_buf();
        let archive = Archive {
            uri: "http://mirror.example/debian".into(),
            signed_by: Some(path.clone()),
            suite: "trixie".into(),
        };
        let expected =
            format!("deb [arch=amd64 signed-by={}] http://mirror.example/debian sid main\n", path.display());
        assert_eq!(source_line(&archive, "sid", "amd64"), expected);
    }
}
