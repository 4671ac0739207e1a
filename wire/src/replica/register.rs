//! The questions and settings before a dump.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BufMut;
use uuid::Uuid;

use crate::constants::command;
use crate::{Connection, Error};

/// How we present ourselves to a source.
#[derive(Clone, Debug)]
pub struct ReplicaOptions {
    /// Our server id: not zero, and no other server's of the same topology.
    pub server_id: u32,
    /// Our server uuid. A source ends an older dump of the same uuid.
    pub uuid: Uuid,
    /// What `SHOW REPLICAS` shows as our host; may be empty. At most 60 bytes.
    pub report_host: String,
    /// And as our port.
    pub report_port: u16,
    /// How often an idle source is to send a heartbeat. Zero: never, and silence goes unnoticed.
    pub heartbeat_period: Duration,
    /// Ask for semi-synchronous replication: the source marks the events it wants acknowledged.
    pub semi_sync: bool,
    /// Further user variables to set before the dump: name without `@`, text.
    pub user_variables: Vec<(String, String)>,
}

/// `binlog_checksum` of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// New events have none.
    None,
    /// A CRC32 behind each event.
    Crc32,
}

/// What a source says of itself.
#[derive(Clone, Debug)]
pub struct SourceInfo {
    /// Its server id. One that is ours too is for the caller to refuse.
    pub server_id: u32,
    /// Its server uuid.
    pub server_uuid: Uuid,
    /// `gtid_mode`: `ON`, `OFF`, `ON_PERMISSIVE`, `OFF_PERMISSIVE`.
    pub gtid_mode: String,
    /// Its current setting; what holds for an event is in the format description before it.
    pub checksum: Checksum,
    /// Its clock minus ours, in seconds; a second either way is rounding.
    pub clock_skew_seconds: i64,
    /// Semi-sync was asked for and the source has it: [`crate::AckSender::acknowledge`] is listened to.
    pub semi_sync: bool,
}

/// What a dump on this connection goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registered {
    pub(crate) server_id: u32,
    pub(crate) heartbeat_period: Duration,
    pub(crate) semi_sync: bool,
}

/// Unknown system variable.
const ER_UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;

/// MySQL's own upper limit for a heartbeat period, in seconds.
const MAX_HEARTBEAT: u64 = 4_294_967;

/// MySQL cuts `report_host` here.
const MAX_HOST: usize = 60;

impl Connection {
    /// Does what a replica does before it asks for events. Not cancellation safe.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for options that can't be; [`Error::Server`] where the source refuses, 1227
    /// or 1045 where the account lacks REPLICATION SLAVE.
    pub async fn register_replica(&mut self, options: &ReplicaOptions) -> Result<SourceInfo, Error> {
        check(options)?;
        let clock_skew_seconds = self.clock_skew().await?;
        let server_id = self.global("server_id").await?;
        let server_id =
            server_id.parse().map_err(|_| Error::protocol(format!("not a server id: `{server_id}`")))?;
        let period = options.heartbeat_period.as_nanos();
        self.execute(format!("SET @master_heartbeat_period = {period}, @source_heartbeat_period = {period}"))
            .await?;
        self.execute("SET @master_binlog_checksum = 'CRC32', @source_binlog_checksum = 'CRC32'").await?;
        let checksum = match self.global("binlog_checksum").await?.as_str() {
            "CRC32" => Checksum::Crc32,
            "NONE" => Checksum::None,
            other => return Err(Error::protocol(format!("unknown binlog_checksum: `{other}`"))),
        };
        let gtid_mode = self.global("gtid_mode").await?;
        let server_uuid = self.global("server_uuid").await?;
        let server_uuid = Uuid::parse_str(&server_uuid)
            .map_err(|_| Error::protocol(format!("not a server uuid: `{server_uuid}`")))?;
        let uuid = options.uuid;
        self.execute(format!("SET @slave_uuid = '{uuid}', @replica_uuid = '{uuid}'")).await?;
        for (name, value) in &options.user_variables {
            let value = quote(value, self.no_backslash_escapes());
            self.execute(format!("SET @{name} = {value}")).await?;
        }
        let semi_sync = options.semi_sync && self.request_semi_sync().await?;
        self.command_ok("register replica", &[&encode_register(options)]).await?;
        self.registered = Some(Registered {
            server_id: options.server_id,
            heartbeat_period: options.heartbeat_period,
            semi_sync,
        });
        Ok(SourceInfo { server_id, server_uuid, gtid_mode, checksum, clock_skew_seconds, semi_sync })
    }

    async fn global(&mut self, variable: &str) -> Result<String, Error> {
        self.query_rows(format!("SELECT @@global.{variable}")).await?.single_text()
    }

    async fn clock_skew(&mut self) -> Result<i64, Error> {
        let text = self.query_rows("SELECT UNIX_TIMESTAMP()").await?.single_text()?;
        let theirs: i64 = text.parse().map_err(|_| Error::protocol(format!("not a timestamp: `{text}`")))?;
        let ours = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Ok(theirs.saturating_sub(i64::try_from(ours).unwrap_or(i64::MAX)))
    }

    /// Whether the source has semi-sync; it is asked for then. Its variable has had two names.
    async fn request_semi_sync(&mut self) -> Result<bool, Error> {
        for variable in ["rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled"] {
            match self.global(variable).await {
                Ok(_) => {
                    self.execute("SET @rpl_semi_sync_slave = 1, @rpl_semi_sync_replica = 1").await?;
                    return Ok(true);
                }
                Err(error) if error.code() == Some(ER_UNKNOWN_SYSTEM_VARIABLE) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

fn check(options: &ReplicaOptions) -> Result<(), Error> {
    if options.server_id == 0 {
        return Err(Error::invalid("server_id is 0, which no replica may have"));
    }
    if options.report_host.len() > MAX_HOST {
        return Err(Error::invalid(format!(
            "report_host is longer than 60 bytes: `{}`",
            options.report_host
        )));
    }
    let period = options.heartbeat_period;
    if period > Duration::from_secs(MAX_HEARTBEAT) || (!period.is_zero() && period.as_millis() == 0) {
        return Err(Error::invalid(format!("heartbeat period is not within 1 ms and 4294967 s: {period:?}")));
    }
    for (name, _) in &options.user_variables {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$');
        if name.is_empty() || !name.chars().all(fits) {
            return Err(Error::invalid(format!("not the name of a user variable: `{name}`")));
        }
    }
    Ok(())
}

/// A text as SQL literal.
fn quote(text: &str, no_backslash_escapes: bool) -> String {
    let text = text.replace('\'', "''");
    let text = if no_backslash_escapes { text } else { text.replace('\\', "\\\\") };
    format!("'{text}'")
}

/// COM_REGISTER_SLAVE: server id, host, user, password, port, rank, source's id. User and password are
/// shown to whoever looks at the source, so they stay empty.
fn encode_register(options: &ReplicaOptions) -> Vec<u8> {
    let mut out = vec![command::REGISTER_REPLICA];
    out.put_u32_le(options.server_id);
    // `check` has bounded the length.
    out.put_u8(u8::try_from(options.report_host.len()).unwrap_or(0));
    out.put_slice(options.report_host.as_bytes());
    out.put_slice(&[0, 0]);
    out.put_u16_le(options.report_port);
    out.put_u32_le(0);
    out.put_u32_le(0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> ReplicaOptions {
        ReplicaOptions {
            server_id: 7,
            uuid: Uuid::nil(),
            report_host: "relay".into(),
            report_port: 3407,
            heartbeat_period: Duration::from_secs(1),
            semi_sync: false,
            user_variables: vec![],
        }
    }

    #[test]
    fn options_that_cannot_be_are_refused_by_name() {
        assert!(check(&options()).is_ok());
        for bad in [
            ReplicaOptions { server_id: 0, ..options() },
            ReplicaOptions { report_host: "x".repeat(61), ..options() },
            ReplicaOptions { heartbeat_period: Duration::from_nanos(5), ..options() },
            ReplicaOptions { heartbeat_period: Duration::from_secs(5_000_000), ..options() },
            ReplicaOptions { user_variables: vec![("a = 1; DROP".into(), String::new())], ..options() },
            ReplicaOptions { user_variables: vec![(String::new(), String::new())], ..options() },
        ] {
            assert!(matches!(check(&bad), Err(Error::Invalid { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_text_cannot_leave_its_literal() {
        assert_eq!(quote(r"it's \", false), r"'it''s \\'");
        assert_eq!(quote(r"it's \", true), r"'it''s \'");
    }

    #[test]
    fn the_registration_has_the_layout_of_the_protocol() {
        assert_eq!(encode_register(&options()), b"\x15\x07\0\0\0\x05relay\0\0\x4f\x0d\0\0\0\0\0\0\0\0");
    }
}
