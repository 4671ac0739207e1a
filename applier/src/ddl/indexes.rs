//! A table's definition without its indexes that a table can do without while it is filled, and those by themselves.
//!
//! Read is what `SHOW CREATE TABLE` gives: an entry of the list is a column, a key or a constraint, and names are quoted.

use std::collections::HashSet;
use std::ops::Range;

use super::lexer::{Token, placed_tokens};
use crate::sql;

/// A definition in two parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// The definition without these indexes.
    pub(crate) table: String,
    /// What of `ALTER TABLE` brings them back to where they stood: the order of indexes is seen, too. One that is taken out
    /// and put back by the same statement costs nothing.
    pub(crate) clauses: Vec<String>,
}

/// Takes out the indexes of an InnoDB table that are not unique, are made of columns alone, and that nothing needs:
/// neither a foreign key, by its own columns or by `needed`, nor an `AUTO_INCREMENT`. `None` where there is none such.
pub(crate) fn split(create: &str, needed: &HashSet<String>) -> Option<Split> {
    let list = List::read(create)?;
    if !list.is_innodb() {
        return None;
    }
    let mut needed = needed.clone();
    for entry in &list.entries {
        needed.extend(entry.of_foreign_key());
        needed.extend(entry.counts_up());
    }
    let may_wait = |entry: &Entry| entry.columns_of_index().is_some_and(|first| !needed.contains(&first));
    let text = |entry: &Entry| create[entry.range.clone()].to_owned();
    // What can't be put back for nothing stays where it is, and all before it.
    let behind = list.entries.iter().rposition(Entry::is_fixed_index).map_or(0, |last| last + 1);
    let (mut kept, mut clauses) = (Vec::new(), Vec::new());
    for (i, entry) in list.entries.iter().enumerate() {
        let index = text(entry).trim().to_owned();
        if i >= behind && may_wait(entry) {
            clauses.push(format!("ADD {index}"));
            continue;
        }
        kept.push(text(entry));
        if !clauses.is_empty()
            && let (Some(name), Some(_)) = (entry.index_name(), entry.columns_of_index())
        {
            clauses.push(format!("DROP KEY {}, ADD {index}", sql::name(name)));
        }
    }
    if clauses.is_empty() {
        return None;
    }
    // The line break before the list's end belonged to its last entry.
    let kept = format!("{}\n", kept.join(",").trim_end());
    let table = format!("{}{kept}{}", &create[..list.range.start], &create[list.range.end..]);
    Some(Split { table, clauses })
}

/// Columns that foreign keys of this table have or refer to, of whatever table; folded.
pub(crate) fn of_foreign_keys(create: &str) -> Vec<String> {
    let Some(list) = List::read(create) else { return Vec::new() };
    list.entries.iter().flat_map(Entry::of_foreign_key).collect()
}

/// Words and names of a statement, folded.
pub(crate) fn names_in(sql: &str, ansi_quotes: bool) -> HashSet<String> {
    let tokens = placed_tokens(sql, ansi_quotes);
    tokens.iter().filter_map(|(token, _)| token.name()).map(str::to_lowercase).collect()
}

/// What stands between the brackets.
struct List {
    range: Range<usize>,
    entries: Vec<Entry>,
    options: Vec<Token>,
}

struct Entry {
    range: Range<usize>,
    tokens: Vec<Token>,
}

impl List {
    fn read(create: &str) -> Option<Self> {
        let mut tokens = placed_tokens(create, false).into_iter();
        let (_, open) = tokens.by_ref().find(|(token, _)| *token == Token::Symbol('('))?;
        let (mut entries, mut depth) = (Vec::new(), 1);
        let mut entry = Entry { range: open.end..open.end, tokens: Vec::new() };
        for (token, place) in tokens.by_ref() {
            match token {
                Token::Symbol('(') => depth += 1,
                Token::Symbol(')') => depth -= 1,
                _ => {}
            }
            if depth == 0 || depth == 1 && token == Token::Symbol(',') {
                entry.range.end = place.start;
                let next = Entry { range: place.end..place.end, tokens: Vec::new() };
                entries.push(std::mem::replace(&mut entry, next));
            } else {
                entry.tokens.push(token);
            }
            if depth == 0 {
                let options = tokens.map(|(token, _)| token).collect();
                return Some(Self { range: open.end..place.start, entries, options });
            }
        }
        None
    }

    fn is_innodb(&self) -> bool {
        self.options
            .windows(3)
            .any(|words| words[0].is("ENGINE") && words[1] == Token::Symbol('=') && words[2].is("InnoDB"))
    }
}

impl Entry {
    /// The name of an index that is not unique.
    fn index_name(&self) -> Option<&str> {
        match self.tokens.as_slice() {
            [word, Token::Quoted(name), Token::Symbol('('), ..] if word.is("KEY") => Some(name),
            _ => None,
        }
    }

    /// The first column of such an index, if it is made of columns alone; folded.
    fn columns_of_index(&self) -> Option<String> {
        self.index_name()?;
        let parts = &self.tokens[3..];
        let (mut depth, mut begins) = (1, true);
        for token in parts {
            match token {
                _ if begins && !matches!(token, Token::Quoted(_)) => return None,
                Token::Symbol('(') => depth += 1,
                Token::Symbol(')') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            begins = depth == 1 && *token == Token::Symbol(',');
        }
        parts.first().and_then(Token::name).map(str::to_lowercase)
    }

    /// An index on an expression, or on places.
    fn is_fixed_index(&self) -> bool {
        let is_spatial = self.tokens.first().is_some_and(|word| word.is("SPATIAL"));
        is_spatial || self.index_name().is_some() && self.columns_of_index().is_none()
    }

    /// The columns of a foreign key, on both sides.
    fn of_foreign_key(&self) -> Vec<String> {
        let is_start = |pair: &[Token]| pair[0].is("FOREIGN") && pair[1].is("KEY");
        let Some(start) = self.tokens.windows(2).position(is_start) else { return Vec::new() };
        let (mut columns, mut inside) = (Vec::new(), false);
        for token in &self.tokens[start..] {
            match token {
                Token::Symbol('(') => inside = true,
                Token::Symbol(')') => inside = false,
                Token::Quoted(name) if inside => columns.push(name.to_lowercase()),
                _ => {}
            }
        }
        columns
    }

    /// The column, if it is one that counts up; folded.
    fn counts_up(&self) -> Option<String> {
        let [Token::Quoted(name), rest @ ..] = self.tokens.as_slice() else { return None };
        rest.iter().any(|token| token.is("AUTO_INCREMENT")).then(|| name.to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{names_in, of_foreign_keys, split};

    const TABLE: &str = "CREATE TABLE `order` (\n  `id` bigint NOT NULL,\n  `n` int NOT NULL AUTO_INCREMENT COMMENT 'a, KEY `x` (`y`)',\n  `customer` int DEFAULT NULL,\n  `body` varchar(20) DEFAULT ',(',\n  `at` int GENERATED ALWAYS AS ((`n` + 1)) VIRTUAL,\n  PRIMARY KEY (`id`),\n  UNIQUE KEY `u` (`body`,`at`),\n  KEY `early` (`body`),\n  KEY `worked out` ((`n` * 2)),\n  KEY `counts` (`n`),\n  KEY `plain` (`body`(7) DESC,`n`) /*!80000 INVISIBLE */,\n  KEY `par``ent` (`customer`,`body`),\n  KEY `last` (`at`) COMMENT 'it''s, last',\n  FULLTEXT KEY `full` (`body`),\n  CONSTRAINT `fk` FOREIGN KEY (`Customer`) REFERENCES `who` (`number`) ON DELETE CASCADE,\n  CONSTRAINT `c` CHECK ((`n` > 0))\n) ENGINE=InnoDB AUTO_INCREMENT=7 DEFAULT CHARSET=utf8mb4 COMMENT='KEY `k` (`c`)'\n/*!50100 PARTITION BY KEY (id)\nPARTITIONS 2 */";

    #[test]
    fn indexes_that_nothing_needs_come_apart_and_go_back_to_their_places() {
        let both = split(TABLE, &HashSet::new()).unwrap();
        let clauses = [
            "ADD KEY `plain` (`body`(7) DESC,`n`) /*!80000 INVISIBLE */",
            "DROP KEY `par``ent`, ADD KEY `par``ent` (`customer`,`body`)",
            "ADD KEY `last` (`at`) COMMENT 'it''s, last'",
        ];
        assert_eq!(both.clauses, clauses);
        let left = TABLE
            .replace("  KEY `plain` (`body`(7) DESC,`n`) /*!80000 INVISIBLE */,\n", "")
            .replace("  KEY `last` (`at`) COMMENT 'it''s, last',\n", "");
        assert_eq!(both.table, left);
        let needed = HashSet::from(["at".to_owned()]);
        let last = split(TABLE, &needed).unwrap().clauses.pop().unwrap();
        assert!(last.starts_with("DROP KEY `last`, ADD KEY `last`"), "another table refers to it: {last}");
    }

    #[test]
    fn the_last_entry_comes_apart_like_any_other() {
        let table = "CREATE TABLE `t` (\n  `a` int NOT NULL,\n  PRIMARY KEY (`a`),\n  KEY `k` (`a`)\n) ENGINE=InnoDB DEFAULT CHARSET=latin1";
        let both = split(table, &HashSet::new()).unwrap();
        assert_eq!(both.table, table.replace(",\n  KEY `k` (`a`)", ""));
        assert_eq!(both.clauses, ["ADD KEY `k` (`a`)"]);
    }

    #[test]
    fn a_table_of_another_engine_or_without_such_an_index_stays_whole() {
        let table =
            "CREATE TABLE `t` (\n  `a` int,\n  KEY `k` (`a`)\n) ENGINE=MyISAM COMMENT='ENGINE=InnoDB'";
        assert_eq!(split(table, &HashSet::new()), None);
        let table = "CREATE TABLE `t` (\n  `a` int,\n  UNIQUE KEY `k` (`a`)\n) ENGINE=InnoDB";
        assert_eq!(split(table, &HashSet::new()), None);
    }

    #[test]
    fn columns_of_foreign_keys_are_those_of_both_tables() {
        assert_eq!(of_foreign_keys(TABLE), ["customer", "number"]);
    }

    #[test]
    fn whatever_could_name_a_table_is_among_a_statements_names() {
        let names = names_in("ALTER TABLE `Shop`.Item DROP KEY k", false);
        assert_eq!(names, ["alter", "table", "shop", "item", "drop", "key", "k"].map(String::from).into());
    }
}
