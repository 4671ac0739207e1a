//! A reader that keeps nothing: how fast somebody sends.

use std::time::{Duration, Instant};

use anyhow::Result;
use binlog::GtidSet;
use uuid::Uuid;
use wire::{ConnectOptions, Connection, DumpFlags, EventStream, ReplicaOptions, Secret, TlsMode, TlsOptions};

use crate::stage::PASSWORD;

/// Where to log in.
pub(super) fn options(port: u16, user: &str, tls: bool) -> ConnectOptions {
    let mode = if tls { TlsMode::Required } else { TlsMode::Disabled };
    ConnectOptions {
        address: format!("127.0.0.1:{port}"),
        user: user.into(),
        password: Secret::new(PASSWORD),
        tls: TlsOptions { mode, ..TlsOptions::default() },
        connect_timeout: Duration::from_secs(5),
    }
}

/// Asks for everything that is not in `has`.
pub(super) async fn dump(options: &ConnectOptions, has: &GtidSet, flags: DumpFlags) -> Result<EventStream> {
    let mut connection = Connection::connect(options).await?;
    let replica = ReplicaOptions {
        server_id: 4999,
        uuid: Uuid::new_v4(),
        report_host: String::new(),
        report_port: 0,
        heartbeat_period: Duration::from_secs(30),
        semi_sync: false,
        user_variables: Vec::new(),
    };
    connection.register_replica(&replica).await?;
    Ok(connection.dump_gtid(&has.to_wire(), flags).await?)
}

/// Reads all there is; seconds.
pub(super) async fn read_all(options: &ConnectOptions) -> Result<f64> {
    let began = Instant::now();
    let flags = DumpFlags::NON_BLOCK | DumpFlags::HEARTBEAT_V2;
    let mut stream = dump(options, &GtidSet::new(), flags).await?;
    loop {
        match stream.next().await {
            Ok(_) => {}
            Err(wire::Error::EndOfStream) => return Ok(began.elapsed().as_secs_f64()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads until so many bytes of events have come.
pub(super) async fn read_bytes(stream: &mut EventStream, bytes: u64) -> Result<()> {
    let mut read = 0;
    while read < bytes {
        read += stream.next().await?.event.len() as u64;
    }
    Ok(())
}
