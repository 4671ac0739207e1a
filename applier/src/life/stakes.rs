//! What a new beginning would lose, told before it is asked for.

use binlog::GtidSet;
use binlog::stamp::CHECKPOINT_TABLE;
use wire::Connection;

use crate::conflict::record;
use crate::origin::LinkKey;
use crate::{Error, sql};

/// What the target holds of a link.
#[derive(Clone, Debug, Default)]
pub struct Stakes {
    /// Has it begun?
    pub born: bool,
    /// What its checkpoint holds.
    pub applied: GtidSet,
    /// What its source has and the checkpoint does not; `None` where the source does not answer.
    pub to_come: Option<GtidSet>,
    /// Recorded conflicts.
    pub conflicts: u64,
    /// Those of them that wait for a person.
    pub open_conflicts: u64,
}

impl Stakes {
    pub(super) async fn read(
        connection: &mut Connection,
        schema: &str,
        link: &LinkKey,
    ) -> Result<Self, Error> {
        let failed = Error::target("reading what the link holds");
        let key = sql::text(&link.text());
        let mut stakes = Self::default();
        let sets = format!(
            "SELECT gtid_set FROM {} WHERE origin = {} AND link = {key}",
            sql::table(schema, CHECKPOINT_TABLE),
            sql::text(&link.from)
        );
        for row in connection.query_rows(sets).await.map_err(&failed)?.iter() {
            stakes.born = true;
            // One that can't be read is lost already.
            stakes.applied.union_with(&row.text("gtid_set").map_err(&failed)?.parse().unwrap_or_default());
        }
        let born = format!("SELECT 1 FROM {} WHERE link = {key}", sql::table(schema, "link"));
        stakes.born |= !connection.query_rows(born).await.map_err(&failed)?.rows.is_empty();
        let count = |only: &str| {
            format!("SELECT COUNT(*) FROM {} WHERE link = {key}{only}", sql::table(schema, record::TABLE))
        };
        stakes.conflicts = number(connection, &count("")).await?;
        let open = count(" AND winner = 'nobody' AND resolved_at IS NULL");
        stakes.open_conflicts = number(connection, &open).await?;
        Ok(stakes)
    }
}

async fn number(connection: &mut Connection, query: &str) -> Result<u64, Error> {
    let failed = Error::target("counting conflicts");
    let text = connection.query_rows(query).await.and_then(|rows| rows.single_text()).map_err(&failed)?;
    text.parse().map_err(|_| failed(wire::Error::Invalid { what: format!("{text:?} is no number") }))
}
