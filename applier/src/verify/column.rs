//! A column, and the SQL that gives its value exactly: no collation, no rounding, no time zone.
//!
//! | type | exact value | in a row's checksum |
//! |---|---|---|
//! | whole numbers, `DECIMAL`, `YEAR`, temporal | its text, in UTC | the same |
//! | `FLOAT`, `DOUBLE` | `CAST(… AS DOUBLE)`: the shortest text that gives the number back, and `-0` | the same |
//! | `BIT`, `ENUM`, `SET` | `CAST(… AS UNSIGNED)`: the members are compared before | the same |
//! | `CHAR`, `VARCHAR`, `BINARY`, `VARBINARY`, `TINY…` | its bytes in its own character set | the same |
//! | longer texts and blobs, `JSON`, `GEOMETRY`, `VECTOR` | its bytes | `SHA2(…, 256)` of them |
//!
//! Long values go in by their own checksum because a concatenation beyond `max_allowed_packet` is NULL, without an
//! error.

use crate::sql;

/// How the values of a column are read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its text is a number in SQL.
    Number,
    Float,
    /// `BIT`, `ENUM`, `SET`: a number inside.
    Members,
    /// Its text is a literal in quotes.
    Temporal,
    Text,
    Bytes,
    Json,
    /// `GEOMETRY` and its kinds, `VECTOR`.
    Packed,
}

/// A column as a region defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Type and character set, without what does not matter to values.
    pub(crate) shape: String,
    pub(crate) charset: Option<String>,
    pub(crate) collation: Option<String>,
    pub(crate) nullable: bool,
    pub(crate) generated: bool,
    /// Goes into a row's checksum by a checksum of its own.
    pub(crate) long: bool,
}

impl Column {
    /// From what `information_schema.COLUMNS` says.
    pub(crate) fn new(name: &str, data_type: &str, column_type: &str) -> Self {
        let kind = match data_type {
            "float" | "double" => Kind::Float,
            "bit" | "enum" | "set" => Kind::Members,
            "date" | "time" | "datetime" | "timestamp" => Kind::Temporal,
            "json" => Kind::Json,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => Kind::Text,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Kind::Bytes,
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "year" => Kind::Number,
            _ => Kind::Packed,
        };
        let long = matches!(kind, Kind::Json | Kind::Packed)
            || matches!(data_type, "text" | "mediumtext" | "longtext" | "blob" | "mediumblob" | "longblob");
        Self {
            name: name.into(),
            kind,
            shape: normal_type(data_type, column_type),
            charset: None,
            collation: None,
            nullable: false,
            generated: false,
            long,
        }
    }

    /// Its name in backquotes.
    pub(crate) fn quoted(&self) -> String {
        sql::name(&self.name)
    }

    /// An expression that gives the value exactly.
    pub(crate) fn exact(&self) -> String {
        let name = self.quoted();
        match self.kind {
            Kind::Float => format!("CAST({name} AS DOUBLE)"),
            Kind::Members => format!("CAST({name} AS UNSIGNED)"),
            Kind::Packed => format!("CAST({name} AS BINARY)"),
            Kind::Number | Kind::Temporal | Kind::Text | Kind::Bytes | Kind::Json => name,
        }
    }

    /// An expression that is equal for equal values only, and short.
    pub(crate) fn digest(&self) -> String {
        if self.long { format!("SHA2({}, 256)", self.exact()) } else { self.exact() }
    }

    /// Can its text hold the separator, so that its length must be told as well?
    pub(crate) fn is_open(&self) -> bool {
        !self.long && matches!(self.kind, Kind::Text | Kind::Bytes)
    }

    /// Are its bytes UTF-8?
    pub(crate) fn is_utf8(&self) -> bool {
        match self.kind {
            Kind::Text => matches!(self.charset.as_deref(), Some("utf8mb4" | "utf8mb3" | "utf8" | "ascii")),
            Kind::Bytes | Kind::Packed => false,
            _ => true,
        }
    }

    /// An exact value as a literal.
    pub(crate) fn literal(&self, value: Option<&[u8]>) -> String {
        let Some(value) = value else { return "NULL".into() };
        let plain = || String::from_utf8_lossy(value).into_owned();
        match self.kind {
            Kind::Number | Kind::Members => plain(),
            // Without an exponent it would be a DECIMAL, which knows no negative zero.
            Kind::Float if value.contains(&b'e') => plain(),
            Kind::Float => plain() + "e0",
            Kind::Temporal => format!("'{}'", plain()),
            Kind::Text => format!("_{} X'{}'", self.charset.as_deref().unwrap_or("utf8mb4"), hex(value)),
            Kind::Json => format!("CAST(_utf8mb4 X'{}' AS JSON)", hex(value)),
            Kind::Bytes | Kind::Packed => format!("_binary X'{}'", hex(value)),
        }
    }
}

/// Display widths of whole numbers came and went with versions, and mean nothing.
fn normal_type(data_type: &str, column_type: &str) -> String {
    let whole = data_type.ends_with("int") || data_type == "year";
    match (whole, column_type.find('('), column_type.find(')')) {
        (true, Some(open), Some(close)) if !column_type.contains("zerofill") => {
            format!("{}{}", &column_type[..open], &column_type[close + 1..])
        }
        _ => column_type.into(),
    }
}

/// The checksum of a row: 256 bits over every column, by name. It can be read only one way: the separator stands in
/// no value but texts and bytes, those tell their lengths (all but the first, which is what is left), and a NULL,
/// which leaves no trace in `CONCAT_WS`, is told by its bit at the end.
pub(crate) fn row_hash<'a>(columns: impl Iterator<Item = &'a Column> + Clone) -> String {
    // Texts under several collations can't stand in one function, unless they are bytes.
    let mut collations = columns.clone().filter(|c| c.is_open()).map(|c| &c.collation);
    let first = collations.next();
    let mixed = collations.any(|other| Some(other) != first);
    let part = |column: &Column| match (mixed && column.is_open(), column.digest()) {
        (true, digest) => format!("CAST({digest} AS BINARY)"),
        (false, digest) => digest,
    };
    let mut parts: Vec<String> = columns.clone().map(part).collect();
    let open = columns.clone().filter(|c| c.is_open()).skip(1);
    parts.extend(open.map(|c| format!("LENGTH({})", c.quoted())));
    let nulls: Vec<String> =
        columns.filter(|c| c.nullable).map(|c| format!("ISNULL({})", c.quoted())).collect();
    match nulls.as_slice() {
        [] => {}
        [one] => parts.push(one.clone()),
        more => parts.push(format!("CONCAT({})", more.join(", "))),
    }
    format!("UNHEX(SHA2(CONCAT_WS(_binary'#', {}), 256))", parts.join(", "))
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        // Writing to a string does not fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::{Column, row_hash};

    fn text(name: &str, charset: &str) -> Column {
        let mut column = Column::new(name, "varchar", "varchar(20)");
        column.charset = Some(charset.into());
        column
    }

    #[test]
    fn a_rows_checksum_tells_lengths_and_nulls() {
        let mut columns = [Column::new("id", "int", "int"), text("a", "latin1"), text("b", "utf8mb4")];
        columns[2].nullable = true;
        assert_eq!(
            row_hash(columns.iter()),
            "UNHEX(SHA2(CONCAT_WS(_binary'#', `id`, `a`, `b`, LENGTH(`b`), ISNULL(`b`)), 256))"
        );
        columns[1].collation = Some("latin1_bin".into());
        assert!(row_hash(columns.iter()).contains("`id`, CAST(`a` AS BINARY), CAST(`b` AS BINARY), LENGTH"));
        let long = [Column::new("j", "json", "json"), Column::new("p", "point", "point")];
        assert!(row_hash(long.iter()).contains("SHA2(`j`, 256), SHA2(CAST(`p` AS BINARY), 256)"));
    }

    #[test]
    fn literals_give_the_same_value_back() {
        let literal =
            |data_type, value: &str| Column::new("c", data_type, data_type).literal(Some(value.as_bytes()));
        assert_eq!(literal("bigint", "18446744073709551615"), "18446744073709551615");
        assert_eq!(literal("double", "-0"), "-0e0");
        assert_eq!(literal("float", "1.5e300"), "1.5e300");
        assert_eq!(literal("datetime", "2024-00-00 00:00:00"), "'2024-00-00 00:00:00'");
        assert_eq!(literal("blob", "'\0"), "_binary X'2700'");
        assert_eq!(text("c", "latin1").literal(Some(b"\xe9")), "_latin1 X'e9'");
        assert_eq!(text("c", "latin1").literal(None), "NULL");
    }

    #[test]
    fn display_widths_are_no_difference() {
        assert_eq!(Column::new("c", "int", "int(11) unsigned").shape, "int unsigned");
        assert_eq!(Column::new("c", "int", "int(5) unsigned zerofill").shape, "int(5) unsigned zerofill");
        assert_eq!(Column::new("c", "varchar", "varchar(5)").shape, "varchar(5)");
    }
}
