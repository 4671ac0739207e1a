//! Three regions in step, each with a link to both others: their servers, one `twinlog up`, and one file for all.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use crate::config::{LinkSection, RegionSection, SyncFile};
use crate::ports::free_port;
use crate::schema::SCHEMA;
use crate::{
    Region, RegionOptions, Slot, SyncStatus, TwinlogProcess, accounts, difference, take_slot, twinlog, until,
};

/// From the start until every link runs.
const START: Duration = Duration::from_secs(60);
/// Regions `eu`, `us` and `ap`, and six links.
pub struct Mesh {
    // Dropped before the servers it talks to.
    up: Mutex<Option<TwinlogProcess>>,
    /// The three regions.
    pub regions: [Region; 3],
    file: SyncFile,
    config: PathBuf,
    folder: TempDir,
    _slot: Slot,
}

impl Mesh {
    /// The links, by their names.
    pub const LINKS: [&'static str; 6] = ["eu-us", "us-eu", "eu-ap", "ap-eu", "us-ap", "ap-us"];

    /// Servers, accounts and the configuration file; nothing runs yet.
    pub async fn new() -> Self {
        let slot = take_slot().await;
        let region = |name, server_id| RegionOptions { name, server_id, extra_args: Vec::new() };
        let regions = Region::start_all([region("eu", 1), region("us", 2), region("ap", 3)]);
        let folder = tempfile::Builder::new().prefix("twinlog-test-").tempdir().expect("a temporary folder");
        let schemas = vec![SCHEMA.to_owned()];
        let mut file = SyncFile {
            folder: folder.path().to_owned(),
            tables: vec![format!("{SCHEMA}.*")],
            meta_schema: "twinlog".into(),
            state_dir: "state".into(),
            regions: Vec::new(),
            links: Vec::new(),
        };
        for region in &regions {
            let address = format!("127.0.0.1:{}", free_port());
            file.regions.push(RegionSection {
                name: region.name(),
                mysql_address: region.address().to_owned(),
                relay_listen: address.clone(),
                relay_address: address,
                relay: true,
                relay_dir: format!("relay-{}", region.name()).into(),
                more: Vec::new(),
            });
            region.run_all(&accounts::statements(&schemas, &file.meta_schema, false)).await;
        }
        for name in Self::LINKS {
            let (from, to) = name.split_once('-').expect("links are named from-to");
            file.links.push(LinkSection { name, from, to, ddl: false, more: Vec::new() });
        }
        let config = file.write("twinlog.toml");
        Self { up: Mutex::default(), regions, file, config, folder, _slot: slot }
    }

    /// A region by its name.
    pub fn region(&self, name: &str) -> &Region {
        self.regions.iter().find(|r| r.name() == name).expect("a region of the mesh")
    }

    /// Changes the configuration file.
    pub fn configure(&mut self, change: impl FnOnce(&mut SyncFile)) {
        change(&mut self.file);
        self.config = self.file.write("twinlog.toml");
    }

    /// The path of the configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Starts `twinlog up`.
    pub fn launch(&self) {
        let mut command = twinlog();
        command.args(["up", "-c"]).arg(&self.config);
        let up = TwinlogProcess::start_plain("up", &command, &self.folder.path().join("up.log"));
        *self.up.lock().unwrap_or_else(PoisonError::into_inner) = Some(up);
    }

    /// Starts `twinlog up`, and waits until every link says that it runs, copies, or is paused.
    pub async fn start(&self) {
        self.launch();
        self.wait_states("every link works", START, |state| {
            ["running", "copying", "catching-up", "paused"].contains(&state)
        })
        .await;
    }

    /// SIGKILL for all of it.
    pub fn kill9(&self) {
        let up = self.up.lock().unwrap_or_else(PoisonError::into_inner).take();
        up.expect("it runs").kill9();
    }

    /// What `twinlog status --json` says.
    pub async fn try_status(&self) -> Result<SyncStatus, String> {
        SyncStatus::ask(&self.config).await
    }

    /// Waits until every link says that it runs.
    pub async fn wait_running(&self, within: Duration) {
        self.wait_states("every link runs", within, |state| state == "running").await;
    }

    async fn wait_states(&self, what: &str, within: Duration, is_wanted: impl Fn(&str) -> bool) {
        until(what, within, async || {
            let status = self.try_status().await?;
            for link in Self::LINKS {
                let link = status.link(link)?;
                if !is_wanted(link.state()) {
                    return Err(link.json().to_string());
                }
            }
            Ok(())
        })
        .await;
    }

    /// Waits until all three regions hold the same tables and rows.
    pub async fn wait_in_step(&self, within: Duration) {
        let schemas = [SCHEMA.to_owned()];
        let [eu, us, ap] = &self.regions;
        until("all regions are equal", within, async || {
            Box::pin(difference(eu, us, &schemas)).await?;
            Box::pin(difference(eu, ap, &schemas)).await
        })
        .await;
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if std::thread::panicking() {
            SyncStatus::show(&self.config);
        }
    }
}
