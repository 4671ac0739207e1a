//! The target: the first of its addresses that answers, checked, and a session made ready to apply.

use binlog::Event;
use uuid::Uuid;
use wire::{ConnectOptions, Connection};

use crate::group::binlog_statement;
use crate::meta::{current_user, is_denied};
use crate::{Error, sql};

/// What a session that applies sets for itself. Each has a reason:
/// strict mode makes the fence fail instead of storing 0; `rbr_exec_mode` is never IDEMPOTENT, which deletes
/// bystanders; READ COMMITTED takes no gap locks beside rows that are missing; UTC so that nothing depends on
/// the server's zone; a lock wait is short because the whole group is done again after it.
const SESSION: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
    rbr_exec_mode = 'STRICT', transaction_isolation = 'READ-COMMITTED', innodb_lock_wait_timeout = 5, \
    lock_wait_timeout = 60, time_zone = '+00:00', autocommit = ON, foreign_key_checks = ON, unique_checks = ON, \
    wait_timeout = 28800, net_read_timeout = 120, net_write_timeout = 120, \
    session_track_gtids = OWN_GTID, character_set_client = utf8mb4, collation_connection = utf8mb4_0900_ai_ci, character_set_results = utf8mb4";

/// What the target says of itself.
#[derive(Clone, Debug)]
pub(crate) struct TargetFacts {
    pub(crate) server_uuid: Uuid,
    /// Bytes of the largest statement it takes.
    pub(crate) max_packet: usize,
}

/// Connects to the first address that answers.
pub(crate) async fn connect(addresses: &[ConnectOptions]) -> Result<Connection, Error> {
    connect_first(addresses).await.map_err(Error::target("connecting"))
}

/// Connects to the first of the source's own servers that answers.
pub(crate) async fn connect_source(addresses: &[ConnectOptions]) -> Result<Connection, Error> {
    connect_first(addresses).await.map_err(Error::source("connecting to the server"))
}

async fn connect_first(addresses: &[ConnectOptions]) -> Result<Connection, wire::Error> {
    let mut last = wire::Error::Invalid { what: "no address is configured".into() };
    for options in addresses {
        match Connection::connect(options).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Asks for the settings that a link needs, and refuses what would lose something.
pub(crate) async fn check(connection: &mut Connection) -> Result<TargetFacts, Error> {
    let failed = Error::target("reading its settings");
    let query = "SELECT @@GLOBAL.gtid_mode AS gtid_mode, @@GLOBAL.enforce_gtid_consistency AS enforce_gtid_consistency, \
        @@GLOBAL.log_bin AS log_bin, @@GLOBAL.binlog_format AS binlog_format, @@GLOBAL.server_uuid AS server_uuid, \
        @@GLOBAL.max_allowed_packet AS max_allowed_packet";
    let rows = connection.query_rows(query).await.map_err(&failed)?;
    let row = rows.first().ok_or_else(|| failed(wire::Error::Invalid { what: "no answer".into() }))?;
    let wanted = [
        ("gtid_mode", "ON", "ON"),
        ("enforce_gtid_consistency", "ON", "ON"),
        ("log_bin", "1", "ON"),
        ("binlog_format", "ROW", "ROW"),
    ];
    for (name, is, wanted) in wanted {
        let value = row.text(name).map_err(&failed)?;
        if value != is {
            return Err(Error::Setting { server: "target", name, value, wanted });
        }
    }
    Ok(TargetFacts {
        server_uuid: row.parse("server_uuid").map_err(&failed)?,
        max_packet: row.parse("max_allowed_packet").map_err(&failed)?,
    })
}

/// Makes a session ready to apply rows.
pub(crate) async fn prepare(connection: &mut Connection) -> Result<(), Error> {
    match connection.execute(SESSION).await {
        Ok(_) => Ok(()),
        Err(wire::Error::Server(source)) if is_denied(&source) => {
            let user = current_user(connection).await;
            let missing = format!("GRANT REPLICATION_APPLIER ON *.* TO {user}");
            Err(Error::Privilege { user, missing, source })
        }
        Err(error) => Err(Error::target("preparing its session")(error)),
    }
}

/// Tells the session how row events are laid out. Without setting `gtid_next` back, the next transaction
/// fails with error 1782.
pub(crate) async fn describe_format(connection: &mut Connection, format: &Event) -> Result<(), Error> {
    let statement = binlog_statement(format.bytes());
    match connection.execute(statement).await {
        Ok(_) => {}
        Err(wire::Error::Server(source)) if is_denied(&source) => {
            let user = current_user(connection).await;
            let missing = format!("GRANT REPLICATION_APPLIER ON *.* TO {user}");
            return Err(Error::Privilege { user, missing, source });
        }
        Err(error) => return Err(Error::target("preparing its session")(error)),
    }
    let automatic = connection.execute("SET gtid_next = 'AUTOMATIC'").await;
    automatic.map_err(Error::target("preparing its session")).map(drop)
}

/// Which privilege on a table is missing: the server hides it behind "unknown error" when rows are applied.
pub(crate) async fn missing_table_privilege(
    connection: &mut Connection,
    database: &str,
    table: &str,
    column: &str,
) -> Option<Error> {
    let (name, column) = (sql::table(database, table), sql::name(column));
    let probes = [
        format!("EXPLAIN INSERT INTO {name} ({column}) VALUES (DEFAULT)"),
        format!("EXPLAIN UPDATE {name} SET {column} = DEFAULT"),
        format!("EXPLAIN DELETE FROM {name}"),
    ];
    for probe in probes {
        let Err(wire::Error::Server(source)) = connection.query(probe).await else { continue };
        if is_denied(&source) {
            let user = current_user(connection).await;
            let missing = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {user}");
            return Some(Error::Privilege { user, missing, source });
        }
    }
    None
}
