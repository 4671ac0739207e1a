//! Two regions that count by themselves must not come to the same numbers.
//!
//! A server hands out `offset`, `offset + increment`, `offset + 2 * increment` … . Two such rows of numbers meet
//! exactly when their offsets leave the same rest behind the greatest common divisor of their increments.

use super::facts::Facts;
use super::report::{About, Finding};
use super::schema::{Schema, Table, shown};

/// How a server counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counting {
    increment: u64,
    offset: u64,
}

impl Counting {
    fn of(facts: &Facts) -> Self {
        let increment = facts.variables.number("auto_increment_increment").unwrap_or(1).max(1);
        let offset = facts.variables.number("auto_increment_offset").unwrap_or(1);
        Self { increment, offset }
    }

    fn meets(self, other: Self) -> bool {
        // MySQL ignores an offset beyond the increment, and its layers do not agree on what to do instead.
        if self.offset > self.increment || other.offset > other.increment {
            return true;
        }
        let common = gcd(self.increment, other.increment);
        self.offset % common == other.offset % common
    }
}

impl std::fmt::Display for Counting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { increment, offset } = self;
        write!(f, "{offset}, {}, {} …", offset + increment, offset + 2 * increment)
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Two regions that both write. `regions`: all of the sync, each of which gets numbers of its own.
pub(crate) fn judge(
    about: &About,
    [here, there]: [(&str, &Facts); 2],
    schemas: [&Schema; 2],
    regions: &[&str],
) -> Finding {
    const ITEM: &str = "auto_increment";
    let counts = |table: &Table| table.auto_increment().is_some();
    let mut tables: Vec<String> = schemas
        .iter()
        .flat_map(|schema| {
            schema.tables.iter().filter(|(_, table)| counts(table)).map(|(name, _)| shown(name))
        })
        .collect();
    tables.sort();
    tables.dedup();
    if tables.is_empty() {
        return about.pass(ITEM, "no table in step counts by itself");
    }
    let (one, other) = (Counting::of(here.1), Counting::of(there.1));
    let found = format!("{} hands out {one}, {} hands out {other}", here.0, there.0);
    let wanted = "numbers that never meet";
    if !one.meets(other) {
        return about.pass(ITEM, found).wanted(wanted);
    }
    let why = format!(
        "both regions give the same number to different rows of {}: a conflict at nearly every insert",
        tables.join(", ")
    );
    let mut finding = about.fail(ITEM, found).wanted(wanted).why(why);
    for (region, _) in [here, there] {
        let place = regions.iter().position(|r| *r == region).map_or(1, |at| at + 1);
        finding = finding
            .sql_at(region, format!("SET PERSIST auto_increment_increment = {}", regions.len().max(2)))
            .sql_at(region, format!("SET PERSIST auto_increment_offset = {place}"));
    }
    finding.advice("sessions that are open keep the old values: let applications connect again")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::{Counting, judge};
    use crate::check::facts::{Facts, Variables};
    use crate::check::fixtures::{column, key, schema, table};
    use crate::check::report::{About, Outcome};
    use crate::check::schema::Schema;

    fn facts(increment: u64, offset: u64) -> Facts {
        let pairs = [("auto_increment_increment", increment), ("auto_increment_offset", offset)];
        let variables: Variables = pairs.into_iter().map(|(n, v)| (n.to_owned(), v.to_string())).collect();
        Facts { variables, ..Facts::default() }
    }

    fn counted() -> Schema {
        let mut id = column("id", "int");
        id.extra = "auto_increment".into();
        schema([("t", table([id], [key("PRIMARY", ["id"])]))])
    }

    fn status(here: &Facts, there: &Facts, schema: &Schema) -> Outcome {
        let regions = ["asia", "eu", "us"];
        judge(&About::pair("eu", "us"), [("eu", here), ("us", there)], [schema, schema], &regions).status
    }

    #[test]
    fn regions_that_hand_out_the_same_numbers_fail_and_the_sql_deals_them_apart() {
        let (alike, schema) = (facts(1, 1), counted());
        assert_eq!(status(&alike, &alike, &schema), Outcome::Fail);
        assert_eq!(status(&facts(2, 1), &facts(2, 2), &schema), Outcome::Pass);
        assert_eq!(status(&facts(4, 1), &facts(6, 2), &schema), Outcome::Pass);
        assert_eq!(status(&facts(4, 1), &facts(6, 5), &schema), Outcome::Fail, "both hand out 5");
        assert_eq!(status(&facts(2, 7), &facts(2, 1), &schema), Outcome::Fail, "7 of 2 is ignored");
        let pair = About::pair("eu", "us");
        let finding =
            judge(&pair, [("eu", &alike), ("us", &alike)], [&schema, &schema], &["asia", "eu", "us"]);
        let fix: Vec<_> =
            finding.fix.iter().filter_map(|f| Some((f.region.as_deref()?, f.text.as_str()))).collect();
        assert_eq!(
            fix,
            [
                ("eu", "SET PERSIST auto_increment_increment = 3"),
                ("eu", "SET PERSIST auto_increment_offset = 2"),
                ("us", "SET PERSIST auto_increment_increment = 3"),
                ("us", "SET PERSIST auto_increment_offset = 3"),
            ]
        );
    }

    #[test]
    fn tables_that_do_not_count_need_nothing() {
        let plain = schema([("t", table([column("id", "int")], [key("PRIMARY", ["id"])]))]);
        assert_eq!(status(&facts(1, 1), &facts(1, 1), &plain), Outcome::Pass);
    }

    proptest! {
        #[test]
        fn rows_of_numbers_meet_when_they_have_one_in_common(
            a in (1u64..12, 0u64..12), b in (1u64..12, 0u64..12)
        ) {
            let [a, b] = [a, b].map(|(increment, rest)| Counting::of(&facts(increment, rest % increment + 1)));
            let numbers = |c: Counting| (0..200).map(move |k| c.offset + k * c.increment);
            let common = numbers(a).any(|n| numbers(b).any(|m| n == m));
            prop_assert_eq!(a.meets(b), common);
        }
    }
}
