//! Are the tables in step the same in two regions?
//!
//! Rows are applied by position, so what an applier would refuse at the first row is found out before: by the same
//! comparison that it makes. What differs besides does not stop a link, but lets the regions disagree about what is
//! a duplicate, a default, or allowed.

use applier::rows_fit;
use twinlog::config::{self, Initial, Link};

use super::report::{About, Finding};
use super::schema::{Name, Schema, Table, shown};

/// What a link calls a table of its source in its target; `None` where it has no place there.
fn name_there(link: &Link, name: &Name) -> Option<Name> {
    config::names(link).there(&name.0, &name.1)
}

/// Tables of the link's source that its target lacks, in an order in which they can be made: parents first.
pub(crate) fn missing(link: &Link, source: &Schema, target: &Schema) -> Vec<Name> {
    let mut lacking: Vec<Name> = lacking(link, source, target);
    let mut ordered = Vec::new();
    while !lacking.is_empty() {
        let waits = |name: &Name| {
            let parents = source.tables.get(name).into_iter().flat_map(|table| &table.foreign_keys);
            parents.into_iter().any(|key| key.parent != *name && lacking.contains(&key.parent))
        };
        // Tables that are each other's parents have no such order.
        let next = lacking.iter().position(|name| !waits(name)).unwrap_or(0);
        ordered.push(lacking.remove(next));
    }
    ordered
}

fn lacking(link: &Link, source: &Schema, target: &Schema) -> Vec<Name> {
    source
        .tables
        .keys()
        .filter(|name| name_there(link, name).is_some_and(|there| !target.tables.contains_key(&there)))
        .cloned()
        .collect()
}

/// A table that is missing; `create` is the source's definition.
pub(crate) fn missing_finding(about: &About, link: &Link, name: &Name, create: Option<String>) -> Finding {
    const ITEM: &str = "missing_table";
    let found = format!("in {} and not in {}", link.from, link.to);
    if matches!(link.initial, Initial::StructureAndData | Initial::Structure) {
        return about.pass(ITEM, format!("{found}: the link makes it")).on(shown(name));
    }
    let why = format!("rows of {} find no table, and stop the link {}", link.from, link.name);
    let finding = about.fail(ITEM, found).on(shown(name)).wanted("in both").why(why);
    let there = name_there(link, name).unwrap_or_else(|| name.clone());
    match create.filter(|_| there == *name) {
        Some(create) => finding.sql_at(&link.to, create),
        None => finding.advice(format!("create {} in {} as {} has it", shown(&there), link.to, link.from)),
    }
}

/// Tables that both have. `back`: rows cross the other way too.
pub(crate) fn judge(
    about: &About,
    link: &Link,
    back: Option<&Link>,
    source: &Schema,
    target: &Schema,
) -> Vec<Finding> {
    const ITEM: &str = "definition";
    let mut findings = Vec::new();
    let mut count = 0;
    for (name, here) in &source.tables {
        let there = name_there(link, name).and_then(|there| target.tables.get(&there));
        let Some(there) = there else { continue };
        count += 1;
        let fits = fit(link, back, here, there);
        if !matches!(fits, Ok(false)) {
            findings.push(columns_differ(about, link, name, (here, there), fits));
        } else if let Some(difference) = looser(here, there) {
            findings.push(
                about
                    .warn("definition_details", difference.text(&link.from, &link.to))
                    .on(shown(name))
                    .wanted("the same in both")
                    .why(difference.why)
                    .advice(format!(
                        "alter {} in one of the regions until SHOW CREATE TABLE says the same in both",
                        shown(name)
                    )),
            );
        }
    }
    if findings.is_empty() && count > 0 {
        findings.push(about.pass(ITEM, format!("{count} tables are the same in both")));
    }
    findings
}

/// Do rows fit, in each direction in which they cross? `Ok(true)`: they are written anew in one of them.
fn fit(link: &Link, back: Option<&Link>, here: &Table, there: &Table) -> Result<bool, String> {
    let named = |difference: String, link: &Link| {
        difference
            .replace("at the source", &format!("in {}", link.from))
            .replace("in the target", &format!("in {}", link.to))
    };
    let moved = rows_fit(&here.facts(), &there.facts()).map_err(|d| named(d, link))?;
    let moved_back = match back {
        Some(back) => rows_fit(&there.facts(), &here.facts()).map_err(|d| named(d, back))?,
        None => false,
    };
    Ok(moved || moved_back)
}

/// Columns that are not the same: rows are written anew for them, or can't be.
fn columns_differ(
    about: &About,
    link: &Link,
    name: &Name,
    (here, there): (&Table, &Table),
    fits: Result<bool, String>,
) -> Finding {
    const ITEM: &str = "definition";
    let columns = |table: &Table| {
        let all: Vec<String> =
            table.columns.iter().map(|c| format!("{} {}", c.name, c.column_type)).collect();
        all.join(", ")
    };
    let both = format!("{}: {}; {}: {}", link.from, columns(here), link.to, columns(there));
    let finding = match fits {
        Ok(_) => about
            .warn(ITEM, "columns differ, and rows fit by their names")
            .why(format!("each row is written anew for the target, and one that does not fit exactly stops the link; {both}")),
        Err(difference) => {
            about.fail(ITEM, difference).why(format!("rows can't be applied exactly, so the link stops; {both}"))
        }
    };
    finding.on(shown(name)).wanted("the same columns").advice(format!(
        "alter {} in one of the regions until SHOW CREATE TABLE says the same in both",
        shown(name)
    ))
}

/// A difference that no row runs into at once.
struct Looser {
    what: String,
    here: String,
    there: String,
    why: &'static str,
}

impl Looser {
    fn text(&self, here: &str, there: &str) -> String {
        format!("{} is {} in {here} and {} in {there}", self.what, self.here, self.there)
    }
}

fn looser(here: &Table, there: &Table) -> Option<Looser> {
    for (one, other) in here.columns.iter().zip(&there.columns) {
        let of = |what: &str| format!("{what} of column {}", one.name);
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".into());
        if one.collation != other.collation {
            let why = "texts that are equal in one region are not in the other: keys and conflicts are judged differently";
            return Some(Looser {
                what: of("the collation"),
                here: text(&one.collation),
                there: text(&other.collation),
                why,
            });
        }
        if one.nullable != other.nullable {
            let null = |nullable| if nullable { "there" } else { "refused" }.to_owned();
            let why = "a NULL of one region is refused in the other, and stops the link";
            return Some(Looser {
                what: of("NULL"),
                here: null(one.nullable),
                there: null(other.nullable),
                why,
            });
        }
        if one.generated != other.generated {
            let why = "the same row has another value in this column in each region";
            return Some(Looser {
                what: of("the expression"),
                here: one.generated.clone(),
                there: other.generated.clone(),
                why,
            });
        }
        if one.default != other.default {
            let why = "the same INSERT writes another value in each region";
            return Some(Looser {
                what: of("the default"),
                here: text(&one.default),
                there: text(&other.default),
                why,
            });
        }
    }
    let keys = |table: &Table| {
        let mut keys: Vec<String> =
            table.keys.iter().map(|key| format!("({})", key.parts.join(", "))).collect();
        keys.sort();
        keys.join(" ")
    };
    let (one, other) = (keys(here), keys(there));
    let why = "rows that one region takes are duplicates in the other, and stop the link";
    (one != other).then(|| Looser { what: "the set of unique keys".into(), here: one, there: other, why })
}

#[cfg(test)]
mod tests {
    use super::{judge, missing, missing_finding};
    use crate::check::fixtures::{column, file, key, schema, table};
    use crate::check::report::{About, FixKind, Outcome};
    use crate::check::schema::{ForeignKey, Schema, Table};

    fn one(table: Table) -> Schema {
        schema([("t", table)])
    }

    fn found(source: Table, target: Table) -> (&'static str, Outcome, String) {
        let file = file();
        let all = judge(&About::pair("eu", "us"), &file.links["eu-us"], None, &one(source), &one(target));
        assert_eq!(all.len(), 1, "{all:?}");
        (all[0].item, all[0].status, all[0].found.clone())
    }

    fn plain() -> Table {
        table([column("id", "int"), column("a", "enum('x','y')")], [key("PRIMARY", ["id"])])
    }

    #[test]
    fn columns_that_rows_can_not_be_applied_into_fail_and_those_that_are_only_moved_do_not() {
        let mut reordered = plain();
        reordered.columns[1] = column("a", "enum('y','x')");
        let (item, status, text) = found(plain(), reordered);
        assert_eq!((item, status), ("definition", Outcome::Warn), "{text}");
        let mut text_there = plain();
        text_there.columns[1] = column("a", "text");
        let (item, status, text) = found(plain(), text_there);
        assert_eq!((item, status), ("definition", Outcome::Fail));
        assert!(text.contains("in eu") && text.contains("in us"), "{text}");
        assert_eq!(found(plain(), plain()).1, Outcome::Pass);
    }

    #[test]
    fn what_only_lets_regions_disagree_is_worth_a_word() {
        let changes: [fn(&mut Table); 5] = [
            |t| t.columns[1].collation = Some("utf8mb4_bin".into()),
            |t| t.columns[0].nullable = true,
            |t| t.columns[1].default = Some("x".into()),
            |t| t.columns[1].generated = "(1)".into(),
            |t| t.keys.push(key("u", ["a"])),
        ];
        for change in changes {
            let mut other = plain();
            change(&mut other);
            let (item, status, text) = found(plain(), other);
            assert_eq!((item, status), ("definition_details", Outcome::Warn), "{text}");
        }
    }

    #[test]
    fn missing_tables_are_made_parents_first_and_rings_do_not_end_the_search() {
        let child = |parent: &str| {
            let mut table = plain();
            table.foreign_keys.push(ForeignKey {
                name: "fk".into(),
                parent: ("shop".into(), parent.into()),
                on_update: "NO ACTION".into(),
                on_delete: "NO ACTION".into(),
            });
            table
        };
        let file = file();
        let order = |schema_there: Schema| {
            let names = missing(&file.links["eu-us"], &schema_there, &schema([]));
            names.into_iter().map(|(_, table)| table).collect::<Vec<_>>()
        };
        assert_eq!(order(schema([("a", child("b")), ("b", child("c")), ("c", plain())])), ["c", "b", "a"]);
        assert_eq!(order(schema([("a", child("b")), ("b", child("a"))])), ["a", "b"]);
        assert_eq!(order(schema([("a", child("a"))])), ["a"]);
    }

    #[test]
    fn a_missing_table_fails_with_the_statement_that_makes_it() {
        let file = file();
        let link = &file.links["eu-us"];
        let names = missing(link, &one(plain()), &schema([]));
        assert_eq!(names, [("shop".to_owned(), "t".to_owned())]);
        let about = About::pair("eu", "us");
        let finding = missing_finding(&about, link, &names[0], Some("CREATE TABLE …".into()));
        assert_eq!((finding.status, finding.fix[0].kind), (Outcome::Fail, FixKind::Sql));
        assert_eq!(finding.fix[0].region.as_deref(), Some("us"));
        let mut copying = link.clone();
        copying.initial = twinlog::config::Initial::Structure;
        assert_eq!(missing_finding(&about, &copying, &names[0], None).status, Outcome::Pass);
    }
}
