//! The stamp of repairs: a checkpoint row of their own beside those of the link, so that the way back knows where the
//! rows come from and leaves them out, and the link's applier finds its own rows as it left them.
//!
//! It is fenced like an applier's: who repairs raises the epoch, and an earlier one's next write finds no row.

use binlog::stamp::CHECKPOINT_TABLE;

use super::super::Error;
use super::super::session::Session;
use crate::origin::LinkKey;
use crate::sql;

/// The row, held by this repair.
pub(super) struct Stamp {
    table: String,
    /// The condition of being it.
    row: String,
    from: String,
    epoch: u64,
    seq: u64,
}

impl Stamp {
    /// Takes the row over, and makes it where there is none.
    pub(super) async fn take(session: &mut Session, schema: &str, link: &LinkKey) -> Result<Self, Error> {
        let table = sql::table(schema, CHECKPOINT_TABLE);
        let (origin, key) = (sql::text(&link.from), sql::text(&link.repair_text()));
        let row = format!("origin = {origin} AND link = {key} AND slot = 0");
        let mut stamp = Self { table, row, from: link.from.clone(), epoch: 1, seq: 0 };
        let doing = "taking over the stamp of repairs";
        let region = session.region().to_owned();
        let failed = || Error::wire(&region, doing);
        let connection = session.connection();
        connection.execute("BEGIN").await.map_err(failed())?;
        let read = format!("SELECT epoch, seq FROM {} WHERE {} FOR UPDATE", stamp.table, stamp.row);
        let rows = connection.query_rows(read).await.map_err(failed())?;
        let write = match rows.first() {
            Some(found) => {
                stamp.epoch = found.parse::<u64>("epoch").map_err(failed())? + 1;
                stamp.seq = found.parse("seq").map_err(failed())?;
                format!("UPDATE {} SET epoch = {} WHERE {}", stamp.table, stamp.epoch, stamp.row)
            }
            None => format!(
                "INSERT INTO {} (origin, link, slot, epoch, seq, gtid_set, source_file, source_position, updated_at) \
                 VALUES ({origin}, {key}, 0, 1, 0, '', '', 0, NOW(6))",
                stamp.table
            ),
        };
        connection.execute(write).await.map_err(failed())?;
        connection.execute("COMMIT").await.map_err(failed())?;
        Ok(stamp)
    }

    /// Begins a transaction with it.
    pub(super) async fn begin(&self, session: &mut Session) -> Result<(), Error> {
        let region = session.region().to_owned();
        let failed = || Error::wire(&region, "beginning a repair");
        let connection = session.connection();
        connection.execute("BEGIN").await.map_err(failed())?;
        let Self { table, row, epoch, seq, .. } = self;
        let fence = format!(
            "UPDATE {table} SET seq = seq + 1, updated_at = NOW(6) WHERE {row} AND epoch = {epoch} AND seq = {seq}"
        );
        let fenced = connection.execute(fence).await.map_err(failed())?;
        if fenced.affected_rows == 1 {
            return Ok(());
        }
        connection.execute("ROLLBACK").await.map_err(failed())?;
        Err(Error::Fenced { region, from: self.from.clone() })
    }

    /// The transaction that began with it is committed.
    pub(super) fn committed(&mut self) {
        self.seq += 1;
    }
}
