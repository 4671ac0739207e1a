//! What a statement does to tables, step by step in its own order.
//!
//! Two things need it: a link that carries no DDL must know whether rows still fit and whether rows changed unseen;
//! and rows that are in flight the other way must go where the table has gone.

use super::alter::{Clause, clauses};
use super::classify::{ObjectName, Words};
use super::lexer::{Token, tokens};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The table is made, if it was not there.
    Creates(ObjectName),
    /// All its rows are gone.
    Empties(ObjectName),
    /// It is gone.
    Drops(ObjectName),
    /// All tables of the database are gone.
    DropsDatabase(String),
    /// It has another name.
    Renames(ObjectName, ObjectName),
    /// Its definition is another.
    Alters(ObjectName, Vec<Clause>),
}

/// The steps of a statement; none for one that is on no table, or that is not understood.
pub(crate) fn changes(sql: &str, database: &str, ansi_quotes: bool) -> Vec<Change> {
    let tokens = tokens(sql, ansi_quotes);
    let mut words = Words { tokens: &tokens, database };
    steps(&mut words).unwrap_or_default()
}

fn steps(words: &mut Words<'_>) -> Option<Vec<Change>> {
    if words.take("TRUNCATE") {
        words.take("TABLE");
        return Some(vec![Change::Empties(words.name()?)]);
    }
    if words.take("RENAME") {
        words.take_any(&["TABLE", "TABLES"]).then_some(())?;
        return renames(words);
    }
    if words.take("CREATE") {
        return creates(words);
    }
    if words.take("ALTER") {
        words.modifiers();
        words.take("TABLE").then_some(())?;
        return alters(words);
    }
    if words.take("DROP") {
        return drops(words);
    }
    None
}

fn renames(words: &mut Words<'_>) -> Option<Vec<Change>> {
    let mut steps = Vec::new();
    loop {
        let old = words.name()?;
        words.take("TO").then_some(())?;
        steps.push(Change::Renames(old, words.name()?));
        if !words.take_symbol(',') {
            return Some(steps);
        }
    }
}

fn creates(words: &mut Words<'_>) -> Option<Vec<Change>> {
    words.modifiers();
    if words.take("TABLE") {
        words.if_exists();
        return Some(vec![Change::Creates(words.name()?)]);
    }
    words.take("INDEX").then_some(())?;
    words.skip_past("ON")?;
    Some(vec![Change::Alters(words.name()?, vec![Clause::Harmless])])
}

fn alters(words: &mut Words<'_>) -> Option<Vec<Change>> {
    let table = words.name()?;
    let mut steps = vec![Change::Alters(table.clone(), clauses(words))];
    let (mut depth, all) = (0, words.tokens);
    for (i, token) in all.iter().enumerate() {
        match token {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth -= 1,
            token if depth == 0 && token.is("RENAME") => {
                steps.extend(words.renamed_at(i + 1).map(|new| Change::Renames(table.clone(), new)));
            }
            token if depth == 0 && token.is("EXCHANGE") => {
                let other = words.exchanged_at(i + 1);
                steps.extend(other.map(|other| Change::Alters(other, vec![Clause::ChangesRows])));
            }
            _ => {}
        }
    }
    Some(steps)
}

fn drops(words: &mut Words<'_>) -> Option<Vec<Change>> {
    words.modifiers();
    if words.take_any(&["TABLE", "TABLES"]) {
        return Some(words.names()?.into_iter().map(Change::Drops).collect());
    }
    if words.take_any(&["DATABASE", "SCHEMA"]) {
        words.if_exists();
        return Some(vec![Change::DropsDatabase(words.next()?.name()?.into())]);
    }
    words.take("INDEX").then_some(())?;
    words.skip_past("ON")?;
    Some(vec![Change::Alters(words.name()?, vec![Clause::Harmless])])
}
