//! What a server has executed, as it says itself.

use binlog::GtidSet;
use wire::Connection;

use crate::Error;

/// `gtid_executed`. A commit is seen by readers a moment before it is in there: who must not miss one under a lock asks
/// for what is owned too ([`crate::conflict::owned`]).
pub(crate) async fn executed(connection: &mut Connection) -> Result<GtidSet, wire::Error> {
    let text = connection.query_rows("SELECT @@GLOBAL.gtid_executed").await?.single_text()?;
    text.parse().map_err(|_| wire::Error::Invalid { what: format!("{text:?} is no GTID set") })
}

/// What a link's target has executed.
pub(crate) async fn executed_in_target(connection: &mut Connection) -> Result<GtidSet, Error> {
    executed(connection).await.map_err(Error::target("asking what it has executed"))
}
