//! A session in a region: it asks so that answers are exact, and comes back when the connection breaks.

use std::time::Duration;

use tokio::time::Instant;
use wire::{ConnectOptions, Connection, ResultSet};

use super::Error;

/// Each has a reason: no mode that pads, quotes or refuses old values; UTC; values in their own character sets, not
/// converted for the client; short lock waits, because what waits for a lock is done again.
const SETTINGS: &str = "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', time_zone = '+00:00', \
    character_set_client = utf8mb4, collation_connection = utf8mb4_0900_ai_ci, character_set_results = NULL, \
    transaction_isolation = 'READ-COMMITTED', autocommit = ON, max_execution_time = 0, innodb_lock_wait_timeout = 5, \
    lock_wait_timeout = 60, wait_timeout = 28800, net_read_timeout = 600, net_write_timeout = 600";

/// The inline part of a row's checksum stays well below this.
const LEAST_PACKET: u64 = 1 << 20;
/// How long a server that went away is looked for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// How to reach a region's server.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) region: String,
    pub(super) addresses: Vec<ConnectOptions>,
}

/// A session in one region.
pub(super) struct Session {
    place: Place,
    connection: Connection,
}

impl Session {
    pub(super) async fn open(place: &Place) -> Result<Self, Error> {
        let connection = Box::pin(connect(place)).await?;
        Ok(Self { place: place.clone(), connection })
    }

    /// The region's name.
    pub(super) fn region(&self) -> &str {
        &self.place.region
    }

    /// For what must not be asked twice: a transaction is on this connection or nowhere.
    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Asks; when the connection breaks, asks again on a new one. Only for what may be asked twice.
    pub(super) async fn ask(&mut self, doing: &str, sql: &str) -> Result<ResultSet, Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let error = match self.connection.query_rows(sql).await {
                Ok(rows) => return Ok(rows),
                Err(error) => Error::wire(self.region(), doing)(error),
            };
            self.mend(error, deadline).await?;
        }
    }

    /// Runs a statement without rows, as [`Self::ask`] asks.
    pub(super) async fn run(&mut self, doing: &str, sql: &str) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let error = match self.connection.execute(sql).await {
                Ok(_) => return Ok(()),
                Err(error) => Error::wire(self.region(), doing)(error),
            };
            self.mend(error, deadline).await?;
        }
    }

    /// A new connection after an error that passes, within the deadline; else the error.
    async fn mend(&mut self, error: Error, deadline: Instant) -> Result<(), Error> {
        if !error.is_transient() || Instant::now() >= deadline {
            return Err(error);
        }
        tracing::warn!(region = self.region(), %error, "asking again");
        loop {
            tokio::time::sleep(PAUSE).await;
            match Box::pin(connect(&self.place)).await {
                Ok(connection) => {
                    self.connection = connection;
                    return Ok(());
                }
                Err(again) if !again.is_transient() || Instant::now() >= deadline => return Err(again),
                Err(_) => {}
            }
        }
    }
}

async fn connect(place: &Place) -> Result<Connection, Error> {
    let region = place.region.as_str();
    let mut last = None;
    for options in &place.addresses {
        match Connection::connect(options).await {
            Ok(mut connection) => {
                let settings = connection.execute(SETTINGS).await;
                settings.map_err(Error::wire(region, "preparing a session"))?;
                check_packet(region, &mut connection).await?;
                return Ok(connection);
            }
            Err(error) => last = Some(error),
        }
    }
    let none = || wire::Error::Invalid { what: "no address is configured".into() };
    Err(Error::wire(region, "connecting")(last.unwrap_or_else(none)))
}

async fn check_packet(region: &str, connection: &mut Connection) -> Result<(), Error> {
    let doing = "reading its settings";
    let rows = connection.query_rows("SELECT @@max_allowed_packet").await;
    let text = rows.and_then(|rows| rows.single_text()).map_err(Error::wire(region, doing))?;
    let value = text.parse().map_err(|_| Error::answer(region, doing, &text))?;
    if value < LEAST_PACKET {
        return Err(Error::Packet { region: region.into(), value, wanted: LEAST_PACKET });
    }
    Ok(())
}
