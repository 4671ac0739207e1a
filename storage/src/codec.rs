//! The index's records as bytes: a version byte, then the record in bincode.
//!
//! The index is rebuilt from the segments when it is lost, so a record that can't be read (another version,
//! a byte too many, too large) is simply not there. A record's layout is frozen by its version: to change
//! one, add a version, never edit it. The tests hold golden bytes.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::{Decode, Encode};

/// Values stay below this: sled keeps larger pages in files of their own, which it never flushes.
pub(crate) const LIMIT: usize = 4096;

/// The version all records have now.
const VERSION: u8 = 1;

/// A finished segment.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SegmentRecord {
    /// Bytes of the file.
    pub(crate) end: u64,
    /// The end in the source's file.
    pub(crate) source_end: u64,
    /// Commit time of the first transaction, microseconds since 1970.
    pub(crate) first_commit: u64,
    /// Commit time of the last.
    pub(crate) last_commit: u64,
}

/// A place between two transactions; segment and offset are its key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct PlaceRecord {
    /// The place in the source's file.
    pub(crate) source_position: u64,
    /// The transactions before it that the segment added, in the form they have on the wire.
    pub(crate) added: Vec<u8>,
}

/// What a downstream has acknowledged; its name is the key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct AcknowledgedRecord {
    /// The first segment it may still need.
    pub(crate) needs: u64,
    /// Where it told so: the source's uuid, file and position. Empty file when it told a GTID set.
    pub(crate) server_uuid: [u8; 16],
    /// The source's file.
    pub(crate) file: String,
    /// The position in it.
    pub(crate) position: u64,
}

fn config() -> Configuration<LittleEndian, Fixint, Limit<LIMIT>> {
    bincode::config::standard().with_little_endian().with_fixed_int_encoding().with_limit::<LIMIT>()
}

/// The record as bytes; `None` when it is too large to be kept.
pub(crate) fn encode(record: &impl Encode) -> Option<Vec<u8>> {
    let mut bytes = vec![VERSION];
    bincode::encode_into_std_write(record, &mut bytes, config()).ok()?;
    (bytes.len() <= LIMIT).then_some(bytes)
}

/// The record in these bytes; `None` when they are none.
pub(crate) fn decode<R: Decode<()>>(bytes: &[u8]) -> Option<R> {
    let (version, body) = bytes.split_first()?;
    if *version != VERSION || bytes.len() > LIMIT {
        return None;
    }
    let (record, read) = bincode::decode_from_slice(body, config()).ok()?;
    (read == body.len()).then_some(record)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{AcknowledgedRecord, LIMIT, PlaceRecord, SegmentRecord, decode, encode};

    #[test]
    fn records_of_version_one_have_these_bytes() {
        let place = PlaceRecord { source_position: 0x0102, added: vec![7, 8] };
        let golden = [1, 2, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7, 8];
        assert_eq!(encode(&place).unwrap(), golden);
        assert_eq!(decode(&golden), Some(place));
        let segment = SegmentRecord { end: 1, source_end: 2, first_commit: 3, last_commit: 4 };
        let mut golden = vec![1];
        golden.extend([1u64, 2, 3, 4].into_iter().flat_map(u64::to_le_bytes));
        assert_eq!(encode(&segment).unwrap(), golden);
        assert_eq!(decode(&golden), Some(segment));
        let ack = AcknowledgedRecord { needs: 5, server_uuid: [9; 16], file: "b.1".into(), position: 6 };
        let mut golden = vec![1, 5, 0, 0, 0, 0, 0, 0, 0];
        golden.extend([9; 16]);
        golden.extend([3, 0, 0, 0, 0, 0, 0, 0, b'b', b'.', b'1', 6, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(encode(&ack).unwrap(), golden);
        assert_eq!(decode(&golden), Some(ack));
    }

    #[test]
    fn another_version_and_a_byte_too_many_are_no_record() {
        let golden =
            encode(&SegmentRecord { end: 1, source_end: 2, first_commit: 3, last_commit: 4 }).unwrap();
        let mut other = golden.clone();
        other[0] = 2;
        assert_eq!(decode::<SegmentRecord>(&other), None);
        let mut long = golden;
        long.push(0);
        assert_eq!(decode::<SegmentRecord>(&long), None);
        assert_eq!(decode::<SegmentRecord>(&[]), None);
    }

    #[test]
    fn a_set_that_is_too_large_is_not_kept() {
        assert_eq!(encode(&PlaceRecord { source_position: 0, added: vec![0; LIMIT] }), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_none(bytes: Vec<u8>, huge in any::<u64>()) {
            let _ = decode::<PlaceRecord>(&bytes);
            let _ = decode::<AcknowledgedRecord>(&bytes);
            let mut claims = vec![1; 9];
            claims.extend(huge.to_le_bytes());
            claims.extend(&bytes);
            let _ = decode::<PlaceRecord>(&claims);
        }
    }
}
