//! The clauses of `ALTER TABLE`, as far as rows are concerned: which columns go or change their names, what changes
//! rows that no row event tells of, and what leaves rows as they are.

use super::classify::Words;
use super::lexer::Token;

/// One clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Clause {
    /// A column is gone.
    DropsColumn(String),
    /// A column has another name now, and maybe another type.
    RenamesColumn(String, String),
    /// Columns are added or defined anew.
    Columns,
    /// Rows go or come without row events: a partition is emptied, dropped, exchanged; a tablespace is discarded.
    ChangesRows,
    /// Which rows the table takes may be another: partitions are added or cut anew.
    Partitions,
    /// Rows are as they were: an index, a comment, an option.
    Harmless,
    /// None of these.
    Unknown,
}

/// What stands behind `ADD`, `DROP`, `RENAME` or `ALTER` for something that is no column. All are reserved words.
const KEYS: [&str; 9] =
    ["INDEX", "KEY", "FULLTEXT", "SPATIAL", "UNIQUE", "PRIMARY", "CONSTRAINT", "FOREIGN", "CHECK"];
/// Clauses and options that leave rows as they are, by their first word.
const HARMLESS: [&str; 42] = [
    "ALGORITHM",
    "ANALYZE",
    "AUTOEXTEND_SIZE",
    "AUTO_INCREMENT",
    "AVG_ROW_LENGTH",
    "CHARACTER",
    "CHARSET",
    "CHECK",
    "CHECKSUM",
    "COALESCE",
    "COLLATE",
    "COMMENT",
    "COMPRESSION",
    "CONNECTION",
    "DATA",
    "DEFAULT",
    "DELAY_KEY_WRITE",
    "DISABLE",
    "ENABLE",
    "ENCRYPTION",
    "ENGINE",
    "ENGINE_ATTRIBUTE",
    "FORCE",
    "INDEX",
    "INSERT_METHOD",
    "KEY_BLOCK_SIZE",
    "LOCK",
    "MAX_ROWS",
    "MIN_ROWS",
    "OPTIMIZE",
    "ORDER",
    "PACK_KEYS",
    "REBUILD",
    "REPAIR",
    "ROW_FORMAT",
    "SECONDARY_ENGINE",
    "SECONDARY_ENGINE_ATTRIBUTE",
    "STATS_AUTO_RECALC",
    "STATS_PERSISTENT",
    "STATS_SAMPLE_PAGES",
    "TABLESPACE",
    "UPGRADE",
];
/// Behind one of these, commas separate names and not clauses.
const LISTS: [&str; 3] = ["PARTITION", "BY", "TABLESPACE"];

/// The clauses behind `ALTER TABLE t`; a new name of the table is not among them.
pub(super) fn clauses(words: &Words<'_>) -> Vec<Clause> {
    split(words.tokens)
        .into_iter()
        .filter(|tokens| !tokens.is_empty())
        .filter_map(|tokens| clause(&mut Words { tokens, database: words.database }))
        .collect()
}

/// Cuts at the commas outside parentheses.
fn split(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut depth, mut begin, mut out) = (0, 0, Vec::new());
    for (i, token) in tokens.iter().enumerate() {
        match token {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth -= 1,
            Token::Symbol(',') if depth == 0 => {
                out.push(&tokens[begin..i]);
                begin = i + 1;
            }
            token if depth == 0 && i <= begin + 1 && LISTS.iter().any(|word| token.is(word)) => break,
            _ => {}
        }
    }
    out.push(&tokens[begin..]);
    out
}

/// One clause; `None` for the table's own new name.
fn clause(words: &mut Words<'_>) -> Option<Clause> {
    if words.take("ADD") {
        let is_partition = words.take("PARTITION");
        let is_primary = words.tokens.first().is_some_and(|t| t.is("PRIMARY"));
        return Some(match words.take_any(&KEYS) {
            _ if is_partition => Clause::Partitions,
            // It makes its columns NOT NULL.
            _ if is_primary => Clause::Columns,
            true => Clause::Harmless,
            false => Clause::Columns,
        });
    }
    if words.take("DROP") {
        return Some(if words.take("PARTITION") {
            Clause::ChangesRows
        } else if words.take_any(&KEYS) {
            Clause::Harmless
        } else {
            words.take("COLUMN");
            column(words).map_or(Clause::Unknown, Clause::DropsColumn)
        });
    }
    if words.take("CHANGE") {
        words.take("COLUMN");
        return Some(match (column(words), column(words)) {
            (Some(old), Some(new)) if old == new => Clause::Columns,
            (Some(old), Some(new)) => Clause::RenamesColumn(old, new),
            _ => Clause::Unknown,
        });
    }
    if words.take("RENAME") {
        if words.take_any(&KEYS) {
            return Some(Clause::Harmless);
        }
        if !words.take("COLUMN") {
            return None;
        }
        let old = column(words);
        words.take("TO");
        return Some(match (old, column(words)) {
            (Some(old), Some(new)) => Clause::RenamesColumn(old, new),
            _ => Clause::Unknown,
        });
    }
    Some(by_first_word(words))
}

fn by_first_word(words: &mut Words<'_>) -> Clause {
    if words.take_any(&["MODIFY", "CONVERT"]) {
        return Clause::Columns;
    }
    if words.take_any(&["TRUNCATE", "EXCHANGE", "DISCARD", "IMPORT"]) {
        return Clause::ChangesRows;
    }
    if words.take_any(&["REORGANIZE", "PARTITION", "REMOVE"]) {
        return Clause::Partitions;
    }
    // An index or a check made visible or not, a column's default.
    if words.take("ALTER") || words.take_any(&["WITH", "WITHOUT", "UNION", "PASSWORD", "START"]) {
        return Clause::Harmless;
    }
    if words.take_any(&HARMLESS) { Clause::Harmless } else { Clause::Unknown }
}

/// A column's name, folded: column names differ in more than case.
fn column(words: &mut Words<'_>) -> Option<String> {
    words.next().and_then(Token::name).map(str::to_lowercase)
}
