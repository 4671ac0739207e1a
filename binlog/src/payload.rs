//! A compressed transaction: `binlog_transaction_compression` puts all events behind the GTID into one.
//!
//! ```text
//! { field: length-encoded  length: length-encoded  value }*   1 size, 2 algorithm, 3 uncompressed size
//! 0                                                            end of the fields
//! payload
//! ```
//! Algorithm 0 is zstd, 255 none. The events inside carry no checksum, whatever their header's file says.
//! `libs/mysql/binlog/event/control_events.h`, `Transaction_payload_event`.

use std::io::Read;

use bytes::Buf;

use crate::event::{Event, EventError, EventKind, HEADER_LENGTH, read_length_encoded, u32_at};

/// Why a payload can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The event itself is malformed, or one inside it.
    #[error(transparent)]
    Event(#[from] EventError),
    /// Compressed in a way that is not known.
    #[error("transaction payload is compressed with an unknown algorithm: {0}")]
    Algorithm(u64),
    /// Larger than the limit.
    #[error("transaction payload has more than {0} bytes")]
    TooLarge(u64),
    /// The compressed bytes are damaged.
    #[error("transaction payload can't be decompressed")]
    Decompress(#[source] std::io::Error),
}

/// The events inside, each with a checksum of its own. No more than `limit` bytes are unpacked.
pub fn open(event: &Event, limit: u64) -> Result<Vec<Event>, PayloadError> {
    let (algorithm, packed) = fields(event)?;
    let plain = match algorithm {
        0 => unpack(packed, limit)?,
        255 => packed.to_vec(),
        other => return Err(PayloadError::Algorithm(other)),
    };
    let (mut rest, mut events) = (plain.as_slice(), Vec::new());
    while !rest.is_empty() {
        if rest.len() < HEADER_LENGTH {
            return Err(EventError::Truncated(rest.len()).into());
        }
        let said = u32_at(rest, 9);
        let (one, tail) =
            rest.split_at_checked(said as usize).ok_or(EventError::Size { said, has: rest.len() })?;
        events.push(Event::from_unchecksummed(one)?);
        rest = tail;
    }
    Ok(events)
}

fn unpack(packed: &[u8], limit: u64) -> Result<Vec<u8>, PayloadError> {
    let reader = zstd::Decoder::with_buffer(packed).map_err(PayloadError::Decompress)?;
    let mut plain = Vec::new();
    reader.take(limit + 1).read_to_end(&mut plain).map_err(PayloadError::Decompress)?;
    if plain.len() as u64 > limit { Err(PayloadError::TooLarge(limit)) } else { Ok(plain) }
}

fn fields(event: &Event) -> Result<(u64, &[u8]), EventError> {
    let bad = || event.malformed("its fields");
    if event.kind() != EventKind::TransactionPayload {
        return Err(bad());
    }
    let (mut body, mut algorithm) = (event.body(), 255);
    loop {
        let field = read_length_encoded(&mut body).ok_or_else(bad)?;
        if field == 0 {
            return Ok((algorithm, body));
        }
        let length = read_length_encoded(&mut body).and_then(|n| usize::try_from(n).ok()).ok_or_else(bad)?;
        let mut value = body.get(..length).ok_or_else(bad)?;
        if field == 2 {
            algorithm = read_length_encoded(&mut value).ok_or_else(bad)?;
        }
        body.advance(length);
    }
}

#[cfg(test)]
mod tests {
    use super::{PayloadError, open};
    use crate::event::{Event, EventKind, Header};

    fn header(kind: EventKind) -> Header {
        Header { timestamp: 1, kind, server_id: 1, log_pos: 0, flags: 0 }
    }

    /// An event without its checksum, as a payload holds it.
    fn bare(event: &Event) -> Vec<u8> {
        let mut bytes = event.bytes()[..event.bytes().len() - 4].to_vec();
        let size = u32::try_from(bytes.len()).unwrap();
        bytes[9..13].copy_from_slice(&size.to_le_bytes());
        bytes
    }

    fn payload(algorithm: u8, plain: &[u8]) -> Event {
        let packed = if algorithm == 0 { zstd::encode_all(plain, 1).unwrap() } else { plain.to_vec() };
        let value = if algorithm > 250 { vec![0xfc, algorithm, 0] } else { vec![algorithm] };
        let length = u8::try_from(value.len()).unwrap();
        let body = [&[2, length][..], &value, &[0], &packed].concat();
        Event::build(&header(EventKind::TransactionPayload), &body)
    }

    #[test]
    fn the_events_inside_come_out_with_checksums_compressed_or_not() {
        let events = [
            Event::build(&header(EventKind::RowsQuery), b"\x03abc"),
            Event::build(&header(EventKind::Xid), &[0; 8]),
        ];
        let plain: Vec<u8> = events.iter().flat_map(bare).collect();
        assert_eq!(open(&payload(0, &plain), 1 << 20).unwrap(), events);
        assert_eq!(open(&payload(255, &plain), 1 << 20).unwrap(), events);
        assert!(matches!(open(&payload(0, &plain), 10), Err(PayloadError::TooLarge(10))));
        assert!(matches!(open(&payload(7, &plain), 10), Err(PayloadError::Algorithm(7))));
        assert!(matches!(open(&payload(0, &plain[..plain.len() - 1]), 1 << 20), Err(PayloadError::Event(_))));
    }
}
