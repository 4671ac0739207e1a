//! The short answers to a command: OK, ERR, EOF.

use crate::constants::{header, session_state, status};
use crate::cursor::{Cursor, Malformed};
use crate::encode::put_lenenc;
use crate::{Error, ResultSet, ServerError};

/// What an OK packet tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OkInfo {
    /// Rows changed (not: rows found).
    pub affected_rows: u64,
    /// The last value of an AUTO_INCREMENT column.
    pub last_insert_id: u64,
    /// `SERVER_STATUS_…` flags.
    pub status_flags: u16,
    /// How many warnings `SHOW WARNINGS` would list.
    pub warnings: u16,
}

impl OkInfo {
    /// Whether a transaction is open in the session.
    pub fn in_transaction(&self) -> bool {
        self.status_flags & 0x0001 != 0
    }

    pub(crate) fn more_results(&self) -> bool {
        self.status_flags & status::MORE_RESULTS_EXISTS != 0
    }

    /// Parses what follows the header byte of an OK packet.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(body);
        Ok(Self {
            affected_rows: cursor.lenenc()?,
            last_insert_id: cursor.lenenc()?,
            status_flags: cursor.u16()?,
            warnings: cursor.u16()?,
        })
    }

    /// The GTIDs that an OK packet tells of: those of the session's own transactions, where it was asked to by
    /// `session_track_gtids = OWN_GTID`. For connections with `CLIENT_SESSION_TRACK` only.
    /// `sql/session_tracker.cc`, class `Session_gtids_tracker`.
    pub(crate) fn own_gtids(&self, body: &[u8]) -> Result<Option<String>, Malformed> {
        if self.status_flags & status::SESSION_STATE_CHANGED == 0 {
            return Ok(None);
        }
        let mut cursor = Cursor::new(body);
        let _counts_and_flags = (cursor.lenenc()?, cursor.lenenc()?, cursor.u32()?);
        let _message = cursor.lenenc_bytes()?;
        let mut states = Cursor::new(cursor.lenenc_bytes()?);
        while !states.is_empty() {
            let (kind, value) = (states.u8()?, states.lenenc_bytes()?);
            if kind == session_state::GTIDS {
                let mut value = Cursor::new(value);
                let _encoding = value.u8()?;
                return Ok(Some(String::from_utf8_lossy(value.lenenc_bytes()?).into_owned()));
            }
        }
        Ok(None)
    }

    /// Parses what follows the header byte of an EOF packet, the old kind.
    pub(crate) fn parse_eof(body: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(body);
        Ok(Self { warnings: cursor.u16()?, status_flags: cursor.u16()?, ..Self::default() })
    }

    /// An OK packet under this header byte: 0x00, or 0xFE where it ends a result set.
    pub(crate) fn encode(&self, header: u8) -> Vec<u8> {
        let mut out = vec![header];
        put_lenenc(&mut out, self.affected_rows);
        put_lenenc(&mut out, self.last_insert_id);
        out.extend_from_slice(&self.status_flags.to_le_bytes());
        out.extend_from_slice(&self.warnings.to_le_bytes());
        out
    }

    /// An EOF packet, the old kind.
    pub(crate) fn encode_eof(&self) -> Vec<u8> {
        let [warnings_a, warnings_b] = self.warnings.to_le_bytes();
        let [status_a, status_b] = self.status_flags.to_le_bytes();
        vec![header::EOF, warnings_a, warnings_b, status_a, status_b]
    }
}

impl ServerError {
    /// Parses what follows the header byte of an ERR packet. Before the login the SQLSTATE is missing.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(body);
        let code = cursor.u16()?;
        let mut sqlstate = "HY000".to_owned();
        if let Some((b"#", _)) = cursor.rest().split_at_checked(1) {
            cursor.take(1)?;
            sqlstate = String::from_utf8_lossy(cursor.take(5)?).into_owned();
        }
        Ok(Self { code, sqlstate, message: String::from_utf8_lossy(cursor.rest()).into_owned() })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![header::ERR];
        out.extend_from_slice(&self.code.to_le_bytes());
        out.push(b'#');
        let state = self.sqlstate.as_bytes();
        out.extend((0..5).map(|i| state.get(i).copied().unwrap_or(b'0')));
        out.extend_from_slice(self.message.as_bytes());
        out
    }
}

/// What a statement gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It was done.
    Ok(OkInfo),
    /// It gave rows, maybe none.
    Rows(ResultSet),
}

/// The error for a packet that is none of the answers expected.
pub(crate) fn unexpected(packet: &[u8], wanted: &str) -> Error {
    match packet.first() {
        Some(first) => Error::protocol(format!("answer begins with {first:#04x} where {wanted} belongs")),
        None => Error::protocol(format!("empty packet where {wanted} belongs")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn an_ok_comes_back(affected_rows in any::<u64>(), last_insert_id in any::<u64>(), status_flags in any::<u16>(), warnings in any::<u16>()) {
            let ok = OkInfo { affected_rows, last_insert_id, status_flags, warnings };
            prop_assert_eq!(OkInfo::parse(&ok.encode(0)[1..]), Ok(ok));
            let eof = OkInfo::parse_eof(&ok.encode_eof()[1..]).unwrap();
            prop_assert_eq!((eof.status_flags, eof.warnings), (status_flags, warnings));
        }

        #[test]
        fn an_error_comes_back(code in any::<u16>(), sqlstate in "[0-9A-Z]{5}", message in ".{0,80}") {
            let error = ServerError::new(code, sqlstate, message);
            prop_assert_eq!(ServerError::parse(&error.encode()[1..]), Ok(error));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = OkInfo::parse(&bytes);
            let _ = OkInfo::parse_eof(&bytes);
            let _ = ServerError::parse(&bytes);
            prop_assert!(true);
        }
    }

    #[test]
    fn a_commits_own_gtid_is_read_from_behind_other_state() {
        // Nothing changed, status 0x4002, no message; then a changed schema, then GTIDs in encoding 0.
        let body =
            [&[0, 0, 0x02, 0x40, 0, 0, 0, 16][..], &[1, 5, 4], b"shop", &[3, 7, 0, 5], b"abc:1"].concat();
        let ok = OkInfo::parse(&body).unwrap();
        assert_eq!(ok.own_gtids(&body), Ok(Some("abc:1".into())));
        let quiet = OkInfo { status_flags: 2, ..ok };
        assert_eq!(quiet.own_gtids(&body), Ok(None));
        assert!(ok.own_gtids(&body[..12]).is_err());
    }

    #[test]
    fn an_error_from_before_the_login_has_no_sqlstate() {
        let error = ServerError::parse(b"\x10\x04Too many connections").unwrap();
        assert_eq!((error.code, error.sqlstate.as_str()), (1040, "HY000"));
        assert_eq!(error.message, "Too many connections");
    }
}
