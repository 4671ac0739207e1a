//! A stock MySQL replica of a relay (or of another server).

use std::time::Duration;

use crate::{LoneRelay, Region, difference, until};

/// For it to be equal to what it follows.
const SOON: Duration = Duration::from_secs(90);

/// Lines of a replica's error log that say nothing bad.
const USUAL: [&str; 4] = [
    // Its password is stored in its own tables, as everywhere in these tests.
    "MY-010897",
    // Its certificate is self-signed, its folder is in a temporary place.
    "MY-010068",
    "MY-011810",
    // `--skip-name-resolve`, `--skip-replica-start` and the like, said once at start.
    "MY-013360",
];

/// Makes a server a replica by GTIDs of `127.0.0.1:port`; `more` are further settings, for example `SOURCE_SSL = 1`.
pub async fn replicate(replica: &Region, port: u16, user: &str, password: &str, more: &str) {
    let password = password.replace('\'', "''");
    replica
        .run_all(&[
            format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, SOURCE_USER = '{user}', \
                 SOURCE_PASSWORD = '{password}', SOURCE_AUTO_POSITION = 1, SOURCE_HEARTBEAT_PERIOD = 1, \
                 SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 1000, {more}"
            ),
            "START REPLICA".to_owned(),
        ])
        .await;
}

/// Makes a server a replica of a relay.
pub async fn replicate_relay(replica: &Region, relay: &LoneRelay, more: &str) {
    let (user, password) = relay.account();
    replicate(replica, relay.port(), user, password, more).await;
}

/// Waits until the replica has all that the source has, and the same rows.
pub async fn wait_equal(source: &Region, replica: &Region) {
    let schemas = ["shop".to_owned()];
    let executed = source.executed().await;
    until("the replica is equal", SOON, async || {
        if !replica.executed().await.contains_all(&executed) {
            return Err(format!("it lacks transactions\n{}", replica_state(replica).await));
        }
        let equal = Box::pin(difference(source, replica, &schemas)).await;
        match equal {
            Ok(()) => Ok(()),
            Err(text) => Err(format!("{text}\n{}", replica_state(replica).await)),
        }
    })
    .await;
}

/// What the replica's threads say.
pub async fn replica_state(replica: &Region) -> String {
    let connection: Vec<(String, u32, String)> = replica
        .rows(
            "SELECT service_state, last_error_number, last_error_message \
             FROM performance_schema.replication_connection_status",
        )
        .await;
    let workers: Vec<(String, u32, String)> = replica
        .rows(
            "SELECT service_state, last_error_number, last_error_message \
             FROM performance_schema.replication_applier_status_by_worker",
        )
        .await;
    format!("connection: {connection:?}; workers: {workers:?}")
}

/// Errors and warnings in the server's error log from `from` bytes on, the usual ones left out.
pub fn complaints(region: &Region, from: usize) -> Vec<String> {
    let log = error_log(region);
    let is_complaint = |line: &&str| line.contains("[ERROR]") || line.contains("[Warning]");
    let lines = log.get(from..).unwrap_or_default().lines().filter(is_complaint);
    lines.filter(|line| !USUAL.iter().any(|usual| line.contains(usual))).map(str::to_owned).collect()
}

/// The server's error log.
pub fn error_log(region: &Region) -> String {
    std::fs::read_to_string(region.datadir().join("mysqld.log")).unwrap_or_default()
}
