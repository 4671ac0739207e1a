//! Acknowledging events: semi-sync replies.
//!
//! ```text
//! packet number 0: 0xEF | position (8 bytes, LE) | name of the source's log file, up to the end
//! ```

use crate::Error;
use crate::constants::SEMI_SYNC_MAGIC;
use crate::packet::PacketWriter;
use crate::stream::Writing;

/// Longest file name MySQL has room for.
pub(crate) const MAX_FILE_NAME: usize = 512;

/// The half of a replication stream that acknowledges.
pub struct AckSender {
    writer: Option<PacketWriter<Writing>>,
    semi_sync: bool,
}

impl AckSender {
    pub(super) fn new(writer: Option<PacketWriter<Writing>>, semi_sync: bool) -> Self {
        Self { writer, semi_sync }
    }

    /// Whether the source listens.
    pub fn is_semi_sync(&self) -> bool {
        self.semi_sync
    }

    /// Tells the source that everything up to this end position of its log is safe. Where semi-sync was
    /// not agreed on, nothing is sent: such a source takes no bytes in the middle of a dump.
    ///
    /// Not cancellation safe: after a cancelled call the next one fails.
    ///
    /// # Errors
    ///
    /// Those of a broken connection, and [`Error::Invalid`] for a name that is none.
    pub async fn acknowledge(&mut self, file: &[u8], position: u64) -> Result<(), Error> {
        if file.is_empty() || file.len() >= MAX_FILE_NAME {
            return Err(Error::invalid("name of a log file is empty or too long"));
        }
        let writer = self.writer.as_mut().ok_or(Error::Poisoned { command: "split" })?;
        if !self.semi_sync {
            return Ok(());
        }
        writer.set_sequence(0);
        writer.send(&[&[SEMI_SYNC_MAGIC], &position.to_le_bytes(), file]).await
    }
}

impl std::fmt::Debug for AckSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AckSender").field("semi_sync", &self.semi_sync).finish_non_exhaustive()
    }
}
