//! Names and texts inside SQL.

/// A name in backquotes.
pub(crate) fn name(text: &str) -> String {
    format!("`{}`", text.replace('`', "``"))
}

/// `database`.`table`.
pub(crate) fn table(database: &str, table: &str) -> String {
    format!("{}.{}", name(database), name(table))
}

/// A text in quotes, for a session without `NO_BACKSLASH_ESCAPES`.
pub(crate) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// Texts in quotes, as a list for IN; one that matches nothing when there are none.
pub(crate) fn list<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let list: Vec<String> = values.map(text).collect();
    if list.is_empty() { "NULL".into() } else { list.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::{list, table, text};

    #[test]
    fn quotes_and_backslashes_inside_stay_inside() {
        assert_eq!(table("a`b", "t"), "`a``b`.`t`");
        assert_eq!(text(r"it's \"), r"'it''s \\'");
        assert_eq!(list(["a", "b"].into_iter()), "'a', 'b'");
        assert_eq!(list(std::iter::empty()), "NULL");
    }
}
