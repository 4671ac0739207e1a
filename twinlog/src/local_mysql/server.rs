//! One MySQL server of our own: started, killed, restarted, stopped.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rand::Rng;

use super::command::tail;
use super::spawn::spawn;
use super::workdir::WorkDir;
use super::{Error, Installation, Result, template};

/// From start to the first answer. Crash recovery on a slow machine is the long case.
const START_DEADLINE: Duration = Duration::from_secs(90);

/// From SIGTERM to the end; then it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// How often is looked whether a server answers or has ended.
const POLL: Duration = Duration::from_millis(20);

/// Below the ports that outgoing connections take, so that a port is still free when its server comes back.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// Ports tried before giving up.
const PORT_ATTEMPTS: u32 = 20;

/// How much of a server's log an error shows, in bytes.
const LOG_SHOWN: usize = 4000;

/// What a server is to be.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// What it is called in errors and logs, for example its region.
    pub name: String,
    /// Its `server_id`; 0 becomes 1, since 0 forbids replication.
    pub server_id: u32,
    /// Further options, after the usual ones: `--name=value`; the last one counts.
    pub extra_args: Vec<String>,
    /// Its data folder. One that holds something is used as it is, else it is filled from the template. `None`: a
    /// temporary one that goes with the server.
    pub datadir: Option<PathBuf>,
    /// Its port on 127.0.0.1; `None` takes a free one, and keeps it over restarts.
    pub port: Option<u16>,
}

/// A running (or killed, or stopped) server. Dropping it kills it and removes its temporary folder.
pub struct Server {
    child: Option<Child>,
    installation: Installation,
    options: ServerOptions,
    port: u16,
    datadir: PathBuf,
    work: WorkDir,
}

/// How one attempt to start ended.
enum Attempt {
    Answers(Child),
    PortTaken,
}

impl Server {
    /// Starts it and waits until it answers.
    pub fn start(installation: &Installation, options: ServerOptions) -> Result<Self> {
        let work = WorkDir::create()?;
        let datadir = options.datadir.clone().unwrap_or_else(|| work.path().join("data"));
        if fs::read_dir(&datadir).map_or(true, |mut d| d.next().is_none()) {
            template::instantiate(installation, &datadir)?;
        }
        let datadir =
            datadir.canonicalize().map_err(Error::io("cannot resolve the data folder", &datadir))?;
        let mut server =
            Self { child: None, installation: installation.clone(), options, port: 0, datadir, work };
        server.start_on_a_port()?;
        Ok(server)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// Its data folder.
    pub fn datadir(&self) -> &Path {
        &self.datadir
    }

    /// Its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.work.path().join("socket")
    }

    /// The installation it runs from.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// A client program that logs in to it as root, over TCP.
    pub fn client(&self, name: &str) -> Command {
        let mut command = self.installation.client(name);
        command
            .args(["--host=127.0.0.1", "--user=root", "--protocol=tcp"])
            .arg(format!("--port={}", self.port));
        command
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let bytes = fs::read(self.log()).unwrap_or_default();
        tail(&String::from_utf8_lossy(&bytes), LOG_SHOWN).to_owned()
    }

    /// Kills it with SIGKILL and waits until it is gone. Does nothing when it does not run.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Fails only when it has ended by itself, and then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again on the same port and data, stopping it first if it runs; waits until it answers.
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        self.start_on_a_port()
    }

    /// Starts it again with other extra arguments.
    pub fn restart_with(&mut self, extra_args: Vec<String>) -> Result<()> {
        self.options.extra_args = extra_args;
        self.restart()
    }

    /// Ends it in good order; kills it when that takes too long. Does nothing when it does not run.
    pub fn stop(&mut self) {
        let Some(child) = &mut self.child else { return };
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            // Fails only when it has ended already, which the wait below finds out.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let deadline = Instant::now() + STOP_DEADLINE;
        while Instant::now() < deadline {
            if !matches!(child.try_wait(), Ok(None)) {
                break;
            }
            thread::sleep(POLL);
        }
        self.kill9();
    }

    /// Starts it on its port if it has one, else on a free one; a lost race for the port is tried again.
    fn start_on_a_port(&mut self) -> Result<()> {
        let fixed = self.options.port.or(Some(self.port).filter(|p| *p != 0));
        for _ in 0..PORT_ATTEMPTS {
            let port = fixed.unwrap_or_else(|| rand::rng().random_range(PORTS));
            if is_free(port)
                && let Attempt::Answers(child) = self.attempt(port)?
            {
                self.child = Some(child);
                self.port = port;
                return Ok(());
            }
            // The last owner of a port that was asked for may need a moment to let go of it.
            thread::sleep(POLL * 5);
        }
        Err(Error::NoPort { name: self.options.name.clone(), attempts: PORT_ATTEMPTS })
    }

    fn attempt(&self, port: u16) -> Result<Attempt> {
        let path = self.log();
        let log = File::options().create(true).append(true).open(&path);
        let log = log.map_err(Error::io("cannot write the server's log", &path))?;
        let said_before = log.metadata().map_or(0, |m| m.len());
        let command = self.command(port);
        let program = PathBuf::from(command.get_program());
        let mut child = spawn(&command, log).map_err(Error::io("cannot start", &program))?;
        match self.wait_until_it_answers(&mut child) {
            Ok(()) => Ok(Attempt::Answers(child)),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                if self.says_since(said_before, "Address already in use") {
                    Ok(Attempt::PortTaken)
                } else {
                    Err(error)
                }
            }
        }
    }

    fn command(&self, port: u16) -> Command {
        let mut command = self.installation.mysqld();
        command.args([
            format!("--datadir={}", self.datadir.display()),
            format!("--tmpdir={}", self.work.path().display()),
            format!("--socket={}", self.socket().display()),
            format!("--pid-file={}", self.work.path().join("pid").display()),
            format!("--port={port}"),
            format!("--server-id={}", self.options.server_id.max(1)),
        ]);
        command.args(USUAL).args(&self.options.extra_args);
        command
    }

    /// It answers when it greets on its own socket: by then it listens on the port too, and nobody else has that socket.
    fn wait_until_it_answers(&self, child: &mut Child) -> Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) =
                child.try_wait().map_err(Error::io("cannot wait for", Path::new("mysqld")))?
            {
                return Err(self.died(status));
            }
            if greets(&self.socket()).unwrap_or(false) {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        Err(Error::Silent { name: self.options.name.clone(), after: START_DEADLINE, log: self.log_tail() })
    }

    fn died(&self, status: ExitStatus) -> Error {
        Error::Died { name: self.options.name.clone(), status: status.to_string(), log: self.log_tail() }
    }

    fn says_since(&self, from: u64, text: &str) -> bool {
        let bytes = fs::read(self.log()).unwrap_or_default();
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
        String::from_utf8_lossy(&bytes[from..]).contains(text)
    }

    fn log(&self) -> PathBuf {
        self.datadir.join("mysqld.log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.options.name)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// What every server gets: GTIDs and full row metadata, every commit on disk, small memory, loopback only.
const USUAL: [&str; 19] = [
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--loose-mysqlx=OFF",
    "--secure-file-priv=NULL",
    "--log-bin=binlog",
    "--gtid-mode=ON",
    "--enforce-gtid-consistency=ON",
    "--binlog-format=ROW",
    "--binlog-row-image=FULL",
    "--binlog-row-metadata=FULL",
    "--sync-binlog=1",
    "--innodb-flush-log-at-trx-commit=1",
    "--loose-innodb-redo-log-capacity=64M",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-buffer-size=4M",
    "--table-open-cache=400",
    "--max-connections=200",
    "--max-connect-errors=1000000000",
    "--skip-replica-start",
];

/// Does a MySQL greet on this socket? Its first packet is protocol 10's handshake, after four bytes of header.
fn greets(socket: &Path) -> io::Result<bool> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut start = [0; 5];
    stream.read_exact(&mut start)?;
    Ok(start[4] == 10)
}

/// A port on 127.0.0.1 that nobody listens on at this moment, from a range that outgoing connections do not take.
pub fn free_port() -> Option<u16> {
    (0..PORT_ATTEMPTS).map(|_| rand::rng().random_range(PORTS)).find(|port| is_free(*port))
}

/// Does nobody listen on this port at this moment?
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
