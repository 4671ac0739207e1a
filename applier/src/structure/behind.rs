//! Indexes that are made when their table's rows are copied.
//!
//! A row put into a large table finds its place in every index, one by one, and those that follow no order cost more than
//! the row: made at the end an index is sorted once. What waits so are indexes that are not unique and that nothing
//! needs ([`ddl::split`]), of tables with many rows, which this link makes and copies. Each table's are one statement, which is
//! written down with the others, and run like them under a GTID of the link's own.

use std::collections::{BTreeSet, HashSet};

use wire::Connection;

use super::plan::Making;
use super::read::{Definition, Kind};
use super::run;
use super::steps::{self, Planned, Step};
use crate::ddl::{self, Statement};
use crate::names::Name;
use crate::origin::LinkKey;
use crate::{Error, sql};

/// Fewer rows, as the source estimates them, are nothing to wait for.
const MANY: u64 = 10_000;
/// What the server sorts an index in, bytes, for one table at a time: `innodb_ddl_buffer_size`, of this session. Its default, 1 MiB,
/// makes it merge a large index from files again and again. Servers before 8.0.27 do not know it.
const SORT_BYTES: u64 = 64 << 20;
/// Between two tries for a table that others hold.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
/// `ER_INNODB_ONLINE_LOG_TOO_BIG`: more was written meanwhile than the server notes beside the new index.
const WRITTEN_TOO_MUCH: u16 = 1799;

/// Tables of the source with many rows. `session`: at the source.
pub(super) async fn large(session: &mut Connection) -> Result<HashSet<Name>, Error> {
    let failed = Error::source("reading how large tables are");
    let query = format!(
        "SELECT TABLE_SCHEMA AS d, TABLE_NAME AS t FROM information_schema.TABLES \
         WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_ROWS >= {MANY}"
    );
    session.execute("SET SESSION information_schema_stats_expiry = 0").await.map_err(&failed)?;
    let rows = session.query_rows(query).await.map_err(&failed)?;
    let names: Result<_, wire::Error> = rows.iter().map(|row| Ok((row.text("d")?, row.text("t")?))).collect();
    names.map_err(failed)
}

/// Columns that foreign keys have or refer to; folded.
pub(super) fn needed(definitions: &[Definition]) -> HashSet<String> {
    let tables = definitions.iter().filter(|definition| definition.kind == Kind::Table);
    tables.flat_map(|table| ddl::of_foreign_keys(&String::from_utf8_lossy(&table.text))).collect()
}

/// Puts indexes of large tables to the plan's end, where the account may make them there.
pub(super) async fn split(
    target: &mut Connection,
    large: &HashSet<Name>,
    needed: &HashSet<String>,
    plan: &mut Vec<Making>,
) -> Result<(), Error> {
    let mut behind = Vec::new();
    let is_large = |making: &&mut Making| making.kind == Kind::Table && large.contains(&making.of);
    let (mut may, mut may_not) = (BTreeSet::new(), BTreeSet::new());
    for making in plan.iter_mut().filter(is_large) {
        let Ok(text) = std::str::from_utf8(&making.statement) else { continue };
        let Some(split) = ddl::split(text, needed) else { continue };
        if !may.contains(&making.database) && !may_not.contains(&making.database) {
            let list = if may_alter(target, &making.database).await? { &mut may } else { &mut may_not };
            list.insert(making.database.clone());
        }
        if may_not.contains(&making.database) {
            continue;
        }
        let table = sql::table(&making.database, &making.name);
        let statement = format!("ALTER TABLE {table} {}", split.clauses.join(", ")).into_bytes();
        behind.push(Making { kind: Kind::Indexes, statement, inside: None, ..making.clone() });
        making.statement = split.table.into_bytes();
    }
    for database in may_not {
        tracing::info!(
            database,
            "indexes are made with their tables: ALTER is not granted, with it a copy is faster"
        );
    }
    plan.extend(behind);
    Ok(())
}

/// May the account alter tables of a database? Asked by a statement on a table that can't be there.
async fn may_alter(target: &mut Connection, database: &str) -> Result<bool, Error> {
    let table = sql::table(database, "twinlog: no such table");
    match target.query(format!("ALTER TABLE {table} ADD KEY k (c)")).await {
        Ok(_) => Ok(true),
        Err(wire::Error::Server(error)) if matches!(error.code, 1044 | 1142 | 1227) => Ok(false),
        Err(wire::Error::Server(error)) if matches!(error.code, 1146 | 1049) => Ok(true),
        Err(error) => Err(Error::target("asking whether it may make indexes")(error)),
    }
}

/// Indexes that wait.
#[derive(Clone, Debug)]
pub(crate) struct Behind {
    /// Their table in the target.
    pub(crate) table: Name,
    step: Step,
}

/// All indexes that wait.
pub(crate) async fn waiting(
    connection: &mut Connection,
    schema: &str,
    link: &LinkKey,
) -> Result<Vec<Behind>, Error> {
    // Asked at the begin of every round: the statements of a large structure are not read for it.
    if !steps::any_waits(connection, schema, link).await? {
        return Ok(Vec::new());
    }
    let planned = steps::load(connection, schema, link).await?;
    let steps = planned.into_iter().flat_map(Planned::into_waiting);
    Ok(steps.filter_map(|step| Some(Behind { table: table_of(&step)?, step })).collect())
}

fn table_of(step: &Step) -> Option<Name> {
    match ddl::classify(&String::from_utf8_lossy(&step.statement), "", false) {
        Statement::Tables(names) => names.into_iter().next().map(|name| (name.database, name.name)),
        _ => None,
    }
}

/// Makes them. Others write the table meanwhile.
///
/// Cancellation safe: a session that is dropped lets the server go on, and the GTID tells whether it has.
pub(crate) async fn make(
    connection: &mut Connection,
    schema: &str,
    link: &LinkKey,
    behind: &Behind,
) -> Result<(), Error> {
    match connection.execute(format!("SET SESSION innodb_ddl_buffer_size = {SORT_BYTES}")).await {
        Ok(_) | Err(wire::Error::Server(_)) => {}
        Err(error) => return Err(Error::target("preparing its session")(error)),
    }
    let mut step = behind.step.clone();
    loop {
        let ran = run::once(connection, schema, link, &step).await;
        let Err(Error::Structure { source, .. }) = &ran else { return ran };
        match source.code {
            1205 => tokio::time::sleep(PAUSE).await,
            // Writers wait then.
            WRITTEN_TOO_MUCH if step.statement == behind.step.statement => {
                step.statement.extend_from_slice(b", LOCK = SHARED");
            }
            1146 | 1049 => {
                tracing::warn!(
                    link = link.text(),
                    object = step.object,
                    "not made: the target has no such table"
                );
                return steps::note_made(connection, schema, link, &step).await;
            }
            _ => return ran,
        }
    }
}
