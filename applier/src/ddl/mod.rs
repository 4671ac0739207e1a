//! Statements that commit by themselves.
//!
//! | file | holds |
//! |---|---|
//! | `classify.rs`, `lexer.rs` | what a statement is, and which objects it is on |
//! | `change.rs`, `alter.rs` | what it does to tables, step by step |
//! | `indexes.rs` | a table's definition without indexes that it can do without |
//! | `flight.rs` | where rows go that have not seen it |
//! | `rename.rs`, `rename_query.rs` | what it is under the names of the target |
//! | `run.rs` | running it once |

mod alter;
mod change;
#[cfg(test)]
mod change_tests;
mod classify;
mod flight;
mod indexes;
mod lexer;
mod program;
mod rename;
mod rename_query;
mod run;
#[cfg(test)]
mod tests;

use classify::is_database_option;
use lexer::tokens;

pub(crate) use alter::Clause;
pub(crate) use change::{Change, changes};
pub(crate) use classify::{ObjectName, Statement, classify};
pub(crate) use flight::{Alteration, Fate, Place, fate};
pub(crate) use indexes::{names_in, of_foreign_keys, split};
pub(crate) use program::{disabled_event, mentions, trigger_on, without_definer};
pub(crate) use rename::{qualified, rename};

use binlog::event::Query;

/// Tells what a query event's statement is.
pub(crate) fn classify_query(query: &Query<'_>) -> Statement {
    with_text(query, classify)
}

/// What a query event's statement does to tables.
pub(crate) fn changes_of(query: &Query<'_>) -> Vec<Change> {
    with_text(query, changes)
}

/// Is it the first half of `CREATE TABLE … SELECT`, whose rows follow in the same transaction? The server puts its words
/// behind the columns, and options that were given to the table behind them.
pub(crate) fn opens_transaction(query: &Query<'_>) -> bool {
    const WORDS: &[u8] = b"START TRANSACTION";
    let has_words = |sql: &str, _: &str, ansi: bool| {
        tokens(sql, ansi).windows(2).any(|pair| pair[0].is("START") && pair[1].is("TRANSACTION"))
    };
    query.starts_with("CREATE TABLE")
        && (query.sql.ends_with(WORDS)
            || query.sql.windows(WORDS.len()).any(|words| words == WORDS) && with_text(query, has_words))
}

fn with_text<T>(query: &Query<'_>, read: fn(&str, &str, bool) -> T) -> T {
    let ansi = has_ansi_quotes(query);
    read(&String::from_utf8_lossy(query.sql), &String::from_utf8_lossy(query.database), ansi)
}

/// Do double quotes stand around names?
pub(crate) fn has_ansi_quotes(query: &Query<'_>) -> bool {
    /// `sql_mode` bit.
    const ANSI_QUOTES: u64 = 4;
    query.settings().sql_mode.unwrap_or(0) & ANSI_QUOTES != 0
}
