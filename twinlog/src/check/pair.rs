//! What two linked regions must have in common.

use super::facts::Facts;
use super::report::{About, Finding, Outcome};

/// A variable that should have one value in both.
struct Common {
    item: &'static str,
    otherwise: Outcome,
    why: &'static str,
    /// How to make them alike; `None`: a statement sets it.
    advice: Option<&'static str>,
}

const COMMON: [Common; 9] = [
    Common {
        item: "lower_case_table_names",
        otherwise: Outcome::Fail,
        why: "a table that one server calls Customer is customer to the other: rows would not find their table",
        advice: Some(
            "it is chosen when a data folder is made: copy one of the regions into a server made with the other's value",
        ),
    },
    Common {
        item: "character_set_server",
        otherwise: Outcome::Warn,
        why: "CREATE DATABASE and CREATE TABLE without a character set make different tables in each region, and their \
              rows stop the link",
        advice: None,
    },
    Common {
        item: "collation_server",
        otherwise: Outcome::Warn,
        why: "tables made without a collation take different ones: what is a duplicate in one region is none in the other",
        advice: None,
    },
    Common {
        item: "default_collation_for_utf8mb4",
        otherwise: Outcome::Warn,
        why: "tables made with utf8mb4 and no collation take different ones",
        advice: None,
    },
    Common {
        item: "sql_mode",
        otherwise: Outcome::Warn,
        why: "the application's statements mean different things in each region; what one lets in the other's DDL may refuse",
        advice: None,
    },
    Common {
        item: "explicit_defaults_for_timestamp",
        otherwise: Outcome::Warn,
        why: "a TIMESTAMP column made by the same statement differs in each region",
        advice: None,
    },
    Common {
        item: "sql_generate_invisible_primary_key",
        otherwise: Outcome::Warn,
        why: "a table made without a key by the same statement has one more column in one region",
        advice: None,
    },
    Common {
        item: "sql_require_primary_key",
        otherwise: Outcome::Warn,
        why: "a table made without a key in one region is refused in the other, and an applier's account can't change \
              that for its session",
        advice: None,
    },
    Common {
        item: "innodb_page_size",
        otherwise: Outcome::Warn,
        why: "a table or key that one region can hold may be too wide for the other",
        advice: Some("it is chosen when a data folder is made"),
    },
];

/// Items of two regions; `[here, there]` by name, each with the first server that answered.
pub(crate) fn judge(about: &About, [here, there]: [(&str, &Facts); 2]) -> Vec<Finding> {
    let mut findings = vec![versions(about, here, there)];
    findings.extend(COMMON.iter().map(|common| common.judge(about, here, there)));
    findings.push(time_zones(about, here, there));
    findings
}

impl Common {
    fn judge(&self, about: &About, here: (&str, &Facts), there: (&str, &Facts)) -> Finding {
        let (one, other) = (here.1.variables.get(self.item), there.1.variables.get(self.item));
        if one == other {
            return about
                .pass(self.item, one.map_or("in neither", |v| if v.is_empty() { "empty" } else { v }));
        }
        let shown = |value: Option<&str>| value.unwrap_or("not there").to_owned();
        let found = format!("{} in {}, {} in {}", shown(one), here.0, shown(other), there.0);
        let finding = about.found(self.item, self.otherwise, found).wanted("the same in both").why(self.why);
        match (self.advice, one, other) {
            (Some(advice), ..) => finding.advice(advice),
            (None, Some(value), Some(_)) => {
                finding.sql_at(there.0, format!("SET PERSIST {} = '{value}'", self.item))
            }
            (None, ..) => {
                finding.advice("it is one version's own: upgrade the other, or keep to its usual value")
            }
        }
    }
}

fn versions(about: &About, here: (&str, &Facts), there: (&str, &Facts)) -> Finding {
    const ITEM: &str = "versions";
    let series = |facts: &Facts| (facts.version.major, facts.version.minor);
    let found = format!("{} in {}, {} in {}", here.1.version_text, here.0, there.1.version_text, there.0);
    if series(here.1) == series(there.1) {
        return about.pass(ITEM, found);
    }
    let finding = about.warn(ITEM, found).wanted("the same series");
    finding
        .why("a newer server may write types, collations and statements that the older one does not know")
        .advice("upgrade the older one; until then use nothing that only the newer one has")
}

fn time_zones(about: &About, here: (&str, &Facts), there: (&str, &Facts)) -> Finding {
    const ITEM: &str = "time_zone";
    let zone = |facts: &Facts| {
        let zone = facts.variables.get("time_zone").unwrap_or_default();
        let system = facts.variables.get("system_time_zone").unwrap_or_default();
        if zone.eq_ignore_ascii_case("SYSTEM") { system.to_owned() } else { zone.to_owned() }
    };
    let is_utc = |zone: &str| matches!(zone, "UTC" | "+00:00" | "GMT" | "Etc/UTC");
    let (one, other) = (zone(here.1), zone(there.1));
    if one == other || is_utc(&one) && is_utc(&other) {
        return about.pass(ITEM, one);
    }
    let finding = about.warn(ITEM, format!("{one} in {}, {other} in {}", here.0, there.0));
    finding
        .wanted("the same in both")
        .why("rows arrive as they are, but NOW() and CURRENT_TIMESTAMP write another local time into DATETIME in each region")
        .sql_at(here.0, "SET PERSIST time_zone = '+00:00'")
        .sql_at(there.0, "SET PERSIST time_zone = '+00:00'")
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::check::facts::{Facts, Variables};
    use crate::check::report::{About, Finding, Outcome};

    fn facts(pairs: &[(&str, &str)]) -> Facts {
        let variables: Variables = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Facts { variables, version: wire::ServerVersion::new(9, 7, 0), ..Facts::default() }
    }

    fn one(item: &str, here: &Facts, there: &Facts) -> Finding {
        let all = judge(&About::pair("eu", "us"), [("eu", here), ("us", there)]);
        all.into_iter().find(|f| f.item == item).unwrap()
    }

    #[test]
    fn a_difference_carries_the_statement_that_makes_the_second_like_the_first() {
        let (here, there) = (facts(&[("sql_mode", "STRICT_ALL_TABLES")]), facts(&[("sql_mode", "")]));
        let finding = one("sql_mode", &here, &there);
        assert_eq!(finding.status, Outcome::Warn);
        assert_eq!(finding.fix[0].region.as_deref(), Some("us"));
        assert_eq!(finding.fix[0].text, "SET PERSIST sql_mode = 'STRICT_ALL_TABLES'");
        assert_eq!(one("sql_mode", &here, &here).status, Outcome::Pass);
    }

    #[test]
    fn names_of_tables_must_mean_the_same() {
        let name = "lower_case_table_names";
        let finding = one(name, &facts(&[(name, "0")]), &facts(&[(name, "1")]));
        assert_eq!(finding.status, Outcome::Fail);
    }

    #[test]
    fn the_systems_zone_is_looked_through_and_all_names_of_utc_are_one() {
        let system = |zone| facts(&[("time_zone", "SYSTEM"), ("system_time_zone", zone)]);
        let named = |zone| facts(&[("time_zone", zone)]);
        assert_eq!(one("time_zone", &system("UTC"), &named("+00:00")).status, Outcome::Pass);
        assert_eq!(one("time_zone", &system("CET"), &system("UTC")).status, Outcome::Warn);
    }

    #[test]
    fn another_series_is_worth_a_word_and_another_patch_is_not() {
        let of = |major, minor, patch| Facts {
            version: wire::ServerVersion::new(major, minor, patch),
            ..Facts::default()
        };
        assert_eq!(one("versions", &of(9, 7, 4), &of(9, 7, 1)).status, Outcome::Pass);
        assert_eq!(one("versions", &of(9, 7, 4), &of(8, 4, 4)).status, Outcome::Warn);
    }
}
