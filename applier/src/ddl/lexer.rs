//! Words of a MySQL statement, as far as telling what it is on needs them, and where each stands.
//!
//! Comments are passed over, but what stands in `/*! … */` and `/*+ … */`-free version comments is read: the
//! server runs it. No grammar here, and no parser that knows only a part of MySQL's statements.

use std::ops::Range;

/// A piece of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A keyword or a plain name.
    Word(String),
    /// A name in backquotes (or in double quotes under `ANSI_QUOTES`).
    Quoted(String),
    /// A text.
    Text,
    /// Any other character.
    Symbol(char),
}

impl Token {
    /// Is it this keyword?
    pub(super) fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// The name it is, if it can be one.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Word(name) | Self::Quoted(name) => Some(name),
            _ => None,
        }
    }
}

/// Splits a statement. `ansi_quotes`: double quotes stand around names.
pub(super) fn tokens(sql: &str, ansi_quotes: bool) -> Vec<Token> {
    placed_tokens(sql, ansi_quotes).into_iter().map(|(token, _)| token).collect()
}

/// Splits a statement, and tells which bytes of it each piece is.
pub(super) fn placed_tokens(sql: &str, ansi_quotes: bool) -> Vec<(Token, Range<usize>)> {
    let mut lexer = Lexer { length: sql.len(), rest: sql, ansi_quotes, tokens: Vec::new() };
    while lexer.step() {}
    lexer.tokens
}

struct Lexer<'a> {
    length: usize,
    rest: &'a str,
    ansi_quotes: bool,
    tokens: Vec<(Token, Range<usize>)>,
}

impl Lexer<'_> {
    fn step(&mut self) -> bool {
        self.rest = self.rest.trim_start();
        let Some(first) = self.rest.chars().next() else { return false };
        let line_comment = first == '#'
            || self.rest.strip_prefix("--").is_some_and(|r| r.is_empty() || r.starts_with([' ', '\t', '\n']));
        if line_comment {
            self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(inside) = self.rest.strip_prefix("/*!") {
            self.rest = inside.trim_start_matches(|c: char| c.is_ascii_digit());
        } else if self.rest.starts_with("/*") {
            self.rest = self.rest[2..].split_once("*/").map_or("", |(_, rest)| rest);
        } else if let Some(rest) = self.rest.strip_prefix("*/") {
            // The end of a version comment, whose inside was read as it is.
            self.rest = rest;
        } else if matches!(first, '`' | '\'' | '"') {
            self.quoted(first);
        } else if is_word(first) {
            let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
            self.push(Token::Word(self.rest[..end].into()), end);
        } else {
            self.push(Token::Symbol(first), first.len_utf8());
        }
        true
    }

    fn push(&mut self, token: Token, bytes: usize) {
        let begin = self.length - self.rest.len();
        self.tokens.push((token, begin..begin + bytes));
        self.rest = &self.rest[bytes..];
    }

    fn quoted(&mut self, quote: char) {
        let is_name = quote == '`' || quote == '"' && self.ansi_quotes;
        let (mut content, mut chars) = (String::new(), self.rest.char_indices().skip(1).peekable());
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                if chars.peek().is_none_or(|(_, next)| *next != quote) {
                    end = at + c.len_utf8();
                    break;
                }
                chars.next();
            } else if c == '\\' && !is_name {
                chars.next();
                continue;
            }
            content.push(c);
        }
        self.push(if is_name { Token::Quoted(content) } else { Token::Text }, end);
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$' || c as u32 >= 0x80
}
