//! Rows in the log: the table map that describes them, and their images.

mod column;
mod condense;
mod decimal;
mod encode;
mod one_row;
mod rows_event;
mod shrink;
mod table_map;
mod temporal;
mod value;

pub use column::{Column, ColumnType};
pub use condense::Condenser;
pub use encode::{NO_FOREIGN_KEY_CHECKS, RowsWriter, put_image, put_value};
pub use one_row::RawRow;
pub use rows_event::{Image, RawRowChange, RowChange, RowsEvent, STATEMENT_END};
pub use shrink::Shrunk;
pub use table_map::TableMap;
pub use value::Value;

#[cfg(test)]
mod tests;
