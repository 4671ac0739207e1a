//! What a statement that commits by itself is, and which objects it is on.
//!
//! It decides what a link does with the statement; it never changes it. Replayed is the text as the source
//! logged it. What is not recognised is [`Statement::Unknown`], and stops the link: shown, not guessed.

use super::lexer::{Token, tokens};

/// A table or view, with the database it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectName {
    pub(crate) database: String,
    pub(crate) name: String,
}

/// A statement, as far as a link is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    /// Defines, changes, empties or drops tables or their indexes.
    Tables(Vec<ObjectName>),
    /// Defines, changes or drops views.
    Views(Vec<ObjectName>),
    /// Makes or changes a database.
    Database(String),
    /// Drops a database.
    DropDatabase(String),
    /// A trigger, routine or event: each region has its own.
    Program,
    /// Accounts, statistics, caches, temporary tables: each server's own affair.
    Administration,
    /// The second half of an XA transaction.
    XaCommit,
    /// The end of an XA transaction that was prepared.
    XaRollback,
    /// Rows changed by a statement logged as text.
    Dml,
    /// None of these.
    Unknown,
}

/// Tells what `sql` is. Unqualified names are in `database`.
pub(crate) fn classify(sql: &str, database: &str, ansi_quotes: bool) -> Statement {
    let tokens = tokens(sql, ansi_quotes);
    let mut words = Words { tokens: &tokens, database };
    words.statement().unwrap_or(Statement::Unknown)
}

/// The words of a statement that are still to be read.
pub(super) struct Words<'a> {
    pub(super) tokens: &'a [Token],
    pub(super) database: &'a str,
}

const DML: [&str; 12] = [
    "INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "CALL", "SELECT", "WITH", "DO", "TABLE", "VALUES",
    "IMPORT",
];
const ADMINISTRATION: [&str; 16] = [
    "ANALYZE",
    "OPTIMIZE",
    "REPAIR",
    "CHECK",
    "FLUSH",
    "GRANT",
    "REVOKE",
    "INSTALL",
    "UNINSTALL",
    "RESET",
    "PURGE",
    "CACHE",
    "SET",
    "KILL",
    "CHANGE",
    "CLONE",
];
/// What may stand between CREATE (or ALTER, DROP) and the kind of object.
const MODIFIERS: [&str; 15] = [
    "OR",
    "REPLACE",
    "UNIQUE",
    "FULLTEXT",
    "SPATIAL",
    "ONLINE",
    "OFFLINE",
    "IGNORE",
    "AGGREGATE",
    "EXTERNAL",
    "MATERIALIZED",
    "UNDO",
    "SQL",
    "SECURITY",
    "INVOKER",
];

impl Words<'_> {
    pub(super) fn next(&mut self) -> Option<&Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    pub(super) fn take(&mut self, keyword: &str) -> bool {
        let hit = self.tokens.first().is_some_and(|t| t.is(keyword));
        if hit {
            self.tokens = &self.tokens[1..];
        }
        hit
    }

    pub(super) fn take_any(&mut self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.take(keyword))
    }

    pub(super) fn take_symbol(&mut self, symbol: char) -> bool {
        let hit = self.tokens.first() == Some(&Token::Symbol(symbol));
        if hit {
            self.tokens = &self.tokens[1..];
        }
        hit
    }

    fn statement(&mut self) -> Option<Statement> {
        if self.take_any(&ADMINISTRATION) {
            return Some(Statement::Administration);
        }
        if self.take("XA") {
            return self.xa();
        }
        if self.take("TRUNCATE") {
            self.take("TABLE");
            return Some(Statement::Tables(vec![self.name()?]));
        }
        if self.take("RENAME") {
            return if self.take_any(&["TABLE", "TABLES"]) {
                self.rename()
            } else {
                self.take_any(&["USER"]).then_some(Statement::Administration)
            };
        }
        if self.take("CREATE") || self.take("ALTER") {
            return self.define();
        }
        if self.take("DROP") {
            return self.drop();
        }
        self.take_any(&DML).then_some(Statement::Dml)
    }

    fn xa(&mut self) -> Option<Statement> {
        let commit = self.take("COMMIT");
        if !commit && !self.take("ROLLBACK") {
            return None;
        }
        Some(if commit { Statement::XaCommit } else { Statement::XaRollback })
    }

    /// Passes over `DEFINER = user@host`, `ALGORITHM = x` and the like.
    pub(super) fn modifiers(&mut self) {
        loop {
            if self.take_any(&MODIFIERS) {
                continue;
            }
            if self.take("DEFINER") {
                // `SQL SECURITY DEFINER` names nobody.
                if !self.take_symbol('=') {
                    continue;
                }
                self.next();
                if self.take_symbol('@') {
                    self.next();
                }
                if self.take_symbol('(') {
                    self.take_symbol(')');
                }
            } else if self.take("ALGORITHM") {
                self.take_symbol('=');
                self.next();
            } else {
                return;
            }
        }
    }

    fn define(&mut self) -> Option<Statement> {
        self.modifiers();
        if self.take("TEMPORARY") {
            return Some(Statement::Administration);
        }
        if self.take("TABLE") {
            return self.table();
        }
        if self.take("INDEX") {
            self.skip_past("ON")?;
            return Some(Statement::Tables(vec![self.name()?]));
        }
        if self.take_any(&["DATABASE", "SCHEMA"]) {
            self.if_exists();
            let named = self.tokens.first().and_then(Token::name).filter(|name| !is_database_option(name));
            return Some(Statement::Database(named.unwrap_or(self.database).into()));
        }
        if self.take("VIEW") {
            self.if_exists();
            return Some(Statement::Views(vec![self.name()?]));
        }
        self.other()
    }

    /// `CREATE TABLE t …`, `ALTER TABLE t … RENAME TO u`. `CREATE TABLE t LIKE u` only reads `u`.
    fn table(&mut self) -> Option<Statement> {
        self.if_exists();
        let table = self.name()?;
        let mut tables = vec![table];
        let (mut depth, mut i) = (0, 0);
        while i < self.tokens.len() {
            match &self.tokens[i] {
                Token::Symbol('(') => depth += 1,
                Token::Symbol(')') => depth -= 1,
                token if depth == 0 && token.is("RENAME") => tables.extend(self.renamed_at(i + 1)),
                token if depth == 0 && token.is("EXCHANGE") => tables.extend(self.exchanged_at(i + 1)),
                _ => {}
            }
            i += 1;
        }
        Some(Statement::Tables(tables))
    }

    /// The new name behind RENAME, unless it is a column's or an index's.
    pub(super) fn renamed_at(&self, at: usize) -> Option<ObjectName> {
        let mut words = Words { tokens: self.tokens.get(at..)?, database: self.database };
        if words.take_any(&["COLUMN", "INDEX", "KEY"]) {
            return None;
        }
        words.take_any(&["TO", "AS"]);
        words.take_symbol('=');
        words.name()
    }

    /// The other table of `EXCHANGE PARTITION p WITH TABLE t`.
    pub(super) fn exchanged_at(&self, at: usize) -> Option<ObjectName> {
        let mut words = Words { tokens: self.tokens.get(at..)?, database: self.database };
        words.skip_past("TABLE")?;
        words.name()
    }

    fn rename(&mut self) -> Option<Statement> {
        let mut tables = Vec::new();
        loop {
            tables.push(self.name()?);
            self.take("TO").then_some(())?;
            tables.push(self.name()?);
            if !self.take_symbol(',') {
                return Some(Statement::Tables(tables));
            }
        }
    }

    fn drop(&mut self) -> Option<Statement> {
        self.modifiers();
        if self.take("TEMPORARY") {
            return Some(Statement::Administration);
        }
        if self.take_any(&["TABLE", "TABLES"]) {
            return self.names().map(Statement::Tables);
        }
        if self.take("VIEW") {
            return self.names().map(Statement::Views);
        }
        if self.take("INDEX") {
            self.skip_past("ON")?;
            return Some(Statement::Tables(vec![self.name()?]));
        }
        if self.take_any(&["DATABASE", "SCHEMA"]) {
            self.if_exists();
            return Some(Statement::DropDatabase(self.next()?.name()?.into()));
        }
        self.other()
    }

    /// Objects that are no tables.
    fn other(&mut self) -> Option<Statement> {
        if self.take_any(&["TRIGGER", "PROCEDURE", "FUNCTION", "EVENT"]) {
            return Some(Statement::Program);
        }
        let own =
            ["USER", "ROLE", "SERVER", "TABLESPACE", "LOGFILE", "RESOURCE", "INSTANCE", "PREPARE", "LIBRARY"];
        self.take_any(&own).then_some(Statement::Administration)
    }

    pub(super) fn if_exists(&mut self) {
        if self.take("IF") {
            self.take("NOT");
            self.take("EXISTS");
        }
    }

    pub(super) fn skip_past(&mut self, keyword: &str) -> Option<()> {
        let at = self.tokens.iter().position(|t| t.is(keyword))?;
        self.tokens = &self.tokens[at + 1..];
        Some(())
    }

    pub(super) fn names(&mut self) -> Option<Vec<ObjectName>> {
        self.if_exists();
        let mut names = vec![self.name()?];
        while self.take_symbol(',') {
            names.push(self.name()?);
        }
        Some(names)
    }

    /// `name`, `database.name`, or `.name`.
    pub(super) fn name(&mut self) -> Option<ObjectName> {
        self.take_symbol('.');
        let first: String = self.next()?.name()?.into();
        if self.take_symbol('.') {
            return Some(ObjectName { database: first, name: self.next()?.name()?.into() });
        }
        (!self.database.is_empty()).then(|| ObjectName { database: self.database.into(), name: first })
    }
}

/// `ALTER DATABASE CHARACTER SET …` may leave the name out.
pub(super) fn is_database_option(word: &str) -> bool {
    let options = ["DEFAULT", "CHARACTER", "CHARSET", "COLLATE", "ENCRYPTION", "READ"];
    options.iter().any(|option| word.eq_ignore_ascii_case(option))
}
