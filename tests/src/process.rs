//! One `twinlog` process under test: started, killed, its log kept.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How much of a log a failed test prints, in bytes.
const SHOWN: usize = 6000;

/// Which of a pair's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Process {
    /// The relay of this region.
    Relay(&'static str),
    /// The applier of this link.
    Applier(&'static str),
}

impl Process {
    /// The four processes of a pair.
    pub const ALL: [Self; 4] =
        [Self::Relay("eu"), Self::Relay("us"), Self::Applier("eu-us"), Self::Applier("us-eu")];

    /// `relay-eu`, `applier-eu-us`: names its log.
    pub fn name(self) -> String {
        match self {
            Self::Relay(region) => format!("relay-{region}"),
            Self::Applier(link) => format!("applier-{link}"),
        }
    }

    /// The arguments that run it from this configuration file.
    pub(crate) fn args(self, config: &Path) -> Vec<String> {
        let (command, option, name) = match self {
            Self::Relay(region) => ("relay", "--region", region),
            Self::Applier(link) => ("applier", "--link", link),
        };
        [command, "-c", &config.to_string_lossy(), option, name].map(str::to_owned).to_vec()
    }
}

/// A running process. Dropping it kills it; so does the end of the test process, whatever that ends by.
#[derive(Debug)]
pub struct TwinlogProcess {
    name: String,
    log: PathBuf,
    child: Child,
}

impl TwinlogProcess {
    /// Starts a relay or an applier, which watches our end of its standard input; what it writes goes to the end of
    /// `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        Self::spawn(name, command.arg("--exit-with-parent"), log)
    }

    /// Starts any other command. It is the kernel that kills it when the calling thread ends: not for tasks.
    pub fn start_plain(name: &str, command: &Command, log: &Path) -> Self {
        let mut guarded = Command::new("setpriv");
        guarded.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        guarded.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self::spawn(name, &mut guarded, log)
    }

    fn spawn(name: &str, command: &mut Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("a log can be opened");
        let child = command
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::piped())
            .stdout(file.try_clone().expect("a file handle can be copied"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|e| panic!("can't start {name}: {e}"));
        Self { name: name.to_owned(), log: log.to_owned(), child }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory it has had, MiB.
    pub fn peak_memory(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells it");
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
        kib / 1024
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked")
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill9(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends SIGTERM and waits for the end; panics when that takes longer than `within`.
    pub async fn stop(&mut self, within: Duration) -> ExitStatus {
        self.signal("TERM");
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{} did not end {} s after SIGTERM",
                self.name,
                within.as_secs()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends any signal by name: `STOP`, `CONT`, `INT`, `TERM`.
    pub fn signal(&self, signal: &str) {
        send_signal(self.pid(), signal);
    }

    /// All it has written.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The end of its log under a heading, for a failed test.
    pub(crate) fn log_tail(&self) -> String {
        let log = self.log();
        let from = log.len().saturating_sub(SHOWN);
        let from = (from..log.len()).find(|i| log.is_char_boundary(*i)).unwrap_or(log.len());
        format!("--- {} (the end of its log)\n{}", self.name, &log[from..])
    }
}

impl Drop for TwinlogProcess {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
    }
}

/// Sends a signal by name to any process. The shell's own `kill`: the program is a package that a machine may lack.
pub fn send_signal(pid: u32, signal: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status();
    assert!(status.expect("a shell runs").success(), "can't send {signal} to {pid}");
}
