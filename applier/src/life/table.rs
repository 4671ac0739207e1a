//! The meta table `life`: one row for a link that somebody has said something about.

use wire::Connection;

use super::{Life, Order, Wish};
use crate::origin::LinkKey;
use crate::{Error, sql};

/// The table's name in the meta schema.
pub(crate) const TABLE: &str = "life";
/// Its columns.
pub(crate) const COLUMNS: &str = "\
  link VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  wish VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  since TIMESTAMP(6) NOT NULL,
  `by` VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  reason VARCHAR(2000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  overrules VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
  anew BOOLEAN NOT NULL DEFAULT FALSE,
  count BIGINT UNSIGNED NOT NULL";

/// The meta table `skip`: the transactions that people got a link past.
pub(crate) const SKIP_TABLE: &str = "skip";
/// Its columns.
pub(crate) const SKIP_COLUMNS: &str = "\
  link VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  gtid VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  skipped_at TIMESTAMP(6) NOT NULL,
  `by` VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  reason VARCHAR(2000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  PRIMARY KEY (link, gtid)";

/// Longest text of a person that is kept; the rest is cut.
const LONGEST: (usize, usize) = (255, 2000);

/// Reads a link's row; a link without one runs.
pub(crate) async fn read(connection: &mut Connection, schema: &str, link: &LinkKey) -> Result<Life, Error> {
    let failed = Error::target("reading what is wanted of the link");
    let query = format!(
        "SELECT wish, CAST(UNIX_TIMESTAMP(since) AS CHAR) AS since, `by`, reason, overrules, anew, count FROM {} \
         WHERE link = {}",
        sql::table(schema, TABLE),
        sql::text(&link.text())
    );
    let rows = match connection.query_rows(query).await {
        Ok(rows) => rows,
        // A meta schema that an earlier version made has no such table yet.
        Err(error) if matches!(error.code(), Some(1146 | 1049)) => return Ok(Life::default()),
        Err(error) => return Err(failed(error)),
    };
    let Some(row) = rows.first() else { return Ok(Life::default()) };
    let wish = row.text("wish").map_err(&failed)?;
    let unknown = || failed(wire::Error::Invalid { what: format!("{wish:?} is no wish in table {TABLE}") });
    Ok(Life {
        wish: Wish::parse(&wish).ok_or_else(unknown)?,
        since: row.parse("since").map_err(&failed)?,
        order: Order { by: row.text("by").map_err(&failed)?, reason: row.text("reason").map_err(&failed)? },
        overrules: row.optional_text("overrules").map_err(&failed)?,
        anew: row.text("anew").map_err(&failed)? == "1",
        count: row.parse("count").map_err(&failed)?,
    })
}

/// The statement that writes a wish down. `anew` stays as it is.
pub(super) fn wish(
    schema: &str,
    link: &LinkKey,
    wish: Wish,
    order: &Order,
    overrules: Option<&str>,
) -> String {
    format!(
        "INSERT INTO {} VALUES ({}, '{}', NOW(6), {}, {}, {}, FALSE, 1) AS new ON DUPLICATE KEY UPDATE \
         wish = new.wish, since = new.since, `by` = new.`by`, reason = new.reason, overrules = new.overrules, \
         count = {TABLE}.count + 1",
        sql::table(schema, TABLE),
        sql::text(&link.text()),
        wish.as_str(),
        cut(&order.by, LONGEST.0),
        cut(&order.reason, LONGEST.1),
        overrules.map_or("NULL".into(), sql::text)
    )
}

/// The statement that makes the next start a new beginning; what the link is to do stays as it is.
pub(super) fn anew(schema: &str, link: &LinkKey, order: &Order) -> String {
    format!(
        "INSERT INTO {} VALUES ({}, '{}', NOW(6), {}, {}, NULL, TRUE, 1) AS new ON DUPLICATE KEY UPDATE \
         anew = TRUE, count = {TABLE}.count + 1",
        sql::table(schema, TABLE),
        sql::text(&link.text()),
        Wish::Run.as_str(),
        cut(&order.by, LONGEST.0),
        cut(&order.reason, LONGEST.1)
    )
}

/// The statement that says that the new beginning was made.
pub(crate) fn begun(schema: &str, link: &LinkKey) -> String {
    format!(
        "UPDATE {} SET anew = FALSE WHERE link = {} AND anew",
        sql::table(schema, TABLE),
        sql::text(&link.text())
    )
}

/// The statement that tells a link, if it runs, that something was done to it.
pub(super) fn touch(schema: &str, link: &LinkKey, order: &Order) -> String {
    format!(
        "INSERT INTO {} VALUES ({}, '{}', NOW(6), {}, {}, NULL, FALSE, 1) ON DUPLICATE KEY UPDATE \
         count = {TABLE}.count + 1",
        sql::table(schema, TABLE),
        sql::text(&link.text()),
        Wish::Run.as_str(),
        cut(&order.by, LONGEST.0),
        cut(&order.reason, LONGEST.1)
    )
}

/// The statement that notes a skipped transaction.
pub(super) fn note_skip(schema: &str, link: &LinkKey, gtid: &binlog::Gtid, order: &Order) -> String {
    format!(
        "REPLACE INTO {} VALUES ({}, '{gtid}', NOW(6), {}, {})",
        sql::table(schema, SKIP_TABLE),
        sql::text(&link.text()),
        cut(&order.by, LONGEST.0),
        cut(&order.reason, LONGEST.1)
    )
}

/// A person's text, quoted, and no longer than its column. A control character would make a log or a terminal
/// misbehave, and nobody needs one.
fn cut(text: &str, longest: usize) -> String {
    let kept: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(longest).collect();
    sql::text(&kept)
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn what_people_write_is_quoted_and_cut_and_has_no_control_characters() {
        assert_eq!(cut("it's\n\u{1b}[2J", 20), r"'it''s  [2J'");
        assert_eq!(cut("äöü", 2), "'äö'");
    }
}
