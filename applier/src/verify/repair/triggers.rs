//! Triggers of a table that is to be repaired: they would fire on the repair, and what they did in the other region is
//! there already.

use super::super::Error;
use super::super::session::Session;
use super::super::table::Table;
use crate::sql;

/// Refuses a table with triggers, and one whose triggers the account can't see.
pub(super) async fn refuse(session: &mut Session, table: &Table) -> Result<(), Error> {
    let (database, name) = names(&table.right.quoted);
    let refused = |why: &str, remedy: String| Error::Unrepairable {
        region: session.region().into(),
        table: format!("{database}.{name}"),
        why: why.into(),
        remedy,
    };
    let doing = "looking for triggers";
    let query = format!(
        "SELECT 1 FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = {} AND EVENT_OBJECT_TABLE = {}",
        sql::text(&database),
        sql::text(&name)
    );
    let triggers = refused(
        "it has triggers, which would fire",
        "drop its triggers in that region for the time of the repair, or repair it by hand".into(),
    );
    let blind = refused(
        "the account can't see whether it has triggers, which would fire",
        format!("GRANT TRIGGER ON {}.* to the account that writes there", sql::name(&database)),
    );
    if !session.ask(doing, &query).await?.rows.is_empty() {
        return Err(triggers);
    }
    let schema = sql::text(&database);
    let sees = format!(
        "SELECT 1 FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = 'TRIGGER' \
         UNION ALL SELECT 1 FROM information_schema.SCHEMA_PRIVILEGES WHERE PRIVILEGE_TYPE = 'TRIGGER' \
         AND {schema} LIKE TABLE_SCHEMA \
         UNION ALL SELECT 1 FROM information_schema.TABLE_PRIVILEGES WHERE PRIVILEGE_TYPE = 'TRIGGER' \
         AND TABLE_SCHEMA = {schema} AND TABLE_NAME = {}",
        sql::text(&name)
    );
    if session.ask(doing, &sees).await?.rows.is_empty() { Err(blind) } else { Ok(()) }
}

/// The two names inside `` `database`.`table` ``.
fn names(quoted: &str) -> (String, String) {
    let inner = quoted.strip_prefix('`').and_then(|q| q.strip_suffix('`')).unwrap_or(quoted);
    // A dot between two quotes is the one between the names: quotes inside a name are doubled.
    let mut at = 0;
    while let Some(found) = inner[at..].find("`.`").map(|i| at + i) {
        let doubled = inner[..found].bytes().rev().take_while(|b| *b == b'`').count() % 2 == 1;
        if !doubled {
            let name = |text: &str| text.replace("``", "`");
            return (name(&inner[..found]), name(&inner[found + 3..]));
        }
        at = found + 1;
    }
    (inner.into(), String::new())
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_read_back_from_quotes() {
        for (database, table) in [("shop", "t"), ("a`b", "c.d"), ("x", "odd; näme"), ("a`.`", "b")] {
            let quoted = crate::sql::table(database, table);
            assert_eq!(super::names(&quoted), (database.into(), table.into()), "{quoted}");
        }
    }
}
