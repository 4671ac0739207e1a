//! The meta schema of a region: what belongs to Twinlog in a target, made at a link's first start.
//!
//! | table | holds |
//! |---|---|
//! | `checkpoint` | what each link has applied: see [`crate::checkpoint`] |
//! | `home` | which region this server is, so that a restored copy of another region is found out |
//! | `region` | which GTID uuids each region owns |
//! | `link` | a birth record for each link, so that a lost checkpoint is not taken for a first start |
//! | `ddl` | statements about to run under their original GTID |
//! | `structure` | what a link makes in its target before it begins: see [`crate::structure`] |
//! | `conflict` | every conflict, what was decided, and what waits for a person: see `conflict/record.rs` |
//! | `trace` | always empty; what passes through it is in the server's log: see `conflict/trace.rs` |
//! | `life` | what people want of each link: see `life/` |
//! | `skip` | the transactions that people got a link past |
//! | `objects` | what of the source is in step on each link: see `joining/` |
//! | `load` | how far the initial copy of each link is: see `copy/load.rs` |
//! | `mark` | a row that who compares the regions writes, to see it pass: a link writes its checkpoint at once |

use binlog::GtidSet;
use binlog::stamp::TRACE_TABLE;
use uuid::Uuid;
use wire::{Connection, ServerError};

use crate::checkpoint::{self, Checkpoint};
use crate::conflict::seen::Seen;
use crate::conflict::{record, trace};
use crate::life::table as life;
use crate::origin::{LinkKey, Owners};
use crate::{Config, Error, copy, joining, sql, structure};

/// The table of marks in the meta schema.
pub(crate) const MARK_TABLE: &str = "mark";
/// Its columns.
pub(crate) const MARK_COLUMNS: &str = "sync VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY, \
    count BIGINT UNSIGNED NOT NULL, marked_at TIMESTAMP(6) NOT NULL";

/// The meta schema of the target that a link writes into.
pub(crate) struct Meta {
    pub(crate) schema: String,
    sync: String,
}

impl Meta {
    pub(crate) fn new(config: &Config) -> Self {
        Self { schema: config.meta_schema.clone(), sync: config.sync.clone() }
    }

    /// Of a sync that no link's configuration stands for.
    pub(crate) fn of(sync: &str, schema: &str) -> Self {
        Self { schema: schema.into(), sync: sync.into() }
    }

    fn table(&self, name: &str) -> String {
        sql::table(&self.schema, name)
    }

    /// Makes what is missing.
    pub(crate) async fn create(&self, connection: &mut Connection) -> Result<(), Error> {
        let ascii = "CHARACTER SET ascii COLLATE ascii_bin NOT NULL";
        let tables = [
            ("checkpoint", checkpoint::COLUMNS.to_owned()),
            (
                "home",
                format!(
                    "sync VARCHAR(64) {ascii} PRIMARY KEY, region VARCHAR(64) {ascii}, server_uuid CHAR(36) {ascii}"
                ),
            ),
            (
                "region",
                format!(
                    "sync VARCHAR(64) {ascii}, uuid CHAR(36) {ascii}, region VARCHAR(64) {ascii}, PRIMARY KEY (sync, uuid)"
                ),
            ),
            (
                "link",
                format!(
                    "link VARCHAR(200) {ascii} PRIMARY KEY, uuid CHAR(36) {ascii}, born_at TIMESTAMP(6) NOT NULL, born_after LONGTEXT {ascii}"
                ),
            ),
            (MARK_TABLE, MARK_COLUMNS.to_owned()),
            (copy::LOAD_TABLE, copy::LOAD_COLUMNS.to_owned()),
            (record::TABLE, record::COLUMNS.to_owned()),
            (TRACE_TABLE, trace::COLUMNS.to_owned()),
            (life::TABLE, life::COLUMNS.to_owned()),
            (life::SKIP_TABLE, life::SKIP_COLUMNS.to_owned()),
            (structure::TABLE, structure::COLUMNS.to_owned()),
            (joining::TABLE, joining::COLUMNS.to_owned()),
            (
                "ddl",
                format!(
                    "link VARCHAR(200) {ascii}, gtid VARCHAR(100) {ascii}, hash CHAR(40) {ascii}, statement LONGBLOB NOT NULL, intended_at TIMESTAMP(6) NOT NULL, PRIMARY KEY (link, gtid)"
                ),
            ),
        ];
        if !self.exists(connection).await? {
            let database = format!("CREATE DATABASE IF NOT EXISTS {}", sql::name(&self.schema));
            self.define(connection, &database).await?;
        }
        let present = self.tables(connection).await?;
        for (name, columns) in tables {
            if present.iter().any(|p| p == name) {
                continue;
            }
            let create =
                format!("CREATE TABLE IF NOT EXISTS {} ({columns}) ENGINE = InnoDB", self.table(name));
            self.define(connection, &create).await?;
        }
        Ok(())
    }

    async fn exists(&self, connection: &mut Connection) -> Result<bool, Error> {
        let query = format!(
            "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {}",
            sql::text(&self.schema)
        );
        let rows =
            connection.query_rows(query).await.map_err(Error::target("looking for the meta schema"))?;
        Ok(!rows.rows.is_empty())
    }

    pub(crate) async fn tables(&self, connection: &mut Connection) -> Result<Vec<String>, Error> {
        let query = format!(
            "SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = {}",
            sql::text(&self.schema)
        );
        let failed = Error::target("looking for the meta schema's tables");
        let rows = connection.query_rows(query).await.map_err(&failed)?;
        rows.iter().map(|row| row.text("name").map_err(&failed)).collect()
    }

    async fn define(&self, connection: &mut Connection, statement: &str) -> Result<(), Error> {
        match connection.execute(statement).await {
            Ok(_) => Ok(()),
            Err(wire::Error::Server(source)) if is_denied(&source) => {
                let user = current_user(connection).await;
                let missing = format!("GRANT ALL ON {}.* TO {user}", sql::name(&self.schema));
                Err(Error::Privilege { user, missing, source })
            }
            Err(error) => Err(Error::target("making the meta schema")(error)),
        }
    }

    /// Notes that this server is this region; refuses when it was another one.
    pub(crate) async fn claim(
        &self,
        connection: &mut Connection,
        region: &str,
        server_uuid: Uuid,
    ) -> Result<(), Error> {
        let failed = Error::target("reading the meta schema");
        let query = format!(
            "SELECT region, server_uuid FROM {} WHERE sync = {}",
            self.table("home"),
            sql::text(&self.sync)
        );
        let rows = connection.query_rows(query).await.map_err(&failed)?;
        if let Some(row) = rows.first() {
            let found = row.text("region").map_err(&failed)?;
            if found != region {
                return Err(Error::ForeignMeta { schema: self.schema.clone(), found, wanted: region.into() });
            }
            if row.text("server_uuid").map_err(&failed)? == server_uuid.to_string() {
                return Ok(());
            }
        }
        let note = format!(
            "REPLACE INTO {} VALUES ({}, {}, '{server_uuid}')",
            self.table("home"),
            sql::text(&self.sync),
            sql::text(region)
        );
        connection.execute(note).await.map_err(failed).map(drop)
    }

    /// Notes that a region owns these uuids. One noted for another region goes over only when the file says
    /// so: two servers with one uuid would each have their transactions taken for the other's echo.
    pub(crate) async fn note_uuids(
        &self,
        connection: &mut Connection,
        region: &str,
        uuids: &[Uuid],
        said_by: SaidBy,
    ) -> Result<(), Error> {
        let known = self.owners(connection).await?;
        for uuid in uuids.iter().filter(|uuid| known.of(**uuid) != Some(region)) {
            if let (Some(owner), SaidBy::Servers) = (known.of(*uuid), said_by) {
                return Err(Error::UuidClaimed { uuid: *uuid, owner: owner.into(), region: region.into() });
            }
            let note = format!(
                "INSERT INTO {} VALUES ({}, '{uuid}', {}) ON DUPLICATE KEY UPDATE region = VALUES(region)",
                self.table("region"),
                sql::text(&self.sync),
                sql::text(region)
            );
            connection.execute(note).await.map_err(Error::target("writing the meta schema"))?;
        }
        Ok(())
    }

    /// Every uuid noted here, with its region.
    pub(crate) async fn owners(&self, connection: &mut Connection) -> Result<Owners, Error> {
        let failed = Error::target("reading the meta schema");
        let query = format!(
            "SELECT uuid, region FROM {} WHERE sync = {}",
            self.table("region"),
            sql::text(&self.sync)
        );
        let rows = connection.query_rows(query).await.map_err(&failed)?;
        let mut owners = Owners::default();
        for row in rows.iter() {
            let (uuid, region) = (row.parse("uuid").map_err(&failed)?, row.text("region").map_err(&failed)?);
            owners.add(&region, uuid);
        }
        Ok(owners)
    }

    /// Has this link been born here?
    pub(crate) async fn is_born(&self, connection: &mut Connection, link: &LinkKey) -> Result<bool, Error> {
        let query = format!("SELECT 1 FROM {} WHERE link = {}", self.table("link"), sql::text(&link.text()));
        let rows = connection.query_rows(query).await.map_err(Error::target("reading the meta schema"))?;
        Ok(!rows.rows.is_empty())
    }

    /// Gives a link its checkpoint and its birth record, in one transaction; what else is noted with them too.
    pub(crate) async fn give_birth(
        &self,
        connection: &mut Connection,
        link: &LinkKey,
        start: &GtidSet,
        seen: &Seen,
        notes: Vec<String>,
    ) -> Result<(), Error> {
        let failed = Error::target("beginning the link");
        let birth = format!(
            "INSERT INTO {} VALUES ({}, '{}', NOW(6), '{start}')",
            self.table("link"),
            sql::text(&link.text()),
            structure::link_uuid(link)
        );
        let rows = Checkpoint::first_rows(&self.schema, link, start, seen);
        let begun = life::begun(&self.schema, link);
        let statements =
            ["BEGIN".to_owned(), rows, birth, begun].into_iter().chain(notes).chain(["COMMIT".to_owned()]);
        for statement in statements {
            connection.execute(statement).await.map_err(&failed)?;
        }
        Ok(())
    }
}

/// Who says that a uuid is a region's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SaidBy {
    /// The configuration file: people.
    File,
    /// A server, or a relay of what it has read.
    Servers,
}

/// Is it a lack of privileges?
pub(crate) fn is_denied(error: &ServerError) -> bool {
    // Access to a database, a table, a column or an operation denied.
    matches!(error.code, 1044 | 1142 | 1143 | 1227 | 1410)
}

/// The account the session runs as, quoted for GRANT.
pub(crate) async fn current_user(connection: &mut Connection) -> String {
    let answer = connection.query_rows("SELECT CURRENT_USER() AS user").await;
    let user = answer.ok().and_then(|rows| rows.single_text().ok()).unwrap_or_default();
    match user.rsplit_once('@') {
        Some((name, host)) => format!("{}@{}", sql::text(name), sql::text(host)),
        None => user,
    }
}
