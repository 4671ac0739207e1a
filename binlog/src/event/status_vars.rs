//! The session settings a query event carries, so that a statement means the same when run again.
//!
//! A run of `code:u8 value`, where the code tells the value's length: `Query_event`,
//! `libs/mysql/binlog/event/statement_events.h`. A code that is not known ends the reading: the rest
//! can't be measured; [`StatusVars::complete`] then says so.

use bytes::Buf;

/// Settings of the session that ran a statement; `None` where the event does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusVars {
    /// `foreign_key_checks`, `unique_checks`, `sql_auto_is_null`, `autocommit`: the server's option bits.
    pub option_bits: Option<u32>,
    /// `sql_mode`, as bits.
    pub sql_mode: Option<u64>,
    /// `auto_increment_increment` and `auto_increment_offset`.
    pub auto_increment: Option<(u16, u16)>,
    /// Collation ids of `character_set_client`, `collation_connection`, `collation_server`.
    pub charsets: Option<(u16, u16, u16)>,
    /// `time_zone`.
    pub time_zone: Option<String>,
    /// `lc_time_names`, the server's number.
    pub lc_time_names: Option<u16>,
    /// `collation_database`, a collation id.
    pub collation_database: Option<u16>,
    /// Who ran it, where that matters: user and host.
    pub invoker: Option<(String, String)>,
    /// Databases it touches; `None` when there are too many to list.
    pub databases: Option<Vec<String>>,
    /// The fraction of the statement's time, microseconds.
    pub microseconds: Option<u32>,
    /// `explicit_defaults_for_timestamp`.
    pub explicit_defaults_for_timestamp: Option<bool>,
    /// The transaction id of an atomic DDL.
    pub ddl_xid: Option<u64>,
    /// `default_collation_for_utf8mb4`, a collation id.
    pub default_collation_for_utf8mb4: Option<u16>,
    /// `sql_require_primary_key`.
    pub sql_require_primary_key: Option<bool>,
    /// `default_table_encryption`.
    pub default_table_encryption: Option<bool>,
    /// Was everything understood?
    pub complete: bool,
}

/// Option bit: `foreign_key_checks = 0`.
pub const OPTION_NO_FOREIGN_KEY_CHECKS: u32 = 1 << 26;
/// Option bit: `unique_checks = 0`.
pub const OPTION_RELAXED_UNIQUE_CHECKS: u32 = 1 << 27;

impl StatusVars {
    /// Decodes them.
    pub fn parse(mut bytes: &[u8]) -> Self {
        let mut vars = Self::default();
        while bytes.has_remaining() {
            if vars.read_one(&mut bytes).is_none() {
                return vars;
            }
        }
        vars.complete = true;
        vars
    }

    fn read_one(&mut self, bytes: &mut &[u8]) -> Option<()> {
        match bytes.get_u8() {
            0 => self.option_bits = Some(bytes.try_get_u32_le().ok()?),
            1 => self.sql_mode = Some(bytes.try_get_u64_le().ok()?),
            2 => {
                text(bytes)?;
                bytes.try_get_u8().ok()?;
            }
            3 => self.auto_increment = Some((bytes.try_get_u16_le().ok()?, bytes.try_get_u16_le().ok()?)),
            4 => {
                let mut next = || bytes.try_get_u16_le().ok();
                self.charsets = Some((next()?, next()?, next()?));
            }
            5 => self.time_zone = Some(text(bytes)?),
            6 => _ = text(bytes)?,
            7 => self.lc_time_names = Some(bytes.try_get_u16_le().ok()?),
            8 => self.collation_database = Some(bytes.try_get_u16_le().ok()?),
            9 => _ = bytes.try_get_u64_le().ok()?,
            10 => _ = bytes.try_get_u32_le().ok()?,
            11 => self.invoker = Some((text(bytes)?, text(bytes)?)),
            12 => self.databases = databases(bytes)?,
            13 => self.microseconds = Some(u32::try_from(bytes.try_get_uint_le(3).ok()?).ok()?),
            16 => self.explicit_defaults_for_timestamp = Some(bytes.try_get_u8().ok()? != 0),
            17 => self.ddl_xid = Some(bytes.try_get_u64_le().ok()?),
            18 => self.default_collation_for_utf8mb4 = Some(bytes.try_get_u16_le().ok()?),
            19 => self.sql_require_primary_key = Some(bytes.try_get_u8().ok()? != 0),
            20 => self.default_table_encryption = Some(bytes.try_get_u8().ok()? != 0),
            _ => return None,
        }
        Some(())
    }
}

/// A length byte and as many bytes of text.
fn text(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::from(bytes.try_get_u8().ok()?);
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(String::from_utf8_lossy(head).into_owned())
}

/// A count and as many NUL-terminated names; the count 254 stands for "too many".
#[expect(clippy::option_option, reason = "outside: malformed; inside: too many to list")]
fn databases(bytes: &mut &[u8]) -> Option<Option<Vec<String>>> {
    let count = bytes.try_get_u8().ok()?;
    if count == 254 {
        return Some(None);
    }
    let mut names = Vec::new();
    for _ in 0..count {
        let end = bytes.iter().position(|b| *b == 0)?;
        names.push(String::from_utf8_lossy(&bytes[..end]).into_owned());
        bytes.advance(end + 1);
    }
    Some(Some(names))
}
