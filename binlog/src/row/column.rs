//! A column as a table map describes it.

use bytes::Buf;

/// The type of a column in row images, with what is needed to measure and read a value.
///
/// Types and their metadata: `libs/mysql/binlog/event/rows_event.h`, class `Table_map_event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// 1, 2, 3, 4 or 8 bytes.
    Integer {
        /// The value's width.
        bytes: u8,
    },
    /// 4 bytes.
    Float,
    /// 8 bytes.
    Double,
    /// `DECIMAL(precision, scale)`.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits behind the point.
        scale: u8,
    },
    /// `BIT(bits)`.
    Bit {
        /// How many.
        bits: u16,
    },
    /// One byte: 0, or the years since 1900.
    Year,
    /// Three bytes.
    Date,
    /// `TIME(fraction)`.
    Time {
        /// Digits behind the second.
        fraction: u8,
    },
    /// `DATETIME(fraction)`.
    DateTime {
        /// Digits behind the second.
        fraction: u8,
    },
    /// `TIMESTAMP(fraction)`.
    Timestamp {
        /// Digits behind the second.
        fraction: u8,
    },
    /// `CHAR` and `BINARY`.
    Char {
        /// The longest value, in bytes.
        max_bytes: u16,
    },
    /// `VARCHAR` and `VARBINARY`.
    VarChar {
        /// The longest value, in bytes.
        max_bytes: u16,
    },
    /// An index into the members.
    Enum {
        /// 1 or 2.
        bytes: u8,
    },
    /// A bit for each member.
    Set {
        /// 1 to 8.
        bytes: u8,
    },
    /// `TINYBLOB` to `LONGBLOB`, `TINYTEXT` to `LONGTEXT`.
    Blob {
        /// Bytes of a value's length: 1 to 4.
        length_bytes: u8,
    },
    /// Well-known binary behind a 4-byte SRID.
    Geometry {
        /// Bytes of a value's length.
        length_bytes: u8,
    },
    /// The server's binary JSON.
    Json {
        /// Bytes of a value's length.
        length_bytes: u8,
    },
    /// Little-endian floats.
    Vector {
        /// Bytes of a value's length.
        length_bytes: u8,
    },
}

impl ColumnType {
    /// Takes a type's code and its metadata from the table map's metadata block; `None` for a type that no
    /// supported server writes.
    pub(super) fn read(code: u8, metadata: &mut &[u8]) -> Option<Self> {
        let mut one = || metadata.try_get_u8().ok();
        Some(match code {
            1 => Self::Integer { bytes: 1 },
            2 => Self::Integer { bytes: 2 },
            9 => Self::Integer { bytes: 3 },
            3 => Self::Integer { bytes: 4 },
            8 => Self::Integer { bytes: 8 },
            4 => one().map(|_| Self::Float)?,
            5 => one().map(|_| Self::Double)?,
            246 => Self::Decimal { precision: one()?, scale: one()? },
            16 => {
                let (bits, bytes) = (one()?, one()?);
                Self::Bit { bits: u16::from(bytes) * 8 + u16::from(bits) }
            }
            13 => Self::Year,
            10 | 14 => Self::Date,
            17 => Self::Timestamp { fraction: one()? },
            18 => Self::DateTime { fraction: one()? },
            19 => Self::Time { fraction: one()? },
            15 | 253 => Self::VarChar { max_bytes: metadata.try_get_u16_le().ok()? },
            254 => Self::read_string(one()?, one()?)?,
            252 => Self::Blob { length_bytes: one()? },
            255 => Self::Geometry { length_bytes: one()? },
            245 => Self::Json { length_bytes: one()? },
            242 => Self::Vector { length_bytes: one()? },
            _ => return None,
        })
        .filter(Self::is_sane)
    }

    /// `CHAR`, `ENUM` and `SET` share a code. The first byte is the real type; for a `CHAR` longer than 255
    /// bytes two of its bits are two inverted bits of the length (`Field_string::do_save_field_metadata`).
    fn read_string(first: u8, second: u8) -> Option<Self> {
        if first & 0x30 != 0x30 {
            let high = u16::from((first & 0x30) ^ 0x30) << 4;
            return Some(Self::Char { max_bytes: high | u16::from(second) });
        }
        Some(match first {
            247 => Self::Enum { bytes: second },
            248 => Self::Set { bytes: second },
            254 | 253 => Self::Char { max_bytes: second.into() },
            _ => return None,
        })
    }

    fn is_sane(&self) -> bool {
        match *self {
            Self::Decimal { precision, scale } => precision <= 65 && scale <= 30 && scale <= precision,
            Self::Bit { bits } => (1..=64).contains(&bits),
            Self::Time { fraction } | Self::DateTime { fraction } | Self::Timestamp { fraction } => {
                fraction <= 6
            }
            Self::Enum { bytes } => matches!(bytes, 1 | 2),
            Self::Set { bytes } => matches!(bytes, 1..=4 | 8),
            Self::Blob { length_bytes }
            | Self::Geometry { length_bytes }
            | Self::Json { length_bytes }
            | Self::Vector { length_bytes } => (1..=4).contains(&length_bytes),
            _ => true,
        }
    }

    /// Does the table map tell its sign?
    pub(super) fn is_numeric(self) -> bool {
        matches!(self, Self::Integer { .. } | Self::Float | Self::Double | Self::Decimal { .. } | Self::Year)
    }

    /// Does the table map tell its character set among those of character columns? To the server a `VECTOR` is a
    /// `VARBINARY` there.
    pub(super) fn is_character(self) -> bool {
        matches!(self, Self::Char { .. } | Self::VarChar { .. } | Self::Blob { .. } | Self::Vector { .. })
    }

    /// Is it an `ENUM` or a `SET`?
    pub(super) fn has_members(self) -> bool {
        matches!(self, Self::Enum { .. } | Self::Set { .. })
    }
}

/// A column. What only `binlog_row_metadata=FULL` tells is empty without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its type.
    pub kind: ColumnType,
    /// May it be NULL?
    pub nullable: bool,
    /// Is it a number without sign?
    pub unsigned: bool,
    /// Its name; empty without full metadata.
    pub name: String,
    /// Its collation's id, where it has one (63 is binary).
    pub collation: Option<u32>,
    /// The members of an `ENUM` or `SET`, in the column's character set; empty without full metadata.
    pub members: Vec<Vec<u8>>,
    /// The kind of geometry (0 any, 1 point …).
    pub geometry: Option<u32>,
    /// The most elements of a `VECTOR`.
    pub dimensions: Option<u32>,
    /// Is it visible?
    pub visible: bool,
}

impl Column {
    /// A column of this type, without what only full metadata tells.
    pub fn new(kind: ColumnType, nullable: bool) -> Self {
        Self {
            kind,
            nullable,
            unsigned: false,
            name: String::new(),
            collation: None,
            members: Vec::new(),
            geometry: None,
            dimensions: None,
            visible: true,
        }
    }
}
