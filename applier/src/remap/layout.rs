//! A table of the target, column by column, as far as it decides whether rows of another layout fit.

use binlog::row::{Column, ColumnType};

use crate::definition::Shape;

/// A column as `information_schema.COLUMNS` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnFacts {
    /// `COLUMN_NAME`.
    pub name: String,
    /// `COLUMN_TYPE`.
    pub column_type: String,
    /// `CHARACTER_OCTET_LENGTH`.
    pub octets: Option<u64>,
    /// `CHARACTER_MAXIMUM_LENGTH`.
    pub characters: Option<u64>,
    /// `CHARACTER_SET_NAME`.
    pub charset: Option<String>,
    /// The id of `COLLATION_NAME`.
    pub collation: Option<u32>,
    /// `IS_NULLABLE`.
    pub nullable: bool,
    /// A row that does not tell the column gets a value all the same: a default, a number, an expression.
    pub has_default: bool,
    /// It is part of the primary key.
    pub in_primary_key: bool,
}

/// A column of the target.
#[derive(Clone, Debug)]
pub(crate) struct TargetColumn {
    pub(crate) facts: ColumnFacts,
    pub(crate) shape: Shape,
    /// As a table map describes it; `None` for a type that row images are not made of here.
    pub(crate) column: Option<Column>,
}

impl TargetColumn {
    pub(crate) fn new(facts: ColumnFacts) -> Self {
        let shape = Shape::of_target(&facts.name, &facts.column_type, facts.octets, facts.charset.as_deref());
        let column = kind(&facts, &shape).map(|kind| Column {
            unsigned: shape.kind.ends_with(" unsigned"),
            name: facts.name.clone(),
            collation: facts.collation.or(is_binary(&shape).then_some(63)),
            members: shape.members.iter().map(|m| m.clone().into_bytes()).collect(),
            ..Column::new(kind, facts.nullable)
        });
        Self { facts, shape, column }
    }
}

/// Bytes without a character set.
fn is_binary(shape: &Shape) -> bool {
    matches!(base(shape), "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob")
}

/// `decimal(10,2) unsigned`: `decimal`.
pub(crate) fn base(shape: &Shape) -> &str {
    shape.kind.split(['(', ' ']).next().unwrap_or_default()
}

fn kind(facts: &ColumnFacts, shape: &Shape) -> Option<ColumnType> {
    let numbers: Vec<u16> = match shape.kind.split_once('(') {
        Some((_, rest)) => rest.split(')').next()?.split(',').filter_map(|n| n.trim().parse().ok()).collect(),
        None => Vec::new(),
    };
    let number = |i: usize| numbers.get(i).copied().unwrap_or(0);
    let small = |i: usize| u8::try_from(number(i)).ok();
    let max_bytes = || u16::try_from(facts.octets?).ok();
    let count = shape.members.len();
    Some(match base(shape) {
        "tinyint" => ColumnType::Integer { bytes: 1 },
        "smallint" => ColumnType::Integer { bytes: 2 },
        "mediumint" => ColumnType::Integer { bytes: 3 },
        "int" => ColumnType::Integer { bytes: 4 },
        "bigint" => ColumnType::Integer { bytes: 8 },
        "float" => ColumnType::Float,
        "double" => ColumnType::Double,
        "decimal" => ColumnType::Decimal { precision: small(0)?, scale: small(1)? },
        "bit" => ColumnType::Bit { bits: number(0).max(1) },
        "year" => ColumnType::Year,
        "date" => ColumnType::Date,
        "time" => ColumnType::Time { fraction: small(0)? },
        "datetime" => ColumnType::DateTime { fraction: small(0)? },
        "timestamp" => ColumnType::Timestamp { fraction: small(0)? },
        "char" | "binary" => ColumnType::Char { max_bytes: max_bytes()? },
        "varchar" | "varbinary" => ColumnType::VarChar { max_bytes: max_bytes()? },
        "enum" => ColumnType::Enum { bytes: if count < 256 { 1 } else { 2 } },
        "set" => {
            let bytes = u8::try_from(count.div_ceil(8)).ok()?;
            ColumnType::Set { bytes: if bytes > 4 { 8 } else { bytes.max(1) } }
        }
        "tinytext" | "tinyblob" => ColumnType::Blob { length_bytes: 1 },
        "text" | "blob" => ColumnType::Blob { length_bytes: 2 },
        "mediumtext" | "mediumblob" => ColumnType::Blob { length_bytes: 3 },
        "longtext" | "longblob" => ColumnType::Blob { length_bytes: 4 },
        "json" => ColumnType::Json { length_bytes: 4 },
        "vector" => ColumnType::Vector { length_bytes: 4 },
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geomcollection" => ColumnType::Geometry { length_bytes: 4 },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use binlog::row::ColumnType;

    use super::{ColumnFacts, TargetColumn};

    #[test]
    fn types_of_the_dictionary_are_those_of_table_maps() {
        let kind = |column_type: &str, octets| {
            let facts = ColumnFacts { column_type: column_type.into(), octets, ..ColumnFacts::default() };
            let column = TargetColumn::new(facts).column.unwrap();
            (column.kind, column.unsigned)
        };
        assert_eq!(kind("bigint(20) unsigned", None), (ColumnType::Integer { bytes: 8 }, true));
        assert_eq!(kind("decimal(10,2)", None), (ColumnType::Decimal { precision: 10, scale: 2 }, false));
        assert_eq!(kind("datetime(3)", None).0, ColumnType::DateTime { fraction: 3 });
        assert_eq!(kind("time", None).0, ColumnType::Time { fraction: 0 });
        assert_eq!(kind("varchar(20)", Some(80)).0, ColumnType::VarChar { max_bytes: 80 });
        assert_eq!(kind("set('a','b')", Some(3)).0, ColumnType::Set { bytes: 1 });
        assert_eq!(kind("mediumtext", Some(1 << 24)).0, ColumnType::Blob { length_bytes: 3 });
        assert_eq!(kind("bit(33)", None).0, ColumnType::Bit { bits: 33 });
    }
}
