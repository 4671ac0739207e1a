//! One row's change, taken out of its event or made of its images: what is applied by itself when rows are decided
//! one at a time.

use super::RowsEvent;
use super::table_map::TableMap;
use crate::event::{Event, EventError, EventKind};

/// The images of one row as they stand in an event, every column in them but those that are known to lack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRow<'a> {
    /// Positions of columns that no image has.
    lacking: &'a [usize],
    /// The row before.
    pub before: Option<Vec<u8>>,
    /// The row after; `None` for a delete, and where it is told by what changed inside JSON documents.
    pub after: Option<Vec<u8>>,
}

impl<'a> RawRow<'a> {
    /// The images of an event with one row, as [`RowsEvent::split`] gives it. `lacking`: positions of columns that the
    /// rows' source does not have.
    ///
    /// # Errors
    ///
    /// [`EventError`] where another column is missing from an image (`binlog_row_image` other than `FULL`) or the image
    /// is malformed.
    pub fn of(event: &Event, map: &TableMap, lacking: &'a [usize]) -> Result<Self, EventError> {
        let rows = RowsEvent::parse(event, map)?;
        if !rows.is_full_but(lacking) {
            return Err(event.malformed("an image lacks columns: binlog_row_image was not FULL"));
        }
        let [before, after] = rows.raw_images()?;
        let owned = |image: Option<&[u8]>| image.map(<[u8]>::to_vec);
        let after = if event.kind() == EventKind::PartialUpdateRows { None } else { owned(after) };
        Ok(Self { lacking, before: owned(before), after })
    }

    /// The event that inserts `image`.
    pub fn insert(&self, like: &Event, map: &TableMap, image: &[u8]) -> Event {
        self.build(like, map, EventKind::WriteRows, 1, &[image])
    }

    /// The event that changes the row with the key of `before` into `after`.
    pub fn update(&self, like: &Event, map: &TableMap, before: &[u8], after: &[u8]) -> Event {
        self.build(like, map, EventKind::UpdateRows, 2, &[before, after])
    }

    /// The event that deletes the row with the key of `image`.
    pub fn delete(&self, like: &Event, map: &TableMap, image: &[u8]) -> Event {
        self.build(like, map, EventKind::DeleteRows, 1, &[image])
    }

    /// A row event of version 2 with `sets` images, the last of its statement; flags as in `like`.
    fn build(&self, like: &Event, map: &TableMap, kind: EventKind, sets: usize, images: &[&[u8]]) -> Event {
        const NO_EXTRA: [u8; 2] = 2u16.to_le_bytes();
        let columns = map.columns.len();
        let mut present = vec![0xffu8; columns.div_ceil(8)];
        self.lacking.iter().for_each(|i| present[i / 8] &= !(1 << (i % 8)));
        let mut body = like.body()[..8].to_vec();
        body[6] |= super::STATEMENT_END.to_le_bytes()[0];
        body.extend_from_slice(&NO_EXTRA);
        put_length_encoded(&mut body, columns);
        (0..sets).for_each(|_| body.extend_from_slice(&present));
        images.iter().for_each(|image| body.extend_from_slice(image));
        let mut header = like.header();
        header.kind = kind;
        Event::build(&header, &body)
    }
}

fn put_length_encoded(out: &mut Vec<u8>, number: usize) {
    match u16::try_from(number) {
        Ok(small) if small < 251 => out.extend_from_slice(&small.to_le_bytes()[..1]),
        // No table has more than 4096 columns.
        other => {
            out.push(0xfc);
            out.extend_from_slice(&other.unwrap_or(u16::MAX).to_le_bytes());
        }
    }
}
