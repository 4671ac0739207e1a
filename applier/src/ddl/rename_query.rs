//! The query of a view, with its tables under their names of `to`.
//!
//! A table stands behind `FROM`, `JOIN` and the commas between; one that is called otherwise in `to` keeps its old name
//! as its alias, so that columns named after it stay. In `database.table.column` the database is replaced. A `FROM`
//! counts only in a query: not in `EXTRACT(YEAR FROM …)`.

use super::lexer::Token;
use super::rename::Renamer;
use crate::sql;

/// What may stand behind a table that is not its alias.
const NO_ALIAS: [&str; 26] = [
    "JOIN",
    "INNER",
    "LEFT",
    "RIGHT",
    "CROSS",
    "NATURAL",
    "STRAIGHT_JOIN",
    "ON",
    "USING",
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "WINDOW",
    "QUALIFY",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "FOR",
    "LOCK",
    "USE",
    "FORCE",
    "IGNORE",
    "WITH",
    "PARTITION",
];
/// Clauses behind those that name tables.
const BEHIND_FROM: [&str; 14] = [
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "WINDOW",
    "QUALIFY",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "FOR",
    "LOCK",
    "SELECT",
    "WITH",
];

/// One level of parentheses.
#[derive(Clone, Copy, Default)]
struct Level {
    /// A query is in it.
    query: bool,
    /// Tables are being named.
    from: bool,
}

/// Renames in the query that begins at the renamer's place.
pub(super) fn rename(renamer: &mut Renamer<'_>) -> Result<(), String> {
    let common = common_tables(renamer);
    let mut levels = vec![Level::default()];
    let mut expects = false;
    while let Some(token) = renamer.token(renamer.at).cloned() {
        let level = levels.last_mut().expect("the outermost level stays");
        match &token {
            Token::Symbol('(') => {
                // Joined tables in parentheses are named in the same clause.
                let inner = if expects { Level { query: level.query, from: true } } else { Level::default() };
                levels.push(inner);
                renamer.at += 1;
            }
            Token::Symbol(')') => {
                if levels.len() > 1 {
                    levels.pop();
                }
                expects = false;
                renamer.at += 1;
            }
            Token::Symbol(',') => {
                expects = level.from;
                renamer.at += 1;
            }
            Token::Word(_) | Token::Quoted(_) if expects && !is_keyword(&token) => {
                expects = false;
                table(renamer, &common)?;
            }
            Token::Word(word) if word.eq_ignore_ascii_case("FROM") => {
                level.from = level.query;
                expects = level.query;
                renamer.at += 1;
            }
            Token::Word(_) if ["JOIN", "STRAIGHT_JOIN"].iter().any(|join| token.is(join)) => {
                expects = level.query || level.from;
                renamer.at += 1;
            }
            Token::Word(_) if BEHIND_FROM.iter().any(|clause| token.is(clause)) => {
                level.query |= token.is("SELECT");
                level.from = false;
                expects = false;
                renamer.at += 1;
            }
            Token::Word(_) | Token::Quoted(_) => {
                if ["ON", "USING", "JSON_TABLE", "DUAL"].iter().any(|word| token.is(word)) {
                    expects = false;
                }
                column(renamer)?;
            }
            _ => renamer.at += 1,
        }
    }
    Ok(())
}

/// Words that may stand where a table is expected.
fn is_keyword(token: &Token) -> bool {
    ["LATERAL", "SELECT", "WITH", "VALUES", "TABLE", "JSON_TABLE", "DUAL"].iter().any(|word| token.is(word))
}

/// Names that a `WITH` gives, folded.
fn common_tables(renamer: &Renamer<'_>) -> Vec<String> {
    let tokens = &renamer.tokens[renamer.at.min(renamer.tokens.len())..];
    let mut found = Vec::new();
    for (i, (token, _)) in tokens.iter().enumerate() {
        // `name AS (` or `name (columns) AS (`.
        let opens = |at: usize| tokens.get(at).is_some_and(|(t, _)| *t == Token::Symbol('('));
        if !token.is("AS") || !opens(i + 1) || i == 0 {
            continue;
        }
        let mut at = i - 1;
        if tokens[at].0 == Token::Symbol(')') {
            while at > 0 && tokens[at].0 != Token::Symbol('(') {
                at -= 1;
            }
            at = at.saturating_sub(1);
        }
        let begins = at.checked_sub(1).is_some_and(|before| {
            let (before, _) = &tokens[before];
            before.is("WITH") || before.is("RECURSIVE") || *before == Token::Symbol(',')
        });
        if begins && let Some(name) = tokens[at].0.name() {
            found.push(name.to_lowercase());
        }
    }
    found
}

fn table(renamer: &mut Renamer<'_>, common: &[String]) -> Result<(), String> {
    let Some(found) = renamer.name() else { return Ok(()) };
    if found.parts.len() == 1 && common.contains(&found.parts[0].to_lowercase()) {
        return Ok(());
    }
    let ((_, table), there) = renamer.mapped(&found)?;
    let mut new = sql::table(&there.0, &there.1);
    if there.1 != table && !has_alias(renamer) {
        if renamer.token(renamer.at).is_some_and(|token| token.is("PARTITION")) {
            return Err(format!("a view reads partitions of {table}, which has another name in the target"));
        }
        new = format!("{new} AS {}", sql::name(&table));
    }
    renamer.edits.push((found.place, new));
    Ok(())
}

fn has_alias(renamer: &Renamer<'_>) -> bool {
    match renamer.token(renamer.at) {
        Some(Token::Quoted(_)) => true,
        Some(token @ Token::Word(_)) => !NO_ALIAS.iter().any(|word| token.is(word)),
        _ => false,
    }
}

/// A column, or anything else: of `database.table.column` the database is replaced.
fn column(renamer: &mut Renamer<'_>) -> Result<(), String> {
    let Some(found) = renamer.name() else {
        renamer.at += 1;
        return Ok(());
    };
    if let [_, table, column] = &found.parts[..] {
        let (_, there) = renamer.mapped(&found)?;
        // The table keeps its old name as an alias.
        let new = format!("{}.{}", sql::table(&there.0, table), sql::name(column));
        renamer.edits.push((found.place, new));
    } else if found.parts.len() == 2 && renamer.token(renamer.at) == Some(&Token::Symbol('(')) {
        let there = renamer.names.database_there(&found.parts[0]).to_owned();
        if there != found.parts[0] {
            return Err(format!("it calls a function of database {}, which is not renamed", found.parts[0]));
        }
    }
    Ok(())
}
