//! Copied rows with columns that the target computes by the session that writes: as the source has them, or not at all.

use binlog::Event;

use super::careful::malformed;
use super::hand::Hand;
use super::run::Placed;
use super::write::Failure;
use crate::Error;
use crate::recompute::{Later, MAKE_PLAIN, Mending, mend, written};

impl Hand {
    /// Brings the columns that the target has recomputed of these rows to what the source has. Where that can't be done
    /// the transaction is rolled back.
    pub(super) async fn mend(&mut self, placed: &Placed, events: &[Event]) -> Result<(), Failure> {
        if placed.target.recomputed.is_empty() {
            return Ok(());
        }
        let rows = written(events, |_| Some(placed.target.clone()), &mut Later::new()).map_err(malformed)?;
        let collations = self.shared.collations.clone();
        let limit = self.largest_event();
        match mend(&mut self.target, &collations, &rows, self.zone.as_deref(), limit).await {
            Ok((zone, None)) => {
                self.zone = zone;
                Ok(())
            }
            Ok((_, Some(row))) => {
                self.rollback().await?;
                Err(Failure::Fatal(Error::Copy {
                    table: placed.target.display_name(),
                    what: row.differs(),
                    remedy: format!("{MAKE_PLAIN}, or leave the table out of [sync] tables"),
                }))
            }
            Err(Mending::Malformed(source)) => Err(malformed(source)),
            Err(Mending::Failed(error)) => Err(self.failed(error).await),
        }
    }
}
