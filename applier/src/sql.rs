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

/// Bytes, as a hexadecimal literal.
pub(crate) fn bytes(value: &[u8]) -> String {
    let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("X'{digits}'")
}

#[cfg(test)]
mod tests {
    #[test]
    fn quotes_and_backslashes_inside_stay_inside() {
        assert_eq!(super::table("a`b", "t"), "`a``b`.`t`");
        assert_eq!(super::text(r"it's \"), r"'it''s \\'");
    }
}
