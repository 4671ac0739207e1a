//! A MySQL on disk, and the commands that run it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache::Cache;
use super::command::run;
use super::{Error, Result, apt};

/// Folders a server may be in although they are not on the PATH of an ordinary account.
const MORE_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/usr/local/mysql/bin"];

/// A MySQL server and its clients, installed or unpacked.
#[derive(Clone, Debug)]
pub struct Installation {
    kind: Kind,
    version: String,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Installed on this machine: the path of `mysqld`.
    Installed(PathBuf),
    /// Unpacked into a folder, with its own C library.
    Unpacked(Unpacked),
}

#[derive(Clone, Debug)]
struct Unpacked {
    root: PathBuf,
    loader: PathBuf,
    library_path: OsString,
}

/// `TWINLOG_MYSQLD`, else `mysqld` on the PATH, else the one in the cache, else fetched from Debian into the cache.
/// Says what it does through `tracing`.
pub fn locate_or_fetch() -> Result<Installation> {
    locate_or_fetch_with(&mut |message| tracing::info!("{message}"))
}

/// As [`locate_or_fetch`], with a callback for what takes its time.
pub fn locate_or_fetch_with(progress: &mut dyn FnMut(&str)) -> Result<Installation> {
    if let Some(named) = env::var_os("TWINLOG_MYSQLD").filter(|v| !v.is_empty()) {
        let path = PathBuf::from(named);
        return installed(&path).map_err(|e| Error::NamedServer { path, reason: e.to_string() });
    }
    let mut tried = String::new();
    match on_path("mysqld") {
        None => tried.push_str("  mysqld on the PATH: not there\n"),
        Some(path) => match installed(&path) {
            Ok(installation) => return Ok(installation),
            Err(e) => tried.push_str(&format!("  {}: {e}\n", path.display())),
        },
    }
    match cached(progress) {
        Ok(installation) => Ok(installation),
        Err(e) => {
            tried.push_str(&format!("  the Debian archive: {e}"));
            Err(Error::NoServer { tried })
        }
    }
}

/// The unpacked server of the cache, fetched when it is not there.
fn cached(progress: &mut dyn FnMut(&str)) -> Result<Installation> {
    let cache = Cache::open()?;
    let root = cache.server_root();
    cache.once(&root, progress, |work, progress| {
        let made = apt::fetch(work, &apt::MYSQL, progress)?;
        // Only a server that runs is kept.
        unpacked(&made)?;
        Ok(made)
    })?;
    unpacked(&root)
}

/// A further Debian package of the same suite, unpacked in the cache without what it needs; fetched when it is not
/// there. For tests: MySQL's own test programs.
pub fn locate_or_fetch_package(name: &str) -> Result<PathBuf> {
    let cache = Cache::open()?;
    let root = cache.folder(&format!("package-{name}"));
    let wanted = apt::Wanted { what: name, packages: &[name], not_needed: &[], alone: true, ..apt::MYSQL };
    let mut progress = |message: &str| tracing::info!("{message}");
    cache.once(&root, &mut progress, |work, progress| apt::fetch(work, &wanted, progress))?;
    Ok(root)
}

fn installed(path: &Path) -> Result<Installation> {
    probe(Kind::Installed(path.to_path_buf()))
}

fn unpacked(root: &Path) -> Result<Installation> {
    let arch = env::consts::ARCH;
    let loader = match arch {
        "x86_64" => "usr/lib64/ld-linux-x86-64.so.2",
        _ => "usr/lib/ld-linux-aarch64.so.1",
    };
    let mut library_path = root.join(format!("usr/lib/{arch}-linux-gnu")).into_os_string();
    library_path.push(":");
    library_path.push(root.join("usr/lib/mysql/private"));
    probe(Kind::Unpacked(Unpacked { root: root.to_path_buf(), loader: root.join(loader), library_path }))
}

/// Runs it once, for its version and to see that it runs.
fn probe(kind: Kind) -> Result<Installation> {
    let mut installation = Installation { kind, version: String::new() };
    let said = run(installation.mysqld().arg("--version"))?;
    installation.version = version_of(&said).map_err(|reason| Error::Command {
        program: "mysqld --version".into(),
        status: reason,
        output: said.trim().to_owned(),
    })?;
    Ok(installation)
}

/// The version in what `mysqld --version` says, when it is a MySQL that will do.
fn version_of(said: &str) -> std::result::Result<String, String> {
    if said.contains("MariaDB") {
        return Err("MariaDB, not MySQL".into());
    }
    let mut words = said.split_whitespace().skip_while(|w| *w != "Ver");
    let version = words.nth(1).ok_or("no version in its answer")?;
    let major = version.split('.').next().and_then(|m| m.parse::<u32>().ok());
    match major {
        Some(major) if major >= 8 => Ok(version.to_owned()),
        _ => Err(format!("too old: {version}; 8.0 or later is needed")),
    }
}

impl Installation {
    /// The server's version as it tells it, for example `9.7.4`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The server, reading no configuration file; the caller adds the options and starts it.
    pub fn mysqld(&self) -> Command {
        let mut command = match &self.kind {
            Kind::Installed(path) => plain(path),
            Kind::Unpacked(unpacked) => {
                let mut command = unpacked.program("usr/sbin/mysqld");
                command.arg(unpacked.option("--basedir=", "usr"));
                command.arg(unpacked.option("--lc-messages-dir=", "usr/share/mysql"));
                command.arg(unpacked.option("--plugin-dir=", "usr/lib/mysql/plugin"));
                command
            }
        };
        if rustix::process::geteuid().is_root() {
            command.arg("--user=root");
        }
        command
    }

    /// A client program (`mysql`, `mysqldump`, `mysqlbinlog`, …), reading no configuration file.
    pub fn client(&self, name: &str) -> Command {
        match &self.kind {
            Kind::Installed(mysqld) => plain(&client_beside(mysqld, name)),
            Kind::Unpacked(unpacked) => unpacked.program(&format!("usr/bin/{name}")),
        }
    }

    /// A program of elsewhere that needs the server's libraries, reading no configuration file.
    pub fn foreign(&self, path: &Path) -> Command {
        match &self.kind {
            Kind::Installed(_) => plain(path),
            Kind::Unpacked(unpacked) => {
                let mut command = Command::new(&unpacked.loader);
                command.arg("--library-path").arg(&unpacked.library_path).arg(path).arg("--no-defaults");
                command
            }
        }
    }

    /// Tells data folder templates of different servers apart.
    pub(super) fn key(&self) -> String {
        let kind = match &self.kind {
            Kind::Installed(_) => "installed",
            Kind::Unpacked(_) => "unpacked",
        };
        let clean = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        format!("{}-{kind}", self.version.chars().map(clean).collect::<String>())
    }
}

impl Unpacked {
    /// A program of the unpacked folder, run through the loader beside it.
    fn program(&self, path: &str) -> Command {
        let mut command = Command::new(&self.loader);
        command.arg("--library-path").arg(&self.library_path).arg(self.root.join(path)).arg("--no-defaults");
        command
    }

    fn option(&self, name: &str, path: &str) -> OsString {
        let mut option = OsString::from(name);
        option.push(self.root.join(path));
        option
    }
}

fn plain(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.arg("--no-defaults");
    command
}

/// The client that belongs to an installed server: beside it, in the `bin` next to its folder, or on the PATH.
fn client_beside(mysqld: &Path, name: &str) -> PathBuf {
    let folder = mysqld.parent().unwrap_or(Path::new("."));
    let beside = [folder.join(name), folder.join("../bin").join(name)];
    beside.into_iter().find(|p| p.is_file()).or_else(|| on_path(name)).unwrap_or_else(|| PathBuf::from(name))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = MORE_FOLDERS.iter().map(PathBuf::from);
    env::split_paths(&path).chain(more).map(|d| d.join(name)).find(|p| p.is_file())
}

#[cfg(test)]
mod tests {
    use super::version_of;

    #[test]
    fn a_mysql_from_8_on_will_do_and_nothing_else() {
        let ver = |text: &str| version_of(text);
        assert_eq!(ver("/usr/sbin/mysqld  Ver 9.7.4-1 for Linux on x86_64 (Debian)\n").unwrap(), "9.7.4-1");
        assert_eq!(ver("mysqld  Ver 8.0.43 for Linux on x86_64").unwrap(), "8.0.43");
        assert!(ver("mysqld  Ver 5.7.44 for Linux").unwrap_err().contains("too old"));
        assert!(ver("mysqld  Ver 10.11.6-MariaDB-0+deb12u1 for debian").unwrap_err().contains("MariaDB"));
        assert!(ver("hello").is_err());
    }
}
