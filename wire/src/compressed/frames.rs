//! What frames hold: bytes that are packed alone, or that go on where the frame before ended.
//!
//! MySQL packs each frame alone: zstd begins anew with each, and knows nothing of what has been said. A stream of small
//! transactions says the same again and again (table maps, the heads of events), each time in a frame of its own. So our
//! own links ask a relay for frames that **go on**: one zstd frame over all protocol frames, flushed at the end of each.
//! The reader need not know which kind it gets: zstd's own frames say where they end.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use zstd::bulk::Compressor;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};
use zstd::stream::write::Encoder;

/// Levels that a client may ask for.
pub(crate) const LEVELS: std::ops::RangeInclusive<u8> = 1..=22;
/// What our own connections ask for. MySQL's default is 3; 6 takes a tenth less of a long line for row events, and packs
/// faster than such a line carries.
pub(crate) const LEVEL: u8 = 6;

/// Less is sent as it is: packing would make it longer.
const LEAST: usize = 50;
/// The furthest back that a frame may refer, as a power of two: a frame holds no more than 16 MiB.
const FARTHEST: u32 = 24;

/// Whether frames are to go on; set once, from elsewhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct GoingOn(Arc<AtomicBool>);

impl GoingOn {
    /// From the next frame on. The other side must have said that it reads such frames.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Packs frames.
pub(crate) struct Packer {
    alone: Compressor<'static>,
    going_on: GoingOn,
    /// There from the first frame on that goes on.
    over_all: Option<Encoder<'static, Vec<u8>>>,
}

impl Packer {
    pub(crate) fn new(level: u8, going_on: GoingOn) -> io::Result<Self> {
        Ok(Self { alone: Compressor::new(level.into())?, going_on, over_all: None })
    }

    /// The bytes packed; `None` where they are better sent as they are.
    pub(crate) fn pack(&mut self, bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
        if self.going_on.is_set() {
            return self.go_on(bytes).map(Some);
        }
        if bytes.len() < LEAST {
            return Ok(None);
        }
        let packed = self.alone.compress(bytes)?;
        Ok((packed.len() < bytes.len()).then_some(packed))
    }

    fn go_on(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let encoder = match &mut self.over_all {
            Some(encoder) => encoder,
            // The level is ours, whatever was asked: the highest take a gigabyte for this.
            none => none.insert(Encoder::new(Vec::new(), LEVEL.into())?),
        };
        encoder.write_all(bytes)?;
        encoder.flush()?;
        Ok(std::mem::take(encoder.get_mut()))
    }
}

/// Unpacks frames of either kind.
pub(crate) struct Unpacker(Decoder<'static>);

impl Unpacker {
    pub(crate) fn new() -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(FARTHEST))?;
        Ok(Self(decoder))
    }

    /// The `length` bytes that `frame` holds.
    ///
    /// # Errors
    ///
    /// A frame of something else than zstd, or of another length.
    pub(crate) fn unpack(&mut self, frame: &[u8], length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let mut input = InBuffer::around(frame);
        let mut output = OutBuffer::around(&mut bytes[..]);
        let mut before = None;
        while output.pos() < length || input.pos() < frame.len() {
            if before.replace((input.pos(), output.pos())) == Some((input.pos(), output.pos())) {
                return Err(another_length());
            }
            self.0.run(&mut input, &mut output)?;
        }
        // What goes on may hold more than was asked for, and would give it with the next frame.
        let mut more = [0];
        let mut beyond = OutBuffer::around(&mut more[..]);
        self.0.run(&mut InBuffer::around(&[]), &mut beyond)?;
        if beyond.pos() > 0 { Err(another_length()) } else { Ok(bytes) }
    }
}

fn another_length() -> io::Error {
    super::malformed("a compressed frame of another length than it says")
}

#[cfg(test)]
mod tests {
    use super::{GoingOn, LEVEL, Packer, Unpacker};

    fn packed(packer: &mut Packer, bytes: &[u8]) -> Vec<u8> {
        packer.pack(bytes).unwrap().unwrap()
    }

    #[test]
    fn a_frame_that_goes_on_takes_a_fraction_of_one_alone_where_things_are_said_again() {
        let going_on = GoingOn::default();
        let mut packer = Packer::new(LEVEL, going_on.clone()).unwrap();
        let event = |n: u32| {
            format!("{n:08} a table map, its columns, and all else that each one says anew").into_bytes()
        };
        let alone = packed(&mut packer, &event(1));
        going_on.set();
        let (first, second) = (packed(&mut packer, &event(2)), packed(&mut packer, &event(3)));
        assert!(second.len() * 3 < alone.len(), "{} bytes, alone {}", second.len(), alone.len());

        let mut unpacker = Unpacker::new().unwrap();
        for (n, frame) in [(1, &alone), (2, &first), (3, &second)] {
            assert_eq!(unpacker.unpack(frame, event(n).len()).unwrap(), event(n));
        }
    }

    #[test]
    fn a_frame_of_another_length_is_an_error() {
        for going in [false, true] {
            for length in [99, 101] {
                let going_on = GoingOn::default();
                if going {
                    going_on.set();
                }
                let frame = packed(&mut Packer::new(LEVEL, going_on).unwrap(), &[7; 100]);
                let unpacked = Unpacker::new().unwrap().unpack(&frame, length);
                assert!(unpacked.is_err(), "{going} {length}: {} bytes", unpacked.unwrap().len());
            }
        }
    }
}
