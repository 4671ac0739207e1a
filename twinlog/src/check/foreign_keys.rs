//! Foreign keys of tables in step: what they change by themselves, and whether both ends are in step.

use super::facts::Facts;
use super::report::{About, Finding};
use super::schema::{ForeignKey, Schema, shown};

/// From here on rows that a foreign key changes are in the binary log.
const LOGS_CASCADES: wire::ServerVersion = wire::ServerVersion::new(9, 6, 0);

/// Does this server log the rows that its foreign keys change?
pub(crate) fn logs_cascades(facts: &Facts) -> bool {
    facts.version >= LOGS_CASCADES && !facts.variables.is_on("innodb_native_foreign_keys")
}

/// Items of one region's tables.
pub(crate) fn judge(about: &About, schema: &Schema, two_way: bool) -> Vec<Finding> {
    const ITEM: &str = "foreign_key";
    let mut findings = Vec::new();
    let mut count = 0;
    for (name, table) in &schema.tables {
        for key in &table.foreign_keys {
            count += 1;
            let subject = format!("{}.{}", shown(name), key.name);
            if !schema.tables.contains_key(&key.parent) {
                findings.push(
                    about
                        .warn(ITEM, format!("its parent {} is not in step", shown(&key.parent)))
                        .on(subject)
                        .wanted("both tables in step")
                        .why("a row whose parent is missing in the other region is refused there, and stops the link")
                        .setting(format!("[sync] tables = [ …, \"{}\" ]", shown(&key.parent))),
                );
            } else if key.cascades() && two_way {
                findings.push(
                    about
                        .warn(ITEM, rules(key))
                        .on(subject)
                        .wanted("a rule that changes no other rows")
                        .why(
                            "what one region deletes by cascade the other may be adding to at the same time: the row \
                             added there finds no parent here (a conflict of kind parent, always reported)",
                        )
                        .advice("let the application delete children first, or let one region alone change parents"),
                );
            }
        }
    }
    if findings.is_empty() && !schema.tables.is_empty() {
        findings.push(
            about.pass(ITEM, if count == 0 { "none".to_owned() } else { format!("{count}, none cascades") }),
        );
    }
    findings
}

fn rules(key: &ForeignKey) -> String {
    format!("ON UPDATE {} ON DELETE {}", key.on_update, key.on_delete)
}

/// Two regions whose tables in step have foreign keys that cascade must agree on who writes the cascaded rows.
pub(crate) fn pair(about: &About, here: &Facts, there: &Facts, schema: &Schema) -> Option<Finding> {
    const ITEM: &str = "cascades";
    if !schema.tables.values().any(|table| table.foreign_keys.iter().any(ForeignKey::cascades)) {
        return None;
    }
    let names =
        [about.region.as_deref().unwrap_or_default(), about.other_region.as_deref().unwrap_or_default()];
    Some(match (logs_cascades(here), logs_cascades(there)) {
        (true, true) => about.pass(ITEM, "both servers log the rows that foreign keys change"),
        (false, false) => {
            about.pass(ITEM, "neither server logs the rows that foreign keys change; each changes its own")
        }
        (first, _) => {
            let [logs, silent] = if first { names } else { [names[1], names[0]] };
            about
                .fail(ITEM, format!("{logs} logs the rows that foreign keys change, {silent} does not"))
                .wanted("the same on both sides")
                .why("the rows arrive and are changed by the other server's own foreign keys as well: they would be missing when they are looked for")
                .advice(format!("upgrade {silent} to MySQL 9.6 or later with innodb_native_foreign_keys = OFF"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{judge, pair};
    use crate::check::facts::Facts;
    use crate::check::fixtures::{column, key, schema, table};
    use crate::check::report::{About, Outcome};
    use crate::check::schema::{ForeignKey, Schema};

    fn child(parent: &str, on_delete: &str) -> Schema {
        let mut child = table([column("id", "int")], [key("PRIMARY", ["id"])]);
        child.foreign_keys.push(ForeignKey {
            name: "fk".into(),
            parent: ("shop".into(), parent.into()),
            on_update: "NO ACTION".into(),
            on_delete: on_delete.into(),
        });
        schema([("parent", table([column("id", "int")], [key("PRIMARY", ["id"])])), ("child", child)])
    }

    #[test]
    fn cascades_matter_where_both_regions_write_and_strays_everywhere() {
        let status = |schema: &Schema, two_way| judge(&About::region("eu"), schema, two_way)[0].status;
        assert_eq!(status(&child("parent", "CASCADE"), true), Outcome::Warn);
        assert_eq!(status(&child("parent", "CASCADE"), false), Outcome::Pass);
        assert_eq!(status(&child("parent", "RESTRICT"), true), Outcome::Pass);
        assert_eq!(status(&child("elsewhere", "RESTRICT"), false), Outcome::Warn);
    }

    #[test]
    fn regions_that_log_cascades_and_regions_that_do_not_do_not_go_together() {
        let of = |minor| Facts { version: wire::ServerVersion::new(9, minor, 0), ..Facts::default() };
        let status =
            |a, b, schema: &Schema| pair(&About::pair("eu", "us"), &of(a), &of(b), schema).map(|f| f.status);
        let cascade = child("parent", "CASCADE");
        assert_eq!(status(7, 6, &cascade), Some(Outcome::Pass));
        assert_eq!(status(1, 2, &cascade), Some(Outcome::Pass));
        assert_eq!(status(7, 1, &cascade), Some(Outcome::Fail));
        assert_eq!(status(7, 1, &child("parent", "RESTRICT")), None);
    }
}
