//! What a target does by itself to tables in step: triggers and events.

use super::facts::Facts;
use super::report::{About, Finding};
use super::schema::{Schema, shown};
use super::sql;

/// Items of one region's tables. `two_way`: another region has the same tables and is written in too.
pub(crate) fn judge(about: &About, facts: &Facts, schema: &Schema, two_way: bool) -> Vec<Finding> {
    if schema.tables.is_empty() {
        return Vec::new();
    }
    let mut findings = triggers(about, schema);
    findings.extend(events(about, facts, schema, two_way));
    findings
}

fn triggers(about: &About, schema: &Schema) -> Vec<Finding> {
    const ITEM: &str = "trigger";
    let Some(triggers) = &schema.triggers else {
        return vec![cannot_see(about, ITEM, "TRIGGER", schema)];
    };
    if triggers.is_empty() {
        return vec![about.pass(ITEM, "none")];
    }
    let finding = |(table, name): &((String, String), String)| {
        about
            .warn(ITEM, format!("on {}", shown(table)))
            .on(name)
            .wanted("none, or one that writes only into tables in step")
            .why(
                "triggers do not fire again for rows that are applied: what this one writes into tables in step \
                 arrives, what it writes elsewhere is missing in the other regions",
            )
            .advice("see what it writes; a table it writes into belongs in [sync] tables, or is each region's own")
    };
    triggers.iter().map(finding).collect()
}

fn events(about: &About, facts: &Facts, schema: &Schema, two_way: bool) -> Vec<Finding> {
    const ITEM: &str = "event";
    if !facts.variables.is_on("event_scheduler") {
        return vec![about.pass(ITEM, "the event scheduler is off")];
    }
    let Some(events) = &schema.events else {
        return vec![cannot_see(about, ITEM, "EVENT", schema)];
    };
    if events.is_empty() {
        return vec![about.pass(ITEM, "none")];
    }
    let why = if two_way {
        "if the other region runs it too, both write the same at the same time, and that is a conflict"
    } else {
        "what it writes into tables in step is written by its source too"
    };
    let finding = |name: &String| {
        let quoted = name.split_once('.').map_or_else(|| sql::name(name), |(d, e)| sql::table(d, e));
        let finding = about.warn(ITEM, "enabled").on(name).wanted("enabled in one region only").why(why);
        finding.sql(format!("ALTER EVENT {quoted} DISABLE ON REPLICA"))
    };
    events.iter().map(finding).collect()
}

fn cannot_see(about: &About, item: &'static str, privilege: &str, schema: &Schema) -> Finding {
    let mut databases: Vec<&String> = schema.tables.keys().map(|(database, _)| database).collect();
    databases.dedup();
    let grants: Vec<String> =
        databases.iter().map(|d| format!("{privilege} ON {}.*", sql::name(d))).collect();
    let shows = format!("no account may see them; to have them looked at: GRANT {}", grants.join(", GRANT "));
    about.skipped(item, shows)
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::check::facts::{Facts, Variables};
    use crate::check::fixtures::{column, key, schema, table};
    use crate::check::report::{About, Outcome};
    use crate::check::schema::Schema;

    fn statuses(scheduler: &str, change: impl Fn(&mut Schema)) -> Vec<(&'static str, Outcome)> {
        let variables: Variables =
            [("event_scheduler".to_owned(), scheduler.to_owned())].into_iter().collect();
        let facts = Facts { variables, ..Facts::default() };
        let mut schema = schema([("t", table([column("a", "int")], [key("PRIMARY", ["a"])]))]);
        change(&mut schema);
        judge(&About::region("eu"), &facts, &schema, true).into_iter().map(|f| (f.item, f.status)).collect()
    }

    #[test]
    fn what_nobody_may_see_is_not_taken_for_none() {
        let blind = |schema: &mut Schema| (schema.triggers, schema.events) = (None, None);
        assert_eq!(statuses("ON", blind), [("trigger", Outcome::Skipped), ("event", Outcome::Skipped)]);
        assert_eq!(statuses("ON", |_| ()), [("trigger", Outcome::Pass), ("event", Outcome::Pass)]);
    }

    #[test]
    fn enabled_events_matter_only_while_the_scheduler_runs() {
        let nightly = |schema: &mut Schema| schema.events = Some(vec!["shop.nightly".into()]);
        assert_eq!(statuses("ON", nightly)[1], ("event", Outcome::Warn));
        assert_eq!(statuses("OFF", nightly)[1], ("event", Outcome::Pass));
        assert_eq!(statuses("DISABLED", nightly)[1], ("event", Outcome::Pass));
    }

    #[test]
    fn triggers_are_named_with_their_table() {
        let one = |schema: &mut Schema| {
            schema.triggers = Some(vec![(("shop".into(), "t".into()), "stamp".into())]);
        };
        assert_eq!(statuses("OFF", one)[0], ("trigger", Outcome::Warn));
    }
}
