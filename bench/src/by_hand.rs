//! The limit: the same rows by the fastest hand-written way on the same server.
//!
//! All row events are read beforehand. One session then sends them as `BINLOG` statements, put together, so many
//! transactions a commit, with nothing beside them: no relay, no checkpoint, no conflicts, no look at a definition.

use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use binlog::row::Condenser;
use binlog::{Event, EventKind, FormatDescription, GtidSet, Part, TransactionTracker};
use wire::{ConnectOptions, Connection, DumpFlags, ReplicaOptions, Secret, TlsMode, TlsOptions};

use crate::stage::{PASSWORD, USER};

/// What a source has committed: its format description, and the row events of each transaction.
pub(crate) struct Transactions {
    format: Event,
    rows: Vec<Vec<Event>>,
}

pub(crate) fn options(port: u16) -> ConnectOptions {
    ConnectOptions {
        address: format!("127.0.0.1:{port}"),
        user: USER.into(),
        password: Secret::new(PASSWORD),
        tls: TlsOptions { mode: TlsMode::Disabled, ..TlsOptions::default() },
        connect_timeout: Duration::from_secs(10),
    }
}

/// Reads what the source has committed behind `before`, up to `wanted`.
pub(crate) async fn read(port: u16, before: &str, wanted: &GtidSet) -> Result<Transactions> {
    let before: GtidSet = before.parse()?;
    let mut connection = Connection::connect(&options(port)).await?;
    let replica = ReplicaOptions {
        server_id: 77,
        uuid: uuid::Uuid::new_v4(),
        report_host: String::new(),
        report_port: 0,
        heartbeat_period: Duration::from_secs(5),
        semi_sync: false,
        user_variables: Vec::new(),
    };
    connection.register_replica(&replica).await?;
    let mut stream = connection.dump_gtid(&before.to_wire(), DumpFlags::NONE).await?;
    let (mut format, mut rows, mut open) = (None, Vec::new(), Vec::new());
    let (mut tracker, mut has) = (TransactionTracker::default(), before);
    loop {
        // Events of their own: a slice would keep the whole buffer it was read into.
        let event = Event::new(bytes::Bytes::copy_from_slice(&stream.next().await?.event))?;
        if event.kind() == EventKind::FormatDescription {
            format = Some(FormatDescription::parse(&event)?.normalised());
        }
        match tracker.observe(&event)? {
            Part::Begins(begin) => {
                has.insert(&begin.gtid.context("a transaction without GTID")?);
            }
            Part::Inside if event.kind() == EventKind::TableMap || event.kind().is_rows() => open.push(event),
            Part::Ends => {
                rows.push(std::mem::take(&mut open));
                if has.contains_all(wanted) {
                    break;
                }
            }
            Part::Between | Part::Inside => {}
        }
    }
    Ok(Transactions { format: format.context("no format description")?, rows })
}

/// Applies them, `each` a commit.
pub(crate) async fn apply(port: u16, transactions: &Transactions, each: usize) -> Result<()> {
    let mut connection = Connection::connect(&options(port)).await?;
    connection.query(statement(transactions.format.bytes())).await?;
    connection.execute("SET gtid_next = 'AUTOMATIC'").await?;
    connection
        .execute("SET SESSION transaction_isolation = 'READ-COMMITTED', character_set_client = binary")
        .await?;
    for some in transactions.rows.chunks(each) {
        let buffers = Condenser::new(some.iter().flatten(), |_| true, 16 << 20);
        let statements: Vec<Vec<u8>> = buffers.map(|b| Ok(statement(&b?))).collect::<Result<_>>()?;
        let mut all: Vec<&[u8]> = vec![b"BEGIN"];
        all.extend(statements.iter().map(Vec::as_slice));
        all.push(b"COMMIT");
        connection.run_group(&all).await?;
    }
    connection.close().await;
    Ok(())
}

fn statement(events: &[u8]) -> Vec<u8> {
    let mut text = b"BINLOG '".to_vec();
    text.extend_from_slice(STANDARD.encode(events).as_bytes());
    text.push(b'\'');
    text
}
