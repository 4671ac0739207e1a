//! The statements a client of a relay sends, as far as they are answered: a few forms of SELECT, SHOW and SET.
//!
//! No SQL engine: what is not one of these forms is told so by an error packet.

use std::time::SystemTime;

/// One expression of a SELECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    /// `@@name`, `@@global.name`: lower case, without scope.
    System(String),
    /// `@name`, lower case.
    User(String),
    /// `NAME()`, upper case.
    Call(String),
    /// A number or a text as it is.
    Literal(String),
}

/// A column of a SELECT: its heading, and what it shows.
pub(crate) type Selected = (String, Expression);

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    /// `SELECT expression [AS name], …`
    Select(Vec<Selected>),
    /// `SET …`: the user variables in it; everything else is taken as said.
    Set(Vec<(String, String)>),
    /// `SHOW [GLOBAL|SESSION] VARIABLES|STATUS [LIKE pattern]`; the pattern.
    ShowVariables(String),
    /// `SHOW STATUS …`
    ShowStatus,
    /// `SHOW BINARY LOGS`, `SHOW MASTER LOGS`
    ShowLogs,
    /// `SHOW BINARY LOG STATUS`, `SHOW MASTER STATUS`
    ShowLogStatus,
    /// `SHOW WARNINGS`
    ShowWarnings,
    /// `PURGE BINARY LOGS TO 'file'`, `PURGE BINARY LOGS BEFORE 'time'`
    Purge(Purge),
    /// `RESET REPLICA FOR CHANNEL 'name'`: the downstream of that name is no more.
    Forget(String),
    /// `USE`, `BEGIN`, `COMMIT`, `ROLLBACK`, `FLUSH …`: there is nothing to do.
    Nothing,
    /// Anything else.
    Other,
}

/// What is to be purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purge {
    /// What comes before this file of the source.
    To(String),
    /// What was written before; a time in UTC.
    Before(SystemTime),
}

/// Reads a statement.
pub(crate) fn parse(sql: &str) -> Statement {
    let sql = strip_comments(sql);
    let sql = sql.trim().trim_end_matches(';').trim();
    let (verb, rest) = sql.split_once(char::is_whitespace).unwrap_or((sql, ""));
    match verb.to_ascii_uppercase().as_str() {
        "SELECT" => select(rest).map_or(Statement::Other, Statement::Select),
        "SET" => Statement::Set(assignments(rest)),
        "SHOW" => show(rest),
        "PURGE" => purge(rest).map_or(Statement::Other, Statement::Purge),
        "RESET" => forget(rest).map_or(Statement::Other, Statement::Forget),
        "USE" | "BEGIN" | "COMMIT" | "ROLLBACK" | "START" => Statement::Nothing,
        _ => Statement::Other,
    }
}

/// Takes `/* … */` off the statement's begin and end: some clients sign what they send.
fn strip_comments(sql: &str) -> &str {
    let mut sql = sql.trim();
    while let Some((_, rest)) = sql.strip_prefix("/*").and_then(|inside| inside.split_once("*/")) {
        sql = rest.trim();
    }
    while let Some(at) = sql.strip_suffix("*/").and_then(|inside| inside.rfind("/*")) {
        sql = sql[..at].trim();
    }
    sql
}

fn show(rest: &str) -> Statement {
    let words: Vec<String> = rest.split_whitespace().map(str::to_ascii_uppercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["BINARY" | "MASTER", "LOGS", ..] => Statement::ShowLogs,
        ["BINARY", "LOG", "STATUS", ..] | ["MASTER", "STATUS", ..] => Statement::ShowLogStatus,
        ["WARNINGS" | "ERRORS", ..] => Statement::ShowWarnings,
        ["VARIABLES", ..] | ["GLOBAL" | "SESSION", "VARIABLES", ..] => {
            let pattern = rest.split(['\'', '"']).nth(1).unwrap_or("%");
            Statement::ShowVariables(pattern.to_ascii_lowercase())
        }
        ["STATUS", ..] | ["GLOBAL" | "SESSION", "STATUS", ..] => Statement::ShowStatus,
        _ => Statement::Other,
    }
}

fn purge(rest: &str) -> Option<Purge> {
    let mut words = rest.split_whitespace();
    let mut next_is =
        |of: &[&str]| words.next().is_some_and(|word| of.iter().any(|w| word.eq_ignore_ascii_case(w)));
    if !(next_is(&["BINARY", "MASTER"]) && next_is(&["LOGS"])) {
        return None;
    }
    let kind = words.next()?.to_ascii_uppercase();
    let [_, value, _] = rest.split(['\'', '"']).collect::<Vec<_>>()[..] else { return None };
    match kind.as_str() {
        "TO" => Some(Purge::To(value.to_owned())),
        "BEFORE" => humantime::parse_rfc3339_weak(value).ok().map(Purge::Before),
        _ => None,
    }
}

fn forget(rest: &str) -> Option<String> {
    let [words, name, ""] = rest.split(['\'', '"']).collect::<Vec<_>>()[..] else { return None };
    let words: Vec<String> = words.split_whitespace().map(str::to_ascii_uppercase).collect();
    let fits = words == ["REPLICA", "FOR", "CHANNEL"] && !name.is_empty();
    fits.then(|| name.to_owned())
}

fn select(list: &str) -> Option<Vec<Selected>> {
    let upper = list.to_ascii_uppercase();
    let end = upper.find(" LIMIT ").unwrap_or(list.len());
    split(&list[..end]).into_iter().map(selected).collect()
}

fn selected(text: &str) -> Option<Selected> {
    let upper = text.to_ascii_uppercase();
    let (expression, alias) = match upper.find(" AS ") {
        Some(at) => (text[..at].trim(), text[at + 4..].trim().trim_matches(['`', '"', '\''])),
        None => (text, text),
    };
    Some((alias.to_owned(), self::expression(expression)?))
}

fn expression(text: &str) -> Option<Expression> {
    let lower = text.to_ascii_lowercase();
    if let Some(name) = lower.strip_prefix("@@") {
        let name = name.strip_prefix("global.").or_else(|| name.strip_prefix("session.")).unwrap_or(name);
        return Some(Expression::System(name.trim_matches('`').to_owned()));
    }
    if let Some(name) = lower.strip_prefix('@') {
        return Some(Expression::User(name.trim_matches('`').to_owned()));
    }
    if let Some(name) = text.strip_suffix("()") {
        return Some(Expression::Call(name.trim().to_ascii_uppercase()));
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Expression::Literal(text.to_owned()));
    }
    let quoted = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\''));
    quoted.map(|text| Expression::Literal(text.to_owned()))
}

/// `@a = 1, @b := 'x'`: the user variables, values without quotes. A value that names another of the
/// statement's kind (`@a = @@global.x`) is kept as it is.
fn assignments(list: &str) -> Vec<(String, String)> {
    let one = |text: &str| {
        let (name, value) = text.split_once('=')?;
        let name = name.trim().trim_end_matches(':').trim().strip_prefix('@')?;
        if name.starts_with('@') {
            return None;
        }
        let value = value.trim().trim_matches(['\'', '"']).replace("''", "'");
        Some((name.trim_matches('`').to_ascii_lowercase(), value))
    };
    split(list).into_iter().filter_map(one).collect()
}

/// Splits at commas that stand in no quotes.
fn split(list: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quote) = (Vec::new(), 0, None);
    for (at, c) in list.char_indices() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if matches!(c, '\'' | '"' | '`') => quote = Some(c),
            None if c == ',' => {
                parts.push(list[start..at].trim());
                start = at + 1;
            }
            None => {}
        }
    }
    parts.push(list[start..].trim());
    parts
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::Expression::{Call, Literal, System, User};
    use super::Statement::{Nothing, Other, Select, Set, ShowLogStatus, ShowLogs, ShowVariables};
    use super::{Purge, parse};

    fn column(heading: &str, what: super::Expression) -> super::Selected {
        (heading.into(), what)
    }

    #[test]
    fn what_replicas_and_tools_ask_is_understood() {
        let uuid = System("server_uuid".into());
        assert_eq!(parse("SELECT @@GLOBAL.SERVER_UUID"), Select(vec![column("@@GLOBAL.SERVER_UUID", uuid)]));
        let two = [column("a", System("x".into())), column("b", User("y".into()))];
        assert_eq!(parse("select @@x as a, @Y AS `b` LIMIT 1;"), Select(two.to_vec()));
        assert_eq!(
            parse("/* c */ SELECT UNIX_TIMESTAMP()"),
            Select(vec![column("UNIX_TIMESTAMP()", Call("UNIX_TIMESTAMP".into()))])
        );
        assert_eq!(parse("SELECT 1"), Select(vec![column("1", Literal("1".into()))]));
        assert_eq!(parse("SELECT a FROM t"), Other);
        assert_eq!(parse("SHOW MASTER STATUS"), ShowLogStatus);
        assert_eq!(parse("show binary logs"), ShowLogs);
        assert_eq!(parse("SHOW VARIABLES LIKE 'Server_%'"), ShowVariables("server_%".into()));
        assert_eq!(parse("begin"), Nothing);
        assert_eq!(parse("DELETE FROM t"), Other);
    }

    #[test]
    fn user_variables_are_taken_out_of_a_set() {
        let set = parse(
            "SET @master_heartbeat_period = 30000000000, @Source_X='a,b''c', NAMES utf8mb4, @@session.x=1",
        );
        let expected = [("master_heartbeat_period", "30000000000"), ("source_x", "a,b'c")];
        assert_eq!(set, Set(expected.map(|(n, v)| (n.into(), v.into())).to_vec()));
        assert_eq!(parse("SET NAMES utf8mb4"), Set(Vec::new()));
    }

    #[test]
    fn purging_is_asked_for_by_file_or_by_time_in_utc() {
        let to = super::Statement::Purge(Purge::To("binlog.000007".into()));
        assert_eq!(parse("PURGE BINARY LOGS TO 'binlog.000007'"), to);
        assert_eq!(parse("purge master logs to \"binlog.000007\";"), to);
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_790_000_000_250_000);
        let before = super::Statement::Purge(Purge::Before(at));
        assert_eq!(parse("PURGE BINARY LOGS BEFORE '2026-09-21 14:13:20.25'"), before);
        for other in [
            "PURGE BINARY LOGS",
            "PURGE BINARY LOGS TO binlog.1",
            "PURGE BINARY LOGS BEFORE 'yesterday'",
            "PURGE BINARY LOGS TO 'a' 'b'",
            "PURGE TABLES TO 'a'",
        ] {
            assert_eq!(parse(other), Other, "{other}");
        }
    }

    #[test]
    fn a_downstream_is_forgotten_by_its_name_alone() {
        let forget = super::Statement::Forget("shop/eu/us#window".into());
        assert_eq!(parse("RESET REPLICA FOR CHANNEL 'shop/eu/us#window'"), forget);
        for other in ["RESET REPLICA", "RESET REPLICA ALL", "RESET REPLICA FOR CHANNEL ''", "RESET MASTER"] {
            assert_eq!(parse(other), Other, "{other}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".*", head in "(SELECT|SET|SHOW|PURGE BINARY LOGS TO|/\\*) ") {
            parse(&text);
            parse(&format!("{head}{text}"));
        }
    }
}
