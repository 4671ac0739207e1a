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

/// Does an expression, as the server shows it, give another value in another session? `timestamps`: the names of the
/// table's `TIMESTAMP` columns, and of generated ones that do.
pub fn follows_from_session(expression: &str, timestamps: &[String]) -> bool {
    let lower = expression.to_lowercase();
    let of_column = |name: &String| lower.contains(&quoted(name));
    let by_format = || {
        (lower.contains("date_format(") || lower.contains("str_to_date("))
            && FORMATS.iter().any(|format| expression.contains(format))
    };
    timestamps.iter().any(of_column) || OF_THE_SESSION.iter().any(|f| lower.contains(f)) || by_format()
}

/// Does anything in a table's definition (`SHOW CREATE TABLE`) that the server computes when a row is written: a generated
/// column, stored or not, an index on an expression, a check?
pub(crate) fn computes_by_session(create: &str, timestamps: &[String]) -> bool {
    let computes = |line: &&str| {
        let line = line.trim_start();
        let is_index = || line.starts_with("KEY ") || line.contains(" KEY ") || line.starts_with("UNIQUE ");
        line.contains(" GENERATED ALWAYS AS (")
            || line.contains(" CHECK (")
            || is_index() && line.contains("((")
    };
    // The column list ends in a line of its own; line breaks inside a text are escaped.
    let body = create.split("\n) ENGINE=").next().unwrap_or_default();
    body.lines().skip(1).filter(computes).any(|line| follows_from_session(&computed_part(line), timestamps))
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
    use super::{computes_by_session, follows_from_session};

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
