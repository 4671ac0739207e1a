//! One server that may be the source: questioned, and asked for everything the log lacks.
//!
//! **Promise 5** (no silent gap) is kept here towards the source: it must have all that the log has had from
//! it, it must not have purged what the log lacks, and its last transaction in common must still be the same,
//! byte for byte: it is asked for again and held against the log by [`storage::OnKnown::Compare`].

use std::time::Duration;

use binlog::{Gtid, GtidSet};
use tokio::time::Instant;
use uuid::Uuid;
use wire::{ConnectOptions, Connection, DumpFlags, EventStream, ReplicaOptions, SourceInfo};

use crate::{Config, Error};

/// How often an idle source shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A transaction is sent to replicas before it enters `gtid_executed`: how long it may lag behind.
const EXECUTED_LAG: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// What a server answers of a variable that only a relay has.
const ER_UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;

/// A source that was found fit, before the dump.
pub(crate) struct Upstream {
    connection: Connection,
    pub(crate) address: String,
    /// Everything it had committed when it was asked.
    pub(crate) executed: GtidSet,
    pub(crate) purged: GtidSet,
    /// What it says of itself, for those who ask the relay.
    pub(crate) says: Says,
    /// GTID uuids of the region: the server's own, and what a relay knows.
    pub(crate) uuids: Vec<Uuid>,
}

/// Settings of a source that its downstreams may ask for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Says {
    /// `@@version`.
    pub(crate) version: String,
    /// `binlog_row_metadata`: MINIMAL or FULL.
    pub(crate) row_metadata: String,
}

impl Upstream {
    /// The first address that answers and has the settings that a relay needs.
    pub(crate) async fn connect_first(addresses: &[ConnectOptions], server_id: u32) -> Result<Self, Error> {
        let mut last = wire::Error::Invalid { what: "no address is configured".into() };
        for options in addresses {
            match Self::connect(options, server_id).await {
                Err(Error::Source { doing: "connecting", source }) => last = source,
                answered => return answered,
            }
        }
        Err(Error::source("connecting")(last))
    }

    /// What the first server of all has executed at this moment: through a chain of relays it is asked at their source.
    pub(crate) async fn executed_now(addresses: &[ConnectOptions], server_id: u32) -> Result<GtidSet, Error> {
        let mut upstream = Self::connect_first(addresses, server_id).await?;
        let failed = Error::source("asking what it has executed");
        match upstream.connection.query_rows("SELECT @@twinlog_source_gtid_executed").await {
            Ok(rows) => {
                let text = rows.single_text().map_err(&failed)?;
                text.parse()
                    .map_err(|_| failed(wire::Error::Protocol { what: format!("no GTID set: {text}") }))
            }
            Err(error) if error.code() == Some(ER_UNKNOWN_SYSTEM_VARIABLE) => Ok(upstream.executed),
            Err(error) => Err(failed(error)),
        }
    }

    /// Connects, and asks for the settings that a relay needs.
    pub(crate) async fn connect(options: &ConnectOptions, server_id: u32) -> Result<Self, Error> {
        let connection = Connection::connect(options).await.map_err(Error::source("connecting"))?;
        Self::question(connection, &options.address, server_id).await
    }

    async fn question(mut connection: Connection, address: &str, server_id: u32) -> Result<Self, Error> {
        let failed = Error::source("reading its settings");
        let query = "SELECT @@GLOBAL.gtid_mode AS gtid_mode, @@GLOBAL.log_bin AS log_bin, \
            @@GLOBAL.binlog_format AS binlog_format, @@GLOBAL.binlog_row_image AS binlog_row_image, \
            @@GLOBAL.binlog_row_metadata AS binlog_row_metadata, @@GLOBAL.version AS version, \
            @@GLOBAL.server_id AS server_id, @@GLOBAL.server_uuid AS server_uuid";
        let rows = connection.query_rows(query).await.map_err(&failed)?;
        let row = rows.first().ok_or_else(|| failed(wire::Error::Invalid { what: "no answer".into() }))?;
        let wanted = [
            ("gtid_mode", "ON", "ON"),
            ("log_bin", "1", "ON"),
            ("binlog_format", "ROW", "ROW"),
            ("binlog_row_image", "FULL", "FULL"),
        ];
        for (name, is, wanted) in wanted {
            let value = row.text(name).map_err(&failed)?;
            if value != is {
                return Err(Error::Setting { address: address.into(), name, value, wanted });
            }
        }
        if row.parse::<u32>("server_id").map_err(&failed)? == server_id {
            return Err(Error::SameServerId { address: address.into(), server_id });
        }
        let own = row.parse("server_uuid").map_err(&failed)?;
        let says = Says {
            version: row.text("version").map_err(&failed)?,
            row_metadata: row.text("binlog_row_metadata").map_err(&failed)?,
        };
        let mut upstream = Self {
            connection,
            address: address.into(),
            executed: GtidSet::new(),
            purged: GtidSet::new(),
            says,
            uuids: vec![own],
        };
        upstream.ask_sets().await?;
        upstream.ask_uuids().await?;
        Ok(upstream)
    }

    /// Asks once more what it has executed and purged.
    pub(crate) async fn ask_sets(&mut self) -> Result<(), Error> {
        let failed = Error::source("asking for its GTID sets");
        let query = "SELECT @@GLOBAL.gtid_executed AS executed, @@GLOBAL.gtid_purged AS purged";
        let rows = self.connection.query_rows(query).await.map_err(&failed)?;
        let set = |name: &str| -> Result<GtidSet, wire::Error> {
            let text = rows.first().map(|row| row.text(name)).transpose()?.unwrap_or_default();
            text.parse().map_err(|_| wire::Error::Protocol { what: format!("no GTID set in {name}: {text}") })
        };
        self.executed = set("executed").map_err(&failed)?;
        self.purged = set("purged").map_err(&failed)?;
        Ok(())
    }

    /// A source that is a relay itself knows the uuids of the servers before it; a server has no such variable.
    async fn ask_uuids(&mut self) -> Result<(), Error> {
        match self.connection.query_rows("SELECT @@twinlog_source_uuids").await {
            Ok(rows) => {
                let list = rows.single_text().map_err(Error::source("asking for its region's uuids"))?;
                self.uuids.extend(list.split(',').filter_map(|uuid| Uuid::try_parse(uuid).ok()));
                Ok(())
            }
            Err(error) if error.code() == Some(ER_UNKNOWN_SYSTEM_VARIABLE) => Ok(()),
            Err(error) => Err(Error::source("asking for its region's uuids")(error)),
        }
    }

    /// Refuses a source that lacks what the log has had from it, or has purged what the log lacks.
    pub(crate) async fn check_against(&mut self, has: &GtidSet) -> Result<(), Error> {
        let deadline = Instant::now() + EXECUTED_LAG;
        loop {
            let lacks = has.minus(&self.executed);
            if lacks.is_empty() || self.waits_for_acknowledgements().await? {
                break;
            }
            if Instant::now() >= deadline {
                return Err(Error::Diverged { address: self.address.clone(), lacks });
            }
            tokio::time::sleep(ASK_AGAIN).await;
            self.ask_sets().await?;
        }
        let missing = self.purged.minus(has);
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::Purged { address: self.address.clone(), missing })
    }

    /// Do commits of a semi-synchronous source wait for a replica? What they wrote was sent before, and is not in
    /// `gtid_executed` until somebody, perhaps this relay, has acknowledged it.
    async fn waits_for_acknowledgements(&mut self) -> Result<bool, Error> {
        let query = "SHOW GLOBAL STATUS WHERE Variable_name IN \
            ('Rpl_semi_sync_source_wait_sessions', 'Rpl_semi_sync_master_wait_sessions') AND Value > 0";
        let rows = self.connection.query_rows(query).await.map_err(Error::source("asking who waits"))?;
        Ok(!rows.rows.is_empty())
    }

    /// Asks for everything behind `has`, and for `last` again, the last transaction of the log, so that it can
    /// be compared: unless the source has purged it.
    pub(crate) async fn dump(
        mut self,
        config: &Config,
        uuid: Uuid,
        has: &GtidSet,
        last: Option<&Gtid>,
    ) -> Result<(EventStream, SourceInfo), Error> {
        let options = ReplicaOptions {
            server_id: config.server_id,
            uuid,
            report_host: format!("relay {}", config.region),
            report_port: 0,
            heartbeat_period: HEARTBEAT,
            semi_sync: config.semi_sync,
            user_variables: Vec::new(),
        };
        let info = self.connection.register_replica(&options).await.map_err(Error::source("registering"))?;
        // What the source has sent and not executed it sends again, and it is compared.
        let mut wanted = has.intersection(&self.executed);
        if let Some(last) = last.filter(|last| !self.purged.contains(last)) {
            wanted.subtract(&std::iter::once(last.clone()).collect());
        }
        let stream = self.connection.dump_gtid(&wanted.to_wire(), DumpFlags::HEARTBEAT_V2).await;
        Ok((stream.map_err(Error::source("asking for events"))?, info))
    }
}
