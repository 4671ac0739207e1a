//! Two regions in step: their servers, four processes, a proxy on each link, and the words to tell a story with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

use crate::binary::Finished;
use crate::config::{LinkSection, RegionSection, SyncFile};
use crate::ports::free_port;
use crate::schema::SCHEMA;
use crate::{
    LinkStatus, Process, Proxy, Region, RegionOptions, Slot, SyncStatus, TwinlogProcess, accounts,
    difference, take_slot, twinlog, until,
};

/// From the start of the processes until they say they run.
const START: Duration = Duration::from_secs(30);

/// What a pair is to be.
#[derive(Clone, Debug)]
pub struct PairOptions {
    /// The link that carries DDL.
    pub ddl: Option<&'static str>,
    /// The schemas in step.
    pub schemas: Vec<String>,
    /// Further options of both servers.
    pub server_args: Vec<String>,
    /// Links read relays; else they read the servers themselves, and there are no proxies between.
    pub relays: bool,
}

impl Default for PairOptions {
    fn default() -> Self {
        Self { ddl: None, schemas: vec![SCHEMA.into()], server_args: Vec::new(), relays: true }
    }
}

/// Two regions, `eu` and `us`, with links `eu-us` and `us-eu`.
pub struct Pair {
    // Fields are dropped in this order: processes first, the servers they talk to after them.
    processes: Mutex<BTreeMap<Process, TwinlogProcess>>,
    links: BTreeMap<&'static str, Proxy>,
    /// Region eu.
    pub eu: Region,
    /// Region us.
    pub us: Region,
    pub(crate) file: SyncFile,
    config: PathBuf,
    schemas: Vec<String>,
    relays: bool,
    folder: TempDir,
    _slot: Slot,
}

impl Pair {
    /// Servers, accounts and the configuration file; no process runs yet.
    pub async fn new(options: PairOptions) -> Self {
        let slot = take_slot().await;
        let region =
            |name, server_id| RegionOptions { name, server_id, extra_args: options.server_args.clone() };
        let [eu, us] = Region::start_all([region("eu", 1), region("us", 2)]);
        let folder = tempfile::Builder::new().prefix("twinlog-test-").tempdir().expect("a temporary folder");
        let mut file = SyncFile {
            folder: folder.path().to_owned(),
            tables: options.schemas.iter().map(|s| format!("{s}.*")).collect(),
            meta_schema: "twinlog".into(),
            state_dir: "state".into(),
            regions: Vec::new(),
            links: Vec::new(),
        };
        let mut links = BTreeMap::new();
        for (link, from, to) in [("eu-us", &eu, &us), ("us-eu", &us, &eu)] {
            let ddl = options.ddl == Some(link);
            let relay_listen = format!("127.0.0.1:{}", free_port());
            let proxy = Proxy::start(relay_listen.clone()).await;
            file.regions.push(RegionSection {
                name: from.name(),
                mysql_address: from.address().to_owned(),
                relay_listen,
                relay_address: proxy.address(),
                relay: options.relays,
                relay_dir: format!("relay-{}", from.name()).into(),
                more: Vec::new(),
            });
            file.links.push(LinkSection {
                name: link,
                from: from.name(),
                to: to.name(),
                ddl,
                more: Vec::new(),
            });
            links.insert(link, proxy);
            // The account needs the rights of the link that writes with it.
            to.run_all(&accounts::statements(&options.schemas, &file.meta_schema, ddl)).await;
        }
        let config = file.write("twinlog.toml");
        let processes = Mutex::default();
        Self {
            processes,
            links,
            eu,
            us,
            file,
            config,
            schemas: options.schemas,
            relays: options.relays,
            folder,
            _slot: slot,
        }
    }

    /// A pair of which one direction alone will run: there is no relay to look for conflicts in, so that both links
    /// find them by keys.
    pub async fn one_way(options: PairOptions) -> Self {
        let mut pair = Self::new(options).await;
        pair.configure(|file| {
            for link in ["eu-us", "us-eu"] {
                file.add_to_link(link, "detect = \"key\"");
            }
        });
        pair
    }

    /// A region by its name.
    pub fn region(&self, name: &str) -> &Region {
        [&self.eu, &self.us].into_iter().find(|r| r.name() == name).expect("a region of the pair")
    }

    /// The proxy between the link's relay and its applier.
    pub fn link(&self, name: &str) -> &Proxy {
        &self.links[name]
    }

    /// The configuration as it stands.
    pub fn file(&self) -> &SyncFile {
        &self.file
    }

    /// Changes the configuration file, for processes started from now on.
    pub fn configure(&mut self, change: impl FnOnce(&mut SyncFile)) {
        change(&mut self.file);
        self.config = self.file.write("twinlog.toml");
    }

    /// Writes a file into the pair's folder, for example a configuration for a process that is to see the world
    /// otherwise.
    pub fn write_file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::write(&path, text).unwrap_or_else(|e| panic!("can't write {}: {e}", path.display()));
        path
    }

    /// Runs one process in the foreground until it fails by itself: definite errors end it, and an unreachable server
    /// is not tried for long.
    pub async fn run_to_failure(&self, process: Process, config: &Path) -> Finished {
        let mut command = twinlog();
        command.args(process.args(config)).args(["--exit-on-failure", "--start-timeout", "3s"]);
        Finished::of_command(&mut command, Duration::from_secs(60)).await
    }

    /// The path of the configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The pair's own folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of a region's relay log.
    pub fn relay_dir(&self, region: &str) -> PathBuf {
        self.folder.path().join(format!("relay-{region}"))
    }

    /// Starts all processes and waits until they say that they run.
    pub async fn start(&self) {
        for process in Process::ALL {
            if self.relays || matches!(process, Process::Applier(_)) {
                self.start_one(process);
            }
        }
        self.wait_running().await;
        if self.relays {
            self.wait_begun().await;
        }
    }

    /// Waits until both relay logs have begun: not before every link has asked, the conflict windows too, and one that
    /// is ended before that may find that its relay has begun without it.
    async fn wait_begun(&self) {
        until("both relays run", START, async || {
            let status = self.try_status().await?;
            for region in ["eu", "us"] {
                let relay = status.relay(region)?;
                if relay.state() != "running" {
                    return Err(relay.json().to_string());
                }
            }
            Ok(())
        })
        .await;
    }

    /// Starts one process.
    pub fn start_one(&self, process: Process) {
        self.start_one_with(process, &self.config);
    }

    /// Starts one process with another configuration file.
    pub fn start_one_with(&self, process: Process, config: &Path) {
        let started = self.spawn(&process.name(), process, config);
        self.processes().insert(process, started);
    }

    /// A process beside those of the pair, for example a second one of a kind. The caller owns it.
    pub fn spawn(&self, name: &str, process: Process, config: &Path) -> TwinlogProcess {
        let log = self.folder.path().join(format!("{name}.log"));
        TwinlogProcess::start(name, twinlog().args(process.args(config)), &log)
    }

    /// SIGKILL for one process.
    pub fn kill9(&self, process: Process) {
        let killed = self.processes().remove(&process);
        killed.unwrap_or_else(|| panic!("{} does not run", process.name())).kill9();
    }

    /// Any signal for one process, by its name.
    pub fn signal(&self, process: Process, signal: &str) {
        let processes = self.processes();
        processes.get(&process).unwrap_or_else(|| panic!("{} does not run", process.name())).signal(signal);
    }

    /// SIGTERM for one process, and waits for its end.
    pub async fn stop_one(&self, process: Process) -> ExitStatus {
        let stopped = self.processes().remove(&process);
        stopped.unwrap_or_else(|| panic!("{} does not run", process.name())).stop(START).await
    }

    /// How a process ended, if it has.
    pub fn ended(&self, process: Process) -> Option<ExitStatus> {
        self.processes().get_mut(&process).and_then(TwinlogProcess::ended)
    }

    /// The most memory a process has had, MiB.
    pub fn peak_memory(&self, process: Process) -> u64 {
        self.processes().get(&process).expect("it runs").peak_memory()
    }

    /// All that a process has written to its log so far.
    pub fn log(&self, process: Process) -> String {
        self.processes().get(&process).map(TwinlogProcess::log).unwrap_or_default()
    }

    fn processes(&self) -> MutexGuard<'_, BTreeMap<Process, TwinlogProcess>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `twinlog status --json` says.
    pub async fn try_status(&self) -> Result<SyncStatus, String> {
        SyncStatus::ask(&self.config).await
    }

    /// The status of one link.
    pub async fn link_status(&self, link: &str) -> LinkStatus {
        let status = self.try_status().await.and_then(|s| s.link(link));
        status.unwrap_or_else(|e| panic!("no status: {e}"))
    }

    /// Waits until both links say that they run.
    pub async fn wait_running(&self) {
        until("both links run", START, async || {
            let status = self.try_status().await?;
            for link in ["eu-us", "us-eu"] {
                let link = status.link(link)?;
                if link.state() != "running" {
                    return Err(format!("{}", status.json()));
                }
            }
            Ok(())
        })
        .await;
    }

    /// Waits until a link is in this state, and gives its status.
    pub async fn wait_state(&self, link: &str, state: &str, within: Duration) -> LinkStatus {
        until(&format!("{link} is {state}"), within, async || {
            let status = self.try_status().await?.link(link)?;
            if status.state() == state { Ok(status) } else { Err(status.json().to_string()) }
        })
        .await
    }

    /// Skips the transaction that a link has stopped at.
    pub async fn skip_failed(&self, link: &str) {
        let status = self.link_status(link).await;
        let config = self.config.to_string_lossy();
        let skip = ["link", "skip", "-c", &config, "--link", link, "--gtid", status.stopped_at()];
        let said = Finished::of_command(twinlog().args(skip), START).await;
        assert_eq!(said.code, 0, "{said}");
    }

    /// Waits until both regions hold the same tables and rows.
    pub async fn wait_in_step(&self, within: Duration) {
        let equal = async || Box::pin(difference(&self.eu, &self.us, &self.schemas)).await;
        until("both regions are equal", within, equal).await;
    }

    /// Waits until `gtid_executed` of neither server has moved for `still`.
    pub async fn wait_quiet(&self, still: Duration, within: Duration) {
        let mut last = (String::new(), String::new());
        let mut since = Instant::now();
        until(&format!("both servers are silent for {} s", still.as_secs()), within, async || {
            let now = (self.eu.gtid_executed().await, self.us.gtid_executed().await);
            if now != last {
                since = Instant::now();
                last = now;
            }
            if since.elapsed() >= still { Ok(()) } else { Err(format!("last moved to {last:?}")) }
        })
        .await;
    }

    /// Asserts that all four processes still run.
    pub fn assert_alive(&self) {
        for (process, running) in self.processes().iter_mut() {
            assert!(running.ended().is_none(), "{} has ended", process.name());
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if std::thread::panicking() {
            SyncStatus::show(&self.config);
            for region in [&self.eu, &self.us] {
                eprintln!("--- mysqld {} (the end of its log)\n{}", region.name(), region.log_tail());
            }
        }
    }
}
