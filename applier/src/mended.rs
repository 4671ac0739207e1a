//! A link that stopped at a table that does not fit goes on by itself once somebody has made the target alike.

use std::time::Duration;

use tokio::time::Instant;
use wire::ConnectOptions;

use crate::catalog::show_create;
use crate::{Error, target};

/// How often the table is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// And after how long the link tries again in any case: the table may have been altered before the first look.
const TRY_AFTER: Duration = Duration::from_secs(30);

/// The table that an error waits for, as database and table; `None` for an error that no definition mends.
pub(crate) fn table_of(error: &Error) -> Option<(String, String)> {
    let name = match error {
        Error::NoTable { table, .. } | Error::TableDiffers { table, .. } => table,
        _ => return None,
    };
    let (database, table) = name.split_once('.')?;
    Some((database.to_owned(), table.to_owned()))
}

/// Waits until the table's definition in the target is another. Cancellation safe.
pub(crate) async fn is_altered(targets: &[ConnectOptions], (database, table): (String, String)) {
    let (began, mut session, mut first) = (Instant::now(), None, None);
    while began.elapsed() < TRY_AFTER {
        if session.is_none() {
            // A target that can't be reached is tried again.
            session = target::connect(targets).await.ok();
        }
        if let Some(connection) = &mut session {
            match show_create(connection, &database, &table).await {
                Ok(now) if *first.get_or_insert_with(|| now.clone()) != now => return,
                Ok(_) => {}
                Err(_) => session = None,
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
