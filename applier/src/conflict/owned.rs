//! Which transactions of the target could have written a row that is now locked.
//!
//! A commit gives up its row locks before its GTID enters `gtid_executed`; until then the GTID is *owned*. So what is
//! owned and what is executed, asked for in this order under the lock, holds every earlier writer of the row.

use binlog::GtidSet;
use wire::{Answer, Connection, ResultSet};

/// Asks for both, in this order: a GTID that moves between the two questions is in the second.
pub(crate) const QUESTION: &str = "SELECT @@GLOBAL.gtid_owned AS owned, @@GLOBAL.gtid_executed AS executed";

/// The union of both, as a server says now.
pub(crate) async fn ask(connection: &mut Connection) -> Result<GtidSet, wire::Error> {
    let (owned, mut all) = ask_both(connection).await?;
    all.union_with(&owned);
    Ok(all)
}

/// What is owned, and what is executed, as a server says now.
pub(crate) async fn ask_both(connection: &mut Connection) -> Result<(GtidSet, GtidSet), wire::Error> {
    let rows = connection.query_rows(QUESTION).await?;
    read_both(&rows).ok_or_else(|| wire::Error::Invalid { what: "not a GTID set".into() })
}

/// The union of both; `None` if the answer is not one to [`QUESTION`].
pub(crate) fn read(answer: &Answer) -> Option<GtidSet> {
    let Answer::Rows(rows) = answer else { return None };
    let (owned, mut all) = read_both(rows)?;
    all.union_with(&owned);
    Some(all)
}

/// What is owned, and what is executed.
fn read_both(rows: &ResultSet) -> Option<(GtidSet, GtidSet)> {
    let row = rows.first()?;
    Some((owned(&row.text("owned").ok()?)?, row.text("executed").ok()?.parse().ok()?))
}

/// Reads `uuid:4#12:5#13,uuid:tag:6#14`: numbers with the threads that own them.
fn owned(text: &str) -> Option<GtidSet> {
    let without_thread = |part: &str| part.split('#').next().unwrap_or_default().to_owned();
    let set = |of_uuid: &str| of_uuid.split(':').map(without_thread).collect::<Vec<_>>().join(":");
    let plain: Vec<String> = text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(set).collect();
    plain.join(",").parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn owned_numbers_are_read_without_their_threads() {
        let uuid = "00000000-0000-0000-0000-00000000000a";
        let read =
            |text: &str| super::owned(&text.replace('U', uuid)).map(|set| set.to_string().replace(uuid, "U"));
        assert_eq!(read("").as_deref(), Some(""));
        assert_eq!(read("U:4#12:5#13:9#2").as_deref(), Some("U:4-5:9"));
        assert_eq!(read("U:4#12,\nU:tag:6#14").as_deref(), Some("U:4:tag:6"));
        assert_eq!(read("nonsense"), None);
    }
}
