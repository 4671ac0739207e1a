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
    /// An event in it is larger than the limit.
    #[error("transaction payload has an event of more than {0} bytes")]
    TooLarge(usize),
    /// The compressed bytes are damaged.
    #[error("transaction payload can't be decompressed")]
    Decompress(#[source] std::io::Error),
}

/// The events inside, each with a checksum of its own, unpacked one after the other. None may be larger than `limit`
/// bytes.
pub fn open(event: &Event, limit: usize) -> Result<Events<'_>, PayloadError> {
    let (algorithm, packed) = fields(event)?;
    let plain: Box<dyn Read + Send + '_> = match algorithm {
        0 => Box::new(zstd::Decoder::with_buffer(packed).map_err(PayloadError::Decompress)?),
        255 => Box::new(packed),
        other => return Err(PayloadError::Algorithm(other)),
    };
    Ok(Events { plain, limit })
}

/// The events of a payload.
pub struct Events<'a> {
    plain: Box<dyn Read + Send + 'a>,
    limit: usize,
}

impl Iterator for Events<'_> {
    type Item = Result<Event, PayloadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

impl Events<'_> {
    /// The next event; `None` at the payload's end.
    fn read(&mut self) -> Result<Option<Event>, PayloadError> {
        let mut one = Vec::with_capacity(HEADER_LENGTH);
        self.take(&mut one, HEADER_LENGTH)?;
        if one.is_empty() {
            return Ok(None);
        }
        if one.len() < HEADER_LENGTH {
            return Err(EventError::Truncated(one.len()).into());
        }
        let said = u32_at(&one, 9);
        let size = said as usize;
        if size > self.limit {
            return Err(PayloadError::TooLarge(self.limit));
        }
        // Memory is taken as bytes come, not as a header says.
        self.take(&mut one, size.saturating_sub(HEADER_LENGTH))?;
        if one.len() != size {
            return Err(EventError::Size { said, has: one.len() }.into());
        }
        Ok(Some(Event::from_unchecksummed(&one)?))
    }

    fn take(&mut self, into: &mut Vec<u8>, bytes: usize) -> Result<(), PayloadError> {
        let mut part = (&mut self.plain).take(bytes as u64);
        part.read_to_end(into).map_err(PayloadError::Decompress).map(drop)
    }
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
        let all =
            |payload: &Event, limit| open(payload, limit).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        assert_eq!(all(&payload(0, &plain), 1 << 20).unwrap(), events);
        assert_eq!(all(&payload(255, &plain), 1 << 20).unwrap(), events);
        assert!(matches!(all(&payload(0, &plain), 10), Err(PayloadError::TooLarge(10))));
        assert!(matches!(all(&payload(7, &plain), 10), Err(PayloadError::Algorithm(7))));
        for cut in [1, 9, plain.len() - 5] {
            let cut = all(&payload(0, &plain[..plain.len() - cut]), 1 << 20);
            assert!(matches!(cut, Err(PayloadError::Event(_))), "{cut:?}");
        }
    }
}
