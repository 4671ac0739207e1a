//! Rows, in the text protocol, both ways: as a client reads them and as a server sends them.

use bytes::Bytes;

use crate::Error;
use crate::constants::UTF8MB4_0900_AI_CI;
use crate::cursor::{Cursor, Malformed};
use crate::encode::{put_lenenc, put_lenenc_bytes};

/// The byte that stands for NULL in a row.
const NULL: u8 = 0xfb;

/// More columns than any table or select can have (MySQL: 4096).
pub(crate) const MAX_COLUMNS: u64 = 1 << 16;

/// A row: per column its text, or NULL.
pub type Row = Vec<Option<Bytes>>;

/// MySQL's number of a column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ColumnType(pub u8);

impl ColumnType {
    /// BIGINT.
    pub const LONGLONG: Self = Self(8);
    /// VARCHAR and what is shown as text.
    pub const VAR_STRING: Self = Self(253);
}

/// What is known of a result's column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name or alias.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// The collation's number; 63 is binary.
    pub collation: u16,
    /// `…_FLAG` bits: 1 NOT NULL, 32 UNSIGNED, 128 BINARY.
    pub flags: u16,
}

impl Column {
    /// A column of text.
    pub fn text(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            column_type: ColumnType::VAR_STRING,
            collation: u16::from(UTF8MB4_0900_AI_CI),
            flags: 0,
        }
    }

    /// A column of whole numbers, unsigned.
    pub fn integer(name: impl Into<String>) -> Self {
        Self { name: name.into(), column_type: ColumnType::LONGLONG, collation: 63, flags: 1 | 32 | 128 }
    }

    /// Parses a column definition of protocol 4.1.
    pub(crate) fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(packet);
        // Catalog, schema, table alias, table.
        for _ in 0..4 {
            cursor.lenenc_bytes()?;
        }
        let name = String::from_utf8_lossy(cursor.lenenc_bytes()?).into_owned();
        cursor.lenenc_bytes()?;
        // The length of the fixed fields, always 12.
        cursor.lenenc()?;
        let collation = cursor.u16()?;
        cursor.u32()?;
        let column_type = ColumnType(cursor.u8()?);
        let flags = cursor.u16()?;
        Ok(Self { name, column_type, collation, flags })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let length: u32 = if self.column_type == ColumnType::LONGLONG { 20 } else { 65_535 };
        let mut out = Vec::with_capacity(32 + 2 * self.name.len());
        put_lenenc_bytes(&mut out, b"def");
        // Schema, table alias, table: none, the rows come from nowhere.
        out.extend_from_slice(&[0, 0, 0]);
        put_lenenc_bytes(&mut out, self.name.as_bytes());
        put_lenenc_bytes(&mut out, b"");
        put_lenenc(&mut out, 12);
        out.extend_from_slice(&self.collation.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.push(self.column_type.0);
        out.extend_from_slice(&self.flags.to_le_bytes());
        // Decimals, and two bytes of filling.
        out.extend_from_slice(&[0, 0, 0]);
        out
    }
}

/// The rows of a SELECT or SHOW, all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResultSet {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows; each has as many values as there are columns.
    pub rows: Vec<Row>,
}

impl ResultSet {
    /// The first row, if there is one.
    pub fn first(&self) -> Option<RowRef<'_>> {
        self.iter().next()
    }

    /// Row by row.
    pub fn iter(&self) -> impl Iterator<Item = RowRef<'_>> {
        self.rows.iter().map(|row| RowRef { columns: &self.columns, row })
    }

    /// The one value of a result of one row: what `SELECT @@x` gives.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] where there is no row or the value is NULL.
    pub fn single_text(&self) -> Result<String, Error> {
        let row = self.first().ok_or_else(|| Error::protocol("no row where one belongs"))?;
        row.text_at(0)
    }
}

/// A row with the names of its columns.
#[derive(Clone, Copy, Debug)]
pub struct RowRef<'a> {
    columns: &'a [Column],
    row: &'a [Option<Bytes>],
}

impl<'a> RowRef<'a> {
    /// The bytes of the column of that name, compared without case as MySQL does; NULL is `None`.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] where there is no such column.
    pub fn bytes(&self, name: &str) -> Result<Option<&'a Bytes>, Error> {
        let index = self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name));
        index
            .and_then(|index| self.row.get(index))
            .map(Option::as_ref)
            .ok_or_else(|| Error::protocol(format!("no such column in the result: `{name}`")))
    }

    /// The text of a column, `None` for NULL.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] where there is no such column or it is not UTF-8.
    pub fn optional_text(&self, name: &str) -> Result<Option<String>, Error> {
        self.bytes(name)?.map(|bytes| utf8(bytes, name)).transpose()
    }

    /// The text of a column that is not NULL.
    ///
    /// # Errors
    ///
    /// As [`Self::optional_text`], and [`Error::Protocol`] for NULL.
    pub fn text(&self, name: &str) -> Result<String, Error> {
        self.optional_text(name)?.ok_or_else(|| Error::protocol(format!("column is NULL: `{name}`")))
    }

    /// The column read as whatever its text is parsed to: a number, a UUID.
    ///
    /// # Errors
    ///
    /// As [`Self::text`], and [`Error::Protocol`] where the text is none of `T`.
    pub fn parse<T: std::str::FromStr>(&self, name: &str) -> Result<T, Error> {
        let text = self.text(name)?;
        text.parse()
            .map_err(|_| Error::protocol(format!("column `{name}` has an unexpected value: `{text}`")))
    }

    /// The text of the column at that place, which is not NULL.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] where there is no such column, it is NULL or not UTF-8.
    pub fn text_at(&self, index: usize) -> Result<String, Error> {
        match self.row.get(index) {
            Some(Some(bytes)) => utf8(bytes, &index.to_string()),
            Some(None) => Err(Error::protocol(format!("column is NULL: {index}"))),
            None => Err(Error::protocol(format!("no such column in the result: {index}"))),
        }
    }
}

fn utf8(bytes: &Bytes, name: &str) -> Result<String, Error> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::protocol(format!("column is not UTF-8: `{name}`")))
}

/// Parses a row of the text protocol. Values are slices of the packet.
pub(crate) fn parse_row(packet: &Bytes, columns: usize) -> Result<Row, Malformed> {
    let mut cursor = Cursor::new(packet);
    let mut row = Vec::with_capacity(columns.min(packet.len()));
    for _ in 0..columns {
        if cursor.rest().first() == Some(&NULL) {
            cursor.take(1)?;
            row.push(None);
        } else {
            row.push(Some(packet.slice_ref(cursor.lenenc_bytes()?)));
        }
    }
    if cursor.is_empty() { Ok(row) } else { Err(Malformed("a row has more values than columns")) }
}

pub(crate) fn encode_row(row: &[Option<Bytes>]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in row {
        match value {
            Some(bytes) => put_lenenc_bytes(&mut out, bytes),
            None => out.push(NULL),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn a_row_comes_back(row in proptest::collection::vec(proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300)), 0..20)) {
            let row: Row = row.into_iter().map(|value| value.map(Bytes::from)).collect();
            let packet = Bytes::from(encode_row(&row));
            prop_assert_eq!(parse_row(&packet, row.len()), Ok(row));
        }

        #[test]
        fn a_column_comes_back(name in ".{0,70}", column_type in any::<u8>(), collation in any::<u16>(), flags in any::<u16>()) {
            let column = Column { name, column_type: ColumnType(column_type), collation, flags };
            prop_assert_eq!(Column::parse(&column.encode()), Ok(column));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), columns in 0usize..100_000) {
            let _ = Column::parse(&bytes);
            let _ = parse_row(&Bytes::from(bytes), columns);
            prop_assert!(true);
        }
    }

    #[test]
    fn getters_name_what_is_missing() {
        let set = ResultSet {
            columns: vec![Column::text("Name"), Column::integer("n")],
            rows: vec![vec![None, Some(Bytes::from_static(b"12"))]],
        };
        let row = set.first().unwrap();
        assert_eq!(row.parse::<u32>("N").unwrap(), 12);
        assert_eq!(row.optional_text("name").unwrap(), None);
        assert_eq!(row.text("name").unwrap_err().to_string(), "protocol violated: column is NULL: `name`");
        assert!(
            row.text("other").unwrap_err().to_string().ends_with("no such column in the result: `other`")
        );
        assert!(row.parse::<u8>("n").is_ok());
        assert!(set.single_text().is_err());
        assert!(ResultSet::default().single_text().is_err());
    }
}
