//! A statement of `from`, with its tables and databases under their names of `to`.
//!
//! Only names are replaced, where they stand; every other byte stays. Names are found by the place they have in each
//! kind of statement, in the queries of views by [`super::rename_query`]. A statement in which that can't be done
//! exactly is refused with the reason.

use std::ops::Range;

use super::lexer::{Token, placed_tokens};
use super::rename_query;
use crate::names::Name;
use crate::{Names, sql};

/// Replacements, in the order of their places.
pub(super) type Edits = Vec<(Range<usize>, String)>;

/// The statement under its new names; `None` where nothing in it is called otherwise. Unqualified names are in
/// `database`; in the new text every name of a table is qualified.
pub(crate) fn rename(
    sql: &str,
    database: &str,
    ansi_quotes: bool,
    names: &Names,
) -> Result<Option<String>, String> {
    if names.is_empty() {
        return Ok(None);
    }
    let (new, changes) = walk(sql, database, ansi_quotes, names)?;
    Ok((changes || names.database_there(database) != database).then_some(new))
}

/// The statement under its new names, and with every name of a table qualified.
pub(crate) fn qualified(sql: &str, database: &str, names: &Names) -> Result<String, String> {
    walk(sql, database, false, names).map(|(new, _)| new)
}

fn walk(sql: &str, database: &str, ansi_quotes: bool, names: &Names) -> Result<(String, bool), String> {
    let tokens = placed_tokens(sql, ansi_quotes);
    let mut renamer = Renamer { tokens: &tokens, at: 0, database, names, edits: Vec::new(), changes: false };
    renamer.statement()?;
    let Renamer { mut edits, changes, .. } = renamer;
    edits.sort_by_key(|(range, _)| range.start);
    Ok((apply(sql, &edits), changes))
}

fn apply(text: &str, edits: &Edits) -> String {
    let (mut out, mut done) = (String::with_capacity(text.len() + 64), 0);
    for (range, new) in edits {
        out.push_str(&text[done..range.start]);
        out.push_str(new);
        done = range.end;
    }
    out.push_str(&text[done..]);
    out
}

/// Walks a statement and notes what is to be replaced.
pub(super) struct Renamer<'a> {
    pub(super) tokens: &'a [(Token, Range<usize>)],
    pub(super) at: usize,
    pub(super) database: &'a str,
    pub(super) names: &'a Names,
    pub(super) edits: Edits,
    /// Is any name another?
    pub(super) changes: bool,
}

/// A name as it stands: its parts, and their place.
pub(super) struct Found {
    pub(super) parts: Vec<String>,
    pub(super) place: Range<usize>,
}

impl Renamer<'_> {
    pub(super) fn token(&self, at: usize) -> Option<&Token> {
        self.tokens.get(at).map(|(token, _)| token)
    }

    fn take(&mut self, keyword: &str) -> bool {
        let hit = self.token(self.at).is_some_and(|token| token.is(keyword));
        self.at += usize::from(hit);
        hit
    }

    fn take_any(&mut self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.take(keyword))
    }

    fn take_symbol(&mut self, symbol: char) -> bool {
        let hit = self.token(self.at) == Some(&Token::Symbol(symbol));
        self.at += usize::from(hit);
        hit
    }

    /// Goes behind the next such keyword.
    fn seek(&mut self, keyword: &str) -> bool {
        let found =
            self.tokens[self.at.min(self.tokens.len())..].iter().position(|(token, _)| token.is(keyword));
        self.at = found.map_or(self.tokens.len(), |ahead| self.at + ahead + 1);
        found.is_some()
    }

    fn if_exists(&mut self) {
        if self.take("IF") {
            self.take("NOT");
            self.take("EXISTS");
        }
    }

    fn statement(&mut self) -> Result<(), String> {
        if self.take("TRUNCATE") {
            self.take("TABLE");
            return self.table();
        }
        if self.take("RENAME") {
            self.at += 1;
            self.table()?;
            while self.take("TO") || self.take_symbol(',') {
                self.table()?;
            }
            return Ok(());
        }
        let drops = self.take("DROP");
        if !drops && !self.take_any(&["CREATE", "ALTER"]) {
            return Ok(());
        }
        let kinds = ["TABLE", "TABLES", "VIEW", "INDEX", "DATABASE", "SCHEMA"];
        while self.token(self.at).is_some_and(|token| !kinds.iter().any(|kind| token.is(kind))) {
            self.at += 1;
        }
        let kind = self.token(self.at).cloned();
        self.at += 1;
        let is = |word: &str| kind.as_ref().is_some_and(|kind| kind.is(word));
        if is("INDEX") {
            return if self.seek("ON") { self.table() } else { Ok(()) };
        }
        self.if_exists();
        if is("DATABASE") || is("SCHEMA") {
            return self.one_database(drops);
        }
        self.table()?;
        if drops {
            while self.take_symbol(',') {
                self.table()?;
            }
        } else if is("VIEW") {
            rename_query::rename(self)?;
        } else {
            self.table_options()?;
        }
        Ok(())
    }

    /// Further tables in `CREATE TABLE` and `ALTER TABLE`.
    fn table_options(&mut self) -> Result<(), String> {
        let behind = self.at;
        self.take_symbol('(');
        if self.take("LIKE") {
            return self.table();
        }
        self.at = behind;
        let mut depth = 0;
        while let Some(token) = self.token(self.at).cloned() {
            self.at += 1;
            match token {
                Token::Symbol('(') => depth += 1,
                Token::Symbol(')') => depth -= 1,
                token if token.is("REFERENCES") => self.table()?,
                token if depth == 0 && token.is("RENAME") => self.new_name()?,
                token if depth == 0 && token.is("EXCHANGE") && self.seek("TABLE") => self.table()?,
                token if depth == 0 && token.is("UNION") => {
                    return Err("it unites tables by name (MERGE)".into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The new name behind RENAME, unless it is a column's or an index's.
    fn new_name(&mut self) -> Result<(), String> {
        if self.take_any(&["COLUMN", "INDEX", "KEY"]) {
            return Ok(());
        }
        self.take_any(&["TO", "AS"]);
        self.take_symbol('=');
        self.table()
    }

    fn one_database(&mut self, drops: bool) -> Result<(), String> {
        let named = self.token(self.at).and_then(Token::name).filter(|name| !super::is_database_option(name));
        let named = named.map(str::to_owned);
        let database = named.as_deref().unwrap_or(self.database).to_owned();
        if drops && !self.names.is_whole(&database) {
            return Err(format!("tables of database {database} are in other databases of the target"));
        }
        if let (Some(_), Some((_, place))) = (&named, self.tokens.get(self.at)) {
            let there = self.names.database_there(&database);
            self.changes |= there != database;
            self.edits.push((place.clone(), sql::name(there)));
        }
        Ok(())
    }

    /// The name of a table here: replaced by its qualified name of `to`.
    fn table(&mut self) -> Result<(), String> {
        let Some(found) = self.name() else { return Ok(()) };
        let (_, there) = self.mapped(&found)?;
        self.edits.push((found.place, sql::table(&there.0, &there.1)));
        Ok(())
    }

    /// A table's name of `from`, and that of `to`.
    pub(super) fn mapped(&mut self, found: &Found) -> Result<(Name, Name), String> {
        let (database, table) = match &found.parts[..] {
            [table] => (self.database.to_owned(), table.clone()),
            [database, table, ..] => (database.clone(), table.clone()),
            [] => return Err("a name is missing".into()),
        };
        if database.is_empty() {
            return Err(format!("{table} is in no database"));
        }
        let there = self.names.there(&database, &table);
        let there = there.ok_or_else(|| format!("in the target {database}.{table} is another table"))?;
        self.changes |= (&there.0, &there.1) != (&database, &table);
        Ok(((database, table), there))
    }

    /// `a`, `a.b` or `a.b.c` here, or `.a`.
    pub(super) fn name(&mut self) -> Option<Found> {
        let begin = self.tokens.get(self.at)?.1.start;
        self.take_symbol('.');
        let mut parts = vec![self.token(self.at)?.name()?.to_owned()];
        let mut end = self.tokens[self.at].1.end;
        self.at += 1;
        while self.token(self.at) == Some(&Token::Symbol('.')) {
            let Some(part) = self.token(self.at + 1).and_then(Token::name) else { break };
            parts.push(part.to_owned());
            end = self.tokens[self.at + 1].1.end;
            self.at += 2;
        }
        Some(Found { parts, place: begin..end })
    }
}
