//! The canary of `--probe`: a row written in a region comes back through that region's relay.
//!
//! ```text
//! writer ──row──▶ server ──binary log──▶ relay ──▶ this process, attached as one more downstream
//! ```
//! It is written into a table of its own in the meta schema, which no link carries and which is no stamp: appliers
//! that run pass it over. One row a region stays behind, and is written over by the next probe.

use std::time::Duration;

use binlog::{EventKind, FormatDescription, GtidSet, payload};
use rand::Rng;
use tokio::time::Instant;
use twinlog::config::File;
use uuid::Uuid;
use wire::{ConnectOptions, Connection, DumpFlags, EventStream, ReplicaOptions};

use super::report::{About, Finding};
use super::sql;
use crate::failure::Failure;

/// How long the row may take. A relay that is behind its source has that to catch up first.
const WITHIN: Duration = Duration::from_secs(20);
/// Only a canary's own payload is looked into: others may be large, and are not it.
const LARGEST_EVENT: usize = 1 << 20;
const ITEM: &str = "probe";

/// Writes as the region's writer, and waits at its relay.
pub(crate) async fn run(
    file: &File,
    region: &str,
    relay: &ConnectOptions,
    writer: &ConnectOptions,
) -> Finding {
    let about = About::region(region);
    match Box::pin(attempt(file, region, relay, writer)).await {
        Ok(Some(took)) => about.pass(ITEM, format!("came back after {} ms", took.as_millis())),
        Ok(None) => about
            .fail(ITEM, format!("did not come back within {} s", WITHIN.as_secs()))
            .wanted("the row that was written, at the relay")
            .why("the relay does not read this server's changes, or is far behind")
            .command(format!("twinlog status -c {}", file.path.display())),
        Err(error) => {
            let failure = Failure::from_diagnosis("it could not be tried", &error);
            about.fail(ITEM, failure.line()).wanted("a row written here, seen at the relay")
        }
    }
}

async fn attempt(
    file: &File,
    region: &str,
    relay: &ConnectOptions,
    writer: &ConnectOptions,
) -> Result<Option<Duration>, wire::Error> {
    let mut stream = attach(relay).await?;
    let token = Uuid::new_v4().to_string();
    let mut connection = Connection::connect(writer).await?;
    connection.set_answer_timeout(Some(WITHIN));
    write(&mut connection, file, region, &token).await?;
    let written = Instant::now();
    let found = tokio::time::timeout_at(written + WITHIN, find(&mut stream, &token)).await;
    connection.close().await;
    match found {
        Ok(Ok(())) => Ok(Some(written.elapsed())),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Asks the relay for what comes behind all it has now.
async fn attach(relay: &ConnectOptions) -> Result<EventStream, wire::Error> {
    let mut connection = Connection::connect(relay).await?;
    connection.set_answer_timeout(Some(WITHIN));
    let has = connection.query_rows("SELECT @@global.gtid_executed").await?.single_text()?;
    let has: GtidSet = has
        .parse()
        .map_err(|_| wire::Error::Protocol { what: format!("no GTID set in gtid_executed: {has}") })?;
    let replica = ReplicaOptions {
        server_id: rand::rng().random_range(1 << 31..u32::MAX),
        uuid: Uuid::new_v4(),
        report_host: "twinlog check".into(),
        report_port: 0,
        heartbeat_period: Duration::from_secs(5),
        semi_sync: false,
        user_variables: Vec::new(),
    };
    connection.register_replica(&replica).await?;
    connection.dump_gtid(&has.to_wire(), DumpFlags::HEARTBEAT_V2).await
}

async fn write(
    connection: &mut Connection,
    file: &File,
    region: &str,
    token: &str,
) -> Result<(), wire::Error> {
    let schema = &file.sync.meta_schema;
    let there =
        format!("SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {}", sql::text(schema));
    // Even one that has nothing to make would be logged.
    if connection.query_rows(there).await?.rows.is_empty() {
        connection.execute(format!("CREATE DATABASE IF NOT EXISTS {}", sql::name(schema))).await?;
    }
    let table = sql::table(schema, ITEM);
    let there = format!(
        "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = '{ITEM}'",
        sql::text(schema)
    );
    if connection.query_rows(there).await?.rows.is_empty() {
        let ascii = "CHARACTER SET ascii COLLATE ascii_bin NOT NULL";
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {table} (sync VARCHAR(64) {ascii}, region VARCHAR(64) {ascii}, \
             token CHAR(36) {ascii}, written_at TIMESTAMP(6) NOT NULL, PRIMARY KEY (sync, region)) ENGINE = InnoDB"
        );
        connection.execute(create).await?;
    }
    let row = format!(
        "INSERT INTO {table} VALUES ({}, {}, '{token}', NOW(6)) \
         ON DUPLICATE KEY UPDATE token = VALUES(token), written_at = VALUES(written_at)",
        sql::text(&file.sync.name),
        sql::text(region)
    );
    connection.execute(row).await.map(drop)
}

/// Reads until the token comes by.
async fn find(stream: &mut EventStream, token: &str) -> Result<(), wire::Error> {
    let mut format: Option<FormatDescription> = None;
    loop {
        let bytes = stream.next().await?.event;
        if holds(&bytes, token) {
            return Ok(());
        }
        let kind = bytes.get(4).copied().map(EventKind::from_code);
        match (kind, &format) {
            (Some(EventKind::FormatDescription), _) => {
                let event = binlog::Event::new(bytes).map_err(|e| malformed(&e))?;
                format = Some(FormatDescription::parse(&event).map_err(|e| malformed(&e))?);
            }
            (Some(EventKind::TransactionPayload), Some(format)) => {
                let event = format.read_event(bytes).map_err(|e| malformed(&e))?;
                // One that is too large to be the canary's, or is packed in an unknown way, is not it.
                let inside = payload::open(&event, LARGEST_EVENT).into_iter().flatten();
                if inside.flatten().any(|event| holds(event.bytes(), token)) {
                    return Ok(());
                }
            }
            _ => {}
        }
    }
}

fn malformed(error: &binlog::EventError) -> wire::Error {
    wire::Error::Protocol { what: format!("the relay sent a malformed event: {error}") }
}

fn holds(bytes: &[u8], token: &str) -> bool {
    bytes.windows(token.len()).any(|window| window == token.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn a_token_is_found_anywhere_in_an_event() {
        assert!(holds(b"\x01\x02abc", "abc") && holds(b"abc\x00", "abc"));
        assert!(!holds(b"ab", "abc") && !holds(b"", "abc") && !holds(b"abxc", "abc"));
    }
}
