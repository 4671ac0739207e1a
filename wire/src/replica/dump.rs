//! Asking for events: COM_BINLOG_DUMP_GTID.

use std::ops::BitOr;

use bytes::BufMut;

use super::stream::EventStream;
use crate::constants::{MAX_PACKET, command};
use crate::{Connection, Error};

/// What a source is to gather before it writes. A quarter of that is nearly as good; with more, TLS on both sides
/// no longer works at the same time, since the kernel's buffers do not hold two of them.
const SEND_BUFFER: usize = 256 << 10;

/// Flags of a dump request. MySQL's replica sends [`Self::HEARTBEAT_V2`], which is the default here.
///
/// `mysql_common` calls 2 and 4 "through position" and "through GTID" and forces 4 on for any set that is
/// not empty; a server may take 4 for "skip tagged GTIDs" (9.7.4 sends them all the same). So it is not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DumpFlags(pub u16);

impl DumpFlags {
    /// Nothing asked: wait for more at the end, heartbeats of version 1.
    pub const NONE: Self = Self(0);
    /// End the stream where the log ends, instead of waiting.
    pub const NON_BLOCK: Self = Self(1);
    /// Heartbeats of version 2, which can tell positions beyond 4 GiB. Servers before 8.0.26 ignore it.
    pub const HEARTBEAT_V2: Self = Self(2);
}

impl Default for DumpFlags {
    fn default() -> Self {
        Self::HEARTBEAT_V2
    }
}

impl BitOr for DumpFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Connection {
    /// Asks for all transactions that `gtid_set` does not hold, in the order of the source's log, and for
    /// those to come. `gtid_set` is in the form of the wire, as `binlog::GtidSet` encodes it.
    ///
    /// Whether the source accepts is told by the stream's first packet: 1236 with the missing GTIDs
    /// where it has purged what is asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] before [`Connection::register_replica`]; else those of a broken connection.
    pub async fn dump_gtid(mut self, gtid_set: &[u8], flags: DumpFlags) -> Result<EventStream, Error> {
        let registered =
            self.registered.ok_or_else(|| Error::invalid("dump without register_replica before it"))?;
        let length = u32::try_from(gtid_set.len())
            .map_err(|_| Error::PacketTooLarge { size: gtid_set.len() as u64, limit: MAX_PACKET })?;
        self.widen().await?;
        let head = encode_head(registered.server_id, length, flags);
        let line = self.command_and_leave("dump", &[&head, gtid_set]).await?;
        Ok(EventStream::new(line, &registered))
    }

    /// Has the source gather more before it writes to the socket.
    ///
    /// A server sends through a buffer of the session's, `net_buffer_length` at first (16 KiB), which grows with the
    /// largest packet it has received and then stays. At full speed most of a dump's cost, on both sides, is in
    /// system calls and waking up for 16 KiB at a time; a long packet before it makes that a quarter and less.
    /// At the end of its log a source sends what there is at once, so nothing waits longer.
    ///
    /// The packet is a ping: a server looks at its first byte only, and logs nothing.
    async fn widen(&mut self) -> Result<(), Error> {
        let allowed = self.query_rows("SELECT @@session.max_allowed_packet").await?.single_text()?;
        let allowed: usize = allowed
            .parse()
            .map_err(|_| Error::protocol(format!("not a number in max_allowed_packet: `{allowed}`")))?;
        let mut packet = vec![0; SEND_BUFFER.min(allowed / 2)];
        packet.insert(0, command::PING);
        self.command_ok("ping", &[&packet]).await
    }
}

/// COM_BINLOG_DUMP_GTID without the set behind it: flags, server id, no file name, position 4, and the
/// length of the set.
fn encode_head(server_id: u32, set_length: u32, flags: DumpFlags) -> Vec<u8> {
    let mut out = vec![command::BINLOG_DUMP_GTID];
    out.put_u16_le(flags.0);
    out.put_u32_le(server_id);
    out.put_u32_le(0);
    out.put_u64_le(4);
    out.put_u32_le(set_length);
    out
}
