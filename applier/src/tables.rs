//! Which tables are in step: `["shop.*", "!shop.tmp_*"]`.

/// Patterns over `database.table`; `*` is any run of characters, `?` any one, a leading `!` excludes.
/// The last pattern that matches decides; a table no pattern matches is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TablePatterns {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    exclude: bool,
    database: String,
    table: String,
}

/// Why a pattern is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatternError {
    /// There is no dot between database and table.
    #[error("table pattern {0:?} has no database: write database.table, for example shop.*")]
    NoDatabase(String),
    /// One of the two names is empty.
    #[error("table pattern {0:?} has an empty name: write database.table, for example shop.*")]
    EmptyName(String),
}

impl TablePatterns {
    /// Reads a list of patterns; the error names the first bad one.
    pub fn parse<S: AsRef<str>>(patterns: &[S]) -> Result<Self, PatternError> {
        let patterns = patterns.iter().map(|p| Pattern::parse(p.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { patterns })
    }

    /// Is this table in step?
    pub fn matches(&self, database: &str, table: &str) -> bool {
        let last = self.patterns.iter().rev().find(|p| glob(&p.database, database) && glob(&p.table, table));
        last.is_some_and(|p| !p.exclude)
    }

    /// The databases that are named without a wildcard.
    pub fn named_databases(&self) -> impl Iterator<Item = &str> {
        let named = |p: &&Pattern| !p.exclude && !p.database.contains(['*', '?']);
        self.patterns.iter().filter(named).map(|p| p.database.as_str())
    }

    /// Leaves one table out.
    pub(crate) fn exclude(&mut self, database: &str, table: &str) {
        self.patterns.push(Pattern { exclude: true, database: database.into(), table: table.into() });
    }

    /// As [`TablePatterns::parse`] reads them.
    pub(crate) fn texts(&self) -> Vec<String> {
        let text = |p: &Pattern| format!("{}{}.{}", if p.exclude { "!" } else { "" }, p.database, p.table);
        self.patterns.iter().map(text).collect()
    }

    /// Could any table of this database be in step?
    pub fn touches_database(&self, database: &str) -> bool {
        self.patterns.iter().any(|p| !p.exclude && glob(&p.database, database))
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, PatternError> {
        let (exclude, name) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (database, table) = name.split_once('.').ok_or_else(|| PatternError::NoDatabase(text.into()))?;
        if database.is_empty() || table.is_empty() {
            return Err(PatternError::EmptyName(text.into()));
        }
        Ok(Self { exclude, database: database.into(), table: table.into() })
    }
}

/// Shell-like match of a whole name: `*` any run, `?` any one character.
fn glob(pattern: &str, name: &str) -> bool {
    let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut i, mut j, mut star) = (0, 0, None);
    while j < n.len() {
        if i < p.len() && p[i] == '*' {
            star = Some((i, j));
            i += 1;
        } else if i < p.len() && (p[i] == '?' || p[i] == n[j]) {
            i += 1;
            j += 1;
        } else if let Some((si, sj)) = star {
            i = si + 1;
            j = sj + 1;
            star = Some((si, sj + 1));
        } else {
            return false;
        }
    }
    p[i..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::{PatternError, TablePatterns, glob};

    #[test]
    fn the_last_matching_pattern_decides() {
        let t = TablePatterns::parse(&["shop.*", "!shop.tmp_*", "shop.tmp_keep"]).unwrap();
        assert!(t.matches("shop", "customer"));
        assert!(!t.matches("shop", "tmp_1"));
        assert!(t.matches("shop", "tmp_keep"));
        assert!(!t.matches("store", "customer"));
        assert!(!TablePatterns::default().matches("shop", "customer"));
        assert_eq!(TablePatterns::parse(&t.texts()), Ok(t));
    }

    #[test]
    fn a_pattern_without_a_database_is_refused_by_name() {
        assert_eq!(TablePatterns::parse(&["customer"]), Err(PatternError::NoDatabase("customer".into())));
        assert_eq!(TablePatterns::parse(&["!shop."]), Err(PatternError::EmptyName("!shop.".into())));
    }

    #[test]
    fn stars_match_any_run_and_question_marks_one() {
        assert!(glob("a*b*c", "aXbYbZc"));
        assert!(glob("*", ""));
        assert!(glob("t_?", "t_é"));
        assert!(!glob("t_?", "t_"));
        assert!(!glob("a*b", "ac"));
    }
}
