//! Can the target take the largest row that the source can have?
//!
//! Rows travel as base64 inside one statement: four bytes for three, and a statement must fit `max_allowed_packet`.
//! So the target's limit must be 4/3 of the largest row event, and a mebibyte for what goes with it. A row event
//! holds an update's row twice.

use super::facts::Facts;
use super::report::{About, Finding};
use super::schema::{Schema, Table, shown};

/// MySQL's own upper limit.
const MOST: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// One direction: rows of `from` into `to`.
pub(crate) fn judge(about: &About, from: (&str, &Facts, &Schema), to: (&str, &Facts)) -> Finding {
    const ITEM: &str = "max_allowed_packet";
    let limits = (from.1.variables.number(ITEM), to.1.variables.number(ITEM));
    let (Some(source), Some(target)) = limits else {
        return about.skipped(ITEM, "a server does not say its limit");
    };
    let direction = format!("{} to {}", from.0, to.0);
    let found = format!("{} in {}, {} in {}", mib(source), from.0, mib(target), to.0);
    let needed = (source / 3 * 4 + MIB).next_multiple_of(MIB).min(MOST);
    let wide: Vec<String> = from
        .2
        .tables
        .iter()
        .filter(|(_, t)| largest(t) / 3 * 4 + MIB > target)
        .map(|(n, _)| shown(n))
        .collect();
    let wanted = format!("{} or more in {}", mib(needed), to.0);
    if target >= needed {
        return about.pass(ITEM, found).on(direction).wanted(wanted);
    }
    if wide.is_empty() {
        return about.pass(ITEM, format!("{found}; no row in step can be that large")).on(direction);
    }
    let largest = mib(target / 4 * 3);
    about
        .warn(ITEM, found)
        .on(direction)
        .wanted(wanted)
        .why(format!(
            "a row change of more than {largest} can't be applied in {}, and stops the link: {}",
            to.0,
            few(&wide)
        ))
        .sql_at(to.0, format!("SET PERSIST max_allowed_packet = {needed}"))
}

fn few(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more tables"),
    }
}

fn mib(bytes: u64) -> String {
    if bytes.is_multiple_of(MIB) { format!("{} MiB", bytes / MIB) } else { format!("{bytes} bytes") }
}

/// The most bytes of an update's two rows, as far as the columns tell.
fn largest(table: &Table) -> u64 {
    let sizes = table.columns.iter().map(|column| match (column.octets, column.base_type.as_str()) {
        (Some(octets), _) => octets,
        // No limit but the packet's.
        (None, "json" | "geometry" | "geomcollection" | "polygon" | "linestring") => u64::from(u32::MAX),
        (None, "multipoint" | "multilinestring" | "multipolygon") => u64::from(u32::MAX),
        // 16383 numbers of four bytes.
        (None, "vector") => 1 << 16,
        (None, _) => 64,
    });
    sizes.fold(0, u64::saturating_add).saturating_mul(2)
}

#[cfg(test)]
mod tests {
    use super::{MIB, judge};
    use crate::check::facts::{Facts, Variables};
    use crate::check::fixtures::{column, key, schema, table};
    use crate::check::report::{About, Finding, Outcome};
    use crate::check::schema::Schema;

    fn facts(limit: u64) -> Facts {
        let variables: Variables =
            [("max_allowed_packet".to_owned(), limit.to_string())].into_iter().collect();
        Facts { variables, ..Facts::default() }
    }

    fn with(base: &str, octets: Option<u64>) -> Schema {
        let mut wide = column("a", base);
        wide.octets = octets;
        schema([("t", table([column("id", "int"), wide], [key("PRIMARY", ["id"])]))])
    }

    fn found(source: u64, target: u64, schema: &Schema) -> Finding {
        let (source, target) = (facts(source * MIB), facts(target * MIB));
        judge(&About::pair("eu", "us"), ("eu", &source, schema), ("us", &target))
    }

    #[test]
    fn the_target_takes_four_thirds_of_what_the_source_takes_and_a_mebibyte() {
        let blobs = with("longblob", Some(u64::from(u32::MAX)));
        assert_eq!(found(64, 86, &blobs).status, Outcome::Warn);
        assert_eq!(found(64, 87, &blobs).status, Outcome::Pass);
        assert_eq!(
            found(64, 64, &blobs).fix[0].text,
            format!("SET PERSIST max_allowed_packet = {}", 87 * MIB)
        );
        assert_eq!(found(64, 64, &with("json", None)).status, Outcome::Warn);
    }

    #[test]
    fn at_mysqls_own_limit_nothing_more_can_be_wanted() {
        assert_eq!(found(1024, 1024, &with("longblob", Some(u64::from(u32::MAX)))).status, Outcome::Pass);
    }

    #[test]
    fn tables_without_large_values_need_no_large_packets() {
        assert_eq!(found(64, 16, &with("varchar", Some(4000))).status, Outcome::Pass);
        assert_eq!(found(64, 16, &with("mediumblob", Some(16 << 20))).status, Outcome::Warn);
    }
}
