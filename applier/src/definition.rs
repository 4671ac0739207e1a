//! Does a table in the target have the columns that a transaction was made under?
//!
//! The server applies rows by position: a column added in the middle shifts values, a reordered `ENUM` changes
//! them, and nobody is told. So a table map is held against the target's definition before it is used: names,
//! types, signs, character sets, members, all in order. What differs is for [`crate::remap`].

use binlog::row::{Column, ColumnType};

/// A column, reduced to what decides whether row images mean the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Its name, folded: column names differ in more than case.
    pub(crate) name: String,
    /// Its type as `information_schema` writes it, without what is for display only.
    pub(crate) kind: String,
    /// The most bytes of a character or binary value.
    pub(crate) max_bytes: Option<u64>,
    /// Its character set.
    pub(crate) charset: Option<String>,
    /// The members of an `ENUM` or `SET`.
    pub(crate) members: Vec<String>,
}

impl Shape {
    /// A column of a table map; `charset` is the name of its collation's character set.
    pub(crate) fn of_source(column: &Column, charset: Option<&str>, members: Vec<String>) -> Self {
        let is_binary = column.collation == Some(63);
        let max_bytes = match column.kind {
            ColumnType::Char { max_bytes } | ColumnType::VarChar { max_bytes } => Some(max_bytes.into()),
            _ => None,
        };
        Self {
            name: column.name.to_lowercase(),
            kind: source_kind(column, is_binary),
            max_bytes,
            charset: charset.filter(|_| !is_binary).map(Into::into),
            members,
        }
    }

    /// A row of `information_schema.COLUMNS`: its name, `COLUMN_TYPE`, `CHARACTER_OCTET_LENGTH` and
    /// `CHARACTER_SET_NAME`.
    pub(crate) fn of_target(
        name: &str,
        column_type: &str,
        octets: Option<u64>,
        charset: Option<&str>,
    ) -> Self {
        let (base, parens, rest) = split_type(column_type);
        let unsigned = if rest.contains("unsigned") { " unsigned" } else { "" };
        let sized = matches!(base.as_str(), "char" | "varchar" | "binary" | "varbinary");
        let members = if matches!(base.as_str(), "enum" | "set") { members(parens) } else { Vec::new() };
        let kind = match base.as_str() {
            "decimal" | "bit" | "time" | "datetime" | "timestamp" | "vector" if !parens.is_empty() => {
                format!("{base}({parens}){unsigned}")
            }
            _ => format!("{base}{unsigned}"),
        };
        Self {
            name: name.to_lowercase(),
            kind,
            max_bytes: octets.filter(|_| sized),
            charset: charset.map(Into::into),
            members,
        }
    }

    /// For people.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("{} {}", self.name, self.kind);
        if !self.members.is_empty() {
            text.push_str(&format!("('{}')", self.members.join("','")));
        }
        if let Some(bytes) = self.max_bytes {
            text.push_str(&format!(" ({bytes} bytes)"));
        }
        if let Some(charset) = &self.charset {
            text.push_str(&format!(" {charset}"));
        }
        text
    }
}

/// All columns, for people.
pub(crate) fn describe(shapes: &[Shape]) -> String {
    shapes.iter().map(Shape::describe).collect::<Vec<_>>().join(", ")
}

fn source_kind(column: &Column, is_binary: bool) -> String {
    let unsigned = if column.unsigned { " unsigned" } else { "" };
    let fraction =
        |base: &str, digits: u8| if digits == 0 { base.into() } else { format!("{base}({digits})") };
    let either = |text: &str, binary: &str| String::from(if is_binary { binary } else { text });
    match column.kind {
        ColumnType::Integer { bytes } => {
            let base = match bytes {
                1 => "tinyint",
                2 => "smallint",
                3 => "mediumint",
                4 => "int",
                _ => "bigint",
            };
            format!("{base}{unsigned}")
        }
        ColumnType::Float => format!("float{unsigned}"),
        ColumnType::Double => format!("double{unsigned}"),
        ColumnType::Decimal { precision, scale } => format!("decimal({precision},{scale}){unsigned}"),
        ColumnType::Bit { bits } => format!("bit({bits})"),
        ColumnType::Year => "year".into(),
        ColumnType::Date => "date".into(),
        ColumnType::Time { fraction: digits } => fraction("time", digits),
        ColumnType::DateTime { fraction: digits } => fraction("datetime", digits),
        ColumnType::Timestamp { fraction: digits } => fraction("timestamp", digits),
        ColumnType::Char { .. } => either("char", "binary"),
        ColumnType::VarChar { .. } => either("varchar", "varbinary"),
        ColumnType::Enum { .. } => "enum".into(),
        ColumnType::Set { .. } => "set".into(),
        ColumnType::Blob { length_bytes: 1 } => either("tinytext", "tinyblob"),
        ColumnType::Blob { length_bytes: 2 } => either("text", "blob"),
        ColumnType::Blob { length_bytes: 3 } => either("mediumtext", "mediumblob"),
        ColumnType::Blob { .. } => either("longtext", "longblob"),
        ColumnType::Geometry { .. } => geometry(column.geometry).into(),
        ColumnType::Json { .. } => "json".into(),
        ColumnType::Vector { .. } => format!("vector({})", column.dimensions.unwrap_or(0)),
    }
}

fn geometry(kind: Option<u32>) -> &'static str {
    let names = [
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geomcollection",
    ];
    kind.and_then(|k| names.get(usize::try_from(k).ok()?)).copied().unwrap_or("geometry")
}

/// `decimal(10,2) unsigned` as (`decimal`, `10,2`, ` unsigned`).
fn split_type(column_type: &str) -> (String, &str, &str) {
    let end = column_type.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(column_type.len());
    let (base, rest) = column_type.split_at(end);
    match (rest.strip_prefix('('), rest.rfind(')')) {
        (Some(inside), Some(close)) => (base.to_lowercase(), &inside[..close - 1], &rest[close + 1..]),
        _ => (base.to_lowercase(), "", rest),
    }
}

/// The members in `'a','it''s'`.
fn members(list: &str) -> Vec<String> {
    let (mut out, mut member, mut inside) = (Vec::new(), String::new(), false);
    let mut chars = list.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' if inside && chars.peek() == Some(&'\'') => {
                chars.next();
                member.push('\'');
            }
            '\'' if inside => {
                out.push(std::mem::take(&mut member));
                inside = false;
            }
            '\'' => inside = true,
            c if inside => member.push(c),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Shape, members, split_type};

    fn target(name: &str, column_type: &str) -> Shape {
        Shape::of_target(name, column_type, None, None)
    }

    #[test]
    fn what_is_for_display_only_does_not_count() {
        assert_eq!(target("a", "tinyint(1)").kind, "tinyint");
        assert_eq!(target("a", "int(5) unsigned zerofill").kind, "int unsigned");
        assert_eq!(target("a", "float(7,4)").kind, "float");
        assert_eq!(target("a", "year(4)").kind, "year");
        assert_eq!(target("a", "decimal(10,2) unsigned").kind, "decimal(10,2) unsigned");
        assert_eq!(target("a", "datetime(6)").kind, "datetime(6)");
        assert_eq!(target("a", "bit(33)").kind, "bit(33)");
    }

    #[test]
    fn members_keep_their_quotes_commas_and_parentheses() {
        assert_eq!(members(r"'a','it''s','x,y',')'"), ["a", "it's", "x,y", ")"]);
        assert_eq!(split_type("enum('a)','b')"), ("enum".into(), "'a)','b'", ""));
    }
}
