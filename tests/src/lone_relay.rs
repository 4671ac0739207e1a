//! A relay without a pair around it: of one source, of several, of another relay, for whoever attaches.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use binlog::GtidSet;
use wire::{ConnectOptions, Connection, Secret, TlsMode, TlsOptions};

use crate::accounts::{self, PASSWORD, READER};
use crate::config::LINK_USER;
use crate::ports::free_port;
use crate::{
    Finished, LinkStatus, Process, Region, SyncStatus, TwinlogProcess, installation, twinlog, until,
};

/// What the link of the configuration is called towards the relay.
pub const LINK: &str = "shop/eu/us";

/// From the start of the process until it says that it runs; what it has to get may take its time.
const SOON: Duration = Duration::from_secs(60);

/// Where a relay pulls from.
#[derive(Clone, Debug)]
pub struct Sources {
    addresses: Vec<String>,
    user: &'static str,
}

impl Sources {
    /// These servers, in order of preference; each gets the account that is needed.
    pub async fn servers(regions: &[&Region]) -> Self {
        for region in regions {
            let exists: u64 =
                region.row(&format!("SELECT COUNT(*) FROM mysql.user WHERE user = '{READER}'")).await;
            if exists == 0 {
                region.run_all(&accounts::statements(&["shop".into()], "twinlog", false)).await;
            }
        }
        Self { addresses: regions.iter().map(|region| region.address().to_owned()).collect(), user: READER }
    }

    /// And this server, which has the account already.
    #[must_use]
    pub fn and(mut self, region: &Region) -> Self {
        self.addresses.push(region.address().to_owned());
        self
    }

    /// At these addresses: proxies before servers that have the account.
    pub fn at(addresses: &[String]) -> Self {
        Self { addresses: addresses.to_vec(), user: READER }
    }

    /// Another relay.
    pub fn relay(relay: &LoneRelay) -> Self {
        Self { addresses: vec![relay.listen.clone()], user: LINK_USER }
    }
}

/// A relay, of the region `eu`, and the file that configures it. Dropping it kills the process.
#[derive(Debug)]
pub struct LoneRelay {
    name: &'static str,
    folder: PathBuf,
    config: PathBuf,
    listen: String,
    tls: TlsOptions,
    process: Option<TwinlogProcess>,
}

impl LoneRelay {
    /// Writes its configuration; it does not run yet. `lines` go into `[region.eu]`, for example
    /// `relay.start = "oldest"`.
    pub fn new(folder: &Path, name: &'static str, sources: &Sources, lines: &[&str]) -> Self {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("can't make {}: {e}", folder.display()));
        let listen = format!("127.0.0.1:{}", free_port());
        let config = folder.join("twinlog.toml");
        let text = format!(
            "[sync]\nname = \"shop\"\ntables = [\"shop.*\"]\nstate_dir = \"state\"\n\n[region.eu]\n\
             mysql.address = {:?}\nmysql.user = {:?}\nmysql.password_file = \"secret\"\nmysql.tls = \"disabled\"\n\
             mysql.connect_timeout = \"3s\"\nrelay.listen = {listen:?}\nrelay.user = {LINK_USER:?}\n\
             relay.password_file = \"secret\"\nrelay.dir = \"log\"\n{}\n\n[region.us]\nmysql.address = \"127.0.0.1:1\"\n\
             mysql.user = \"nobody\"\n\n[link.eu-us]\nfrom = \"eu\"\nto = \"us\"\n",
            sources.addresses,
            sources.user,
            lines.join("\n"),
        );
        for (path, text) in [(&config, text.as_str()), (&folder.join("secret"), PASSWORD)] {
            std::fs::write(path, text).unwrap_or_else(|e| panic!("can't write {}: {e}", path.display()));
        }
        let tls = TlsOptions { mode: TlsMode::Disabled, ..TlsOptions::default() };
        Self { name, folder, config, listen, tls, process: None }
    }

    /// The lines that give it the certificate of this server, and clients that want TLS of it.
    pub fn tls_lines(region: &Region) -> [String; 3] {
        let file = |name: &str| region.datadir().join(name).to_string_lossy().into_owned();
        [
            format!("relay.tls_cert = {:?}", file("server-cert.pem")),
            format!("relay.tls_key = {:?}", file("server-key.pem")),
            "relay.tls = \"required\"".to_owned(),
        ]
    }

    /// Starts it.
    pub fn start(&mut self) {
        let mut command = twinlog();
        command.args(Process::Relay("eu").args(&self.config));
        let log = self.folder.join("log.txt");
        self.process = Some(TwinlogProcess::start(self.name, &mut command, &log));
    }

    /// Starts it and waits until it pulls.
    pub async fn start_and_wait(&mut self) {
        self.start();
        self.wait_state("running").await;
    }

    /// SIGKILL.
    pub fn kill9(&mut self) {
        self.running().kill9();
        self.process = None;
    }

    /// SIGTERM, and waits for its end.
    pub async fn stop(&mut self) -> ExitStatus {
        let status = self.running().stop(SOON).await;
        self.process = None;
        status
    }

    /// Runs it in the foreground until it fails by itself.
    pub async fn run_to_failure(&self) -> Finished {
        let mut command = twinlog();
        command.args(Process::Relay("eu").args(&self.config));
        command.args(["--exit-on-failure", "--start-timeout", "3s"]);
        Finished::of_command(&mut command, SOON).await
    }

    /// The process.
    pub fn running(&mut self) -> &mut TwinlogProcess {
        let name = self.name;
        self.process.as_mut().unwrap_or_else(|| panic!("{name} does not run"))
    }

    /// All that it has written to its log, from the first start on.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log.txt")).unwrap_or_default()
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.listen
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.listen.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("host:port")
    }

    /// Who may attach, and the password.
    pub fn account(&self) -> (&'static str, &'static str) {
        (LINK_USER, PASSWORD)
    }

    /// The folder of its log.
    pub fn dir(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// What `status` says of it.
    pub async fn status(&self) -> Result<LinkStatus, String> {
        SyncStatus::ask(&self.config).await?.relay("eu")
    }

    /// Waits until it is in this state, and gives its status.
    pub async fn wait_state(&self, state: &str) -> LinkStatus {
        until(&format!("{} is {state}", self.name), SOON, async || {
            let status = self.status().await?;
            if status.state() == state { Ok(status) } else { Err(status.json().to_string()) }
        })
        .await
    }

    /// Waits until all of this is on its disk.
    pub async fn wait_durable(&self, set: &GtidSet) {
        until(&format!("{} has all of {set}", self.name), SOON, async || {
            let status = self.status().await?;
            let durable: GtidSet = status.text("gtid_durable").parse().map_err(|e| format!("{e}"))?;
            if durable.contains_all(set) { Ok(()) } else { Err(status.json().to_string()) }
        })
        .await;
    }

    /// How to log in to it.
    pub fn options(&self) -> ConnectOptions {
        let (user, password) = self.account();
        ConnectOptions {
            address: self.listen.clone(),
            user: user.into(),
            password: Secret::new(password),
            tls: self.tls.clone(),
            connect_timeout: Duration::from_secs(20),
        }
    }

    /// A session of a client.
    pub async fn connect(&self) -> Connection {
        Connection::connect(&self.options()).await.unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// A `mysqlbinlog` that attaches to it.
    pub fn mysqlbinlog(&self) -> Command {
        let (user, password) = self.account();
        let mut command = installation().client("mysqlbinlog");
        command.args(["--host=127.0.0.1", "--ssl-mode=DISABLED"]).arg(format!("--port={}", self.port()));
        command.args([format!("--user={user}"), format!("--password={password}")]);
        command
    }

    /// Resident memory of the process, in KiB.
    pub fn resident_kib(&mut self) -> u64 {
        let path = format!("/proc/{}/status", self.running().pid());
        let text = std::fs::read_to_string(path).expect("the process runs");
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells it");
        line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
    }

    /// User and system time that the process has used.
    pub fn cpu_time(&mut self) -> Duration {
        let path = format!("/proc/{}/stat", self.running().pid());
        let text = std::fs::read_to_string(path).expect("the process runs");
        // Behind the name, which may hold blanks: utime and stime are fields 14 and 15, in hundredths of a second.
        let fields = text.rsplit_once(") ").expect("a name in parentheses").1;
        let ticks: u64 =
            fields.split(' ').skip(11).take(2).map(|f| f.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 10)
    }
}
