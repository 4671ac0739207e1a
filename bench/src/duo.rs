//! Two servers and what keeps them in step, in one direction or in both: Twinlog's processes, or MySQL's own replication.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use binlog::GtidSet;
use harness::Proxy;
use mysql_async::prelude::Queryable;
use twinlog::local_mysql::{Server, free_port};

use crate::load::Table;
use crate::stage::{self, PASSWORD, Stage, USER};
use crate::sync::{Sync, wait_applied};
use crate::times;

/// How long anything here may take before it counts as broken.
pub(crate) const WITHIN: Duration = Duration::from_secs(900);

/// Two servers with the same rows: what is written in `eu` is in table 1, what in `us` in table 2.
pub(crate) struct Duo {
    pub(crate) eu: Server,
    pub(crate) us: Server,
}

/// What lies between two regions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Distance {
    /// Of each direction.
    pub(crate) delay: Duration,
    pub(crate) bytes_per_second: Option<u64>,
}

/// The way from a region to the other, through a proxy: all that crosses is counted.
pub(crate) struct Way {
    pub(crate) proxy: Proxy,
}

impl Way {
    pub(crate) async fn to(port: u16, distance: Distance) -> Self {
        let proxy = Proxy::start(format!("127.0.0.1:{port}")).await;
        proxy.delay(distance.delay);
        if let Some(limit) = distance.bytes_per_second {
            proxy.limit(limit);
        }
        Self { proxy }
    }

    pub(crate) fn port(&self) -> u16 {
        self.proxy.address().rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0)
    }
}

/// Prepares two data folders, `base-eu` and `base-us`, that differ in nothing but the server.
pub(crate) async fn prepare(stage: &Stage) -> Result<()> {
    let mut base = stage.start("base-eu", 1)?;
    stage::make_account(&base).await?;
    let mut conn = stage::root(&base).await?;
    conn.query_drop("CREATE DATABASE sbtest").await?;
    for table in [Table(1), Table(2)] {
        table.prepare(&mut conn).await?;
    }
    conn.disconnect().await?;
    base.stop();
    stage.copy("base-eu", "base-us")
}

impl Duo {
    pub(crate) fn start(stage: &Stage) -> Result<Self> {
        stage.copy("base-eu", "eu")?;
        stage.copy("base-us", "us")?;
        Ok(Self { eu: stage.start("eu", 1)?, us: stage.start("us", 2)? })
    }

    pub(crate) fn stop(&mut self) {
        self.eu.stop();
        self.us.stop();
    }

    /// What each has committed, the other's included.
    pub(crate) async fn executed(&self) -> Result<[GtidSet; 2]> {
        let of = async |server: &Server| -> Result<GtidSet> {
            Ok(stage::executed(&mut stage::root(server).await?).await?.parse()?)
        };
        Ok([of(&self.eu).await?, of(&self.us).await?])
    }

    /// MySQL's own replication, from `eu` to `us` and back where `both`; zstd as `more` says. Nothing runs yet.
    pub(crate) async fn replicate(&self, ways: [Option<u16>; 2], more: &str) -> Result<()> {
        for (replica, port) in [(&self.us, ways[0]), (&self.eu, ways[1])] {
            let Some(port) = port else { continue };
            let mut conn = stage::root(replica).await?;
            stage::replicate(&mut conn, port).await?;
            if !more.is_empty() {
                conn.query_drop(format!("CHANGE REPLICATION SOURCE TO {more}")).await?;
            }
            conn.disconnect().await?;
        }
        Ok(())
    }

    pub(crate) async fn start_replicas(&self, both: bool) -> Result<()> {
        let both = both.then_some(&self.eu);
        for replica in [Some(&self.us), both].into_iter().flatten() {
            stage::root(replica).await?.query_drop("START REPLICA").await?;
        }
        Ok(())
    }

    /// Waits until each has all of the other's, by MySQL's own account.
    pub(crate) async fn wait_replicated(&self, both: bool) -> Result<()> {
        let [eu, us] = self.executed().await?;
        stage::wait_executed(&mut stage::root(&self.us).await?, &eu.to_string(), WITHIN).await?;
        if both {
            stage::wait_executed(&mut stage::root(&self.eu).await?, &us.to_string(), WITHIN).await?;
        }
        Ok(())
    }

    /// Twinlog in both directions over these distances. Nothing runs yet.
    pub(crate) async fn sync(
        &self,
        folder: &Path,
        distance: Distance,
        link: &str,
    ) -> Result<(Sync, [Way; 2])> {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        let free = || free_port().context("no free port");
        let relays = [free()?, free()?];
        let ways = [Way::to(relays[0], distance).await, Way::to(relays[1], distance).await];
        let starts = self.executed().await?.map(|set| set.to_string());
        let servers = [self.eu.port(), self.us.port()];
        let reached = [ways[0].port(), ways[1].port()];
        let sync = Sync::pair(folder, servers, relays, reached, &starts, link)?;
        Ok((sync, ways))
    }

    /// Waits until both checkpoints are there: the links have begun.
    pub(crate) async fn wait_born(&self, before: &[GtidSet; 2], both: bool) -> Result<()> {
        wait_applied(&self.us, &before[0], WITHIN).await?;
        if both {
            wait_applied(&self.eu, &before[1], WITHIN).await?;
        }
        Ok(())
    }

    /// What applications have committed in each since `before`: not what came from the other, nor a link's groups.
    pub(crate) async fn own(&self, before: &[GtidSet; 2]) -> Result<[GtidSet; 2]> {
        let ports = [self.eu.port(), self.us.port()];
        let mut own = self.executed().await?;
        for ((own, before), port) in own.iter_mut().zip(before).zip(ports) {
            let mut conn = stage::connect(port, USER, Some(PASSWORD)).await?;
            let uuid: Option<String> = conn.query_first("SELECT @@server_uuid").await?;
            conn.disconnect().await?;
            let uuid = uuid.unwrap_or_default();
            let log = times::read(port, before, own).await?;
            let here = own.restricted_to(|of| of.to_string() == uuid).minus(before);
            *own = log.into_keys().filter(|gtid| here.contains(gtid)).collect();
        }
        Ok(own)
    }
}

/// Sends it across.
pub(crate) const ZSTD: &str = "SOURCE_COMPRESSION_ALGORITHMS = 'zstd'";
