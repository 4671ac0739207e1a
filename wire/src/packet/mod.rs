//! Packets: how the protocol cuts the byte stream.
//!
//! ```text
//! chunk  = length (3 bytes, LE) | sequence number (1 byte) | payload
//! packet = chunks of 0xFFFFFF payload bytes ..., then one that is shorter (0 if need be)
//! ```
//!
//! The sequence number counts chunks, starts at 0 with each command and wraps. Whether a packet's first
//! number is the expected one is for the layer above to say (a dump with semi-sync starts anew in the
//! middle); that the chunks of one packet are numbered in a row is checked here.

mod line;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use line::Line;
pub(crate) use reader::{Packet, PacketReader};
pub(crate) use writer::PacketWriter;
