//! Generated columns whose value follows from more than their row: from the session that wrote it.
//!
//! `HOUR(at)` of a `TIMESTAMP` is another hour under another `time_zone`, and a server that applies a row event computes every
//! generated column anew (`update_generated_write_fields`, sql/log_event.cc), whatever the image says. A `BEGIN` tells the
//! zone only if the transaction's first statement used it, and an update leaves a value as another session computed it. So
//! the zone that is told is tried first, and what came out is held against the image: `recompute.rs`.

/// Functions whose result follows from the session's time zone, or the language of its names of days and months.
const OF_THE_SESSION: [&str; 6] =
    ["from_unixtime(", "unix_timestamp(", "dayname(", "monthname(", "week(", "yearweek("];
/// Formats of `DATE_FORMAT` and `STR_TO_DATE` that follow from them.
const FORMATS: [&str; 6] = ["%a", "%b", "%M", "%W", "%U", "%u"];

/// A column, as a server tells of it.
#[derive(Clone, Copy, Debug)]
pub struct Described<'a> {
    /// Its name.
    pub name: &'a str,
    /// Is its type `TIMESTAMP`, with whatever digits?
    pub is_timestamp: bool,
    /// `GENERATION_EXPRESSION` of `information_schema.COLUMNS`; empty where it is no generated column.
    pub expression: &'a str,
}

/// Which of a table's columns, given in their order, are shown otherwise in another session, by name: those that are
/// `TIMESTAMP`, wherever they stand, and what is made of them or by a function of the session.
pub fn of_session(columns: &[Described<'_>]) -> Vec<String> {
    let timestamps = columns.iter().filter(|column| column.is_timestamp);
    let mut names: Vec<String> = timestamps.map(|column| column.name.to_owned()).collect();
    // A generated column can be made of generated ones only if these stand before it.
    for column in columns {
        if follows_from_session(column.expression, &names) {
            names.push(column.name.to_owned());
        }
    }
    names
}

/// Does an expression, as the server shows it, give another value in another session? `names`: columns that do.
fn follows_from_session(expression: &str, names: &[String]) -> bool {
    let lower = expression.to_lowercase();
    let of_column = |name: &String| lower.contains(&quoted(name));
    let by_format = || {
        (lower.contains("date_format(") || lower.contains("str_to_date("))
            && FORMATS.iter().any(|format| expression.contains(format))
    };
    names.iter().any(of_column) || OF_THE_SESSION.iter().any(|f| lower.contains(f)) || by_format()
}

/// Does anything in a table's definition (`SHOW CREATE TABLE`) that the server computes when a row is written: a generated
/// column, stored or not, an index on an expression, a check? `names`: see [`of_session`].
pub(crate) fn computes_by_session(create: &str, names: &[String]) -> bool {
    let computes = |line: &&str| {
        let line = line.trim_start();
        let is_index = || line.starts_with("KEY ") || line.contains(" KEY ") || line.starts_with("UNIQUE ");
        line.contains(" GENERATED ALWAYS AS (")
            || line.contains(" CHECK (")
            || is_index() && line.contains("((")
    };
    // The column list ends in a line of its own; line breaks inside a text are escaped.
    let body = create.split("\n) ENGINE=").next().unwrap_or_default();
    body.lines().skip(1).filter(computes).any(|line| follows_from_session(&computed_part(line), names))
}

/// A line of a definition without the name and type before what is computed.
fn computed_part(line: &str) -> String {
    let starts = [" GENERATED ALWAYS AS (", " CHECK (", "(("];
    let start = starts.iter().filter_map(|start| line.find(start)).min().unwrap_or_default();
    line[start..].to_owned()
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.to_lowercase().replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::{Described, computes_by_session, follows_from_session, of_session};

    fn follows(expression: &str) -> bool {
        follows_from_session(expression, &["At".into()])
    }

    #[test]
    fn what_is_made_of_a_timestamp_follows_from_the_session() {
        assert!(follows("hour(`at`)"));
        assert!(follows("(cast(`at` as date))"));
        assert!(!follows("hour(`made_at`)"));
        assert!(!follows("json_unquote(json_extract(`doc`,_utf8mb4'$.at'))"));
    }

    #[test]
    fn so_does_what_calls_a_function_of_the_session() {
        assert!(follows("from_unixtime(`seconds`)"));
        assert!(follows("dayname(`day`)"));
        assert!(follows("date_format(`day`,_utf8mb4'%W')"));
        assert!(!follows("date_format(`day`,_utf8mb4'%Y-%m')"));
    }

    #[test]
    fn a_column_that_stands_before_its_timestamp_follows_from_the_session_and_so_does_one_made_of_it() {
        let column = |name, is_timestamp, expression| Described { name, is_timestamp, expression };
        let columns = [
            column("id", false, ""),
            column("day", false, "cast(`at` as date)"),
            column("next", false, "(`day` + interval 1 day)"),
            column("n", false, "(`id` + 1)"),
            column("at", true, ""),
        ];
        assert_eq!(of_session(&columns), ["at", "day", "next"]);
    }

    #[test]
    fn a_definition_computes_in_columns_indexes_and_checks() {
        let create = |line: &str| {
            format!(
                "CREATE TABLE `t` (\n  `id` int NOT NULL,\n  `at` timestamp NULL DEFAULT NULL,\n{line}\n  PRIMARY KEY (`id`),\n  \
                 KEY `at` (`at`)\n) ENGINE=InnoDB COMMENT='CHECK ((`at`'"
            )
        };
        let computes = |line| computes_by_session(&create(line), &["at".into()]);
        assert!(!computes("  `n` int DEFAULT NULL,"));
        assert!(!computes("  `g` int GENERATED ALWAYS AS ((`id` + 1)) STORED,"));
        assert!(computes("  `g` int GENERATED ALWAYS AS (hour(`at`)) VIRTUAL,"));
        assert!(computes("  KEY `hours` ((hour(`at`))),"));
        assert!(computes("  CONSTRAINT `c` CHECK ((`at` > _utf8mb4'2020-01-01')),"));
    }
}
