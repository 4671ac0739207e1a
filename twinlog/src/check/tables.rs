//! What the tables in step of one region must be like: an engine that rolls back, a key to find rows by.

use twinlog::config::File;

use super::report::{About, Finding};
use super::schema::{Column, Name, Schema, Table, shown};
use super::sql;

/// Engines whose changes commit and roll back with the checkpoint.
const TRANSACTIONAL: [&str; 2] = ["InnoDB", "ndbcluster"];

/// Items of one region's tables. `two_way`: they are written in this region and in another.
pub(crate) fn judge(about: &About, file: &File, schema: &Schema, two_way: bool) -> Vec<Finding> {
    let mut findings = vec![present(about, file, schema)];
    if schema.tables.is_empty() {
        return findings;
    }
    findings.extend(engines(about, schema));
    findings.extend(keys(about, schema, two_way));
    findings.extend(generated_keys(about, schema));
    findings.extend(generated_columns(about, schema));
    findings.push(further_unique_keys(about, schema));
    findings
}

fn present(about: &About, file: &File, schema: &Schema) -> Finding {
    const ITEM: &str = "tables";
    let count = schema.tables.len();
    if count > 0 {
        return about.pass(ITEM, format!("{count} in step"));
    }
    let finding = about.warn(ITEM, "none in step, as far as the accounts may see").wanted("one at least");
    finding
        .why("what [sync] tables names is not there, or no account has a privilege on it")
        .setting("[sync] tables: correct the patterns")
        .advice(format!("or GRANT SELECT on the tables; {} is never in step", file.sync.meta_schema))
}

fn each<'a>(
    schema: &'a Schema,
    wrong: impl Fn(&Table) -> bool + 'a,
) -> impl Iterator<Item = (&'a Name, &'a Table)> {
    schema.tables.iter().filter(move |(_, table)| wrong(table))
}

/// One line when none is wrong, else one for each that is.
fn all_or_each(about: &About, item: &'static str, right: String, wrong: Vec<Finding>) -> Vec<Finding> {
    if wrong.is_empty() { vec![about.pass(item, right)] } else { wrong }
}

/// Every table's engine.
pub(crate) fn engines(about: &About, schema: &Schema) -> Vec<Finding> {
    const ITEM: &str = "engine";
    let is_wrong = |table: &Table| !TRANSACTIONAL.iter().any(|e| table.engine.eq_ignore_ascii_case(e));
    let wrong = each(schema, is_wrong).map(|(name, table)| {
        let why = "its changes do not roll back with the checkpoint: after a crash or a conflict rows would be \
                   applied twice or in part";
        let finding = about.fail(ITEM, &table.engine).on(shown(name)).wanted("InnoDB").why(why);
        finding.sql(format!("ALTER TABLE {} ENGINE = InnoDB", sql::table(&name.0, &name.1)))
    });
    all_or_each(about, ITEM, "all transactional".into(), wrong.collect())
}

fn keys(about: &About, schema: &Schema, two_way: bool) -> Vec<Finding> {
    const ITEM: &str = "key";
    let wrong = each(schema, |table| table.key().is_none()).map(|(name, _)| {
        let found = "no primary key and no unique key without NULLs";
        let finding = if two_way { about.fail(ITEM, found) } else { about.warn(ITEM, found) };
        let why = if two_way {
            "rows are found by all their values, by reading the whole table, and of equal ones any; a conflict on \
             such a row can't be told from drift"
        } else {
            "rows are found by all their values, by reading the whole table, and of equal ones any"
        };
        finding
            .on(shown(name))
            .wanted("a primary key, or a unique key over columns that are NOT NULL")
            .why(why)
            .advice(format!(
                "declare a key that exists already, the same in every region: ALTER TABLE {} ADD PRIMARY KEY (…)",
                sql::table(&name.0, &name.1)
            ))
            .setting(format!("or leave it out: [sync] tables = [ …, \"!{}\" ]", shown(name)))
    });
    all_or_each(about, ITEM, "every table has one".into(), wrong.collect())
}

fn generated_keys(about: &About, schema: &Schema) -> Vec<Finding> {
    const ITEM: &str = "generated_key";
    let hidden = each(schema, Table::has_generated_key).map(|(name, _)| {
        about
            .warn(ITEM, "its primary key is the invisible one that the server made")
            .on(shown(name))
            .wanted("a key that means something")
            .why(
                "both regions number rows by themselves: the numbers collide unless they are dealt out apart, and a \
                 row that both insert is there twice",
            )
            .advice("declare a primary key of its own columns, in every region")
    });
    all_or_each(about, ITEM, "none".into(), hidden.collect())
}

/// Stored columns that a server computes by the session that writes the row.
fn generated_columns(about: &About, schema: &Schema) -> Vec<Finding> {
    const ITEM: &str = "generated_column";
    let of_session = schema.tables.iter().flat_map(|(name, table)| {
        let described = table.columns.iter().map(|column| applier::Described {
            name: &column.name,
            is_timestamp: column.base_type == "timestamp",
            expression: &column.generated,
        });
        let names = applier::of_session(&described.collect::<Vec<_>>());
        let stored = table.columns.iter().filter(|column| column.extra.contains("STORED GENERATED"));
        let of_session = stored.filter(move |column| names.contains(&column.name));
        of_session.map(move |column| (name, column))
    });
    let warn = |(name, column): (&Name, &Column)| {
        about
            .warn(ITEM, format!("{} AS ({})", column.name, column.generated))
            .on(format!("{}.{}", shown(name), column.name))
            .wanted("an expression of the row alone")
            .why(
                "its value follows from the time zone or language of the session that writes, and the target computes it \
                 anew for each row: one that comes out otherwise is tried zone by zone, and stops the link where none gives \
                 the source's",
            )
            .advice("make it of a DATETIME, or of a number for a name; or write with one time_zone in every session")
    };
    all_or_each(about, ITEM, "each follows from its row".into(), of_session.map(warn).collect())
}

fn further_unique_keys(about: &About, schema: &Schema) -> Finding {
    let several: Vec<String> =
        each(schema, |table| table.keys.len() > 1).map(|(name, _)| shown(name)).collect();
    let found = match several.len() {
        0 => "none".to_owned(),
        _ => format!("{}: conflicts on them are reported, and not resolved by a policy", several.join(", ")),
    };
    about.pass("further_unique_keys", found)
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::check::fixtures::{column, file, key, schema, table};
    use crate::check::report::{About, Outcome};
    use crate::check::schema::Table;

    fn statuses(table: Table, two_way: bool) -> Vec<(&'static str, Outcome)> {
        let findings = judge(&About::region("eu"), &file(), &schema([("t", table)]), two_way);
        findings.into_iter().filter(|f| f.status != Outcome::Pass).map(|f| (f.item, f.status)).collect()
    }

    #[test]
    fn a_table_without_a_key_fails_both_ways_and_warns_one_way() {
        assert_eq!(statuses(table([column("a", "int")], []), true), [("key", Outcome::Fail)]);
        assert_eq!(statuses(table([column("a", "int")], []), false), [("key", Outcome::Warn)]);
        assert_eq!(statuses(table([column("a", "int")], [key("PRIMARY", ["a"])]), true), []);
    }

    #[test]
    fn an_engine_that_does_not_roll_back_fails() {
        let memory =
            Table { engine: "MEMORY".into(), ..table([column("a", "int")], [key("PRIMARY", ["a"])]) };
        assert_eq!(statuses(memory, false), [("engine", Outcome::Fail)]);
    }

    #[test]
    fn a_key_that_the_server_made_is_worth_a_word() {
        let mut hidden = column("my_row_id", "bigint unsigned");
        hidden.extra = "auto_increment INVISIBLE".into();
        let found = statuses(table([hidden, column("a", "int")], [key("PRIMARY", ["my_row_id"])]), true);
        assert_eq!(found, [("generated_key", Outcome::Warn)]);
    }

    #[test]
    fn a_stored_column_that_follows_from_the_session_is_worth_a_word() {
        let generated = |name: &str, expression: &str, how: &str| {
            let mut column = column(name, "int");
            (column.generated, column.extra) = (expression.into(), format!("{how} GENERATED"));
            column
        };
        let of = |first, second| {
            let (id, at) = (column("id", "int"), column("at", "timestamp(3)"));
            statuses(table([id, at, first, second], [key("PRIMARY", ["id"])]), true)
        };
        let shown = generated("shown", "hour(`at`)", "VIRTUAL");
        assert_eq!(of(shown.clone(), generated("next", "(`id` + 1)", "STORED")), []);
        let found = [("generated_column", Outcome::Warn)];
        assert_eq!(of(generated("h", "hour(`at`)", "STORED"), column("n", "int")), found);
        assert_eq!(of(shown, generated("h", "(`shown` + 1)", "STORED")), found, "by way of another");
    }

    #[test]
    fn patterns_that_match_nothing_are_worth_a_word() {
        let findings = judge(&About::region("eu"), &file(), &schema([]), true);
        assert_eq!((findings.len(), findings[0].status), (1, Outcome::Warn));
    }
}
