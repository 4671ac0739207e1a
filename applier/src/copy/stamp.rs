//! The stamps of copied rows: checkpoint rows of their own beside those of the link, one for each hand, so that several
//! can commit side by side, each behind its own fence.
//!
//! A row's set tells what of the source was applied at the chunk's place: who writes in the target behind it has seen that.

use binlog::GtidSet;
use binlog::stamp::CHECKPOINT_TABLE;
use wire::Connection;

use crate::mark::Mark;
use crate::origin::LinkKey;
use crate::{Error, sql};

/// A checkpoint row, held by a hand.
#[derive(Debug)]
pub(crate) struct Stamp {
    table: String,
    /// The condition of being it.
    row: String,
    epoch: u64,
    seq: u64,
}

impl Stamp {
    /// Takes over so many rows from whoever held them, which waits out commits in doubt; makes those that are missing.
    pub(crate) async fn take(
        connection: &mut Connection,
        schema: &str,
        link: &LinkKey,
        count: usize,
    ) -> Result<Vec<Self>, Error> {
        let failed = Error::target("taking over the stamps of the copy");
        let table = sql::table(schema, CHECKPOINT_TABLE);
        let (origin, key) = (sql::text(&link.from), sql::text(&link.copy_text()));
        let rows = format!("origin = {origin} AND link = {key}");
        connection.execute("BEGIN").await.map_err(&failed)?;
        let lock = format!("SELECT slot, epoch, seq FROM {table} WHERE {rows} FOR UPDATE");
        let found = connection.query_rows(lock).await.map_err(&failed)?;
        let (mut held, mut epochs) = (Vec::new(), 0);
        for row in found.iter() {
            let slot: usize = row.parse("slot").map_err(&failed)?;
            epochs = row.parse("epoch").map_err(&failed).map(|epoch: u64| epoch.max(epochs))?;
            held.push((slot, row.parse::<u64>("seq").map_err(&failed)?));
        }
        let epoch = epochs + 1;
        if !held.is_empty() {
            let raise = format!("UPDATE {table} SET epoch = {epoch} WHERE {rows}");
            connection.execute(raise).await.map_err(&failed)?;
        }
        for slot in 0..count {
            if held.iter().any(|(known, _)| *known == slot) {
                continue;
            }
            let make = format!(
                "INSERT INTO {table} (origin, link, slot, epoch, seq, gtid_set, source_file, source_position, updated_at) \
                 VALUES ({origin}, {key}, {slot}, {epoch}, 0, '', '', 0, NOW(6))"
            );
            connection.execute(make).await.map_err(&failed)?;
            held.push((slot, 0));
        }
        connection.execute("COMMIT").await.map_err(&failed)?;
        let stamp = |(slot, seq): (usize, u64)| Self {
            table: table.clone(),
            row: format!("{rows} AND slot = {slot}"),
            epoch,
            seq,
        };
        held.sort_unstable();
        Ok(held.into_iter().take(count).map(stamp).collect())
    }

    /// What a transaction begins with.
    pub(crate) fn statement(&self, applied: &GtidSet, mark: &Mark) -> String {
        let Self { table, row, epoch, seq } = self;
        format!(
            "UPDATE {table} SET seq = IF(epoch = {epoch} AND seq = {seq}, seq + 1, NULL), gtid_set = '{applied}', \
             updated_at = NOW(6), clock = {} WHERE {row}",
            mark.clock
        )
    }

    /// The transaction that began with it is committed.
    pub(crate) fn committed(&mut self) {
        self.seq += 1;
    }
}
