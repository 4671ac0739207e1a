//! A row that is applied by itself where the target computes columns of it by the session that writes (`recompute.rs`).

use binlog::Event;
use wire::ServerError;

use super::redo::Redo;
use crate::apply::{Applier, Failure};
use crate::recompute::Written;
use crate::zone;

impl Applier {
    /// Applies an event of a row, under the time zone that its transaction told where that matters. The server's refusal,
    /// if it leaves the transaction open.
    pub(super) async fn try_event(
        &mut self,
        redo: &Redo<'_>,
        i: usize,
        event: &Event,
    ) -> Result<Option<ServerError>, Failure> {
        let statement = redo.rows[i].statement(event);
        let Some(told) = redo.member(i).zone.as_deref().filter(|_| redo.rows[i].table.zoned) else {
            return self.try_step(&statement).await;
        };
        // One that the target does not know stays UTC: what comes out otherwise is mended.
        self.try_step(zone::set(told).as_bytes()).await?;
        let tried = self.try_step(&statement).await;
        let back = self.try_step(zone::UTC.as_bytes()).await;
        let refused = tried?;
        back?;
        Ok(refused)
    }

    /// Brings the columns that the target has recomputed of a row to what the source has.
    pub(super) async fn mend_row(&mut self, redo: &Redo<'_>, i: usize) -> Result<(), Failure> {
        let (row, member) = (&redo.rows[i], redo.member(i));
        if row.table.recomputed.is_empty() {
            return Ok(());
        }
        let written = [Written {
            table: row.table.clone(),
            map: row.map.clone(),
            map_event: row.map_event.clone(),
            event: row.event.clone(),
        }];
        let owner = self.owner.clone();
        let stuck = owner.mend_rows(&mut self.connection, member, &written).await?;
        let Some(error) = stuck.map(|row| row.stops(&member.gtid)) else { return Ok(()) };
        self.rollback().await.map_err(Failure::Fatal)?;
        Err(Failure::Fatal(error))
    }
}
