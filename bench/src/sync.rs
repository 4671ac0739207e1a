//! Twinlog as a user runs it: a configuration file, a relay process, an applier process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use binlog::GtidSet;
use mysql_async::prelude::Queryable;
use twinlog::local_mysql::{Server, free_port};

use crate::stage::{PASSWORD, USER, root, twinlog};

/// The regions of a pair.
const SIDES: [&str; 2] = ["eu", "us"];

/// A sync of one direction, or of a pair.
pub(crate) struct Sync {
    pub(crate) folder: PathBuf,
    file: PathBuf,
    pub(crate) relay_port: u16,
    children: Vec<Child>,
}

impl Sync {
    /// Writes the configuration. `start` is what lies before an empty relay log; `target` may be absent when only
    /// the relay is run; `tls` is towards the servers.
    pub(crate) fn new(
        folder: &Path,
        source: u16,
        target: Option<u16>,
        start: &str,
        tls: bool,
    ) -> Result<Self> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("secret"), PASSWORD)?;
        let relay_port = free_port().context("no free port")?;
        let tls = if tls { "required" } else { "disabled" };
        let region = |name: &str, port: u16| region(name, port, tls);
        let mut text = format!(
            "[sync]\nname = \"bench\"\ntables = [\"sbtest.*\"]\nstate_dir = \"state\"\n{}",
            region("eu", source)
        );
        text.push_str(&format!(
            "relay.listen = \"127.0.0.1:{relay_port}\"\nrelay.user = \"link\"\nrelay.password_file = \"secret\"\n\
             relay.dir = \"relay\"\nrelay.start = \"{start}\"\n"
        ));
        if let Some(port) = target {
            text.push_str(&region("us", port));
            text.push_str("[link.eu-us]\nfrom = \"eu\"\nto = \"us\"\n");
        }
        let file = folder.join("twinlog.toml");
        fs::write(&file, text)?;
        Ok(Self { folder: folder.into(), file, relay_port, children: Vec::new() })
    }

    /// One relay, and a link of it into each of the targets.
    pub(crate) fn fan(folder: &Path, source: u16, targets: &[u16], start: &str) -> Result<Self> {
        let sync = Self::new(folder, source, None, start, false)?;
        let mut text = fs::read_to_string(&sync.file)?;
        for (at, port) in targets.iter().enumerate() {
            let region = region(&format!("t{at}"), *port, "disabled");
            text.push_str(&format!("{region}[link.eu-t{at}]\nfrom = \"eu\"\nto = \"t{at}\"\n"));
        }
        fs::write(&sync.file, text)?;
        Ok(sync)
    }

    /// Starts the applier of one link of [`Self::fan`]; its process id.
    pub(crate) fn start_link(&mut self, at: usize) -> Result<u32> {
        self.spawn(&["applier", "--link", &format!("eu-t{at}")])
    }

    /// Both directions between two servers, `eu` and `us`, with a file for each side. Relays listen at `relays`, are reached at `reached`, and begin
    /// behind `starts`; `link` are both links' further settings.
    pub(crate) fn pair(
        folder: &Path,
        servers: [u16; 2],
        relays: [u16; 2],
        reached: [u16; 2],
        starts: &[String; 2],
        link: &str,
    ) -> Result<Self> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("secret"), PASSWORD)?;
        for (at, side) in SIDES.into_iter().enumerate() {
            let mut text =
                "[sync]\nname = \"bench\"\ntables = [\"sbtest.*\"]\nstate_dir = \"state\"\n".to_owned();
            for (i, name) in SIDES.into_iter().enumerate() {
                let (server, relay, start) = (servers[i], relays[i], &starts[i]);
                // What runs beside a relay reaches it there: only the other's is far away.
                let address = if i == at { relay } else { reached[i] };
                text.push_str(&format!(
                    "[region.{name}]\nmysql.address = \"127.0.0.1:{server}\"\nmysql.user = \"{USER}\"\n\
                     mysql.password_file = \"secret\"\nmysql.tls = \"disabled\"\nrelay.listen = \"127.0.0.1:{relay}\"\n\
                     relay.address = \"127.0.0.1:{address}\"\nrelay.user = \"link\"\nrelay.password_file = \"secret\"\n\
                     relay.dir = \"relay-{name}\"\nrelay.start = \"{start}\"\n"
                ));
            }
            for (from, to) in [("eu", "us"), ("us", "eu")] {
                text.push_str(&format!("[link.{from}-{to}]\nfrom = \"{from}\"\nto = \"{to}\"\n{link}\n"));
            }
            fs::write(folder.join(format!("{side}.toml")), text)?;
        }
        let file = folder.join("eu.toml");
        Ok(Self { folder: folder.into(), file, relay_port: relays[0], children: Vec::new() })
    }

    /// Starts one process, `relay eu` or `applier eu-us`; its process id.
    pub(crate) fn start(&mut self, kind: &str, name: &str) -> Result<u32> {
        // An applier runs beside its target.
        let side = name.rsplit('-').next().unwrap_or(name);
        self.file = self.folder.join(format!("{side}.toml"));
        self.spawn(&[kind, if kind == "relay" { "--region" } else { "--link" }, name])
    }

    /// Ends one process.
    pub(crate) fn stop_one(&mut self, pid: u32) {
        if let Some(at) = self.children.iter().position(|child| child.id() == pid) {
            let mut child = self.children.remove(at);
            // One that has ended by itself is as good.
            _ = child.kill();
            _ = child.wait();
        }
    }

    /// As [`Self::new`], with a relay beside the target too, in whose log the link looks for conflicts by rows.
    pub(crate) fn by_rows(folder: &Path, source: u16, target: u16, start: &str) -> Result<Self> {
        let sync = Self::new(folder, source, Some(target), start, false)?;
        let text = fs::read_to_string(&sync.file)?;
        let relay_port = free_port().context("no free port")?;
        let relay = format!(
            "relay.listen = \"127.0.0.1:{relay_port}\"\nrelay.user = \"link\"\nrelay.password_file = \"secret\"\n\
             relay.dir = \"relay-us\"\n[link.eu-us]\n"
        );
        let text = text.replace("[link.eu-us]\n", &relay) + "detect = \"row\"\non_conflict = \"overwrite\"\n";
        fs::write(&sync.file, text)?;
        Ok(sync)
    }

    /// Adds lines to the link, which is the last section.
    pub(crate) fn add_to_link(&self, lines: &str) -> Result<()> {
        let text = fs::read_to_string(&self.file)?;
        Ok(fs::write(&self.file, text + &lines.replace(';', "\n") + "\n")?)
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> &Path {
        &self.file
    }

    /// Starts the relay; its process id.
    pub(crate) fn start_relay(&mut self) -> Result<u32> {
        self.spawn(&["relay", "--region", "eu"])
    }

    /// Starts the relay beside the target; its process id.
    pub(crate) fn start_target_relay(&mut self) -> Result<u32> {
        self.spawn(&["relay", "--region", "us"])
    }

    /// Starts the applier; its process id.
    pub(crate) fn start_applier(&mut self) -> Result<u32> {
        self.spawn(&["applier", "--link", "eu-us"])
    }

    fn spawn(&mut self, arguments: &[&str]) -> Result<u32> {
        let log =
            fs::File::create(self.folder.join(format!("{}.log", arguments.concat().replace("--", "-"))))?;
        let child = Command::new(twinlog()?)
            .args(arguments)
            .arg("-c")
            .arg(&self.file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let pid = child.id();
        self.children.push(child);
        Ok(pid)
    }

    /// Fails with the log of a process that has ended by itself.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        for child in &mut self.children {
            if let Some(status) = child.try_wait()? {
                let read = |name: &str| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
                bail!(
                    "twinlog ended ({status}): {}{}",
                    read("relay-regioneu.log"),
                    read("applier-linkeu-us.log")
                );
            }
        }
        Ok(())
    }

    /// Ends the processes.
    pub(crate) fn stop(&mut self) {
        for mut child in self.children.drain(..).rev() {
            // One that has ended by itself is as good.
            _ = child.kill();
            _ = child.wait();
        }
    }
}

impl Drop for Sync {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The section of a region without a relay.
fn region(name: &str, port: u16, tls: &str) -> String {
    format!(
        "[region.{name}]\nmysql.address = \"127.0.0.1:{port}\"\nmysql.user = \"{USER}\"\nmysql.password_file = \"secret\"\n\
         mysql.tls = \"{tls}\"\n"
    )
}

/// Waits until the target's checkpoint covers `wanted`.
pub(crate) async fn wait_applied(target: &Server, wanted: &GtidSet, within: Duration) -> Result<()> {
    let mut conn = root(target).await?;
    let deadline = Instant::now() + within;
    while Instant::now() < deadline {
        let rows: Result<Vec<String>, _> = conn.query("SELECT gtid_set FROM twinlog.checkpoint").await;
        let mut applied = GtidSet::new();
        for row in rows.unwrap_or_default() {
            applied.union_with(&row.parse()?);
        }
        if applied.contains_all(wanted) {
            return Ok(conn.disconnect().await?);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("the target has not applied {wanted} within {within:?}")
}
