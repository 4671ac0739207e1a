//! Closing the door before a login: too many are in already.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::constants::header;
use crate::packet::PacketWriter;
use crate::stream::Stream;

/// Tells a client why it is not let in, in the place of a greeting, and closes: 1040 `Too many connections` mostly.
/// Takes no longer than `within`; whether the client hears it makes no difference here.
///
/// Before the greeting nobody has agreed on a protocol, so the packet has no SQLSTATE, as a server's has none.
pub async fn turn_away(mut stream: impl Stream + 'static, code: u16, message: &str, within: Duration) {
    let mut packet = vec![header::ERR];
    packet.extend_from_slice(&code.to_le_bytes());
    packet.extend_from_slice(message.as_bytes());
    let tell = async {
        let mut writer = PacketWriter::new(&mut stream);
        let _ = writer.send(&[&packet]).await;
        let _ = stream.shutdown().await;
    };
    let _ = timeout(within, tell).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_client_turned_away_reads_an_error_packet_without_sqlstate_and_the_end() {
        let (mut client, server) = tokio::io::duplex(1024);
        turn_away(server, 1040, "Too many connections", Duration::from_secs(1)).await;
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"\x17\0\0\0\xff\x10\x04Too many connections");
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_not_waited_for() {
        let (_client, server) = tokio::io::duplex(4);
        turn_away(server, 1040, "Too many connections", Duration::from_millis(20)).await;
    }
}
